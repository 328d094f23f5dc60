//! Those who catch up, and when they go on.

use super::run::Shard;

/// Sessions that get a page of history per turn; the others wait for the next.
const CATCH_UPS_PER_TURN_MAX: usize = 64;

impl Shard {
    /// Sessions whose queues have room get their next page of history, up to the turn's budget.
    pub(super) fn catch_up(&mut self) {
        let mut hungry = std::mem::take(&mut self.delivery.hungry);
        let budget = hungry.len().min(CATCH_UPS_PER_TURN_MAX);
        for key in hungry.drain(..budget) {
            self.broker.catch_up(key, &mut self.delivery);
        }
        hungry.append(&mut self.delivery.hungry);
        self.delivery.hungry = hungry;
    }
}
