//! What a shard notes of itself at the end of each turn: gauges and totals that others keep.

use std::time::Instant;

use super::run::Shard;
use crate::stdx::clock;

impl Shard {
    /// Counts the turn that began then, and notes what is there after it.
    pub(super) fn count_turn(&mut self, began: Instant) {
        self.count_backlog();
        let overflow_count = self.sender.overflow_count();
        let counters = self.delivery.counters();
        counters.turns.increment();
        counters.turn_duration.observe(clock::now().duration_since(began));
        counters.subscriptions.set(self.broker.subscription_count() as u64);
        counters.topics.set(self.broker.home_topic_count() as u64);
        counters.connections_dirty.set(self.delivery.dirty.len() as u64);
        counters.connection_table_bytes.set(self.delivery.connections.table_size() as u64);
        counters.ring_overflows.advance_to(overflow_count);
        counters.turn_began_us.set(0);
        self.count_recovery();
    }

    /// Notes what the broker has counted.
    fn count_recovery(&self) {
        let counters = &self.delivery.counters().recovery;
        let kept = self.broker.history_stats();
        counters.messages.set(kept.count);
        counters.bytes.set(kept.size);
        let dropped = [kept.dropped_by_limit, kept.dropped_by_age, kept.dropped_by_budget];
        let stats = self.broker.catching_stats();
        counters.recovered.advance_to(stats.recovered);
        let totals = dropped.iter().chain(&stats.lost).chain(&stats.fell_behind);
        let all = counters.dropped.iter().chain(&counters.lost).chain(&counters.fell_behind);
        all.zip(totals).for_each(|(counter, total)| counter.advance_to(*total));
    }
}
