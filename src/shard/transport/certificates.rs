//! The certificates of a listener, and which of them a client gets.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::tls::{CertificateText, Part, TlsFault};

/// All certificates by the names that they are valid for.
#[derive(Debug)]
pub(super) struct Certificates {
    /// In the order of the list; the first ones are for names that nobody has.
    all: Vec<Arc<CertifiedKey>>,
    /// Host names in lower case, `*.` included, to places in the list.
    by_name: HashMap<String, Vec<usize>>,
}

impl Certificates {
    /// Reads the list.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn read(
        texts: &[CertificateText<'_>],
        provider: &CryptoProvider,
    ) -> Result<Certificates, Vec<TlsFault>> {
        let mut certificates = Certificates { all: Vec::new(), by_name: HashMap::new() };
        let mut faults = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match read_one(*text, provider) {
                Ok(key) => certificates.add(key),
                Err((part, problem)) => faults.push(TlsFault { index, part, problem }),
            }
        }
        if texts.is_empty() {
            let problem = "at least one certificate is needed".to_owned();
            faults.push(TlsFault { index: 0, part: Part::Chain, problem });
        }
        if faults.is_empty() { Ok(certificates) } else { Err(faults) }
    }

    fn add(&mut self, key: CertifiedKey) {
        let index = self.all.len();
        for name in names(&key) {
            self.by_name.entry(name).or_default().push(index);
        }
        self.all.push(Arc::new(key));
    }

    /// Places of those valid for `name`: by the name itself, else by a wildcard for its first label
    /// (RFC 9525 §6.3).
    fn places(&self, name: &str) -> Option<&Vec<usize>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()?))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let places = hello.server_name().and_then(|name| self.places(name));
        let named = places.into_iter().flatten().filter_map(|place| self.all.get(*place));
        let mut candidates = named.chain(&self.all);
        // One host may have certificates with keys of two kinds.
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.find(fits).map(Arc::clone)
    }
}

fn read_one(
    text: CertificateText<'_>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, (Part, String)> {
    let chain = |problem: String| (Part::Chain, problem);
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text.chain.as_bytes()).collect();
    let certificates =
        certificates.map_err(|_error| chain("holds a section that is no PEM".to_owned()))?;
    let Some(own) = certificates.first() else {
        return Err(chain("holds no certificate in PEM (BEGIN CERTIFICATE)".to_owned()));
    };
    if let Err(error) = webpki::EndEntityCert::try_from(own) {
        return Err(chain(format!("its first certificate cannot be read: {error}")));
    }
    let no_key = "holds no private key in PEM (BEGIN PRIVATE KEY), or an encrypted one";
    let key = PrivateKeyDer::from_pem_slice(text.key.as_bytes())
        .map_err(|_error| (Part::Key, no_key.to_owned()))?;
    CertifiedKey::from_der(certificates, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let problem = "is not the key of the first certificate in certificate_file";
            (Part::Key, problem.to_owned())
        }
        // What is said of a key is what kind it is, never what it holds.
        _ => (Part::Key, "is of a kind that cannot be used: RSA, ECDSA or Ed25519".to_owned()),
    })
}

/// Names of the subjectAltName extension; a certificate without any is only good as the first.
fn names(key: &CertifiedKey) -> Vec<String> {
    let own = key.cert.first().and_then(|own| webpki::EndEntityCert::try_from(own).ok());
    let names = own.iter().flat_map(|own| own.valid_dns_names());
    names.map(str::to_ascii_lowercase).collect()
}
