//! What other shards sent.

use super::run::Shard;

/// Batches taken in one turn; more wait for the next, so that sockets are not starved.
const BATCHES_PER_TURN_MAX: usize = 256;

impl Shard {
    /// Takes in what other shards sent.
    pub(super) fn drain_inbox(&mut self) {
        let mut taken_count = 0;
        while taken_count < BATCHES_PER_TURN_MAX
            && let Some(batch) = self.delivery.port.receive()
        {
            taken_count += 1;
            // It may name applications that only its sender has taken over so far.
            self.take_reload();
            for parcel in batch.parcels {
                self.broker.receive(batch.from, parcel, self.time_us, &mut self.delivery);
            }
        }
        let counters = self.delivery.counters();
        counters.mesh_batches_received.add(taken_count as u64);
        counters.mesh_inbox_batches.set(taken_count as u64);
    }

    /// Hands over what this turn staged for other shards; whether something had to stay.
    pub(super) fn flush_mesh(&mut self) -> bool {
        let flushed = self.delivery.port.flush();
        let counters = self.delivery.counters();
        counters.mesh_batches_sent.add(flushed.batch_count);
        counters.mesh_batches_refused.add(flushed.full_count);
        counters.wakes.add(flushed.wake_count);
        counters.mesh_pending_bytes.set(self.delivery.port.backlog_size() as u64);
        flushed.has_backlog
    }
}
