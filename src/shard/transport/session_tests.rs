//! A session and a client of rustls's, in one process and without a socket: everything cut at every
//! place, and what an idle session costs.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion,
};

use super::session::{Opened, PARTIAL_SIZE_MAX, SEALED_SIZE_MAX, Session};
use super::tls::{CertificateText, TlsAcceptor, TlsVersion};

/// Both ends, connected by this test alone.
struct Pair {
    client: ClientConnection,
    session: Session,
    /// What has come out of the session's records.
    plain: Vec<u8>,
}

/// A server's settings with a certificate of its own, and that certificate.
fn acceptor() -> (TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let text = CertificateText { chain: &chain, key: &key };
    (TlsAcceptor::new(&[text], TlsVersion::Tls12).unwrap(), made.cert.der().clone())
}

/// A client's settings that trust these certificates.
fn client(
    version: &'static SupportedProtocolVersion,
    trusted: &[CertificateDer<'static>],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Pair {
        let (acceptor, certificate) = acceptor();
        Pair::with(client(version, &[certificate]), &acceptor)
    }

    fn with(config: Arc<ClientConfig>, acceptor: &TlsAcceptor) -> Pair {
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(config, name).unwrap();
        Pair { client, session: Session::new(acceptor.current()), plain: Vec::new() }
    }

    /// Everything that the client has to send, in pieces of `step` bytes.
    fn send(&mut self, step: usize) {
        let mut records = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut records).unwrap();
        }
        for piece in records.chunks(step) {
            assert!(matches!(self.feed(piece), Opened::Open));
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Opened {
        let mut bytes = self.session.take_partial();
        bytes.extend_from_slice(piece);
        self.session.open(&mut bytes, &mut self.plain)
    }

    /// Everything that the session has to send, in pieces of `step` bytes; what the client makes of it.
    fn receive(&mut self, step: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while !self.session.unsent().is_empty() {
            let size = step.min(self.session.unsent().len());
            let size = self.client.read_tls(&mut &self.session.unsent()[..size]).unwrap();
            let state = self.client.process_new_packets().unwrap();
            let start = got.len();
            got.resize(start + state.plaintext_bytes_to_read(), 0);
            self.client.reader().read_exact(&mut got[start..]).unwrap();
            self.session.consume(size);
        }
        got
    }

    fn establish(&mut self, step: usize) {
        while self.client.is_handshaking() || !self.session.is_established() {
            self.send(step);
            assert!(self.receive(step).is_empty());
        }
        assert_idle(&mut self.session);
    }
}

/// No buffer is kept.
fn assert_idle(session: &mut Session) {
    assert!(session.unsent().is_empty());
    assert_eq!(session.take_partial().capacity(), 0);
    assert_eq!(session.sealed_capacity(), 0);
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn whatever_the_pieces_the_same_bytes_pass_and_nothing_is_kept() {
    for version in VERSIONS {
        for step in [1, 2, 5, 100, 1 << 20] {
            let mut pair = Pair::new(version);
            pair.establish(step);
            let question: Vec<u8> = (0..=255).cycle().take(40_000).collect();
            pair.client.writer().write_all(&question).unwrap();
            pair.send(step.max(7));
            assert!(pair.plain == question, "{version:?} in pieces of {step}");
            let answer: Vec<u8> =
                question.iter().rev().copied().cycle().take(SEALED_SIZE_MAX).collect();
            assert!(pair.session.seal(&answer));
            assert!(pair.receive(step.max(7)) == answer, "{version:?} in pieces of {step}");
            assert_idle(&mut pair.session);
        }
    }
}

#[test]
fn ends_are_told_both_ways() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        pair.establish(1 << 20);
        pair.client.send_close_notify();
        let mut records = Vec::new();
        pair.client.write_tls(&mut records).unwrap();
        assert!(matches!(pair.feed(&records), Opened::Ended));
        // Its answers still reach who has only shut its own side.
        assert!(pair.session.seal(b"answer") && pair.session.owes_close());
        pair.session.seal_close();
        assert!(!pair.session.owes_close() && !pair.session.seal(b"more"));
        assert_eq!(pair.receive(1 << 20), b"answer");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn other_certificates_serve_who_comes_next_and_tickets_stay_good() {
    for version in VERSIONS {
        let ((serving, first), (renewed, second)) = (acceptor(), acceptor());
        let config = client(version, &[first.clone(), second.clone()]);
        let mut before = Pair::with(Arc::clone(&config), &serving);
        before.establish(1 << 20);
        serving.replace_by(&renewed);
        let mut returning = Pair::with(config, &serving);
        returning.establish(1 << 20);
        assert_eq!(returning.client.handshake_kind(), Some(HandshakeKind::Resumed));
        let mut fresh = Pair::with(client(version, &[first, second.clone()]), &serving);
        fresh.establish(1 << 20);
        assert_eq!(fresh.client.peer_certificates(), Some(&[second][..]));
        assert!(before.session.seal(b"as before"));
        assert_eq!(before.receive(1 << 20), b"as before");
    }
}

/// rustls remembers what it has seen by its place in what it was given: sealing something meanwhile must
/// not make that place vanish.
#[test]
fn something_is_sent_while_half_a_key_update_waits() {
    let mut pair = Pair::new(&rustls::version::TLS13);
    pair.establish(1 << 20);
    pair.client.refresh_traffic_keys().unwrap();
    let mut records = Vec::new();
    pair.client.write_tls(&mut records).unwrap();
    assert!(matches!(pair.feed(&records[..1]), Opened::Open));
    assert!(pair.session.seal(b"meanwhile"));
    assert_eq!(pair.receive(1 << 20), b"meanwhile");
    assert!(matches!(pair.feed(&records[1..]), Opened::Open));
    pair.client.writer().write_all(b"with new keys").unwrap();
    pair.send(1);
    assert_eq!(pair.plain, b"with new keys");
}

#[test]
fn what_is_no_whole_record_is_bounded() {
    let mut pair = Pair::new(&rustls::version::TLS13);
    pair.establish(1 << 20);
    // A record of the greatest size that a header may tell, of which nothing can be opened yet.
    let mut record = vec![23, 3, 3, 0x48, 0x00];
    record.resize(PARTIAL_SIZE_MAX + 100, 0);
    let opened = pair.feed(&record);
    assert!(matches!(opened, Opened::Failed(_)), "{opened:?}");
    assert!(!pair.session.unsent().is_empty(), "an alert");
}

#[test]
fn an_idle_session_stays_within_its_budget() {
    let size = std::mem::size_of::<Session>();
    assert!(size <= 1280, "a session takes {size} bytes, its keys not counted");
}
