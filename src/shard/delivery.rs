//! From the broker to the outbound queues: the connections and all that writes to them.
//!
//! Data flow: broker fan-out → `outlet` → [`Delivery`] (this file) → `outbound` → `flush`; parcels for
//! other shards → the mesh port. `fan_out` queues messages, `tell` what is said about them.
//!
//! Invariants: nothing here calls the broker; nothing is queued behind a close.

use std::sync::Arc;

use super::backlog::Backlog;
use super::connection::{Connection, Door, Phase};
use super::follow::Following;
use super::options::Options;
use super::outbound::Outbound;
use super::respond;
use crate::broker::Parcel;
use crate::mesh::Port;
use crate::model::application::{AppIndex, Applications};
use crate::model::close::{Close, CloseCause, TRY_AGAIN_LATER};
use crate::model::id::ConnectionIds;
use crate::model::identity::Revocation;
use crate::model::shard::ShardIndex;
use crate::proto::encode::Encoder;
use crate::proto::http1::Date;
use crate::proto::ws::frame;
use crate::stdx::clock::Tick;
use crate::stdx::slab::{Key, Slab};
use crate::telemetry::{DeliveryDoor, ShardCounters};

/// A shard's connections and what is needed to write to them.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) shard: ShardIndex,
    /// The configuration's values, swapped whole.
    pub(super) options: Arc<Options>,
    pub(super) applications: Arc<Applications>,
    pub(super) ids: ConnectionIds,
    pub(super) connections: Slab<Connection>,
    pub(super) encoder: Encoder,
    pub(super) port: Port<Parcel>,
    pub(super) all_counters: Arc<[ShardCounters]>,
    /// Connections to flush at the end of the turn, each once.
    pub(super) dirty: Vec<Key>,
    /// Connections to read again although no edge will tell.
    pub(super) again: Vec<Key>,
    /// Connections to remove at the end of the turn, each once.
    pub(super) doomed: Vec<(Key, CloseCause)>,
    /// Sessions to end in the broker although their connections live on for a while.
    pub(super) retired: Vec<Key>,
    /// Sessions whose subjects are registered, to be welcomed.
    pub(super) arrived: Vec<Key>,
    /// Sessions that have more to catch up with, and room for it.
    pub(super) hungry: Vec<Key>,
    /// Long polls of which something is new: they may be over.
    pub(super) polls_touched: Vec<Key>,
    /// The store's place in the mesh, where there is one.
    pub(super) store: Option<ShardIndex>,
    /// Revocations to be kept by the authenticator.
    pub(super) revocations: Vec<(AppIndex, Revocation, u64)>,
    /// What this turn delivered: when its home took the message, to how many, by which door.
    pub(super) delivered: Vec<(u64, u64, DeliveryDoor)>,
    /// Connections whose sockets take no more.
    pub(super) backlog: Backlog,
    /// Where an answer's content is put together; empty in between.
    pub(super) scratch: Vec<u8>,
    /// Where bytes stand between a record and a door or queue. Empty until there is TLS.
    pub(super) plain: Vec<u8>,
    /// Who follows what happens.
    pub(super) following: Following,
    pub(super) date: Date,
    pub(super) now: Tick,
}

impl Delivery {
    /// This shard's counters.
    pub(super) fn counters(&self) -> &ShardCounters {
        &self.all_counters[self.shard.index()]
    }

    /// Lists the connection for this turn's flush.
    pub(super) fn mark_dirty(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.flags.dirty
        {
            connection.flags.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Appends bytes of the connection's own.
    pub(super) fn append(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(connection) = self.connections.get_mut(key)
            && connection.is_open()
        {
            connection.outbound.append(write);
            self.mark_dirty(key);
        }
    }

    /// Lists the connection to be read next turn.
    pub(super) fn read_again(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.flags.queued
        {
            connection.flags.queued = true;
            self.again.push(key);
        }
    }

    /// Lists the connection for removal at the end of the turn.
    pub(super) fn doom(&mut self, key: Key, cause: CloseCause) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.flags.doomed
        {
            connection.flags.doomed = true;
            self.doomed.push((key, cause));
        }
    }

    /// Observes how long this turn's deliveries took from their home to the end of the flush.
    pub(super) fn observe_latencies(&mut self, now_us: u64) {
        let histograms = &self.all_counters[self.shard.index()].publish_to_flush;
        for (time_us, count, door) in self.delivered.drain(..) {
            histograms[door as usize].observe_many_us(now_us.saturating_sub(time_us), count);
        }
    }

    /// Begins the connection's end: what is queued leaves, then our side is shut.
    pub(super) fn close(&mut self, key: Key, cause: CloseCause) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        connection.phase = Phase::Closing(cause);
        connection.began = now;
        connection.unread = Vec::new();
        if std::mem::take(&mut connection.flags.held) {
            // The head that these events wait for will not come.
            connection.outbound = Outbound::default();
        }
        self.retired.push(key);
        self.mark_dirty(key);
    }

    /// Sends a close frame (RFC 6455 §5.5.1) and begins the end. Other doors just end.
    pub(super) fn close_websocket(&mut self, key: Key, close: &Close, cause: CloseCause) {
        if self.following.is_on() {
            self.trace_closing(key, close, cause);
        }
        if let Some(Connection { door: Door::WebSocket(door), outbound, .. }) =
            self.connections.get_mut(key)
            && door.closing.send()
        {
            outbound.append(|out| frame::append_close(out, close));
        }
        self.close(key, cause);
    }

    /// Cuts off a connection whose queue met its limit: what has not begun to leave is dropped.
    pub(super) fn close_slow_consumer(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            tracing::debug!(
                number = CloseCause::SlowConsumer.number(),
                peer = %connection.peer,
                queued = connection.outbound.size(),
                limit = connection.outbound_size_max,
                "slow consumer closed"
            );
            connection.outbound.discard_unsent();
        }
        let close = Close::new(TRY_AGAIN_LATER, "Too slow: the outbound queue met its limit.");
        self.close_websocket(key, &close, CloseCause::SlowConsumer);
    }

    /// Writes every answer that is ready and has nothing unready before it.
    pub(super) fn write_answers(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        let Door::Http(door) = &mut connection.door else { return };
        let mut wrote = false;
        let mut close = false;
        while let Some(answer) = door.answers.front() {
            if !answer.body.is_complete() {
                break;
            }
            let answer = door.answers.pop_front().expect("looked at above");
            close = !answer.terms.keep_alive;
            let (date, applications, scratch) = (&self.date, &self.applications, &mut self.scratch);
            connection
                .outbound
                .append(|out| respond::write(out, scratch, answer, date, applications));
            wrote = true;
            if close {
                // A stop may have made this answer the last although more requests came.
                door.answers.clear();
            }
        }
        if door.answers.is_empty() {
            door.answers.shrink_to(4);
        }
        if !wrote {
            return;
        }
        let has_unread = !connection.unread.is_empty() || connection.flags.readable;
        self.mark_dirty(key);
        if close {
            self.close(key, CloseCause::Done);
        } else if has_unread {
            self.read_again(key);
        }
    }
}
