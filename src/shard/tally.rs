//! What a turn leaves behind for the metrics, and when it ended.
//!
//! Invariant: a turn reads the wall clock once, at its start; what happens later in it is told by
//! the monotonic clock's difference.

use std::time::Instant;

use super::run::Shard;
use crate::stdx::clock;
use crate::telemetry::Counter;

impl Shard {
    /// Notes how long what this turn delivered was under way. Call once its sends are done.
    pub(super) fn tally_latencies(&mut self, began: Instant) {
        if !self.delivery.delivered.is_empty() {
            let now_us = self.time_us + micros(began, clock::now());
            self.delivery.observe_latencies(now_us);
        }
    }

    /// Ends a turn: its duration and what the broker has counted.
    pub(super) fn tally_turn(&mut self, began: Instant) {
        self.ended = clock::now();
        let took_us = micros(began, self.ended);
        self.ended_us = self.time_us + took_us;
        self.count_backlog();
        let overflow_count = self.sender.overflow_count();
        let counters = self.delivery.counters();
        counters.turns.increment();
        counters.turn_duration.observe_us(took_us);
        counters.subscriptions.set(self.broker.subscription_count() as u64);
        counters.topics.set(self.broker.home_topic_count() as u64);
        counters.connections_dirty.set(self.delivery.dirty.len() as u64);
        counters.connection_table_bytes.set(self.delivery.connections.table_size() as u64);
        counters.ring_overflows.advance_to(overflow_count);
        counters.turn_began_us.set(0);
        self.tally_recovery();
    }

    fn tally_recovery(&self) {
        let counters = &self.delivery.counters().recovery;
        let kept = self.broker.history_stats();
        let stats = self.broker.catching_stats();
        counters.messages.set(kept.count);
        counters.bytes.set(kept.size);
        counters.recovered.advance_to(stats.recovered);
        let dropped = [kept.dropped_by_limit, kept.dropped_by_age, kept.dropped_by_budget];
        advance(&counters.dropped, dropped);
        advance(&counters.lost, stats.lost);
        advance(&counters.fell_behind, stats.fell_behind);
    }
}

/// Each of a fixed number, so that no loop is left of it.
fn advance<const N: usize>(counters: &[Counter; N], totals: [u64; N]) {
    for (counter, total) in counters.iter().zip(totals) {
        counter.advance_to(total);
    }
}

/// Whole microseconds between two moments; a begun one counts.
fn micros(from: Instant, to: Instant) -> u64 {
    let span = to.saturating_duration_since(from);
    span.as_secs() * 1_000_000 + u64::from(span.subsec_nanos().div_ceil(1000))
}
