//! A TLS client (rustls) under the other clients: a tunnel whose near end is a plain socket, so that
//! whatever they can do, they can do over TLS.
//!
//! The tunnel holds at most one piece per direction: who does not read its near end is a slow reader
//! at the far end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::generate_simple_self_signed;
use rustix::event::{PollFd, PollFlags, poll};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore};

use super::PATIENCE;

/// A certificate and its key in files that live as long as this.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    folder: PathBuf,
}

impl Certificate {
    /// A fresh one, signed by itself, for these names.
    pub(crate) fn new(names: &[&str]) -> Certificate {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fanwire-tls-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = generate_simple_self_signed(names).expect("names");
        let certificate = Certificate { der: made.cert.der().clone(), folder };
        std::fs::write(certificate.chain(), made.cert.pem()).expect("a file");
        std::fs::write(certificate.key(), made.signing_key.serialize_pem()).expect("a file");
        certificate
    }

    /// Its folder, for other files of a test.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.folder.join("chain.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// As an entry of `tls.certificates`.
    pub(crate) fn entry(&self) -> String {
        entry(&self.chain(), &self.key())
    }
}

/// An entry of `tls.certificates`.
pub(crate) fn entry(chain: &Path, key: &Path) -> String {
    let (chain, key) = (chain.display(), key.display());
    format!("{{ certificate_file = \"{chain}\", key_file = \"{key}\" }}")
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// How a client speaks TLS. Clones share what is needed to resume.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: &'static str,
}

/// What a tunnel has seen at its end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) resumed: bool,
    /// The server's own certificate.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// The server said that nothing more follows.
    pub(crate) closed: bool,
    pub(crate) error: Option<String>,
}

impl Tls {
    /// Trusts these certificates, and asks for `localhost`.
    pub(crate) fn trusting(certificates: &[&Certificate]) -> Tls {
        Tls::with_versions(certificates, rustls::ALL_VERSIONS)
    }

    pub(crate) fn with_versions(
        certificates: &[&Certificate],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Tls {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.der.clone()).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that there are")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Tls { config: Arc::new(config), name: "localhost" }
    }

    pub(crate) fn named(&self, name: &'static str) -> Tls {
        Tls { name, ..self.clone() }
    }

    pub(crate) fn offering(&self, protocols: &[&str]) -> Tls {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Tls { config: Arc::new(config), ..self.clone() }
    }

    /// The near end of a tunnel to `address`, for the other clients.
    pub(crate) fn connect(&self, address: SocketAddr) -> TcpStream {
        self.through(TcpStream::connect(address).expect("the broker listens")).0
    }

    /// The same over a socket that is connected already; and what the tunnel sees.
    pub(crate) fn through(&self, far: TcpStream) -> (TcpStream, Arc<Mutex<Seen>>) {
        let (near, end) = UnixStream::pair().expect("a pair");
        let name = ServerName::try_from(self.name).expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.config), name).expect("settings");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let end = TcpStream::from(OwnedFd::from(end));
        let mut tunnel = Tunnel {
            tls,
            far,
            near: end,
            held: Vec::new(),
            near_ended: false,
            far_ended: false,
            told_end: false,
            seen: Arc::clone(&seen),
        };
        std::thread::spawn(move || tunnel.run());
        let near = TcpStream::from(OwnedFd::from(near));
        near.set_read_timeout(Some(PATIENCE)).expect("a socket");
        near.set_write_timeout(Some(PATIENCE)).expect("a socket");
        (near, seen)
    }
}

/// Pumps between a plain socket and one that speaks TLS until both directions have ended.
struct Tunnel {
    tls: ClientConnection,
    far: TcpStream,
    near: TcpStream,
    /// Plain bytes for the near end.
    held: Vec<u8>,
    near_ended: bool,
    far_ended: bool,
    told_end: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Tunnel {
    fn run(&mut self) {
        self.far.set_nonblocking(true).expect("a socket");
        self.near.set_nonblocking(true).expect("a socket");
        if let Err(error) = self.pump() {
            self.seen.lock().expect("no holder panics").error = Some(error.to_string());
        }
        let _ = self.near.shutdown(Shutdown::Both);
        let _ = self.far.shutdown(Shutdown::Both);
    }

    fn pump(&mut self) -> std::io::Result<()> {
        loop {
            self.send_records()?;
            self.note();
            if self.far_ended && self.held.is_empty() && !self.told_end {
                self.told_end = true;
                self.near.shutdown(Shutdown::Write)?;
            }
            if self.far_ended && self.held.is_empty() {
                return Ok(());
            }
            self.wait()?;
            self.take_records()?;
            self.give_near()?;
            self.take_near()?;
        }
    }

    fn wait(&self) -> std::io::Result<()> {
        let mut far = PollFlags::empty();
        far.set(PollFlags::IN, self.held.is_empty());
        far.set(PollFlags::OUT, self.tls.wants_write());
        let mut near = PollFlags::empty();
        near.set(PollFlags::IN, !self.near_ended && self.takes_more());
        near.set(PollFlags::OUT, !self.held.is_empty());
        let mut fds = vec![PollFd::from_borrowed_fd(self.far.as_fd(), far)];
        if !near.is_empty() {
            fds.push(PollFd::from_borrowed_fd(self.near.as_fd(), near));
        }
        poll(&mut fds, None)?;
        Ok(())
    }

    fn takes_more(&self) -> bool {
        !self.tls.is_handshaking() && !self.tls.wants_write()
    }

    fn send_records(&mut self) -> std::io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.far) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                written => written?,
            };
        }
        Ok(())
    }

    fn take_records(&mut self) -> std::io::Result<()> {
        if !self.held.is_empty() || self.far_ended {
            return Ok(());
        }
        match self.tls.read_tls(&mut self.far) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(0) => self.far_ended = true,
            read => drop(read?),
        }
        let state = self.tls.process_new_packets().map_err(std::io::Error::other)?;
        self.seen.lock().expect("no holder panics").closed |= state.peer_has_closed();
        self.far_ended |= state.peer_has_closed();
        self.held.resize(state.plaintext_bytes_to_read(), 0);
        if !self.held.is_empty() {
            self.tls.reader().read_exact(&mut self.held)?;
        }
        Ok(())
    }

    fn give_near(&mut self) -> std::io::Result<()> {
        while !self.held.is_empty() {
            match self.near.write(&self.held) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                written => drop(self.held.drain(..written?)),
            }
        }
        Ok(())
    }

    fn take_near(&mut self) -> std::io::Result<()> {
        if self.near_ended || !self.takes_more() {
            return Ok(());
        }
        let mut piece = [0; 16 << 10];
        match self.near.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Ok(0) => {
                self.near_ended = true;
                self.tls.send_close_notify();
                Ok(())
            }
            size => self.tls.writer().write_all(&piece[..size?]),
        }
    }

    fn note(&self) {
        let mut seen = self.seen.lock().expect("no holder panics");
        if !self.tls.is_handshaking() && seen.version.is_none() {
            seen.version = self.tls.protocol_version();
            seen.alpn = self.tls.alpn_protocol().map(<[u8]>::to_vec);
            seen.resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
            let chain = self.tls.peer_certificates();
            seen.certificate =
                chain.and_then(|chain| chain.first()).map(|own| own.clone().into_owned());
        }
    }
}
