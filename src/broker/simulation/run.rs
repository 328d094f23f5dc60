//! Many seeds, each played to its end: nothing is lost on the way and nothing is left behind.

use std::collections::VecDeque;
use std::ops::Range;

use super::model::{World, is_told};
use super::presence::Seen;
use super::steps::{APP_COUNT, TOPIC_COUNT, publication};
use crate::broker::{Broker, ReplyTo};
use crate::model::application::AppIndex;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

const SEED_COUNT: u64 = 100;
const STEP_COUNT: usize = 2_000;

impl World {
    /// Empties all lanes and runs.
    pub(super) fn settle(&mut self) {
        while self.has_parcels() {
            for (from, to) in pairs(self.brokers.len()) {
                if let Some(parcel) = self.ears[from].lanes[to].pop_front() {
                    self.hand_over(from, to, parcel);
                }
            }
            for shard in 0..self.brokers.len() {
                self.run_timers(shard);
            }
        }
        for shard in 0..self.brokers.len() {
            self.deliver_runs(shard);
        }
    }

    fn has_parcels(&self) -> bool {
        self.ears.iter().any(|ears| ears.lanes.iter().any(|lane| !lane.is_empty()))
            || self.brokers.iter().any(|broker| broker.next_due_us() == Some(0))
    }

    /// Lets everything that waits for its time have it, and what follows from it too.
    pub(super) fn settle_timers(&mut self) {
        self.settle();
        while let Some(due) = self.brokers.iter().filter_map(Broker::next_due_us).min() {
            self.time_us = self.time_us.max(due);
            for shard in 0..self.brokers.len() {
                self.run_timers(shard);
            }
            self.settle();
        }
    }

    /// With nothing under way, every subscriber has everything after its start.
    pub(super) fn check_settled(&mut self) {
        for (shard, sessions) in self.sessions.iter().enumerate() {
            for (_, session) in sessions.iter() {
                assert_eq!(session.private, session.private_expected);
                self.check_identity(session);
                for (topic, subscription) in &session.topics {
                    assert!(subscription.owed.is_empty(), "every subscribe is answered");
                    let topic = (session.app, topic.clone());
                    self.check(shard, &topic, subscription);
                    let after = subscription.after.expect("answered");
                    if is_told(&topic.1) {
                        continue;
                    }
                    let placed = self.placed.get(&topic).map(Vec::as_slice).unwrap_or_default();
                    let count = placed.iter().filter(|offset| **offset > after).count();
                    assert_eq!(subscription.got.len(), count, "something was lost");
                }
            }
        }
        assert!(self.published.iter().all(|published| published.answered));
        for broker in &self.brokers {
            for (_, topic) in broker.topics.iter() {
                let is_watched = broker.watched.contains(&topic.key);
                assert_eq!(topic.subjects.is_some(), is_watched, "counted for nobody");
            }
        }
        self.check_told();
        self.check_answers();
    }

    /// Ends everything and sees that nothing is left behind.
    pub(super) fn check_empty(&mut self) {
        for shard in 0..self.brokers.len() {
            while let Some(key) = self.session(shard) {
                self.end_session(shard, key);
            }
        }
        self.settle_timers();
        self.check_told();
        self.check_all_told();
        self.close_everyone();
        self.end_observing();
        self.settle_timers();
        for broker in &self.brokers {
            assert_eq!((broker.subscription_count(), broker.topic_count()), (0, 0));
            assert!(!broker.has_runs());
            assert!(broker.subjects.is_empty(), "a subject is remembered");
            assert!(broker.members.is_empty() && broker.watched.is_empty(), "a watch goes on");
            assert_eq!(broker.next_due_us(), None);
        }
        // No home still believes that a shard wants its topics: a publish makes no parcel.
        for shard in 0..self.brokers.len() {
            for number in 0..TOPIC_COUNT {
                for app in (0..APP_COUNT).map(AppIndex) {
                    let topic = TopicName::new(&format!("t{number}")).unwrap();
                    if self.brokers[shard].home_of(app, &topic).index() == shard {
                        self.publish_unheard(shard, app, topic);
                    }
                }
            }
        }
    }

    pub(super) fn publish_unheard(&mut self, shard: usize, app: AppIndex, topic: TopicName) {
        let publication = publication(app, topic, 0);
        let reply = ReplyTo {
            shard: ShardIndex(u16::try_from(shard).unwrap()),
            session: Key { index: 0, generation: 0 },
            ticket: 0,
            wants_receipt: false,
        };
        let ears = &mut self.ears[shard];
        self.brokers[shard].publish(publication, reply, self.time_us, ears);
        assert!(!self.brokers[shard].has_runs());
        assert!(ears.happened.is_empty() && ears.lanes.iter().all(VecDeque::is_empty));
    }
}

/// The seeds to play; `SIMULATION_SEEDS` asks for more of them.
fn seeds() -> Range<u64> {
    let asked = std::env::var("SIMULATION_SEEDS").ok();
    0..asked.map_or(SEED_COUNT, |count| count.parse().expect("a number of seeds"))
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)))
}

#[test]
fn every_subscriber_gets_exactly_what_it_subscribed_to() {
    let mut refused_count = 0;
    let mut seen = Seen::default();
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..2 {
                for _ in 0..STEP_COUNT / 2 {
                    world.step();
                }
                world.settle_timers();
                world.check_settled();
            }
            world.check_empty();
            world
        });
        let world = run.unwrap_or_else(|_| panic!("seed {seed} fails"));
        let placed_count = world.placed.values().map(Vec::len).sum::<usize>();
        assert!(placed_count > STEP_COUNT / 32, "seed {seed} does too little: {placed_count}");
        refused_count += world.refused_count;
        seen.add(&world);
    }
    assert!(refused_count > 0, "no lane was ever full");
    seen.check();
}
