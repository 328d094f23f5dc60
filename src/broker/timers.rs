//! What the broker has to do later: an exact queue of due times on a clock that never runs back.
//!
//! Callers give the wall clock, which may be set back; the queue counts only its steps forward, so
//! that a clock set back by an hour delays nothing by an hour. Scheduling and cancelling cost a
//! search; nothing cancelled stays behind.

use std::collections::BTreeMap;

/// Names one scheduled thing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TimerId {
    due_us: u64,
    /// Tells things due at the same time apart, and keeps their order.
    number: u64,
}

/// Things to do, by when. It holds one entry per thing scheduled; who schedules bounds them.
#[derive(Debug)]
pub(super) struct Timers<T> {
    due: BTreeMap<TimerId, T>,
    next_number: u64,
    /// The caller's clock when it was last seen.
    seen_us: u64,
    /// The sum of that clock's steps forward.
    now_us: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { due: BTreeMap::new(), next_number: 0, seen_us: 0, now_us: 0 }
    }
}

impl<T> Timers<T> {
    /// Takes in the caller's clock.
    pub(super) fn advance(&mut self, time_us: u64) {
        self.now_us += time_us.saturating_sub(self.seen_us);
        self.seen_us = time_us;
    }

    /// Asks for `what` once `delay_us` have passed since `time_us`, which is now.
    pub(super) fn schedule(&mut self, time_us: u64, delay_us: u64, what: T) -> TimerId {
        self.advance(time_us);
        self.next_number += 1;
        let id = TimerId { due_us: self.now_us + delay_us, number: self.next_number };
        self.due.insert(id, what);
        id
    }

    /// Forgets what was scheduled, unless it has been taken.
    pub(super) fn cancel(&mut self, id: TimerId) {
        self.due.remove(&id);
    }

    /// The next thing whose time has come.
    pub(super) fn take_due(&mut self) -> Option<T> {
        let (id, _) = self.due.first_key_value()?;
        (id.due_us <= self.now_us).then(|| self.due.pop_first().map(|(_, what)| what))?
    }

    /// When the next thing is due, on the caller's clock as it was last seen.
    pub(super) fn next_due_us(&self) -> Option<u64> {
        let (id, _) = self.due.first_key_value()?;
        Some(self.seen_us + id.due_us.saturating_sub(self.now_us))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(timers: &mut Timers<char>) -> String {
        std::iter::from_fn(|| timers.take_due()).collect()
    }

    #[test]
    fn things_come_when_due_in_order_and_not_when_cancelled() {
        let mut timers = Timers::default();
        timers.advance(1_000);
        timers.schedule(1_000, 20, 'c');
        let cancelled = timers.schedule(1_000, 5, 'x');
        timers.schedule(1_000, 10, 'a');
        timers.schedule(1_000, 10, 'b');
        timers.cancel(cancelled);
        assert_eq!(timers.next_due_us(), Some(1_010));
        timers.advance(1_009);
        assert_eq!(due(&mut timers), "");
        timers.advance(1_010);
        assert_eq!(due(&mut timers), "ab");
        timers.advance(5_000);
        assert_eq!(due(&mut timers), "c");
        assert_eq!((timers.next_due_us(), timers.len()), (None, 0));
    }

    #[test]
    fn a_clock_set_back_delays_nothing_by_what_it_was_set_back() {
        let mut timers = Timers::default();
        timers.schedule(1_000_000, 100, 'a');
        timers.advance(500);
        assert_eq!(timers.next_due_us(), Some(600));
        timers.schedule(550, 10, 'b');
        timers.advance(560);
        assert_eq!(due(&mut timers), "b");
        timers.advance(600);
        assert_eq!(due(&mut timers), "a");
    }
}
