//! Outward through the seam: what is owed is sealed at the flush, a piece at a time, and sent as one
//! block.
//!
//! A piece is only sealed once the one before has left, so that what a slow reader has not taken
//! waits in its queue, where its topics' policies apply, and not as records that cannot be taken back.

use std::os::fd::AsFd as _;

use rustix::io::Errno;
use smallvec::SmallVec;

use super::session::SEALED_SIZE_MAX;
use crate::model::close::CloseCause;
use crate::shard::connection::{Connection, Phase};
use crate::shard::outbound::Outbound;
use crate::shard::run::Shard;
use crate::shard::send::{BATCH_LEN_MAX, Job, Parts, SendResult};
use crate::stdx::slab::Key;

impl Shard {
    /// Seals and sends what these connections, at most [`BATCH_LEN_MAX`], are owed.
    pub(in crate::shard) fn flush_seams(&mut self, keys: &[Key], results: &mut Vec<SendResult>) {
        let mut sending: SmallVec<[Key; BATCH_LEN_MAX]> = SmallVec::new();
        let mut jobs_len = 0;
        for key in keys {
            let Some(connection) = self.delivery.connections.get_mut(*key) else { continue };
            if !seal(connection, &mut self.delivery.plain) {
                // Its keys are used up: nothing can be said any more.
                self.delivery.doom(*key, CloseCause::Protocol);
                continue;
            }
            let has_records = !connection.unsent().is_empty();
            if has_records && !connection.flags.blocked {
                sending.push(*key);
                jobs_len += 1;
            } else {
                self.after_send(*key);
            }
        }
        if jobs_len == 0 {
            return;
        }
        {
            let mut jobs: SmallVec<[Job<'_>; BATCH_LEN_MAX]> = SmallVec::new();
            for key in &sending {
                let connection = self.delivery.connections.get(*key);
                let connection = connection.expect("nothing was removed since it was looked at");
                let parts = Parts::One(connection.unsent());
                jobs.push(Job { fd: connection.fd.as_fd(), parts });
            }
            let call_count = self.sender.send(&jobs, results);
            self.delivery.counters().send_calls.add(call_count);
        }
        let mut sent_size = 0;
        for (key, result) in sending.iter().zip(&*results) {
            sent_size += result.unwrap_or(0) as u64;
            self.take_sealed_result(*key, *result);
        }
        let counters = self.delivery.counters();
        counters.sends.add(sending.len() as u64);
        counters.bytes_sent.add(sent_size);
    }

    fn take_sealed_result(&mut self, key: Key, result: SendResult) {
        let counters = &self.delivery.all_counters[self.delivery.shard.index()];
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let session = connection.transport.as_mut().and_then(|transport| transport.session());
        let Some(session) = session else { return };
        match result {
            Ok(sent) => {
                session.consume(sent);
                if !session.unsent().is_empty() {
                    counters.sends_short.increment();
                    self.delivery.backlog.block(key, connection);
                }
            }
            Err(Errno::AGAIN) => {
                counters.sends_blocked.increment();
                self.delivery.backlog.block(key, connection);
            }
            Err(Errno::INTR) => {}
            Err(errno) => {
                tracing::trace!(peer = %connection.peer, %errno, "send failed");
                connection.flags.dirty = false;
                return self.delivery.doom(key, CloseCause::Socket);
            }
        }
        self.after_send(key);
    }
}

impl Connection {
    /// Records that have to be sent.
    fn unsent(&self) -> &[u8] {
        self.transport.as_ref().map_or(&[], |transport| transport.unsent())
    }
}

/// Seals the next piece of what a connection is owed, if the one before has left. `false` where that
/// is not possible any more.
fn seal(connection: &mut Connection, gathered: &mut Vec<u8>) -> bool {
    let Connection { transport, outbound, flags, phase, .. } = connection;
    let Some(session) = transport.as_mut().and_then(|transport| transport.session()) else {
        return true;
    };
    let is_free = session.unsent().is_empty() && !flags.blocked && !flags.held;
    if !is_free || !session.is_established() {
        return true;
    }
    if outbound.is_empty() {
        if matches!(phase, Phase::Closing(_)) && session.owes_close() {
            session.seal_close();
        }
        return true;
    }
    let piece = next_piece(outbound, gathered);
    let size = piece.len();
    let is_sealed = session.seal(piece);
    if is_sealed {
        outbound.consume(size);
    }
    is_sealed
}

/// The next bytes, in one piece of at most [`SEALED_SIZE_MAX`].
fn next_piece<'a>(outbound: &'a Outbound, gathered: &'a mut Vec<u8>) -> &'a [u8] {
    if let Some(part) = outbound.only_part() {
        return &part[..part.len().min(SEALED_SIZE_MAX)];
    }
    gathered.clear();
    for part in outbound.parts() {
        let room = SEALED_SIZE_MAX - gathered.len();
        if room == 0 {
            break;
        }
        gathered.extend_from_slice(&part[..part.len().min(room)]);
    }
    gathered
}
