//! Where a key set may be fetched from: the rules that its URI alone can break.
//!
//! Invariant: what is shown of a URI, in the log or in a problem, is its scheme, host, port and path;
//! query and user information may hold secrets.

use std::net::IpAddr;

use reqwest::Url;

use super::address::is_public;
use crate::model::token::KeySetSource;

/// A URI that may be fetched.
pub(super) struct Target {
    pub(super) url: Url,
    /// The URI as it may be shown.
    pub(super) shown: String,
    pub(super) allow_private: bool,
}

/// Judges a source by what its URI says; names that resolve to private addresses are found later.
///
/// # Errors
/// Why nothing may be fetched from there, as a sentence without secrets.
pub fn check(source: &KeySetSource) -> Result<(), String> {
    Target::new(source).map(|_| ())
}

impl Target {
    /// # Errors
    /// As [`check`].
    pub(super) fn new(source: &KeySetSource) -> Result<Target, String> {
        let url = Url::parse(&source.uri).map_err(|error| format!("this is no URI: {error}"))?;
        let shown = shown(&url);
        let refuse = |why: &str| Err(format!("{shown}: {why}"));
        let (scheme, allow_private) = (url.scheme(), source.allow_private);
        if scheme != "https" && !(scheme == "http" && allow_private) {
            return refuse("a key set needs https (http only where private addresses are allowed)");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a key set's URI may not hold a user or password");
        }
        if !allow_private && literal(&url).is_some_and(|address| !is_public(address)) {
            return refuse("this address is not public, and private ones are not allowed here");
        }
        Ok(Target { url, shown, allow_private })
    }
}

/// The host, if it is an address. The parser has brought every spelling (`0x7f.1`) into its usual one.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(uri: &str, allow_private: bool) -> Result<String, String> {
        let source = KeySetSource { uri: Box::from(uri), allow_private };
        Target::new(&source).map(|target| target.shown)
    }

    #[test]
    fn targets_show_no_secret() {
        let cases = [
            ("https://a.example/keys?token=SECRET#SECRET", "https://a.example/keys"),
            ("https://a.example:8443", "https://a.example:8443/"),
            ("HTTPS://A.example:443/k", "https://a.example/k"),
            ("https://[2606:4700::1111]/k", "https://[2606:4700::1111]/k"),
        ];
        for (uri, shown) in cases {
            assert_eq!(judged(uri, false).as_deref(), Ok(shown));
        }
        for uri in ["http://127.0.0.1:8080/k", "http://localhost/k", "https://10.0.0.1/k"] {
            assert_eq!(judged(uri, true).as_deref(), Ok(uri));
        }
    }

    #[test]
    fn forbidden_targets_are_refused_without_their_secrets() {
        let cases = [
            ("http://a.example/k?SECRET", false, "needs https"),
            ("file:///etc/SECRET", true, "needs https"),
            ("ftp://a.example/k", true, "needs https"),
            ("https://SECRET@a.example/k", true, "user or password"),
            ("https://:SECRET@a.example/k", false, "user or password"),
            ("https://127.0.0.1/k?SECRET", false, "not public"),
            ("https://0x7f.1/k", false, "not public"),
            ("https://2130706433/k", false, "not public"),
            ("https://169.254.169.254/latest", false, "not public"),
            ("https://[::1]/k", false, "not public"),
            ("https://[::ffff:10.0.0.1]/k", false, "not public"),
            ("/SECRET", false, "no URI"),
            ("https://", false, "no URI"),
        ];
        for (uri, allow_private, part) in cases {
            let problem = judged(uri, allow_private).unwrap_err();
            assert!(problem.contains(part), "{uri}: {problem}");
            assert!(uri.starts_with("file") || !problem.contains("SECRET"), "{uri}: {problem}");
        }
    }
}
