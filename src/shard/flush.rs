//! The end of a turn: every dirty connection is sent what it is owed, once.
//!
//! A connection whose socket took less than offered waits for the writable edge; it costs no
//! further system call until then and delays nobody.

use std::io::IoSlice;
use std::os::fd::AsFd as _;

use rustix::io::Errno;
use smallvec::SmallVec;

use super::connection::{Connection, Phase};
use super::run::Shard;
use super::send::{BATCH_LEN_MAX, Job, PARTS_MAX, Parts, SendResult};
use crate::model::close::CloseCause;
use crate::stdx::slab::Key;

impl Shard {
    /// Sends to every dirty connection. What a send could not hold for want of parts goes into
    /// another round.
    pub(super) fn flush(&mut self) {
        let mut results = std::mem::take(&mut self.send_results);
        while !self.delivery.dirty.is_empty() {
            let dirty = std::mem::take(&mut self.delivery.dirty);
            for keys in dirty.chunks(BATCH_LEN_MAX) {
                self.flush_batch(keys, &mut results);
            }
            if self.delivery.dirty.is_empty() {
                // Keep the allocation for the next turn.
                self.delivery.dirty = dirty;
                self.delivery.dirty.clear();
            }
        }
        self.send_results = results;
    }

    fn flush_batch(&mut self, keys: &[Key], results: &mut Vec<SendResult>) {
        let mut sending: SmallVec<[(Key, u32); BATCH_LEN_MAX]> = SmallVec::new();
        let mut idle: SmallVec<[Key; 16]> = SmallVec::new();
        let mut seams: SmallVec<[Key; 16]> = SmallVec::new();
        {
            let mut jobs: SmallVec<[Job<'_>; BATCH_LEN_MAX]> = SmallVec::new();
            for key in keys {
                let Some(connection) = self.delivery.connections.get(*key) else { continue };
                if connection.flags.seam {
                    seams.push(*key);
                    continue;
                }
                let waits = connection.flags.blocked || connection.flags.held;
                if !connection.outbound.is_empty() && !waits {
                    let parts = parts(connection);
                    sending.push((*key, parts.size()));
                    jobs.push(Job { fd: connection.fd.as_fd(), parts });
                } else {
                    idle.push(*key);
                }
            }
            if !jobs.is_empty() {
                let call_count = self.sender.send(&jobs, results);
                self.delivery.counters().send_calls.add(call_count);
            }
        }
        for key in idle {
            self.after_send(key);
        }
        let mut sent_size = 0;
        for ((key, offered), result) in sending.iter().zip(&*results) {
            sent_size += result.unwrap_or(0) as u64;
            self.take_result(*key, *offered, *result);
        }
        let counters = self.delivery.counters();
        counters.sends.add(sending.len() as u64);
        counters.bytes_sent.add(sent_size);
        if !seams.is_empty() {
            self.flush_seams(&seams, results);
        }
    }

    fn take_result(&mut self, key: Key, offered: u32, result: SendResult) {
        let counters = &self.delivery.all_counters[self.delivery.shard.index()];
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        match result {
            Ok(sent) => {
                connection.outbound.consume(sent);
                if connection.outbound.is_empty() && connection.needs_no_more() {
                    connection.flags.dirty = false;
                    return;
                }
                if sent < offered as usize {
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

    /// The connection's share of this flush is over: what follows from a shorter queue.
    pub(super) fn after_send(&mut self, key: Key) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        connection.flags.dirty = false;
        let is_empty = connection.is_flushed();
        if let Phase::Closing(cause) = connection.phase
            && is_empty
        {
            return self.finish(key, cause);
        }
        // Reading may have been paused while the queue was long. It must not wait until the queue
        // is empty: under steady traffic that may never be, and the peer's pongs would go unheard.
        let has_input = connection.flags.readable || !connection.unread.is_empty();
        let resumes = has_input && !connection.queue_is_long();
        let waits = connection.flags.blocked || connection.flags.held;
        if connection.flags.catching && connection.has_room_to_catch_up() {
            connection.flags.catching = false;
            self.delivery.hungry.push(key);
        }
        if !is_empty && !waits {
            self.delivery.mark_dirty(key);
        }
        if resumes {
            self.delivery.read_again(key);
        }
    }
}

fn parts(connection: &Connection) -> Parts<'_> {
    match connection.outbound.only_part() {
        Some(part) => Parts::One(part),
        None => {
            Parts::Many(connection.outbound.parts().take(PARTS_MAX).map(IoSlice::new).collect())
        }
    }
}
