//! Who is on a topic, seen from every shard: while the topic's home watches, this shard counts its
//! own members by subject and tells the home each first and each last one.
//!
//! Unwatched topics cost one test on joining and leaving. The state holds one entry per subject
//! with a subscription here, while watched.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::core::Broker;
use super::home::TopicKey;
use super::outlet::Outlet;
use super::parcel::Parcel;
use crate::model::application::AppIndex;
use crate::model::shard::ShardIndex;
use crate::stdx::slab::Key;

/// How many of this shard's members each subject has on a watched topic; never 0.
pub(super) type SubjectCounts = HashMap<Arc<str>, u32, foldhash::fast::RandomState>;

/// Topics that their homes watch, whether or not anybody here is subscribed.
pub(super) type WatchedTopics = HashSet<TopicKey, foldhash::fast::RandomState>;

impl Broker {
    /// The home wants to know who is on the topic, from now on.
    pub(super) fn watch(
        &mut self,
        home: ShardIndex,
        key: TopicKey,
        token: u32,
        outlet: &mut impl Outlet,
    ) {
        let mut subjects = Vec::new();
        if let Some(local) = self.by_name.get(&key).copied() {
            let counts = self.count_subjects(local);
            subjects = counts.keys().cloned().collect();
            self.topic_mut(local).subjects = Some(Box::new(counts));
        }
        self.watched.insert(key.clone());
        let TopicKey { app, name } = key;
        self.forward(home, Parcel::Members { app, topic: name, token, subjects }, outlet);
    }

    /// The home no longer wants to know.
    pub(super) fn unwatch(&mut self, key: &TopicKey) {
        self.watched.remove(key);
        if let Some(local) = self.by_name.get(key).copied() {
            self.topic_mut(local).subjects = None;
        }
    }

    /// What a topic begins with when its first member here is about to join.
    pub(super) fn no_subjects(&self, key: &TopicKey) -> Option<Box<SubjectCounts>> {
        let is_watched = !self.watched.is_empty() && self.watched.contains(key);
        is_watched.then(Box::default)
    }

    /// A session joined a watched topic.
    pub(super) fn note_join(&mut self, session: Key, local: Key, outlet: &mut impl Outlet) {
        let Some(subject) = self.subject_of(session) else { return };
        let Some(subjects) = &mut self.topic_mut(local).subjects else { return };
        let count = subjects.entry(Arc::clone(&subject)).or_insert(0);
        *count += 1;
        if *count == 1 {
            self.tell_member(local, subject, true, outlet);
        }
    }

    /// A session left a watched topic.
    pub(super) fn note_leave(&mut self, session: Key, local: Key, outlet: &mut impl Outlet) {
        let Some(subject) = self.subject_of(session) else { return };
        let Some(subjects) = &mut self.topic_mut(local).subjects else { return };
        let count = subjects.get_mut(&subject).expect("every member was counted");
        *count -= 1;
        if *count == 0 {
            subjects.remove(&subject);
            self.tell_member(local, subject, false, outlet);
        }
    }

    /// The topic's members here, by subject.
    pub(super) fn count_subjects(&self, local: Key) -> SubjectCounts {
        let mut counts = SubjectCounts::default();
        for member in self.topic(local).groups.iter().flat_map(|group| &group.members) {
            let session = self.sessions[member.session as usize].as_deref();
            let generation = session.expect("members are live sessions").generation;
            let subject = self.subject_of(Key { index: member.session, generation });
            *counts.entry(subject.expect("looked up above")).or_insert(0) += 1;
        }
        counts
    }

    fn tell_member(
        &mut self,
        local: Key,
        subject: Arc<str>,
        is_on: bool,
        outlet: &mut impl Outlet,
    ) {
        let topic = self.topic(local);
        let home = topic.home;
        let (app, name): (AppIndex, _) = (topic.key.app, topic.key.name.clone());
        self.forward(home, Parcel::Member { app, topic: name, subject, is_on }, outlet);
    }
}
