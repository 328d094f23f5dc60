//! The home side of a shard: it gives order to the topics that live on it, and keeps their history.
//!
//! Two lanes meet here: the shard's own counter, and for durable topics the store's, which numbers
//! them; this side only remembers how far the store has come.
//!
//! Limits: a topic that nobody is subscribed to and of which nothing is kept is remembered only for
//! its last offset; beyond `idle_topics_max` all such topics are forgotten at once and their highest
//! offset becomes the lane's floor, from which a topic seen again starts. A subscriber may then
//! suspect a gap where there was none, but never overlooks one.

use std::collections::HashMap;
use std::sync::Arc;

use super::history::{Histories, HistoryStats};
use crate::model::application::{AppIndex, Applications};
use crate::model::family::{FamilyIndex, HistoryLimits};
use crate::model::message::Message;
use crate::model::shard::{ShardIndex, ShardSet};
use crate::model::store::{Page, Wanted};
use crate::model::topic::{TopicClass, TopicName};
use crate::stdx::slab::{Key, Slab};

/// A topic within its application's namespace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct TopicKey {
    pub(super) app: AppIndex,
    pub(super) name: TopicName,
}

#[derive(Debug)]
struct HomeTopic {
    /// The one copy of its name that its messages share.
    name: TopicName,
    interest: ShardSet,
    last_offset: u64,
    family: FamilyIndex,
    history: Option<Key>,
    /// Where this shard's own subscribers of it are, if it has had some.
    local: Option<Key>,
}

/// A counter as its home knows it.
#[derive(Clone, Copy, Debug, Default)]
struct LaneState {
    /// The last offset given.
    offset: u64,
    /// The highest offset of a topic that was forgotten, or that was given before this process.
    floor: u64,
}

/// All topics whose home is this shard.
#[derive(Debug)]
pub(super) struct Home {
    applications: Arc<Applications>,
    by_name: HashMap<TopicKey, Key, foldhash::fast::RandomState>,
    topics: Slab<HomeTopic>,
    histories: Histories,
    own: LaneState,
    store: LaneState,
    idle_count: usize,
    /// Of those, how many could not be forgotten when that was last tried.
    idle_kept_count: usize,
    idle_topics_max: usize,
}

/// A place in the home's order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) previous: u64,
    history: Option<Key>,
}

impl Home {
    /// `store_offset` is the last that the store gave before; the budget is in bytes.
    pub(super) fn new(
        applications: Arc<Applications>,
        idle_topics_max: usize,
        history_size_max: usize,
        store_offset: u64,
    ) -> Home {
        Home {
            applications,
            by_name: HashMap::default(),
            topics: Slab::default(),
            histories: Histories::new(history_size_max),
            own: LaneState::default(),
            store: LaneState { offset: store_offset, floor: store_offset },
            idle_count: 0,
            idle_kept_count: 0,
            idle_topics_max: idle_topics_max.max(1),
        }
    }

    /// The last offset of a lane known here, 0 before the first.
    pub(super) fn offset(&self, is_durable: bool) -> u64 {
        self.lane(is_durable).offset
    }

    pub(super) fn topic_count(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn history_stats(&self) -> HistoryStats {
        self.histories.stats()
    }

    /// The topic's place here, if anything is known of it.
    pub(super) fn find(&self, topic: &TopicKey) -> Option<Key> {
        self.by_name.get(topic).copied()
    }

    /// Shards that hold subscribers of a topic found here.
    pub(super) fn interest(&self, found: Option<Key>) -> ShardSet {
        self.known(found).map_or(ShardSet::default(), |topic| topic.interest)
    }

    /// Where this shard's own subscribers of a topic found here are.
    pub(super) fn local(&self, found: Option<Key>) -> Option<Key> {
        self.known(found).and_then(|topic| topic.local)
    }

    /// Takes in where this shard's own subscribers of a topic are.
    pub(super) fn set_local(&mut self, topic: &TopicKey, local: Key) {
        if let Some(known) = self.known_mut(self.find(topic)) {
            known.local = Some(local);
        }
    }

    /// Topics of the application with subscribers.
    pub(super) fn topics_with_interest(&self, app: AppIndex) -> usize {
        let of_app = self.by_name.iter().filter(|(key, _)| key.app == app);
        of_app.filter(|(_, found)| !self.interest(Some(**found)).is_empty()).count()
    }

    /// Registers a shard; whether it is the topic's first.
    pub(super) fn add_interest(&mut self, topic: &TopicKey, shard: ShardIndex) -> bool {
        let found = self.find(topic).unwrap_or_else(|| self.remember(topic));
        let Some(known) = self.topics.get_mut(found) else { return false };
        let is_first = known.interest.is_empty();
        known.interest.insert(shard);
        self.idle_count -= usize::from(is_first);
        is_first
    }

    /// Forgets a shard; whether it was the topic's last.
    pub(super) fn remove_interest(&mut self, topic: &TopicKey, shard: ShardIndex) -> bool {
        let found = self.find(topic);
        let Some(known) = self.known_mut(found) else { return false };
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

    /// Gives the next message of a topic, found here or not, its place, and the copy of the name that
    /// it is to hold: what a publish came with lives no longer than the publish.
    pub(super) fn place(&mut self, found: Option<Key>, topic: &TopicKey) -> (Place, TopicName) {
        self.own.offset += 1;
        let offset = self.own.offset;
        if let Some(known) = self.known_mut(found) {
            let previous = std::mem::replace(&mut known.last_offset, offset);
            let place = Place { offset, previous, history: known.history };
            return (place, known.name.clone());
        }
        let found = self.remember(topic);
        let known = self.topics.get_mut(found).expect("remembered above");
        let previous = std::mem::replace(&mut known.last_offset, offset);
        let place = Place { offset, previous, history: known.history };
        self.forget_idle_topics();
        (place, topic.name.clone())
    }

    /// A place outside every topic's order: for a private topic, which has one reader and no
    /// memory of what came before.
    pub(super) fn place_private(&mut self) -> Place {
        self.own.offset += 1;
        Place { offset: self.own.offset, previous: 0, history: None }
    }

    /// Takes in a place that the store has given.
    pub(super) fn note_durable(&mut self, topic: &TopicKey, offset: u64, previous: u64) -> Place {
        self.store.offset = self.store.offset.max(offset);
        if self.find(topic).is_none() {
            self.remember(topic);
            self.forget_idle_topics();
        }
        let known = self.known_mut(self.find(topic));
        let history = known.and_then(|known| {
            known.last_offset = offset;
            known.history
        });
        Place { offset, previous, history }
    }

    /// Keeps a message that was given `place`; the history whose age is to be watched from now on.
    pub(super) fn keep(&mut self, place: Place, message: &Arc<Message>) -> Option<Key> {
        let history = place.history?;
        self.histories.append(history, message, message.time_us).then_some(history)
    }

    /// Begins a watch over a history's age, in place of the one before.
    pub(super) fn begin_watch(&mut self, history: Key) -> u32 {
        self.histories.begin_watch(history)
    }

    /// Lets go what is over its age; when this history is to be looked at again. Nothing if the watch is
    /// over.
    pub(super) fn expire(&mut self, history: Key, watch: u32, time_us: u64) -> Option<u64> {
        if !self.histories.is_watched_by(history, watch) {
            return None;
        }
        self.histories.expire(history, time_us)
    }

    /// Changes how much memory the topics' histories share.
    pub(super) fn set_history_size_max(&mut self, size_max: usize, time_us: u64) {
        self.histories.set_size_max(size_max, time_us);
    }

    /// Takes over other applications; their new families count for new topics.
    pub(super) fn set_applications(&mut self, applications: Arc<Applications>) {
        self.applications = applications;
    }

    /// Has the families count for the topics that exist, of applications that `is_changed`; the
    /// histories whose ages are to be watched anew. What was kept of a topic that keeps nothing any more
    /// is gone; one that begins to keep has lost everything before.
    pub(super) fn apply_families(
        &mut self,
        is_changed: impl Fn(AppIndex) -> bool,
        time_us: u64,
    ) -> Vec<Key> {
        let mut aging = Vec::new();
        for (key, found) in &self.by_name {
            let Some(topic) = self.topics.get_mut(*found) else { continue };
            if !is_changed(key.app) {
                continue;
            }
            let application = self.applications.get(key.app);
            topic.family = application.family_of(&key.name);
            let limits = application.family(topic.family).history;
            let keeps = keeps_history(&self.applications, key, limits);
            topic.history = match (topic.history, keeps) {
                (None, false) => None,
                (None, true) => Some(self.histories.open(limits, topic.last_offset)),
                (Some(history), false) => {
                    self.histories.close(history);
                    None
                }
                (Some(history), true) => {
                    self.histories.set_limits(history, limits, time_us);
                    aging.push(history);
                    Some(history)
                }
            };
        }
        // Those that keep nothing any more may go now.
        self.idle_kept_count = 0;
        self.forget_idle_topics();
        aging
    }

    /// A page of what is kept here of topics of one lane.
    pub(super) fn page(&self, wanted: &Wanted, is_durable: bool) -> Page {
        let lane = self.lane(is_durable);
        let history = |name: &TopicName| {
            self.known(self.find(&TopicKey { app: wanted.app, name: name.clone() }))?.history
        };
        let histories: Vec<Option<Key>> = wanted.topics.iter().map(history).collect();
        // Topics without history have lost whatever they had.
        let last = |name: &TopicName| {
            let topic = self.known(self.find(&TopicKey { app: wanted.app, name: name.clone() }));
            topic.filter(|topic| topic.history.is_none()).map_or(lane.floor, |t| t.last_offset)
        };
        let unkept = wanted.topics.iter().zip(&histories).filter(|(_, history)| history.is_none());
        let floor = unkept.map(|(name, _)| last(name)).max().unwrap_or(0);
        self.histories.page(&histories, wanted, lane.offset, floor)
    }

    fn lane(&self, is_durable: bool) -> LaneState {
        if is_durable { self.store } else { self.own }
    }

    fn known(&self, found: Option<Key>) -> Option<&HomeTopic> {
        self.topics.get(found?)
    }

    fn known_mut(&mut self, found: Option<Key>) -> Option<&mut HomeTopic> {
        self.topics.get_mut(found?)
    }

    /// Begins to remember a topic, which has no subscribers yet.
    fn remember(&mut self, topic: &TopicKey) -> Key {
        let application = self.applications.get(topic.app);
        let index = application.family_of(&topic.name);
        let family = application.family(index);
        let floor = if family.durable { self.store.floor } else { self.own.floor };
        let keeps = keeps_history(&self.applications, topic, family.history);
        let found = self.topics.insert(HomeTopic {
            name: topic.name.clone(),
            interest: ShardSet::default(),
            last_offset: floor,
            family: index,
            history: keeps.then(|| self.histories.open(family.history, floor)),
            local: None,
        });
        self.by_name.insert(topic.clone(), found);
        self.idle_count += 1;
        found
    }

    fn forget_idle_topics(&mut self) {
        if self.idle_count <= self.idle_kept_count + self.idle_topics_max {
            return;
        }
        let (applications, histories) = (&self.applications, &mut self.histories);
        let (own, store) = (&mut self.own, &mut self.store);
        let mut kept_count = 0;
        let topics = &mut self.topics;
        self.by_name.retain(|key, found| {
            let Some(topic) = topics.get(*found) else { return false };
            let is_kept = topic.history.is_some_and(|history| !histories.is_empty(history));
            if !topic.interest.is_empty() || is_kept {
                kept_count += usize::from(topic.interest.is_empty());
                return true;
            }
            let is_durable = applications.get(key.app).family(topic.family).durable;
            let lane = if is_durable { &mut *store } else { &mut *own };
            lane.floor = lane.floor.max(topic.last_offset);
            topic.history.into_iter().for_each(|history| histories.close(history));
            topics.remove(*found);
            false
        });
        self.idle_count = kept_count;
        self.idle_kept_count = kept_count;
    }
}

/// Whether anything is kept of a topic. Nothing is of an application that was removed.
fn keeps_history(applications: &Applications, topic: &TopicKey, limits: HistoryLimits) -> bool {
    limits.keeps()
        && topic.name.class() != TopicClass::Private
        && !applications.is_removed(topic.app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::application::Application;
    use crate::model::family::Family;

    fn home(idle_topics_max: usize) -> Home {
        let family = Family { history: HistoryLimits::NONE, ..Family::default() };
        let application = Application { families: vec![family], ..Application::new("a") };
        let applications = Applications::new(vec![application], None);
        Home::new(Arc::new(applications), idle_topics_max, 0, 0)
    }

    fn topic(name: &str) -> TopicKey {
        TopicKey { app: AppIndex(0), name: TopicName::new(name).unwrap() }
    }

    fn place(home: &mut Home, name: &str) -> Place {
        let key = topic(name);
        home.place(home.find(&key), &key).0
    }

    #[test]
    fn a_message_knows_its_topics_previous_offset() {
        let mut home = home(10);
        let places: Vec<(u64, u64)> = ["a", "b", "a", "a", "b"]
            .iter()
            .map(|name| {
                let place = place(&mut home, name);
                (place.offset, place.previous)
            })
            .collect();
        assert_eq!(places, [(1, 0), (2, 0), (3, 1), (4, 3), (5, 2)]);
    }

    #[test]
    fn a_forgotten_topic_starts_from_the_floor_and_interest_is_never_forgotten() {
        let mut home = home(2);
        home.add_interest(&topic("kept"), ShardIndex(1));
        place(&mut home, "kept");
        for name in ["a", "b", "c"] {
            place(&mut home, name);
        }
        assert_eq!(home.topic_count(), 1);
        assert_eq!(place(&mut home, "a").previous, 4);
        assert_eq!(place(&mut home, "kept").previous, 1);
        assert!(home.interest(home.find(&topic("kept"))).contains(ShardIndex(1)));
    }

    #[test]
    fn interest_comes_and_goes() {
        let mut home = home(2);
        let a = topic("a");
        assert!(home.add_interest(&a, ShardIndex(0)));
        assert!(!home.add_interest(&a, ShardIndex(2)));
        assert!(!home.remove_interest(&a, ShardIndex(0)));
        assert!(!home.remove_interest(&a, ShardIndex(1)));
        assert_eq!(home.topics_with_interest(AppIndex(0)), 1);
        assert_eq!(home.interest(home.find(&a)).iter().collect::<Vec<_>>(), [ShardIndex(2)]);
        assert!(home.remove_interest(&a, ShardIndex(2)));
        assert!(!home.remove_interest(&a, ShardIndex(2)));
        assert_eq!(home.topics_with_interest(AppIndex(0)), 0);
        assert!(home.interest(home.find(&a)).is_empty());
        assert_eq!(home.idle_count, 1);
    }
}
