//! Whether every shard still turns.
//!
//! At each check every shard is woken and owes a turn from then on. A shard that sleeps pays at once; a
//! busy one would have turned anyhow. One that has turned, or whose sleeping flag was up again (it must
//! have come to the end of a turn for that), owes from now on. One that has done neither over
//! `owed_max` checks is stuck: its thread is stopped, waits for something it never should, or is in a
//! turn that does not end.
//!
//! Checks are counted, not time: a process that was stopped as a whole, or whose machine was suspended,
//! finds its shards owing one check, not an hour. Not looked at: the store's thread, whose waits are the
//! disk's, and the thread that fetches key sets.

use std::sync::Arc;
use std::time::Instant;

use crate::mesh::Wake;
use crate::telemetry::ShardCounters;

/// What is known of one shard's turns.
#[derive(Debug)]
struct Watched {
    turns_seen: u64,
    /// When it last paid.
    since: Instant,
    checks_owed: u32,
    is_stuck: bool,
}

/// What one check says of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Finding {
    Well,
    /// Stuck from now on.
    Stuck,
    StillStuck,
    /// No longer stuck.
    Moves,
}

impl Watched {
    fn new(now: Instant) -> Watched {
        Watched { turns_seen: 0, since: now, checks_owed: 0, is_stuck: false }
    }

    /// Takes in the turns made so far and whether the shard was found asleep (and is now woken).
    fn check(&mut self, turns: u64, slept: bool, owed_max: u32, now: Instant) -> Finding {
        if slept || turns != self.turns_seen {
            self.turns_seen = turns;
            self.since = now;
            self.checks_owed = 0;
            return if std::mem::take(&mut self.is_stuck) { Finding::Moves } else { Finding::Well };
        }
        self.checks_owed += 1;
        if self.checks_owed < owed_max {
            return Finding::Well;
        }
        if std::mem::replace(&mut self.is_stuck, true) {
            Finding::StillStuck
        } else {
            Finding::Stuck
        }
    }
}

/// Looks after all shards of the process.
#[derive(Debug)]
pub(super) struct Watchdog {
    counters: Arc<[ShardCounters]>,
    wakes: Vec<Arc<Wake>>,
    watched: Vec<Watched>,
    owed_max: u32,
}

impl Watchdog {
    /// A shard is stuck that has owed a turn for `owed_max` checks (at least 1).
    pub(super) fn new(
        counters: Arc<[ShardCounters]>,
        wakes: Vec<Arc<Wake>>,
        owed_max: u32,
        now: Instant,
    ) -> Watchdog {
        let watched = wakes.iter().map(|_| Watched::new(now)).collect();
        Watchdog { counters, wakes, watched, owed_max }
    }

    /// One check at `now`: whether no shard is stuck. What changes is logged.
    pub(super) fn check(&mut self, now: Instant) -> bool {
        let mut all_well = true;
        let shards = self.watched.iter_mut().zip(&self.wakes).zip(self.counters.iter());
        for (shard, ((watched, wake), counters)) in shards.enumerate() {
            let since = watched.since;
            let finding = watched.check(counters.turns.get(), wake.wake(), self.owed_max, now);
            let silent_for = now.duration_since(since);
            match finding {
                Finding::Well | Finding::StillStuck => {}
                Finding::Moves => tracing::info!(shard, ?silent_for, "the shard turns again"),
                Finding::Stuck => {
                    tracing::error!(
                        shard,
                        ?silent_for,
                        turns = watched.turns_seen,
                        "a shard is stuck; the service manager's watchdog is not fed"
                    );
                }
            }
            all_well &= !watched.is_stuck;
        }
        all_well
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::clock;

    #[test]
    fn a_shard_is_stuck_once_it_has_owed_too_long_and_until_it_turns() {
        use Finding::{Moves, StillStuck, Stuck, Well};
        let now = clock::now();
        let mut watched = Watched::new(now);
        let steps = [
            // Asleep, and asked; it turns; it is asked again.
            (0, true, Well),
            (1, true, Well),
            // Awake and busy.
            (7, false, Well),
            // A turn that is long, but not too long.
            (7, false, Well),
            (8, false, Well),
            // Caught by someone else's wake between turns: asleep without a turn in between.
            (8, true, Well),
            (8, false, Well),
            (8, false, Stuck),
            (8, false, StillStuck),
            (9, false, Moves),
            (9, false, Well),
            (9, false, Stuck),
            (9, true, Moves),
        ];
        for (step, (turns, slept, expected)) in steps.into_iter().enumerate() {
            assert_eq!(watched.check(turns, slept, 2, now), expected, "step {step}");
        }
    }

    #[test]
    fn one_stuck_shard_among_others_is_enough() {
        let counters = ShardCounters::for_shards(2, 0);
        let wakes: Vec<_> = (0..2).map(|_| Arc::new(Wake::new().unwrap())).collect();
        let now = clock::now();
        let mut watchdog = Watchdog::new(Arc::clone(&counters), wakes.clone(), 2, now);
        for _ in 0..3 {
            counters[0].turns.increment();
            wakes[1].set_sleeping();
            assert!(watchdog.check(now));
        }
        // Shard 1 was woken by the last check and does not turn.
        let results = [(); 3].map(|()| {
            counters[0].turns.increment();
            watchdog.check(now)
        });
        assert_eq!(results, [true, false, false]);
        counters[1].turns.increment();
        assert!(watchdog.check(now), "shard 1 has paid, and shard 0 owes one turn only");
    }
}
