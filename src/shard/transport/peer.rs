//! Who is at the other end: an address and a port, in 20 bytes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A socket address without what only the kernel needs of an IPv6 one (flow, scope): every connection
/// holds one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) struct Peer {
    ip: IpAddr,
    port: u16,
}

impl Peer {
    /// The peer of a Unix socket: a process of this machine, so it counts as `127.0.0.1`.
    pub(in crate::shard) const LOCAL: Peer = Peer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 0 };

    pub(in crate::shard) fn ip(self) -> IpAddr {
        self.ip
    }

    /// Its port; of a client that a header field names, that of its proxy's connection; 0 over a Unix
    /// socket.
    pub(in crate::shard) fn port(self) -> u16 {
        self.port
    }

    /// The same connection, asked for by someone else.
    pub(in crate::shard) fn with_ip(self, ip: IpAddr) -> Peer {
        Peer { ip, ..self }
    }

    pub(in crate::shard) fn address(self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        Peer { ip: address.ip(), port: address.port() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}
