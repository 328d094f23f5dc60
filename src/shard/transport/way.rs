//! What one connection has between its socket and its door, and how it came to be there.

use std::sync::Arc;

use rustls::ServerConfig;

use super::Peer;
use super::session::Session;
use crate::model::proxies::TrustedProxies;
use crate::proto::http1::{Head, client_address};

/// Everything about a connection that a plain one from a client has not.
#[derive(Debug)]
pub(in crate::shard) struct Transport {
    /// Its own address where that is a trusted proxy's: its requests may name another one each.
    pub(super) proxy: Option<Peer>,
    pub(super) stage: Stage,
}

/// Through what its bytes go now.
#[derive(Debug)]
pub(super) enum Stage {
    /// A PROXY protocol header has to come first, of which so much has come; then TLS with these
    /// settings, or nothing.
    Announced(Vec<u8>, Option<Arc<ServerConfig>>),
    /// TLS.
    Tls(Box<Session>),
    /// Nothing: bytes are the door's.
    Plain,
}

impl Transport {
    /// For a connection of `peer` to a listener with these settings; `None` where nothing stands
    /// between.
    ///
    /// # Errors
    /// The listener takes connections of trusted proxies only, and this is none.
    pub(in crate::shard) fn begin(
        peer: Peer,
        tls: Option<Arc<ServerConfig>>,
        has_header: bool,
        proxies: &TrustedProxies,
    ) -> Result<Option<Box<Transport>>, Untrusted> {
        let is_trusted = proxies.trusts(peer.ip());
        if has_header && !is_trusted {
            return Err(Untrusted);
        }
        let stage = match (has_header, tls) {
            (true, tls) => Stage::Announced(Vec::new(), tls),
            (false, Some(tls)) => Stage::Tls(Box::new(Session::new(tls))),
            (false, None) if is_trusted => Stage::Plain,
            (false, None) => return Ok(None),
        };
        let proxy = is_trusted.then_some(peer);
        Ok(Some(Box::new(Transport { proxy, stage })))
    }

    /// Whether bytes on the wire are not the door's.
    pub(in crate::shard) fn is_seam(&self) -> bool {
        !matches!(self.stage, Stage::Plain)
    }

    /// Whether the door is not reached yet.
    pub(in crate::shard) fn is_beginning(&self) -> bool {
        match &self.stage {
            Stage::Announced(..) => true,
            Stage::Tls(session) => !session.is_established(),
            Stage::Plain => false,
        }
    }

    /// Whether nothing has still to leave but what the door owes: records, and the word that no more
    /// come where the connection ends.
    pub(in crate::shard) fn is_flushed(&self, ends: bool) -> bool {
        match &self.stage {
            Stage::Tls(session) => session.unsent().is_empty() && !(ends && session.owes_close()),
            Stage::Announced(..) | Stage::Plain => true,
        }
    }

    /// Whether a handshake goes on, which costs time.
    pub(super) fn is_handshake(&self) -> bool {
        matches!(&self.stage, Stage::Tls(session) if !session.is_established())
    }

    /// Takes what is held of a header or record, to stand in front of what comes.
    pub(super) fn take_partial(&mut self) -> Vec<u8> {
        match &mut self.stage {
            Stage::Announced(partial, _) => std::mem::take(partial),
            Stage::Tls(session) => session.take_partial(),
            Stage::Plain => Vec::new(),
        }
    }

    /// Keeps what makes no whole header or record.
    pub(super) fn put_back_partial(&mut self, bytes: Vec<u8>) {
        match &mut self.stage {
            Stage::Announced(partial, _) => *partial = bytes,
            Stage::Tls(session) => session.put_back_partial(bytes),
            Stage::Plain => {}
        }
    }

    /// Records that have to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        match &self.stage {
            Stage::Tls(session) => session.unsent(),
            Stage::Announced(..) | Stage::Plain => &[],
        }
    }

    /// What is left between socket and door once the PROXY protocol header of `client` is taken off.
    pub(in crate::shard) fn behind_header(
        self,
        client: Peer,
        proxies: &TrustedProxies,
    ) -> Option<Box<Transport>> {
        let tls = match self.stage {
            Stage::Announced(_, tls) => tls,
            Stage::Tls(_) | Stage::Plain => None,
        };
        Transport::begin(client, tls, false, proxies).unwrap_or_default()
    }

    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Tls(session) => Some(session),
            Stage::Announced(..) | Stage::Plain => None,
        }
    }

    /// Who asks with this request, where a trusted proxy passes it on.
    pub(super) fn client(&self, head: &Head<'_>, proxies: &TrustedProxies) -> Option<Peer> {
        let proxy = self.proxy?;
        Some(client_address(&head.headers, proxies).map_or(proxy, |ip| proxy.with_ip(ip)))
    }
}

/// A peer came to a listener for trusted proxies and is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) struct Untrusted;
