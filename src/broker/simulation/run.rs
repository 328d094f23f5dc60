//! Many seeds, each played to its end: nothing is lost on the way and nothing is left behind.

use std::collections::VecDeque;

use super::model::World;
use super::steps::{APP_COUNT, TOPIC_COUNT, publication};
use crate::broker::ReplyTo;
use crate::model::application::AppIndex;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

const SEED_COUNT: u64 = 100;
const STEP_COUNT: usize = 2_000;

impl World {
    /// Empties all lanes and runs.
    pub(super) fn settle(&mut self) {
        while self.ears.iter().any(|ears| ears.lanes.iter().any(|lane| !lane.is_empty())) {
            for (from, to) in pairs(self.brokers.len()) {
                if let Some(parcel) = self.ears[from].lanes[to].pop_front() {
                    self.hand_over(from, to, parcel);
                }
            }
        }
        for shard in 0..self.brokers.len() {
            self.deliver_runs(shard);
        }
    }

    /// With nothing under way, every subscriber has everything after its start.
    pub(super) fn check_settled(&mut self) {
        for (shard, sessions) in self.sessions.iter().enumerate() {
            for (_, session) in sessions.iter() {
                assert_eq!(session.private, session.private_expected);
                for (topic, subscription) in &session.topics {
                    assert!(subscription.owed.is_empty(), "every subscribe is answered");
                    let topic = (session.app, topic.clone());
                    self.check(shard, &topic, subscription);
                    let after = subscription.after.expect("answered");
                    let placed = self.placed.get(&topic).map(Vec::as_slice).unwrap_or_default();
                    let count = placed.iter().filter(|offset| **offset > after).count();
                    assert_eq!(subscription.got.len(), count, "something was lost");
                }
            }
        }
        assert!(self.published.iter().all(|published| published.answered));
    }

    /// Ends everything and sees that nothing is left behind.
    pub(super) fn check_empty(&mut self) {
        for shard in 0..self.brokers.len() {
            while !self.sessions[shard].is_empty() {
                self.end(shard);
            }
        }
        self.settle();
        for broker in &self.brokers {
            assert_eq!((broker.subscription_count(), broker.topic_count()), (0, 0));
            assert!(!broker.has_runs());
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
        self.brokers[shard].publish(publication, reply, 1, ears);
        assert!(!self.brokers[shard].has_runs());
        assert!(ears.happened.is_empty() && ears.lanes.iter().all(VecDeque::is_empty));
    }
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)))
}

#[test]
fn every_subscriber_gets_exactly_what_it_subscribed_to() {
    let mut refused_count = 0;
    for seed in 0..SEED_COUNT {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..2 {
                for _ in 0..STEP_COUNT / 2 {
                    world.step();
                }
                world.settle();
                world.check_settled();
            }
            world.check_empty();
            let placed_count = world.placed.values().map(Vec::len).sum::<usize>();
            (placed_count, world.refused_count)
        });
        let (placed_count, refused) = run.unwrap_or_else(|_| panic!("seed {seed} fails"));
        assert!(placed_count > STEP_COUNT / 16, "seed {seed} does too little: {placed_count}");
        refused_count += refused;
    }
    assert!(refused_count > 0, "no lane was ever full");
}
