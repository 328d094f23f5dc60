//! The store's counters: written by its thread alone, read by anyone.
//!
//! Invariant: one writing thread, as with [`ShardCounters`](super::ShardCounters).

use super::counters::{Counter, Gauge};
use super::histogram::Histogram;

/// What the store has done since the process began.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Transactions of appends that are safe.
    pub commits: Counter,
    /// Messages that got a place; divided by `commits`, the mean batch.
    pub appended: Counter,
    /// Publishes known by their idempotency key.
    pub repeated: Counter,
    /// Appends refused because writing has failed.
    pub refused: Counter,
    /// 1 once writing has failed: nothing more is taken until a restart.
    pub failed: Gauge,
    /// From the beginning of a transaction of appends to the end of its sync.
    pub commit_duration: Histogram,
    /// Appends per commit; its microseconds are messages.
    pub batch_sizes: Histogram,
    /// Pages read.
    pub reads: Counter,
    /// Pages that could not be read.
    pub unreadable: Counter,
    /// Messages removed for age, room or expiry.
    pub trimmed: Counter,
    /// Times the log was copied into the database file.
    pub checkpoints: Counter,
    /// Requests that the thread has taken in and not answered.
    pub waiting: Gauge,
}
