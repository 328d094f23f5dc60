//! Inward through the seam: a PROXY protocol header is taken off, records are opened, and what they
//! held goes to the door as the bytes of a plain connection do.

use std::time::Duration;

use super::super::connection::Entrance;
use super::session::{Opened, PARTIAL_SIZE_MAX};
use super::way::Stage;
use super::{Peer, Transport};
use crate::model::close::CloseCause;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{Head, Terms};
use crate::proto::proxy::{self, HEADER_SIZE_MAX};
use crate::shard::read::INPUT_SIZE;
use crate::shard::run::Shard;
use crate::stdx::clock;
use crate::stdx::slab::Key;

// What is held goes in front of what is read, and there must be room to read.
const _: () = assert!(INPUT_SIZE > 2 * PARTIAL_SIZE_MAX && INPUT_SIZE > 2 * HEADER_SIZE_MAX);

/// Time that handshakes have taken in one turn. Each costs some hundred microseconds, and deliveries
/// wait meanwhile.
#[derive(Debug, Default)]
pub(in crate::shard) struct HandshakeTime {
    /// The turn, by its time.
    turn_us: u64,
    spent: Duration,
}

impl HandshakeTime {
    /// Whether another handshake may go on in the turn of this time.
    fn is_left(&self, turn_us: u64, budget: Duration) -> bool {
        self.turn_us != turn_us || self.spent < budget || self.spent.is_zero()
    }

    fn spend(&mut self, turn_us: u64, time: Duration) {
        if self.turn_us != turn_us {
            *self = HandshakeTime { turn_us, spent: Duration::ZERO };
        }
        self.spent += time;
    }
}

impl Shard {
    /// Reads a connection whose bytes are not its door's, once.
    pub(in crate::shard) fn read_seam(&mut self, key: Key, input: &mut [u8]) {
        let budget = self.delivery.options.turn.verify_time_max;
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let Some(transport) = &mut connection.transport else { return };
        if !connection.flags.readable {
            return;
        }
        if transport.is_handshake() && !self.handshake_time.is_left(self.time_us, budget) {
            return self.delivery.read_again(key);
        }
        let partial = transport.take_partial();
        input[..partial.len()].copy_from_slice(&partial);
        match self.receive(key, &mut input[partial.len()..]) {
            Some(size) => self.take_off(key, &mut input[..partial.len() + size]),
            None => self.put_back_partial(key, partial),
        }
    }

    fn put_back_partial(&mut self, key: Key, partial: Vec<u8>) {
        if let Some(connection) = self.delivery.connections.get_mut(key)
            && let Some(transport) = &mut connection.transport
        {
            transport.put_back_partial(partial);
        }
    }

    /// Takes off what is not the door's from everything that is not done with.
    fn take_off(&mut self, key: Key, bytes: &mut [u8]) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let Some(transport) = &mut connection.transport else { return };
        match &mut transport.stage {
            // Our side is shut; what comes is thrown away.
            _ if connection.phase.is_lingering() => {}
            Stage::Plain => self.take_in(key, bytes),
            Stage::Tls(session) if session.is_fresh() && bytes[0].is_ascii_uppercase() => {
                self.refuse_plain(key);
            }
            Stage::Tls(_) => self.open_records(key, bytes),
            Stage::Announced(..) => self.take_header(key, bytes),
        }
    }

    /// Takes a PROXY protocol header, and whom it names as the peer.
    fn take_header(&mut self, key: Key, bytes: &mut [u8]) {
        let header = match proxy::decode(bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return self.put_back_partial(key, bytes.to_vec()),
            Err(fault) => return self.give_up(key, &fault),
        };
        let now = self.delivery.now;
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let Some(transport) = connection.transport.take() else { return };
        let client = header.client.map_or(connection.peer, Peer::from);
        connection.peer = client;
        connection.transport = self.listeners.behind_header(*transport, client);
        let is_seam = connection.transport.as_deref().is_some_and(Transport::is_seam);
        connection.flags.seam = is_seam;
        (connection.began, connection.heard) = (now, now);
        let rest = &mut bytes[header.size..];
        match (rest.is_empty(), is_seam) {
            (true, _) => {}
            (false, true) => self.take_off(key, rest),
            (false, false) => self.take_in(key, rest),
        }
    }

    fn open_records(&mut self, key: Key, bytes: &mut [u8]) {
        let mut plain = std::mem::take(&mut self.delivery.plain);
        plain.clear();
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let Some(transport) = &mut connection.transport else { return };
        let Some(session) = transport.session() else { return };
        let began = (!session.is_established()).then(clock::now);
        let opened = session.open(bytes, &mut plain);
        let is_established = session.is_established();
        let has_answer = !session.unsent().is_empty();
        if let Some(began) = began {
            self.handshake_time.spend(self.time_us, clock::now().duration_since(began));
            if is_established {
                // The request's head has its time from here on.
                (connection.began, connection.heard) = (self.delivery.now, self.delivery.now);
            }
        }
        if has_answer {
            self.delivery.mark_dirty(key);
        }
        if !plain.is_empty() {
            self.take_in(key, &mut plain);
        }
        self.delivery.plain = plain;
        match opened {
            Opened::Open => {}
            Opened::Ended => self.peer_ended(key),
            Opened::Failed(error) => self.give_up(key, &error),
        }
    }

    /// Answers a client that speaks plain HTTP to a listener of TLS in words that it understands.
    fn refuse_plain(&mut self, key: Key) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        connection.transport = None;
        connection.flags.seam = false;
        let detail = "this port speaks TLS: use https:// or wss://";
        let refused = Refused::new(Refusal::BadRequest, detail);
        self.refuse_and_close(key, &refused, Terms::CLOSING, CloseCause::Protocol, &[]);
    }

    /// Ends a connection whose bytes cannot be made sense of; an alert, if there is one, still leaves.
    fn give_up(&mut self, key: Key, error: &dyn std::fmt::Display) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return self.delivery.doom(key, CloseCause::Protocol);
        }
        let peer = connection.peer;
        connection.outbound.discard_all();
        self.delivery.close(key, CloseCause::Protocol);
        if let Some(suppressed) = self.refusal_log.ask(self.delivery.now) {
            tracing::info!(%peer, %error, suppressed, "what a connection has sent cannot be read");
        }
    }

    /// Notes who asks with a request, where a trusted proxy passes it on.
    pub(in crate::shard) fn note_client(&mut self, key: Key, head: &Head<'_>) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let proxies = self.listeners.proxies();
        let transport = connection.transport.as_ref();
        let client = transport.and_then(|transport| transport.client(head, proxies));
        if let Some(client) = client
            && client != connection.peer
        {
            connection.peer = client;
            // Another client's request over the same connection counts for that one.
            connection.entrance = Entrance::Main;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_time_for_one_handshake_at_least_and_the_next_turn_again() {
        let (budget, long) = (Duration::from_micros(250), Duration::from_millis(2));
        let mut time = HandshakeTime::default();
        assert!(time.is_left(1, budget) && time.is_left(1, Duration::ZERO));
        time.spend(1, Duration::from_micros(100));
        assert!(time.is_left(1, budget));
        time.spend(1, long);
        assert!(!time.is_left(1, budget));
        assert!(time.is_left(2, budget));
        time.spend(2, long);
        assert!(!time.is_left(2, budget));
    }
}
