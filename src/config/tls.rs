//! Keys of a listener's TLS, and its certificates, which are read and checked with the rest.

use std::sync::Arc;

use super::environment;
use super::key::{Key, Kind};
use super::load::ReadFile;
use super::values::Values;
use crate::shard::{CertificateText, Part, TlsAcceptor, TlsVersion};

/// Most certificates of one listener.
const CERTIFICATES_MAX: usize = 256;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "listeners[].tls.min_version",
        Kind::Choice(&["1.2", "1.3"]),
        "1.2",
        "Lowest version of TLS that is spoken.",
    )
    .live(),
    Key::without_default(
        "listeners[].tls.certificates",
        Kind::Tables,
        "Certificates; with any, the listener speaks TLS and nothing else. The client's name (SNI) \
         chooses among them by the names that they are valid for; the first is for all others. A \
         reload reads the files again; TLS itself comes and goes with a restart only.",
    )
    .live(),
    Key::without_default(
        "listeners[].tls.certificates[].certificate_file",
        Kind::Text,
        "A file with the certificate and those above it in PEM, its own first.",
    )
    .live(),
    Key::without_default(
        "listeners[].tls.certificates[].key_file",
        Kind::Text,
        "A file with its private key in PEM, not encrypted.",
    )
    .live(),
];

/// The TLS of the listener at `entry`; `None` where it has none, or after a problem.
pub(super) fn acceptor(
    values: &mut Values,
    entry: &str,
    read: ReadFile<'_>,
) -> Option<Arc<TlsAcceptor>> {
    let list = format!("{entry}.tls.certificates");
    let version_key = format!("{entry}.tls.min_version");
    let version_min = match &*values.choice(&version_key) {
        "1.3" => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    };
    let certificates = values.entries(&list);
    if certificates.is_empty() {
        if values.is_set(&version_key) {
            values.problem(&version_key, "means nothing without a certificate");
        }
        return None;
    }
    if certificates.len() > CERTIFICATES_MAX {
        values.problem(&list, format!("at most {CERTIFICATES_MAX} can be declared"));
        return None;
    }
    let mut texts = Vec::new();
    for certificate in &certificates {
        let chain = text_of(values, &format!("{certificate}.certificate_file"), read);
        let key = text_of(values, &format!("{certificate}.key_file"), read);
        texts.extend(chain.zip(key));
    }
    if texts.len() < certificates.len() {
        return None;
    }
    let pairs: Vec<_> = texts.iter().map(|(chain, key)| CertificateText { chain, key }).collect();
    match TlsAcceptor::new(&pairs, version_min) {
        Ok(acceptor) => Some(Arc::new(acceptor)),
        Err(faults) => {
            for fault in faults {
                let key = match fault.part {
                    Part::Chain => "certificate_file",
                    Part::Key => "key_file",
                };
                let at = certificates.get(fault.index).unwrap_or(&list);
                values.problem(&format!("{at}.{key}"), fault.problem);
            }
            None
        }
    }
}

/// The text of the file that `path` names.
fn text_of(values: &mut Values, path: &str, read: ReadFile<'_>) -> Option<String> {
    let Some(name) = values.text(path).filter(|name| !name.is_empty()) else {
        if values.is_sound(path) {
            values.problem(path, "is needed");
        }
        return None;
    };
    match environment::read_value(&name, read) {
        Ok(text) => Some(text),
        Err(problem) => {
            values.problem(path, problem);
            None
        }
    }
}
