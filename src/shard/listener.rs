//! The shard's own listening socket and the paced acceptance of connections.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};

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
    /// Binds. Port 0 lets the kernel choose; bind further shards to the `address` of the first.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub fn bind(address: SocketAddr, backlog: u32) -> std::io::Result<Listener> {
        let kind = Type::STREAM.cloexec().nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it (tcp(7) on Linux), at no call per connection. Without it a
        // small frame behind an unacknowledged one waits for the peer's delayed ACK: 40 ms. Frames
        // that can share a segment share a write already.
        socket.set_tcp_nodelay(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
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

const UNKNOWN_PEER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The kernel's limit on listen backlogs, `net.core.somaxconn`; its own default where unreadable.
pub fn somaxconn() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_send_at_once() {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 16).unwrap();
        let client = std::net::TcpStream::connect(listener.address()).unwrap();
        let Accepted::Connection(fd, peer) = listener.accept() else { panic!("one waits") };
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(socket2::SockRef::from(&fd).tcp_nodelay().unwrap());
        assert!(matches!(listener.accept(), Accepted::Nobody));
    }
}
