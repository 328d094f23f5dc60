//! Keys of the listeners beside `server.listen`.

use std::collections::HashSet;
use std::path::PathBuf;

use super::key::{Key, Kind};
use super::load::ReadFile;
use super::tls;
use super::values::Values;
use crate::shard::{LISTENERS_MAX, ListenAddress, Seam};

/// Longest path of a Unix socket, in bytes: of the 108 there are (unix(7)) some are needed to make it
/// aside before it is put in place.
const PATH_SIZE_MAX: usize = 90;

pub(super) const KEYS: &[Key] = &[
    Key::without_default(
        "listeners",
        Kind::Tables,
        "Further listeners beside server.listen, at most 15.",
    ),
    Key::without_default(
        "listeners[].address",
        Kind::Text,
        "An IP address and port, or \"unix:\" and the absolute path of a socket, which is made at the \
         start and replaces one that nobody listens at.",
    ),
    Key::new(
        "listeners[].mode",
        Kind::Text,
        "0660",
        "Permissions of the Unix socket in octal: who may write to it may connect.",
    ),
    Key::new(
        "listeners[].proxy_protocol",
        Kind::Flag,
        "false",
        "Whether each connection begins with a PROXY protocol header (version 1 or 2) that names the \
         client. Taken from server.trusted_proxies only; other connections are closed.",
    ),
];

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// Where. Key `listeners[].address`.
    pub address: ListenAddress,
    /// A Unix socket's permission bits. Key `listeners[].mode`.
    pub mode: u32,
    /// What stands between its connections and HTTP. Keys `listeners[].tls`,
    /// `listeners[].proxy_protocol`.
    pub seam: Seam,
}

/// Reads the listeners and notes every problem with them.
pub(super) fn listeners(values: &mut Values, read: ReadFile<'_>) -> Vec<ListenerOptions> {
    let mut entries = values.entries("listeners");
    // One place is that of `server.listen`.
    let count_max = LISTENERS_MAX - 1;
    if entries.len() > count_max {
        values.problem("listeners", format!("at most {count_max} can be declared"));
        entries.truncate(count_max);
    }
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for entry in entries {
        let (mode, seam) = (mode(values, &entry), seam(values, &entry, read));
        let Some(address) = address(values, &entry) else { continue };
        // The kernel chooses a port of its own for each port 0.
        let is_chosen = matches!(&address, ListenAddress::Tcp(address) if address.port() == 0);
        if !is_chosen && !seen.insert(address.to_string()) {
            values.problem(&format!("{entry}.address"), "is listed twice");
        }
        all.push(ListenerOptions { address, mode, seam });
    }
    all
}

fn seam(values: &mut Values, entry: &str, read: ReadFile<'_>) -> Seam {
    let key = format!("{entry}.proxy_protocol");
    let proxy_protocol = values.flag(&key);
    if proxy_protocol && values.list("server.trusted_proxies").is_empty() {
        values.problem(&key, "needs server.trusted_proxies: nobody else may use this listener");
    }
    Seam { tls: tls::acceptor(values, entry, read), proxy_protocol }
}

fn address(values: &mut Values, entry: &str) -> Option<ListenAddress> {
    let key = format!("{entry}.address");
    if !values.is_sound(&key) {
        return None;
    }
    let text = values.text(&key).unwrap_or_default();
    if let Some(path) = text.strip_prefix("unix:") {
        if path.starts_with('/') && path.len() <= PATH_SIZE_MAX && !path.contains('\0') {
            return Some(ListenAddress::Unix(PathBuf::from(path)));
        }
        let text =
            format!("the path of a Unix socket is absolute and at most {PATH_SIZE_MAX} bytes");
        values.problem(&key, text);
        return None;
    }
    let address = text.parse().ok().map(ListenAddress::Tcp);
    if address.is_none() {
        let text = format!(
            "expected an IP address and port, such as 0.0.0.0:8443 or [::]:8443, or a Unix socket, \
             such as unix:/run/fanwire/fanwire.sock, found {text:?}"
        );
        values.problem(&key, text);
    }
    address
}

fn mode(values: &mut Values, entry: &str) -> u32 {
    let key = format!("{entry}.mode");
    let text = values.text(&key).unwrap_or_default();
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o777 => mode,
        _ => {
            values.problem(&key, format!("expected permissions such as \"0660\", found {text:?}"));
            0
        }
    }
}
