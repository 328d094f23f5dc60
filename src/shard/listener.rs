//! One listening socket, and what stands between the sockets it accepts and HTTP.
//!
//! A TCP address has a `SO_REUSEPORT` socket per shard, among which the kernel spreads connections. A
//! Unix path has one socket that all shards accept from. Every idle shard is woken by each connection
//! there: epoll's exclusive wake-up does not reach through the set that the runtime waits for.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::options::SocketOptions;
use super::transport::{Peer, TlsAcceptor};

/// A bound socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: ListenAddress,
    seam: Seam,
}

/// Where a listener is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddress {
    /// An address and port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address and port, where it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What stands between a listener's connections and HTTP; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Seam {
    /// TLS with these settings.
    pub tls: Option<Arc<TlsAcceptor>>,
    /// Each connection begins with a PROXY protocol header, and comes from a trusted proxy.
    pub proxy_protocol: bool,
}

/// What one attempt to accept gave.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Connection(OwnedFd, Peer),
    /// Nobody waits.
    Nobody,
    /// The peer gave up before it was accepted; try the next one.
    Gone,
    /// The process or the machine has no descriptor or memory left: pause.
    Exhausted(std::io::Error),
}

impl Listener {
    /// Makes sure that no other process serves `address`: with `SO_REUSEPORT` alone, two brokers
    /// of one user would share it, each with some of the clients and none of the other's messages.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub fn claim(address: SocketAddr) -> std::io::Result<()> {
        socket(address)?.bind(&address.into())
    }

    /// Binds. Port 0 lets the kernel choose; bind further shards to the `address` of the first.
    /// Accepted sockets inherit what is set here.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub fn bind(
        address: SocketAddr,
        backlog: u32,
        options: &SocketOptions,
    ) -> std::io::Result<Listener> {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        inherit(&socket, options)?;
        socket.bind(&address.into())?;
        socket.listen(backlog_of(backlog))?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Listener { socket, address: ListenAddress::Tcp(address), seam: Seam::default() })
    }

    /// Binds a Unix socket with these permission bits (`mode`, such as `0o660`). A socket that an
    /// earlier process left there is replaced at once, so that the path never dangles; it stays when
    /// this process ends.
    ///
    /// # Errors
    /// When another process listens there, when something else stands there, or when the folder cannot
    /// be written to.
    pub fn bind_unix(path: &Path, mode: u32, backlog: u32) -> std::io::Result<Listener> {
        check_unused(path)?;
        // Made aside, so that nobody can connect before it has its permissions.
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}", std::process::id()));
        let aside = Path::new(&aside);
        let _ = fs::remove_file(aside);
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
        socket.bind(&SockAddr::unix(aside)?)?;
        let placed = fs::set_permissions(aside, fs::Permissions::from_mode(mode))
            .and_then(|()| socket.listen(backlog_of(backlog)))
            .and_then(|()| fs::rename(aside, path));
        if placed.is_err() {
            let _ = fs::remove_file(aside);
        }
        placed?;
        let address = ListenAddress::Unix(path.to_owned());
        Ok(Listener { socket, address, seam: Seam::default() })
    }

    /// The same with something between its connections and HTTP.
    #[must_use]
    pub fn with_seam(self, seam: Seam) -> Listener {
        Listener { seam, ..self }
    }

    /// The same socket for another shard.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn share(&self) -> std::io::Result<Listener> {
        let (address, seam) = (self.address.clone(), self.seam.clone());
        Ok(Listener { socket: self.socket.try_clone()?, address, seam })
    }

    /// Takes over a socket that listens already, with our backlog and options.
    ///
    /// # Errors
    /// When it is no TCP socket.
    pub fn adopt(
        socket: TcpListener,
        backlog: u32,
        options: &SocketOptions,
    ) -> std::io::Result<Listener> {
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        inherit(&socket, options)?;
        socket.listen(backlog_of(backlog))?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| std::io::Error::from(Errno::AFNOSUPPORT))?;
        Ok(Listener { socket, address: ListenAddress::Tcp(address), seam: Seam::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// What stands between its connections and HTTP.
    pub fn seam(&self) -> &Seam {
        &self.seam
    }

    /// Takes one waiting connection, never waits for one.
    pub(super) fn accept(&self) -> Accepted {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match acceptfrom_with(&self.socket, flags) {
            Ok((fd, peer)) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                // Only a Unix socket's peer has no address.
                Accepted::Connection(fd, peer.map_or(Peer::LOCAL, Peer::from))
            }
            Err(Errno::AGAIN) => Accepted::Nobody,
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                Accepted::Exhausted(errno.into())
            }
            // accept(2): errors already pending on the new socket are told here.
            Err(_) => Accepted::Gone,
        }
    }
}

/// Sets what accepted sockets inherit.
fn inherit(socket: &Socket, options: &SocketOptions) -> std::io::Result<()> {
    // A turn's bytes leave in one send: waiting for more to fill the segment only delays them.
    socket.set_tcp_nodelay(true)?;
    if let Some(size) = options.receive_size {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.send_size {
        socket.set_send_buffer_size(size)?;
    }
    options.hand_down(socket)
}

fn socket(address: SocketAddr) -> std::io::Result<Socket> {
    let kind = Type::STREAM.cloexec().nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn backlog_of(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

/// Whether a Unix socket may be put at `path`: nothing is there, or a socket that nobody serves.
fn check_unused(path: &Path) -> std::io::Result<()> {
    let taken = |problem| Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, problem));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => taken("a file that is no socket is there"),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => taken("another process listens there"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
        },
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The kernel's limit on listen backlogs, `net.core.somaxconn`; where it cannot be read, as under
/// `ProcSubset=pid`, none, since the kernel cuts a longer backlog by itself.
pub fn somaxconn() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn tcp(listener: &Listener) -> SocketAddr {
        match listener.address() {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn accepted_sockets_have_the_options_of_their_listener() {
        let options = SocketOptions {
            receive_size: Some(64 * 1024),
            send_size: Some(96 * 1024),
            ..SocketOptions::default()
        };
        let listener = Listener::bind(ANY_PORT, 8, &options).unwrap();
        let _client = TcpStream::connect(tcp(&listener)).unwrap();
        let Accepted::Connection(fd, _) = listener.accept() else { panic!("a client waits") };
        let socket = Socket::from(fd);
        assert!(socket.tcp_nodelay().unwrap());
        // Linux doubles what is asked for, for its own bookkeeping (socket(7)).
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 64 * 1024);
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * 96 * 1024);
    }

    #[test]
    fn an_address_is_shared_among_shards_and_with_nobody_else() {
        let first = Listener::bind(ANY_PORT, 8, &SocketOptions::default()).unwrap();
        Listener::bind(tcp(&first), 8, &SocketOptions::default()).unwrap();
        let taken = Listener::claim(tcp(&first)).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        let address = tcp(&first);
        drop(first);
        Listener::claim(address).unwrap();
    }

    /// A folder of this test's own, removed with its content.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = format!("fanwire-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_unix_socket_is_replaced_only_where_nobody_listens() {
        let folder = Folder::new("unix-listener");
        let path = folder.0.join("s");
        let first = Listener::bind_unix(&path, 0o640, 8).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let refused = Listener::bind_unix(&path, 0o600, 8).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
        drop(first);
        let second = Listener::bind_unix(&path, 0o600, 8).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let shared = second.share().unwrap();
        let Accepted::Connection(_, peer) = shared.accept() else { panic!("a client waits") };
        assert_eq!(peer, Peer::LOCAL);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left aside");
        let file = folder.0.join("file");
        fs::write(&file, "kept").unwrap();
        assert!(Listener::bind_unix(&file, 0o600, 8).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"kept");
    }

    #[test]
    fn a_socket_that_listens_already_is_taken_over() {
        let tcp_listener = std::net::TcpListener::bind(ANY_PORT).unwrap();
        let address = tcp_listener.local_addr().unwrap();
        let taken = Listener::adopt(tcp_listener, 8, &SocketOptions::default()).unwrap();
        assert_eq!(*taken.address(), ListenAddress::Tcp(address));
        assert!(matches!(taken.accept(), Accepted::Nobody));
    }
}
