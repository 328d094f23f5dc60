//! Subscribing: joining and leaving a topic, and telling its home whether this shard cares.
//!
//! Invariant: a topic's run is delivered before its members change.

use smallvec::SmallVec;

use super::catching::{PageSize, Start, StartFrom};
use super::core::Broker;
use super::home::TopicKey;
use super::local::{Interest, LocalTopic, Member, SubscribeOutcome, Waiter, count};
use super::outlet::Outlet;
use super::parcel::Parcel;
use super::session::Subscription;
use crate::model::position::Lane;
use crate::model::recovery::{LossReason, Recovery};
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// Who is asked for a topic's history, and who counts it.
type Way = (ShardIndex, Lane);

impl Broker {
    /// Subscribes a session to a topic. Subscribing twice answers twice and delivers once.
    ///
    /// # Panics
    /// If the session has not begun.
    pub fn subscribe(
        &mut self,
        session: Key,
        topic: TopicName,
        ticket: u32,
        from: &StartFrom,
        outlet: &mut impl Outlet,
    ) -> SubscribeOutcome {
        let state = self.session(session).expect("a session begins before it subscribes");
        let app = state.app;
        let count = state.subscriptions.len() + state.under_way.as_ref().map_or(0, |u| u.len());
        let subscriptions_max = self.applications.get(app).limits.subscriptions_max;
        let local = self.local_topic(TopicKey { app, name: topic }, outlet);
        if self.is_on(session, local) {
            let loss = (*from != StartFrom::Now).then_some(LossReason::AlreadySubscribed);
            self.answer_when_registered(session, ticket, local, loss, true, outlet);
            return SubscribeOutcome::Accepted;
        }
        if count >= subscriptions_max {
            self.drop_if_deserted(local, outlet);
            return SubscribeOutcome::TooMany;
        }
        let (_, lane) = self.way_of(local);
        let start = match self.start(from, lane, true) {
            Start::Now if self.topic(local).sends_latest => Start::Latest,
            start => start,
        };
        match start {
            Start::Now => self.answer_when_registered(session, ticket, local, None, false, outlet),
            Start::Lost(reason) => {
                self.answer_when_registered(session, ticket, local, Some(reason), false, outlet);
            }
            Start::Latest | Start::After(..) => {
                let (topics, page) = (SmallVec::from([local]), PageSize::default());
                self.begin_catching(session, topics, ticket, start, page, outlet);
            }
        }
        SubscribeOutcome::Accepted
    }

    /// Subscribes a session without subscriptions to several topics, each named once, from where one
    /// cursor over them stands; history comes in pages of `page` per lane. The caller has seen that
    /// they are not too many.
    ///
    /// # Panics
    /// If the session has not begun.
    pub fn subscribe_all(
        &mut self,
        session: Key,
        topics: Vec<TopicName>,
        from: &StartFrom,
        page: PageSize,
        outlet: &mut impl Outlet,
    ) {
        let app = self.session(session).expect("a session begins before it subscribes").app;
        let mut ways: Vec<(Way, SmallVec<[Key; 1]>)> = Vec::new();
        for name in topics {
            let local = self.local_topic(TopicKey { app, name }, outlet);
            let way = self.way_of(local);
            match ways.iter_mut().find(|(known, _)| *known == way) {
                Some((_, topics)) => topics.push(local),
                None => ways.push((way, SmallVec::from([local]))),
            }
        }
        for ((_, lane), topics) in ways {
            let start = match self.start(from, lane, false) {
                Start::Now if topics.iter().any(|local| self.topic(*local).sends_latest) => {
                    Start::Latest
                }
                start => start,
            };
            let loss = match start {
                Start::Now => None,
                Start::Lost(reason) => Some(reason),
                Start::Latest | Start::After(..) => {
                    self.begin_catching(session, topics, 0, start, page, outlet);
                    continue;
                }
            };
            for local in topics {
                self.answer_when_registered(session, 0, local, loss, false, outlet);
            }
        }
    }

    /// Ends one subscription, or the wait for it. Not being subscribed is fine.
    ///
    /// # Panics
    /// Only on a bug: a subscription that names a dead topic.
    pub fn unsubscribe(&mut self, session: Key, topic: &TopicName, outlet: &mut impl Outlet) {
        let Some(state) = self.session_mut(session) else { return };
        let key = TopicKey { app: state.app, name: topic.clone() };
        let Some(local) = self.by_name.get(&key).copied() else { return };
        if self.leave_topic(session, local, outlet) || self.stop_catching(session, local, outlet) {
            return self.forget_what_is_over(session);
        }
        let Some(state) = self.session_mut(session) else { return };
        if let Some(under_way) = &mut state.under_way
            && under_way.pending.contains(&local)
        {
            under_way.pending.retain(|waiting| *waiting != local);
            self.stop_waiting(session, local, outlet);
            self.forget_what_is_over(session);
        }
    }

    /// Leaves a topic; whether the session was a member.
    pub(super) fn leave_topic(
        &mut self,
        session: Key,
        local: Key,
        outlet: &mut impl Outlet,
    ) -> bool {
        // Before the look-up: others may fall behind, which moves members, and the session itself.
        self.deliver_run(local, outlet);
        let Some(state) = self.session(session) else { return false };
        let found = state.subscriptions.iter().find(|s| s.topic == local.index).copied();
        if let Some(found) = found {
            self.leave(session, local, found, outlet);
        }
        found.is_some()
    }

    /// Whether a session is a member of a topic or catches up to become one.
    fn is_on(&self, session: Key, local: Key) -> bool {
        self.session(session).is_some_and(|state| {
            let mut units = state.under_way.iter().flat_map(|under_way| &under_way.catching);
            state.subscriptions.iter().any(|s| s.topic == local.index)
                || units.any(|unit| unit.topics.contains(&local))
        })
    }

    /// Joins, unless the session `is_on` the topic as the caller has seen, and answers; both once the
    /// home has registered this shard.
    fn answer_when_registered(
        &mut self,
        session: Key,
        ticket: u32,
        local: Key,
        loss: Option<LossReason>,
        is_on: bool,
        outlet: &mut impl Outlet,
    ) {
        debug_assert_eq!(is_on, self.is_on(session, local), "a scan of all its subscriptions");
        if self.topic(local).interest != Interest::Registered {
            self.under_way(session).pending.push(local);
            self.topic_mut(local).waiting.push(Waiter { session, ticket, loss });
            return;
        }
        if !is_on {
            // What is owed to others may make a session fall behind that is on a topic of this lane.
            self.deliver_run(local, outlet);
            if !self.join_catching(session, local, outlet) {
                self.join(session, local, outlet);
            }
        }
        self.answer_subscribed(session, ticket, local, loss, outlet);
    }

    /// Finds the topic, or makes it and tells its home.
    fn local_topic(&mut self, key: TopicKey, outlet: &mut impl Outlet) -> Key {
        if let Some(known) = self.by_name.get(&key) {
            return *known;
        }
        let home = self.home_of(key.app, &key.name);
        let (interest, offset) = if home == self.options.shard {
            self.add_interest(&key, home, outlet);
            (Interest::Registered, self.home.offset(self.is_durable(key.app, &key.name)))
        } else {
            self.next_token = self.next_token.wrapping_add(1);
            let token = self.next_token;
            let (app, topic) = (key.app, key.name.clone());
            outlet.send(home, Parcel::Interest { app, topic, token });
            (Interest::Pending(token), 0)
        };
        let subjects = self.no_subjects(&key);
        let application = self.applications.get(key.app);
        let family = application.family(application.family_of(&key.name));
        let topic = LocalTopic::new(key.clone(), family, home, interest, offset);
        let topic = LocalTopic { subjects, ..topic };
        let local = self.topics.insert(topic);
        if home == self.options.shard {
            self.home.set_local(&key, local);
        }
        self.by_name.insert(key, local);
        local
    }

    /// The home takes in that a shard holds subscribers, and says so.
    pub(super) fn register(
        &mut self,
        key: &TopicKey,
        shard: ShardIndex,
        token: u32,
        outlet: &mut impl Outlet,
    ) {
        let offset = self.home.offset(self.is_durable(key.app, &key.name));
        let (app, topic) = (key.app, key.name.clone());
        // Before anything that its being registered brings.
        outlet.send(shard, Parcel::Registered { app, topic, token, offset });
        self.add_interest(key, shard, outlet);
    }

    fn add_interest(&mut self, key: &TopicKey, shard: ShardIndex, outlet: &mut impl Outlet) {
        if self.home.add_interest(key, shard) {
            self.interest_began(key, outlet);
        }
    }

    /// The home takes in that a shard holds no subscribers any more.
    pub(super) fn remove_interest(
        &mut self,
        key: &TopicKey,
        shard: ShardIndex,
        outlet: &mut impl Outlet,
    ) {
        if self.home.remove_interest(key, shard) {
            self.interest_ended(key, outlet);
        }
    }

    pub(super) fn registered(
        &mut self,
        key: &TopicKey,
        token: u32,
        offset: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(local) = self.by_name.get(key).copied() else { return };
        let topic = self.topic_mut(local);
        // An answer to an interest that was withdrawn and asked again is not ours to act on.
        if topic.interest != Interest::Pending(token) {
            return;
        }
        topic.interest = Interest::Registered;
        topic.last_offset = offset;
        for waiter in std::mem::take(&mut topic.waiting) {
            let Waiter { session, ticket, loss } = waiter;
            let Some(state) = self.session_mut(session) else { continue };
            if let Some(under_way) = &mut state.under_way {
                under_way.pending.retain(|waiting| *waiting != local);
            }
            let is_on = self.is_on(session, local);
            self.answer_when_registered(session, ticket, local, loss, is_on, outlet);
        }
        self.drop_if_deserted(local, outlet);
    }

    fn answer_subscribed(
        &mut self,
        session: Key,
        ticket: u32,
        local: Key,
        loss: Option<LossReason>,
        outlet: &mut impl Outlet,
    ) {
        self.forget_what_is_over(session);
        if let Some(reason) = loss {
            self.stats.lost[reason as usize] += 1;
        }
        let recovery = loss.map(|reason| Recovery { loss: Some(reason), count: 0 });
        // Who was on the topic before may be owed a run, or catch up: the answer tells no more than
        // what stands in front of it.
        self.deliver_run(local, outlet);
        let (_, lane) = self.way_of(local);
        let at = self.position(lane, self.queued_through(session, local));
        let topics = std::slice::from_ref(&self.topic(local).key.name);
        outlet.subscribed(session, ticket, topics, at, recovery);
    }

    /// An idle session keeps nothing for its subscribing.
    pub(super) fn forget_what_is_over(&mut self, session: Key) {
        if let Some(state) = self.session_mut(session)
            && state.under_way.as_ref().is_some_and(|under_way| under_way.len() == 0)
        {
            state.under_way = None;
        }
    }

    pub(super) fn join(&mut self, session: Key, local: Key, outlet: &mut impl Outlet) {
        self.deliver_run(local, outlet);
        let state = self.session_mut(session).expect("only live sessions join");
        let subscription = count(state.subscriptions.len());
        let form = state.form;
        let member = Member { session: session.index, subscription };
        let (group, place) = self.topic_mut(local).join(form, member);
        let state = self.session_mut(session).expect("only live sessions join");
        state.subscriptions.push(Subscription { topic: local.index, group, place });
        self.subscription_count += 1;
        if self.topic(local).subjects.is_some() {
            self.note_join(session, local, outlet);
        }
    }

    fn leave(&mut self, session: Key, local: Key, found: Subscription, outlet: &mut impl Outlet) {
        let moved = self.topic_mut(local).leave(found.group, found.place);
        if let Some(member) = moved {
            let other = self.sessions[member.session as usize].as_mut();
            let other = other.expect("members are live sessions");
            other.subscriptions[member.subscription as usize].place = found.place;
        }
        let state = self.session_mut(session).expect("only live sessions leave");
        let index = state
            .subscriptions
            .iter()
            .position(|s| s.topic == found.topic)
            .expect("the subscription was found in it");
        state.subscriptions.swap_remove(index);
        if let Some(shifted) = state.subscriptions.get(index).copied() {
            let topic = self.topics.at_mut(shifted.topic).expect("subscriptions name live topics");
            topic.groups[shifted.group as usize].members[shifted.place as usize].subscription =
                count(index);
        }
        self.subscription_count -= 1;
        if self.topic(local).subjects.is_some() {
            self.note_leave(session, local, outlet);
        }
        self.drop_if_deserted(local, outlet);
    }

    pub(super) fn stop_waiting(&mut self, session: Key, local: Key, outlet: &mut impl Outlet) {
        if let Some(topic) = self.topics.get_mut(local) {
            topic.waiting.retain(|waiter| waiter.session != session);
            self.drop_if_deserted(local, outlet);
        }
    }

    pub(super) fn drop_if_deserted(&mut self, local: Key, outlet: &mut impl Outlet) {
        if !self.topics.get(local).is_some_and(LocalTopic::is_deserted) {
            return;
        }
        let topic = self.topics.remove(local).expect("looked up above");
        self.by_name.remove(&topic.key);
        if topic.home == self.options.shard {
            self.remove_interest(&topic.key, topic.home, outlet);
        } else {
            let TopicKey { app, name } = topic.key;
            outlet.send(topic.home, Parcel::Disinterest { app, topic: name });
        }
    }
}
