//! The shard's own listening socket and the paced acceptance of connections.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};

use super::options::SocketOptions;

/// A `SO_REUSEPORT` listener; each shard binds its own to the same address.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: SocketAddr,
}

/// What one attempt to accept gave.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Connection(OwnedFd, SocketAddr),
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
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Listener { socket, address })
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
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| std::io::Error::from(Errno::AFNOSUPPORT))?;
        Ok(Listener { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes one waiting connection, never waits for one.
    pub(super) fn accept(&self) -> Accepted {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match acceptfrom_with(&self.socket, flags) {
            Ok((fd, peer)) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                Accepted::Connection(fd, peer.unwrap_or(UNKNOWN_PEER))
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

const UNKNOWN_PEER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

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

    #[test]
    fn accepted_sockets_have_the_options_of_their_listener() {
        let options = SocketOptions {
            receive_size: Some(64 * 1024),
            send_size: Some(96 * 1024),
            ..SocketOptions::default()
        };
        let listener = Listener::bind(ANY_PORT, 8, &options).unwrap();
        let _client = TcpStream::connect(listener.address()).unwrap();
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
        Listener::bind(first.address(), 8, &SocketOptions::default()).unwrap();
        let taken = Listener::claim(first.address()).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        let address = first.address();
        drop(first);
        Listener::claim(address).unwrap();
    }
}
