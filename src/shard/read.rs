//! From the socket to the doors: one scratch buffer per shard, one read per connection and turn.
//!
//! Reading pauses, and the peer's bytes stay in the kernel, while the connection's own queue is
//! long, its unanswered requests are many, or its session has not been welcomed.

use std::os::fd::AsFd as _;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::connection::{Door, Phase};
use super::run::Shard;
use crate::model::close::CloseCause;
use crate::stdx::slab::Key;

/// The scratch buffer: what one read takes at most, in bytes.
pub(super) const INPUT_SIZE: usize = 64 * 1024;

/// Requests or messages of one connection that are taken in per turn, so that a buffer full of
/// small ones does not make the others wait.
const EVENTS_PER_READ_MAX: usize = 256;

impl Shard {
    /// Reads a connection once and takes in what came. Lists it again if more may be there.
    pub(super) fn read(&mut self, key: Key) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let is_seam = connection.flags.seam;
        if !connection.unread.is_empty() {
            let mut unread = std::mem::take(&mut connection.unread);
            self.take_in(key, &mut unread);
        }
        if self.is_paused(key) {
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        if is_seam {
            self.read_seam(key, &mut input);
        } else if let Some(size) = self.receive(key, &mut input) {
            self.take_in(key, &mut input[..size]);
        }
        self.input = input;
    }

    /// Reads the socket once, if it may hold something; how many bytes came, more than none.
    pub(super) fn receive(&mut self, key: Key, input: &mut [u8]) -> Option<usize> {
        let connection = self.delivery.connections.get_mut(key)?;
        if !connection.flags.readable {
            return None;
        }
        match recv(connection.fd.as_fd(), &mut *input, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                connection.flags.readable = false;
                self.peer_ended(key);
            }
            Ok((size, _)) => {
                // A short read has emptied a stream socket (epoll(7)), unless an end waits behind.
                let drained = size < input.len() && !connection.flags.ended;
                connection.flags.readable = !drained;
                connection.heard = self.delivery.now;
                connection.flags.pinged = false;
                self.delivery.counters().bytes_received.add(size as u64);
                if !drained {
                    self.delivery.read_again(key);
                }
                return Some(size);
            }
            Err(Errno::AGAIN) => connection.flags.readable = false,
            Err(Errno::INTR) => self.delivery.read_again(key),
            Err(_) => self.delivery.doom(key, CloseCause::Socket),
        }
        None
    }

    /// Takes in bytes until they are used up, the connection pauses or has had its share of the
    /// turn; then the rest is kept.
    pub(super) fn take_in(&mut self, key: Key, mut bytes: &mut [u8]) {
        for _ in 0..EVENTS_PER_READ_MAX {
            if bytes.is_empty() {
                return;
            }
            let Some(connection) = self.delivery.connections.get_mut(key) else { return };
            let swallows = matches!(connection.phase, Phase::Lingering(_));
            let used = match &connection.door {
                _ if swallows => return,
                Door::Stream(_) | Door::Follow => return,
                // A few bytes may ask for many: what one read holds must not be answered at once.
                _ if connection.is_open() && connection.queue_is_long() => 0,
                Door::WebSocket(_) => self.take_in_websocket(key, bytes),
                _ if !connection.is_open() => return,
                Door::Http(_) => self.take_in_http(key, bytes),
            };
            if used == 0 {
                return self.keep_unread(key, bytes);
            }
            bytes = &mut bytes[used..];
        }
        if !bytes.is_empty() {
            self.keep_unread(key, bytes);
            self.delivery.read_again(key);
        }
    }

    fn keep_unread(&mut self, key: Key, bytes: &[u8]) {
        if let Some(connection) = self.delivery.connections.get_mut(key) {
            connection.unread = bytes.to_vec();
        }
    }

    /// Whether nothing may be taken in from this connection now.
    fn is_paused(&self, key: Key) -> bool {
        let Some(connection) = self.delivery.connections.get(key) else { return true };
        if !connection.is_open() {
            return false;
        }
        !connection.unread.is_empty() || (connection.queue_is_long() && !connection.flags.ended)
    }

    /// The peer has shut its side.
    pub(super) fn peer_ended(&mut self, key: Key) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        connection.flags.ended = true;
        if connection.is_open()
            && matches!(&connection.door, Door::Http(door) if door.held.is_some())
        {
            // Its request waits for its token to be judged; the answer to it is the last.
            return;
        }
        if let Door::Http(door) = &connection.door
            && door.poll().is_some()
        {
            // Nobody is behind a poll that has shut its side, or it would wait in vain.
            return self.delivery.doom(key, CloseCause::Peer);
        }
        let cause = match connection.phase {
            // Its last answers are on their way; the flush that sends them ends it.
            Phase::Closing(_)
                if matches!(connection.door, Door::Http(_)) && !connection.is_flushed() =>
            {
                return;
            }
            Phase::Open => CloseCause::Peer,
            Phase::Closing(cause) | Phase::Lingering(cause) => cause,
        };
        // A client may shut its side and still read the answers (RFC 9112 §9.6). A half-closed
        // WebSocket or event stream has nobody behind it.
        if connection.is_open() && matches!(connection.door, Door::Http(_)) {
            if self.close_after_answers(key) {
                return;
            }
            if self.delivery.connections.get(key).is_some_and(|c| !c.is_flushed()) {
                return self.delivery.close(key, cause);
            }
        }
        self.delivery.doom(key, cause);
    }

    /// Has the connection close after the answers that are still owed; whether there are any.
    pub(super) fn close_after_answers(&mut self, key: Key) -> bool {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return false };
        let Door::Http(door) = &mut connection.door else { return false };
        let Some(last) = door.answers.back_mut() else { return false };
        last.terms = last.terms.closing();
        true
    }
}
