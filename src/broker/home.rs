//! The home side of a shard: it gives order to the topics that live on it.
//!
//! Limits: a topic nobody is subscribed to is remembered only for its last offset; beyond
//! `idle_topics_max` all such topics are forgotten at once and their highest offset becomes the
//! floor, from which a topic seen again starts. A subscriber may then suspect a gap where there
//! was none, but never overlooks one.

use std::collections::HashMap;

use crate::model::application::AppIndex;
use crate::model::shard::{ShardIndex, ShardSet};
use crate::model::topic::TopicName;

/// A topic within its application's namespace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct TopicKey {
    pub(super) app: AppIndex,
    pub(super) name: TopicName,
}

#[derive(Debug)]
struct HomeTopic {
    interest: ShardSet,
    last_offset: u64,
}

/// All topics whose home is this shard.
#[derive(Debug)]
pub(super) struct Home {
    topics: HashMap<TopicKey, HomeTopic, foldhash::fast::RandomState>,
    offset: u64,
    floor: u64,
    idle_count: usize,
    idle_topics_max: usize,
}

/// A place in the home's order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) previous: u64,
}

impl Home {
    pub(super) fn new(idle_topics_max: usize) -> Home {
        Home {
            topics: HashMap::default(),
            offset: 0,
            floor: 0,
            idle_count: 0,
            idle_topics_max: idle_topics_max.max(1),
        }
    }

    /// The last offset given, 0 before the first.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Shards that hold subscribers of the topic.
    pub(super) fn interest(&self, topic: &TopicKey) -> ShardSet {
        self.topics.get(topic).map_or(ShardSet::default(), |t| t.interest)
    }

    /// Topics of the application with subscribers.
    pub(super) fn topics_with_interest(&self, app: AppIndex) -> usize {
        let topics = self.topics.iter();
        topics.filter(|(key, topic)| key.app == app && !topic.interest.is_empty()).count()
    }

    /// Registers a shard; whether it is the topic's first.
    pub(super) fn add_interest(&mut self, topic: &TopicKey, shard: ShardIndex) -> bool {
        let floor = self.floor;
        if let Some(known) = self.topics.get_mut(topic) {
            let is_first = known.interest.is_empty();
            self.idle_count -= usize::from(is_first);
            known.interest.insert(shard);
            return is_first;
        }
        let mut interest = ShardSet::default();
        interest.insert(shard);
        self.topics.insert(topic.clone(), HomeTopic { interest, last_offset: floor });
        true
    }

    /// Forgets a shard; whether it was the topic's last.
    pub(super) fn remove_interest(&mut self, topic: &TopicKey, shard: ShardIndex) -> bool {
        let Some(known) = self.topics.get_mut(topic) else { return false };
        if known.interest.is_empty() {
            return false;
        }
        known.interest.remove(shard);
        let was_last = known.interest.is_empty();
        if was_last {
            self.idle_count += 1;
            self.forget_idle_topics();
        }
        was_last
    }

    /// Gives the topic's next message its place.
    pub(super) fn place(&mut self, topic: &TopicKey) -> Place {
        self.offset += 1;
        let offset = self.offset;
        if let Some(known) = self.topics.get_mut(topic) {
            let previous = std::mem::replace(&mut known.last_offset, offset);
            return Place { offset, previous };
        }
        let previous = self.floor;
        let unknown = HomeTopic { interest: ShardSet::default(), last_offset: offset };
        self.topics.insert(topic.clone(), unknown);
        self.idle_count += 1;
        self.forget_idle_topics();
        Place { offset, previous }
    }

    /// A place outside every topic's order: for a private topic, which has one reader and no
    /// memory of what came before.
    pub(super) fn place_private(&mut self) -> Place {
        self.offset += 1;
        Place { offset: self.offset, previous: 0 }
    }

    fn forget_idle_topics(&mut self) {
        if self.idle_count <= self.idle_topics_max {
            return;
        }
        let mut floor = self.floor;
        self.topics.retain(|_, topic| {
            let keep = !topic.interest.is_empty();
            if !keep {
                floor = floor.max(topic.last_offset);
            }
            keep
        });
        self.floor = floor;
        self.idle_count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicKey {
        TopicKey { app: AppIndex(0), name: TopicName::new(name).unwrap() }
    }

    #[test]
    fn a_message_knows_its_topics_previous_offset() {
        let mut home = Home::new(10);
        let places: Vec<(u64, u64)> = ["a", "b", "a", "a", "b"]
            .iter()
            .map(|name| {
                let place = home.place(&topic(name));
                (place.offset, place.previous)
            })
            .collect();
        assert_eq!(places, [(1, 0), (2, 0), (3, 1), (4, 3), (5, 2)]);
    }

    #[test]
    fn a_forgotten_topic_starts_from_the_floor_and_interest_is_never_forgotten() {
        let mut home = Home::new(2);
        home.add_interest(&topic("kept"), ShardIndex(1));
        home.place(&topic("kept"));
        for name in ["a", "b", "c"] {
            home.place(&topic(name));
        }
        assert_eq!(home.topic_count(), 1);
        assert_eq!(home.place(&topic("a")).previous, 4);
        assert_eq!(home.place(&topic("kept")).previous, 1);
        assert!(home.interest(&topic("kept")).contains(ShardIndex(1)));
    }

    #[test]
    fn interest_comes_and_goes() {
        let mut home = Home::new(2);
        let a = topic("a");
        assert!(home.add_interest(&a, ShardIndex(0)));
        assert!(!home.add_interest(&a, ShardIndex(2)));
        assert!(!home.remove_interest(&a, ShardIndex(0)));
        assert!(!home.remove_interest(&a, ShardIndex(1)));
        assert_eq!(home.topics_with_interest(AppIndex(0)), 1);
        assert_eq!(home.topics_with_interest(AppIndex(1)), 0);
        assert_eq!(home.interest(&a).iter().collect::<Vec<_>>(), [ShardIndex(2)]);
        assert!(home.remove_interest(&a, ShardIndex(2)));
        assert!(!home.remove_interest(&a, ShardIndex(2)));
        assert_eq!(home.topics_with_interest(AppIndex(0)), 0);
        assert!(home.interest(&a).is_empty());
        assert_eq!(home.idle_count, 1);
    }
}
