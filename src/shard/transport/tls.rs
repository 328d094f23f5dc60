//! The TLS settings of a listener, made from PEM texts, and the one place where they can be changed
//! while it serves.
//!
//! TLS 1.2 or 1.3 with rustls's choice of suites, key exchanges and curves; ALPN offers `http/1.1`
//! alone. Sessions are resumed by tickets, whose keys stay in memory, change every six hours and
//! survive a change of certificates; no session is kept. Early data is refused.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::certificates::Certificates;

/// RFC 7301 §6: what a client that negotiates gets; one that offers only others is refused.
const ALPN: &[u8] = b"http/1.1";

/// The lowest version that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with ephemeral keys and authenticated encryption only.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// A certificate with those above it, the server's own first, and its private key, both in PEM.
#[derive(Clone, Copy)]
pub struct CertificateText<'a> {
    /// `CERTIFICATE` sections.
    pub chain: &'a str,
    /// One `PRIVATE KEY`, `EC PRIVATE KEY` or `RSA PRIVATE KEY` section, not encrypted.
    pub key: &'a str,
}

/// Which text is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The certificates.
    Chain,
    /// The private key.
    Key,
}

/// Why settings cannot be made. It repeats nothing of the texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFault {
    /// The place in the list.
    pub index: usize,
    /// The text there.
    pub part: Part,
    /// The sentence for the operator.
    pub problem: String,
}

/// What a listener begins its connections' TLS with.
pub struct TlsAcceptor {
    current: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

impl TlsAcceptor {
    /// Serves these certificates: the client's name (SNI) chooses among them, and who names none or an
    /// unknown one gets the first. Reads every certificate, and checks that each key is its own.
    ///
    /// # Errors
    /// Everything that is wrong with the texts, together; also that there are none.
    ///
    /// # Panics
    /// When the cryptography that is built in lacks a version of TLS: a bug.
    pub fn new(
        texts: &[CertificateText<'_>],
        version_min: TlsVersion,
    ) -> Result<TlsAcceptor, Vec<TlsFault>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificates = Certificates::read(texts, &provider)?;
        let versions: &[&SupportedProtocolVersion] = match version_min {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider has suites of both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Without ticket keys every connection is a full handshake: slower, and no less safe.
        if let Ok(ticketer) = rustls::crypto::aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(TlsAcceptor { current: RwLock::new(Arc::new(config)) })
    }

    /// Serves what `other` serves from the next connection on. Those that are open stay as they are,
    /// and tickets stay good.
    pub fn replace_by(&self, other: &TlsAcceptor) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut config = ServerConfig::clone(&other.current());
        config.ticketer = Arc::clone(&current.ticketer);
        *current = Arc::new(config);
    }

    /// The settings of a connection that begins now. Once per accept, so a lock does not hurt.
    pub(in crate::shard) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}
