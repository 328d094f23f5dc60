//! Who is on a topic, seen from its home: kept and told on `secure/presence/{topic}` while that
//! has subscribers, and not at all otherwise.
//!
//! Whoever subscribes first is told of everyone who is there, as joins; whoever comes later sees
//! the changes, each with the number of members, and asks administration for the names. A subject
//! joins with its first connection on any shard and leaves with its last; leaves wait for
//! `debounce_ms`, and a subject that is back by then never left. Above `members_max` members only
//! their number is told, at most once per second.
//!
//! Limits: one entry per subject with a subscription to the topic, or gone for less than
//! `debounce_ms`.

use std::collections::HashMap;
use std::sync::Arc;

use super::core::{Broker, Timer};
use super::home::TopicKey;
use super::outlet::Outlet;
use super::parcel::Parcel;
use super::timers::TimerId;
use crate::model::presence::{self, MemberEvent};
use crate::model::shard::{ShardIndex, ShardSet};
use crate::model::topic::TopicName;

/// Time between two tellings of a crowd's number.
const COUNT_INTERVAL_US: u64 = 1_000_000;

/// A subject on a watched topic.
#[derive(Debug)]
struct Membership {
    /// Where its connections are; empty while its leave waits.
    shards: ShardSet,
    leaving: Option<TimerId>,
}

/// The number of members was told less than [`COUNT_INTERVAL_US`] ago.
#[derive(Debug)]
struct Counted {
    timer: TimerId,
    has_changed: bool,
}

/// A topic whose members are wanted.
#[derive(Debug)]
pub(super) struct WatchedTopic {
    token: u32,
    /// Shards that have told their members; what others say belongs to an earlier watch.
    answered: ShardSet,
    members: HashMap<Arc<str>, Membership, foldhash::fast::RandomState>,
    counted: Option<Counted>,
}

/// Topics that are watched from this shard, their home.
pub(super) type WatchedHere = HashMap<TopicKey, WatchedTopic, foldhash::fast::RandomState>;

impl Broker {
    /// A topic of this home has its first subscribers: if members are told on it, they are wanted.
    pub(super) fn interest_began(&mut self, key: &TopicKey, outlet: &mut impl Outlet) {
        let Some(topic) = watched(key) else { return };
        self.next_token = self.next_token.wrapping_add(1);
        let token = self.next_token;
        self.members.insert(
            topic.clone(),
            WatchedTopic {
                token,
                answered: ShardSet::default(),
                members: HashMap::default(),
                counted: None,
            },
        );
        for shard in (0..self.options.shard_count).map(ShardIndex) {
            let TopicKey { app, name } = topic.clone();
            self.forward(shard, Parcel::Watch { app, topic: name, token }, outlet);
        }
    }

    /// A topic of this home has lost its last subscribers.
    pub(super) fn interest_ended(&mut self, key: &TopicKey, outlet: &mut impl Outlet) {
        let Some(topic) = watched(key) else { return };
        let Some(ended) = self.members.remove(&topic) else { return };
        let leaving = ended.members.values().filter_map(|membership| membership.leaving);
        for timer in leaving.chain(ended.counted.map(|counted| counted.timer)) {
            self.timers.cancel(timer);
        }
        for shard in (0..self.options.shard_count).map(ShardIndex) {
            let TopicKey { app, name } = topic.clone();
            self.forward(shard, Parcel::Unwatch { app, topic: name }, outlet);
        }
    }

    /// A shard's first answer to a watch.
    pub(super) fn members_told(
        &mut self,
        key: &TopicKey,
        shard: ShardIndex,
        token: u32,
        subjects: &[Arc<str>],
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(topic) = self.members.get_mut(key) else { return };
        if topic.token != token {
            return;
        }
        topic.answered.insert(shard);
        for subject in subjects {
            self.member_joined(key, shard, subject, time_us, outlet);
        }
    }

    /// A shard's later answer.
    pub(super) fn member_told(
        &mut self,
        key: &TopicKey,
        shard: ShardIndex,
        subject: &Arc<str>,
        is_on: bool,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(topic) = self.members.get(key) else { return };
        if !topic.answered.contains(shard) {
            return;
        }
        if is_on {
            self.member_joined(key, shard, subject, time_us, outlet);
        } else {
            self.member_left(key, shard, subject, time_us, outlet);
        }
    }

    /// A subject has been off a topic for so long that it is told.
    pub(super) fn tell_leave(
        &mut self,
        key: &TopicKey,
        subject: &str,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(topic) = self.members.get_mut(key) else { return };
        topic.members.remove(subject);
        let most = topic.members.len() + 1;
        self.tell_change(key, MemberEvent::Leave(subject), most, time_us, outlet);
    }

    /// A crowd's number may be told again.
    pub(super) fn tell_count_again(
        &mut self,
        key: &TopicKey,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(topic) = self.members.get_mut(key) else { return };
        if topic.counted.take().is_some_and(|counted| counted.has_changed) {
            self.tell_count(key, time_us, outlet);
        }
    }

    fn member_joined(
        &mut self,
        key: &TopicKey,
        shard: ShardIndex,
        subject: &Arc<str>,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(topic) = self.members.get_mut(key) else { return };
        if let Some(membership) = topic.members.get_mut(subject) {
            membership.shards.insert(shard);
            if let Some(timer) = membership.leaving.take() {
                self.timers.cancel(timer);
            }
            return;
        }
        let mut shards = ShardSet::default();
        shards.insert(shard);
        topic.members.insert(Arc::clone(subject), Membership { shards, leaving: None });
        let most = topic.members.len();
        self.tell_change(key, MemberEvent::Join(subject), most, time_us, outlet);
    }

    fn member_left(
        &mut self,
        key: &TopicKey,
        shard: ShardIndex,
        subject: &Arc<str>,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let debounce_us = self.debounce_us(key.app);
        let Some(topic) = self.members.get_mut(key) else { return };
        let Some(membership) = topic.members.get_mut(subject) else { return };
        membership.shards.remove(shard);
        if !membership.shards.is_empty() {
            return;
        }
        if debounce_us == 0 {
            return self.tell_leave(key, subject, time_us, outlet);
        }
        let timer = Timer::MemberGone(key.clone(), Arc::clone(subject));
        membership.leaving = Some(self.timers.schedule(time_us, debounce_us, timer));
    }

    /// Tells a change by name, or by number when there were or are more than `members_max`.
    fn tell_change(
        &mut self,
        key: &TopicKey,
        event: MemberEvent<'_>,
        most: usize,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let members_max = self.applications.get(key.app).presence.members_max;
        if most <= members_max as usize {
            self.announce_members(key, event, time_us, outlet);
        } else {
            self.tell_count(key, time_us, outlet);
        }
    }

    fn tell_count(&mut self, key: &TopicKey, time_us: u64, outlet: &mut impl Outlet) {
        let Some(topic) = self.members.get_mut(key) else { return };
        if let Some(counted) = &mut topic.counted {
            counted.has_changed = true;
            return;
        }
        let timer = Timer::Count(key.clone());
        let timer = self.timers.schedule(time_us, COUNT_INTERVAL_US, timer);
        topic.counted = Some(Counted { timer, has_changed: false });
        self.announce_members(key, MemberEvent::Count, time_us, outlet);
    }

    fn announce_members(
        &mut self,
        key: &TopicKey,
        event: MemberEvent<'_>,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(topic) = self.members.get(key) else { return };
        let body = presence::member_event(event, key.name.as_str(), topic.members.len());
        let name = presence::presence_topic(key.name.as_str());
        let name = TopicName::new(&name).expect("it was subscribed to under this name");
        self.announce(key.app, name, body, time_us, outlet);
    }
}

/// The topic whose members are told on `key`.
fn watched(key: &TopicKey) -> Option<TopicKey> {
    let topic = presence::watched_topic(key.name.as_str())?;
    let name = TopicName::new(topic).expect("part of a legal name");
    Some(TopicKey { app: key.app, name })
}
