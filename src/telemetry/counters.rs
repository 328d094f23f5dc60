//! One shard's counters: written by that shard alone, read by anyone.
//!
//! Invariant: each `ShardCounters` has one writing thread. A write is a relaxed load and a relaxed
//! store (1 ns, no locked instruction); two writers would lose counts, though nothing worse. The
//! struct is a whole number of cache lines, so shards in one `Arc<[ShardCounters]>` share none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::door::{DeliveryDoor, Door, PublishDoor};
use super::histogram::Histogram;
use super::recovery::RecoveryCounters;
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::refusal::Refusal;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`; wraps after 2^64.
    pub fn add(&self, amount: u64) {
        self.0.store(self.get().wrapping_add(amount), Ordering::Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Moves on to a total that is counted elsewhere.
    pub fn advance_to(&self, total: u64) {
        self.0.store(total, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down, never below 0.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.set(self.get().saturating_add(amount));
    }

    /// Takes `amount` away; stops at 0, so that a double count cannot show as 2^64.
    pub fn subtract(&self, amount: u64) {
        self.set(self.get().saturating_sub(amount));
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted for one application.
#[derive(Debug, Default)]
pub(super) struct AppCounters {
    /// Accepted publishes, by dialect.
    pub(super) publishes: [Counter; PublishDoor::ALL.len()],
    pub(super) deliveries: Counter,
    pub(super) sessions: Gauge,
}

/// One counter per refusal. (Arrays beyond 32 entries have no `Default` of their own.)
#[derive(Debug)]
struct PerRefusal([Counter; Refusal::ALL.len()]);

impl Default for PerRefusal {
    fn default() -> Self {
        PerRefusal(std::array::from_fn(|_| Counter::default()))
    }
}

/// Everything one shard counts. Public fields are counted directly; the methods count what needs a
/// label or touches two numbers.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ShardCounters {
    accepted: Counter,
    upgraded: [Counter; Door::ALL.len()],
    open: [Gauge; Door::ALL.len()],
    closed: [[Counter; CloseCause::ALL.len()]; Door::ALL.len()],
    refused: PerRefusal,
    apps: Box<[AppCounters]>,
    /// Sockets closed right after the accept because the shard was full.
    pub accepts_shed: Counter,
    deliveries: Counter,
    /// Bytes read from client sockets.
    pub bytes_received: Counter,
    /// Bytes the kernel took for client sockets.
    pub bytes_sent: Counter,
    /// Sends submitted, whatever their outcome.
    pub sends: Counter,
    /// Sends of which the kernel took a part.
    pub sends_short: Counter,
    /// System calls that made the sends: rings entered, or one per send.
    pub send_calls: Counter,
    /// Sends of which the kernel took nothing (`EAGAIN`).
    pub sends_blocked: Counter,
    /// Connections closed because their outbound queue met its limit.
    pub slow_consumers: Counter,
    /// Passes of the loop.
    pub turns: Counter,
    /// Panics caught; each closed one connection.
    pub panics: Counter,
    /// Batches handed to other shards.
    pub mesh_batches_sent: Counter,
    /// Batches taken from other shards.
    pub mesh_batches_received: Counter,
    /// Batches that met a full queue and stayed with this shard for now.
    pub mesh_batches_refused: Counter,
    /// Bytes that wait here for other shards' queues.
    pub mesh_pending_bytes: Gauge,
    /// Batches that the last turn took from the inbox.
    pub mesh_inbox_batches: Gauge,
    /// Completions that the send ring had no place for; anything but 0 is a bug.
    pub ring_overflows: Counter,
    /// Bytes queued for connections whose sockets take no more.
    pub outbound_bytes: Gauge,
    /// Those connections.
    pub connections_blocked: Gauge,
    /// Connections left to be sent to in the next turn.
    pub connections_dirty: Gauge,
    /// Bytes of the connection table, free places included.
    pub connection_table_bytes: Gauge,
    /// When the turn that runs now began, Unix time in microseconds; 0 between turns.
    pub turn_began_us: Gauge,
    /// Eventfd writes that woke another shard.
    pub wakes: Counter,
    /// Subscriptions held by this shard's connections.
    pub subscriptions: Gauge,
    /// Topics this shard is home of.
    pub topics: Gauge,
    /// What is kept for those who come back.
    pub recovery: RecoveryCounters,
    /// From the acceptance of a publish at its home to the end of the flush that carried it, by
    /// door.
    pub publish_to_flush: [Histogram; DeliveryDoor::ALL.len()],
    /// Time a turn took, waiting excluded.
    pub turn_duration: Histogram,
    /// Time the verification of one token's signature took.
    pub token_verification: Histogram,
}

impl ShardCounters {
    /// Counters of one shard with a place for each of `application_count` applications.
    pub fn new(application_count: usize) -> ShardCounters {
        // One more collects what has no place: the label set stays bounded.
        let apps = (0..=application_count).map(|_| AppCounters::default()).collect();
        ShardCounters { apps, ..ShardCounters::default() }
    }

    /// Counters of `shard_count` shards, to be shared by all threads.
    pub fn for_shards(shard_count: usize, application_count: usize) -> Arc<[ShardCounters]> {
        (0..shard_count).map(|_| ShardCounters::new(application_count)).collect()
    }

    /// Counts an accepted socket, which begins at `door`.
    pub fn accept(&self, door: Door) {
        self.accepted.increment();
        self.open[door as usize].add(1);
    }

    /// Counts a connection's move from [`Door::Http`] to `door`.
    pub fn upgrade(&self, door: Door) {
        self.upgraded[door as usize].increment();
        self.open[Door::Http as usize].subtract(1);
        self.open[door as usize].add(1);
    }

    /// Counts the end of a connection that stood at `door`.
    pub fn close(&self, door: Door, cause: CloseCause) {
        self.closed[door as usize][cause as usize].increment();
        self.open[door as usize].subtract(1);
        if cause == CloseCause::SlowConsumer {
            self.slow_consumers.increment();
        }
    }

    /// Counts `count` accepted publishes.
    pub fn publish(&self, door: PublishDoor, app: AppIndex, count: u64) {
        if let Some(application) = self.app(app) {
            application.publishes[door as usize].add(count);
        }
    }

    /// Counts `count` messages appended to outbound queues, one per message and subscriber.
    pub fn deliver(&self, app: AppIndex, count: u64) {
        self.deliveries.add(count);
        if let Some(application) = self.app(app) {
            application.deliveries.add(count);
        }
    }

    /// Counts a subscriber's session that begins.
    pub fn begin_session(&self, app: AppIndex) {
        if let Some(application) = self.app(app) {
            application.sessions.add(1);
        }
    }

    /// Counts its end.
    pub fn end_session(&self, app: AppIndex) {
        if let Some(application) = self.app(app) {
            application.sessions.subtract(1);
        }
    }

    fn app(&self, app: AppIndex) -> Option<&AppCounters> {
        let last = self.apps.len().saturating_sub(1);
        self.apps.get(usize::from(app.0).min(last))
    }

    /// Counts a refused request, frame or command.
    pub fn refuse(&self, refusal: Refusal) {
        self.refused.0[refusal as usize].increment();
    }

    /// Sockets accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.get()
    }

    pub(super) fn accepted_counter(&self) -> &Counter {
        &self.accepted
    }

    pub(super) fn deliveries_counter(&self) -> &Counter {
        &self.deliveries
    }

    /// Connections that moved to `door` so far.
    pub fn upgraded(&self, door: Door) -> u64 {
        self.upgraded[door as usize].get()
    }

    /// Connections that stand at `door` now.
    pub fn open(&self, door: Door) -> u64 {
        self.open[door as usize].get()
    }

    /// Connections that ended at `door` for `cause`.
    pub fn closed(&self, door: Door, cause: CloseCause) -> u64 {
        self.closed[door as usize][cause as usize].get()
    }

    /// Refusals so far.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused.0[refusal as usize].get()
    }

    /// Numbers by application: one entry for each of the list given at the start and a last one for
    /// all that came later.
    pub(super) fn apps(&self) -> &[AppCounters] {
        &self.apps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_no_cache_line() {
        assert_eq!(size_of::<ShardCounters>() % 64, 0);
        let shards = ShardCounters::for_shards(2, 1);
        assert_eq!(std::ptr::from_ref(&shards[0]).addr() % 64, 0);
    }

    #[test]
    fn the_discriminants_are_the_places_in_all() {
        for (index, cause) in CloseCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
        }
    }

    #[test]
    fn a_connection_is_open_at_one_door_until_it_closes() {
        let counters = ShardCounters::new(0);
        counters.accept(Door::Http);
        counters.accept(Door::Http);
        counters.upgrade(Door::Sse);
        assert_eq!(Door::ALL.map(|door| counters.open(door)), [1, 0, 1, 0]);
        counters.close(Door::Sse, CloseCause::SlowConsumer);
        counters.close(Door::Http, CloseCause::Done);
        assert_eq!(Door::ALL.map(|door| counters.open(door)), [0, 0, 0, 0]);
        assert_eq!((counters.accepted(), counters.upgraded(Door::Sse)), (2, 1));
        assert_eq!(counters.closed(Door::Sse, CloseCause::SlowConsumer), 1);
        assert_eq!(counters.slow_consumers.get(), 1);
    }

    #[test]
    fn an_application_added_later_falls_into_the_last_entry() {
        let counters = ShardCounters::new(2);
        counters.publish(PublishDoor::Native, AppIndex(1), 3);
        counters.publish(PublishDoor::BuzzPost, AppIndex(2), 1);
        counters.publish(PublishDoor::BuzzPost, AppIndex(900), 1);
        let seen = counters.apps().iter().map(|app| app.publishes.each_ref().map(Counter::get));
        assert_eq!(seen.collect::<Vec<_>>(), [[0; 5], [3, 0, 0, 0, 0], [0, 0, 0, 2, 0]]);
    }

    #[test]
    fn a_gauge_stops_at_zero() {
        let gauge = Gauge::default();
        gauge.add(2);
        gauge.subtract(3);
        assert_eq!(gauge.get(), 0);
    }
}
