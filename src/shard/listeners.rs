//! All listening sockets of a shard: which of them have someone waiting, and whom to take next.
//!
//! The listeners take turns, so that a storm at one of them does not keep the others' clients out.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::listener::{Accepted, Listener};
use super::readiness::{Readiness, Source};
use super::transport::{Peer, Transport, Untrusted};
use crate::model::proxies::TrustedProxies;

/// Most listeners of one shard.
pub const LISTENERS_MAX: usize = 16;

/// A shard's listeners, none once it is stopping.
#[derive(Debug)]
pub struct Listeners {
    all: Vec<Listener>,
    /// A bit for each listener that has someone waiting.
    ready: u16,
    /// The one that was asked last.
    last: usize,
    is_exposed: bool,
    proxies: Arc<TrustedProxies>,
}

impl Listeners {
    /// Accepts from all of these, at most [`LISTENERS_MAX`]; `proxies` may speak for their clients.
    ///
    /// # Panics
    /// When there are more: the configuration allows no more.
    pub fn new(all: Vec<Listener>, proxies: Arc<TrustedProxies>) -> Listeners {
        assert!(all.len() <= LISTENERS_MAX, "the configuration bounds them");
        let reached = |listener: &Listener| listener.address().tcp().map(|address| address.ip());
        let is_exposed = all.iter().filter_map(reached).any(|ip| !ip.is_loopback());
        Listeners { all, ready: 0, last: 0, is_exposed, proxies }
    }

    /// Whether there are none (any more).
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether another machine may reach one of them.
    pub(super) fn is_exposed(&self) -> bool {
        self.is_exposed
    }

    /// Whose word about clients counts.
    pub(super) fn proxies(&self) -> &TrustedProxies {
        &self.proxies
    }

    /// Has the readiness of each be told.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub(super) fn watch(&self, readiness: &Readiness) -> std::io::Result<()> {
        self.all.iter().enumerate().try_for_each(|(index, listener)| {
            let index = u8::try_from(index).expect("LISTENERS_MAX is small");
            readiness.watch(listener.as_fd(), Source::Listener(index))
        })
    }

    /// Has it be told no more.
    pub(super) fn forget(&mut self, readiness: &Readiness) {
        self.ready = 0;
        self.all.iter().for_each(|listener| readiness.forget(listener.as_fd()));
    }

    /// Closes all of them.
    pub(super) fn close(&mut self, readiness: &Readiness) {
        self.forget(readiness);
        self.all.clear();
    }

    /// Notes that someone waits at a listener.
    pub(super) fn note_ready(&mut self, index: u8) {
        self.ready |= 1 << index;
    }

    /// Takes one connection from the next listener that has one.
    pub(super) fn accept(&mut self) -> Accepted {
        while self.ready != 0 {
            // Those behind the last one first, then from the front.
            let behind = self.ready & (u16::MAX << self.last << 1);
            let next = if behind == 0 { self.ready } else { behind }.trailing_zeros() as usize;
            let Some(listener) = self.all.get(next) else { break };
            self.last = next;
            match listener.accept() {
                Accepted::Nobody => self.ready &= !(1 << next),
                accepted => return accepted,
            }
        }
        Accepted::Nobody
    }

    /// What stands between the connection of `peer` that was accepted last and its door.
    ///
    /// # Errors
    /// Its listener takes trusted proxies only, and it is none.
    pub(super) fn transport(&self, peer: Peer) -> Result<Option<Box<Transport>>, Untrusted> {
        let seam = self.all.get(self.last).map(Listener::seam);
        let tls = seam.and_then(|seam| seam.tls.as_ref()).map(|tls| tls.current());
        let has_header = seam.is_some_and(|seam| seam.proxy_protocol);
        Transport::begin(peer, tls, has_header, &self.proxies)
    }

    /// What stands there once the PROXY protocol header of `client` is taken off.
    pub(super) fn behind_header(
        &self,
        transport: Transport,
        client: Peer,
    ) -> Option<Box<Transport>> {
        transport.behind_header(client, &self.proxies)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use super::super::listener::ListenAddress;
    use super::super::options::SocketOptions;
    use super::*;

    #[test]
    fn listeners_take_turns() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listeners: Vec<_> =
            (0..3).map(|_| Listener::bind(any, 8, &SocketOptions::default()).unwrap()).collect();
        let mut clients = Vec::new();
        for listener in [&listeners[0], &listeners[0], &listeners[2], &listeners[2]] {
            let ListenAddress::Tcp(address) = listener.address() else { panic!("{listener:?}") };
            clients.push(TcpStream::connect(*address).unwrap());
        }
        let mut listeners = Listeners::new(listeners, Arc::default());
        assert!(matches!(listeners.accept(), Accepted::Nobody), "nobody was told of");
        (0..3).for_each(|index| listeners.note_ready(index));
        let mut order = Vec::new();
        while let Accepted::Connection(..) = listeners.accept() {
            order.push(listeners.last);
        }
        assert_eq!(order, [2, 0, 2, 0]);
    }
}
