//! Publishes that come twice: known by their idempotency keys for a while, per topic, in memory.
//! (Durable topics' keys are known by the store.)
//!
//! Limits: `REPEATS_MAX` keys per shard; beyond it the oldest is forgotten early, so that a repeat of
//! it would be published again.

use std::collections::{HashMap, VecDeque};

use super::home::TopicKey;
use crate::model::id::MessageId;
use crate::model::position::Position;

/// Keys remembered at most; about 200 bytes each.
const REPEATS_MAX: usize = 100_000;

type Name = (TopicKey, Box<str>);

/// The keys that a home remembers.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: HashMap<Name, Place, foldhash::fast::RandomState>,
    /// With when each was noted, oldest first.
    order: VecDeque<(u64, Name)>,
}

/// Where the first of them went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) id: MessageId,
    pub(super) position: Position,
    noted_us: u64,
}

impl Repeats {
    /// The place that this key's message got less than `window_us` ago.
    pub(super) fn find(
        &self,
        topic: &TopicKey,
        key: &str,
        time_us: u64,
        window_us: u64,
    ) -> Option<Place> {
        let place = self.known.get(&(topic.clone(), key.into())).copied()?;
        (time_us.saturating_sub(place.noted_us) < window_us).then_some(place)
    }

    /// Notes the place that a key's message got.
    pub(super) fn note(
        &mut self,
        topic: &TopicKey,
        key: &str,
        (id, position): (MessageId, Position),
        time_us: u64,
    ) {
        let name: Name = (topic.clone(), key.into());
        self.known.insert(name.clone(), Place { id, position, noted_us: time_us });
        self.order.push_back((time_us, name));
        if self.order.len() > REPEATS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets what was noted more than `window_us` ago.
    pub(super) fn forget(&mut self, time_us: u64, window_us: u64) {
        while self
            .order
            .front()
            .is_some_and(|(noted, _)| time_us.saturating_sub(*noted) >= window_us)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((noted_us, name)) = self.order.pop_front() else { return };
        // A key that was noted again after its window has a later entry in the order.
        if self.known.get(&name).is_some_and(|place| place.noted_us == noted_us) {
            self.known.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::application::AppIndex;
    use crate::model::position::{Epoch, Lane};
    use crate::model::shard::ShardIndex;
    use crate::model::topic::TopicName;

    fn place(offset: u64) -> (MessageId, Position) {
        let position = Position { epoch: Epoch(1), lane: Lane::Home(ShardIndex(0)), offset };
        (MessageId::new(1, position), position)
    }

    fn topic(name: &str) -> TopicKey {
        TopicKey { app: AppIndex(0), name: TopicName::new(name).unwrap() }
    }

    #[test]
    fn a_key_is_known_within_its_window_and_topic() {
        let mut repeats = Repeats::default();
        repeats.note(&topic("a"), "k", place(3), 100);
        let found = repeats.find(&topic("a"), "k", 149, 50).unwrap();
        assert_eq!((found.id, found.position), place(3));
        assert_eq!(repeats.find(&topic("a"), "k", 150, 50), None);
        assert_eq!(repeats.find(&topic("b"), "k", 149, 50), None);
        assert_eq!(repeats.find(&topic("a"), "l", 149, 50), None);
    }

    #[test]
    fn a_key_noted_again_outlives_its_first_entry() {
        let mut repeats = Repeats::default();
        repeats.note(&topic("a"), "k", place(3), 100);
        repeats.note(&topic("a"), "k", place(4), 200);
        repeats.forget(220, 100);
        assert_eq!(repeats.order.len(), 1);
        assert_eq!(repeats.find(&topic("a"), "k", 220, 100).unwrap().position, place(4).1);
        repeats.forget(300, 100);
        assert!(repeats.known.is_empty() && repeats.order.is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut repeats = Repeats::default();
        for number in 0..=REPEATS_MAX {
            repeats.note(&topic("a"), &number.to_string(), place(1), number as u64);
        }
        assert_eq!(repeats.known.len(), REPEATS_MAX);
        assert_eq!(repeats.find(&topic("a"), "0", 0, u64::MAX), None);
    }
}
