//! Many seeds, each played to its end.

use std::ops::Range;

use super::world::{Seen, World};
use crate::broker::Broker;
use crate::model::family::SlowConsumer;
use crate::model::recovery::LossReason;

const SEED_COUNT: u64 = 80;
const STEP_COUNT: usize = 8_000;

impl World {
    /// Lets everything that is under way arrive, and every client take what it is owed.
    fn settle(&mut self) {
        loop {
            self.empty_lanes();
            for shard in 0..self.brokers.len() {
                self.end_turn(shard);
            }
            for client in 0..self.clients.len() {
                if let Some(door) = &mut self.clients[client].door {
                    door.takes_nothing_until_us = 0;
                }
                self.consume_some(client, usize::MAX);
            }
            if !self.is_busy() {
                return;
            }
        }
    }

    fn empty_lanes(&mut self) {
        for to in 0..self.brokers.len() {
            for from in 0..self.brokers.len() {
                while let Some(parcel) = self.ears[from].lanes[to].pop_front() {
                    self.hand_over(from, to, parcel);
                }
            }
            self.serve_store(to);
            self.answer_store(to);
        }
    }

    fn is_busy(&self) -> bool {
        let waits = |ears: &super::ears::Ears| {
            !ears.store_lane.is_empty() || ears.lanes.iter().any(|lane| !lane.is_empty())
        };
        let doors = || self.clients.iter().filter_map(|client| client.door.as_ref());
        self.ears.iter().any(waits)
            || self.store.replies.iter().any(|replies| !replies.is_empty())
            || doors().any(|door| door.wants_more || !door.queue.is_empty())
            || self.brokers.iter().any(|broker| broker.next_due_us() == Some(0))
    }

    /// With nothing under way, everyone has everything.
    fn check_settled(&mut self) {
        assert!(self.published.iter().all(|published| published.is_answered));
        for client in &mut self.clients {
            let Some(door) = &mut client.door else { continue };
            assert!(door.asked.is_empty(), "every subscribe is answered");
            for account in door.accounts.iter_mut().filter(|account| account.is_on) {
                let last = self.truth.topics[account.topic].placed.last();
                account.pass(&self.truth, last.map_or(0, |last| last.offset), self.time_us);
            }
        }
        for broker in &self.brokers {
            assert!(broker.store_lane.is_empty(), "the store owes nothing");
            assert!(broker.topics.iter().all(|(_, topic)| topic.catching_count == 0));
            assert!(broker.sessions.iter().flatten().all(|session| session.under_way.is_none()));
        }
    }

    /// Ends everything and sees that nothing is left behind.
    fn check_empty(&mut self) {
        for client in 0..self.clients.len() {
            self.cut(client);
        }
        self.settle();
        for broker in &self.brokers {
            assert_eq!((broker.subscription_count(), broker.topic_count()), (0, 0));
            assert!(!broker.has_runs() && broker.merged.is_empty());
        }
    }

    fn count(&mut self) {
        for stats in self.brokers.iter().map(Broker::catching_stats) {
            for policy in SlowConsumer::ALL {
                self.seen.fell_behind[policy as usize] += stats.fell_behind[policy as usize];
            }
        }
        for ears in &self.ears {
            self.seen.fell_behind[0] += ears.stalled[SlowConsumer::Close as usize];
        }
        self.seen.short_pages += self.store.short_page_count;
    }
}

/// The seeds to play; `SIMULATION_SEEDS` asks for more of them.
fn seeds() -> Range<u64> {
    let asked = std::env::var("SIMULATION_SEEDS").ok();
    0..asked.map_or(SEED_COUNT, |count| count.parse().expect("a number of seeds"))
}

fn play(seed: u64) -> Seen {
    let mut world = World::new(seed);
    for _ in 0..4 {
        for _ in 0..STEP_COUNT / 4 {
            world.step();
        }
        world.settle();
        world.check_settled();
    }
    world.check_empty();
    world.count();
    world.seen
}

#[test]
fn who_was_away_or_slow_gets_what_it_missed_once_or_is_told() {
    let mut total = Seen::default();
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| play(seed));
        total.add(run.unwrap_or_else(|_| panic!("seed {seed} fails")));
    }
    total.check();
}

impl Seen {
    fn add(&mut self, mut other: Seen) {
        for (sum, count) in self.all_mut().into_iter().zip(other.all_mut()) {
            *sum += *count;
        }
    }

    fn all_mut(&mut self) -> Vec<&mut u64> {
        let single = [
            &mut self.deliveries,
            &mut self.caught_up,
            &mut self.recovered,
            &mut self.recovered_messages,
            &mut self.more_pages,
            &mut self.cut_with_queue,
            &mut self.cut_while_catching,
            &mut self.other_door,
            &mut self.other_shard,
            &mut self.polls,
            &mut self.polls_lost,
            &mut self.repeats,
            &mut self.refused,
            &mut self.short_pages,
            &mut self.resubscribed,
            &mut self.subscribed_twice,
        ];
        single.into_iter().chain(&mut self.lost).chain(&mut self.fell_behind).collect()
    }

    /// Every kind of thing has happened.
    fn check(mut self) {
        println!("{self:?}");
        assert!(self.all_mut().into_iter().all(|count| *count > 0), "{self:?}");
        assert!(self.deliveries >= 1_000_000, "{self:?}");
        assert!(LossReason::ALL.iter().all(|reason| self.lost[*reason as usize] > 0));
    }
}
