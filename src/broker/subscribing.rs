//! Subscribing: joining and leaving a topic, and telling its home whether this shard cares.
//!
//! Invariant: a topic's run is delivered before its members change.

use super::core::Broker;
use super::home::TopicKey;
use super::local::{Interest, LocalTopic, Member, SubscribeOutcome, Waiter, count};
use super::outlet::Outlet;
use super::parcel::Parcel;
use super::session::Subscription;
use crate::model::position::{Lane, Position};
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

impl Broker {
    /// Subscribes a session. Subscribing twice answers twice and delivers once.
    ///
    /// # Panics
    /// If the session has not begun.
    pub fn subscribe(
        &mut self,
        session: Key,
        topic: TopicName,
        ticket: u32,
        outlet: &mut impl Outlet,
    ) -> SubscribeOutcome {
        let app = self.session_mut(session).expect("a session begins before it subscribes").app;
        let subscriptions_max = self.applications.get(app).limits.subscriptions_max;
        let local = self.local_topic(TopicKey { app, name: topic }, outlet);
        let state = self.session_mut(session).expect("looked up above");
        let is_member = state.subscriptions.iter().any(|s| s.topic == local.index);
        if !is_member && state.subscriptions.len() + state.pending.len() >= subscriptions_max {
            self.drop_if_deserted(local, outlet);
            return SubscribeOutcome::TooMany;
        }
        let registered = self.topic(local).interest == Interest::Registered;
        if registered {
            if !is_member {
                self.join(session, local, outlet);
            }
            self.answer_subscribed(session, ticket, local, outlet);
        } else {
            self.session_mut(session).expect("looked up above").pending.push(local);
            self.topic_mut(local).waiting.push(Waiter { session, ticket });
        }
        SubscribeOutcome::Accepted
    }

    /// Ends one subscription, or the wait for it. Not being subscribed is fine.
    ///
    /// # Panics
    /// Only on a bug: a subscription that names a dead topic.
    pub fn unsubscribe(&mut self, session: Key, topic: &TopicName, outlet: &mut impl Outlet) {
        let Some(state) = self.session_mut(session) else { return };
        let key = TopicKey { app: state.app, name: topic.clone() };
        let Some(local) = self.by_name.get(&key).copied() else { return };
        let state = self.session_mut(session).expect("looked up above");
        if let Some(found) = state.subscriptions.iter().find(|s| s.topic == local.index).copied() {
            self.leave(session, found, outlet);
        } else if state.pending.contains(&local) {
            state.pending.retain(|waiting| *waiting != local);
            self.stop_waiting(session, local, outlet);
        }
    }

    /// Finds the topic, or makes it and tells its home.
    fn local_topic(&mut self, key: TopicKey, outlet: &mut impl Outlet) -> Key {
        if let Some(known) = self.by_name.get(&key) {
            return *known;
        }
        let home = self.home_of(key.app, &key.name);
        let (interest, offset) = if home == self.options.shard {
            self.add_interest(&key, home, outlet);
            (Interest::Registered, self.home.offset())
        } else {
            self.next_token = self.next_token.wrapping_add(1);
            let token = self.next_token;
            let (app, topic) = (key.app, key.name.clone());
            outlet.send(home, Parcel::Interest { app, topic, token });
            (Interest::Pending(token), 0)
        };
        let subjects = self.no_subjects(&key);
        let topic = LocalTopic { subjects, ..LocalTopic::new(key.clone(), home, interest, offset) };
        let local = self.topics.insert(topic);
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
        let offset = self.home.offset();
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
            let Some(state) = self.session_mut(waiter.session) else { continue };
            state.pending.retain(|waiting| *waiting != local);
            if !state.subscriptions.iter().any(|s| s.topic == local.index) {
                self.join(waiter.session, local, outlet);
            }
            self.answer_subscribed(waiter.session, waiter.ticket, local, outlet);
        }
        self.drop_if_deserted(local, outlet);
    }

    fn answer_subscribed(&self, session: Key, ticket: u32, local: Key, outlet: &mut impl Outlet) {
        let topic = self.topic(local);
        let lane = Lane::Home(topic.home);
        let at = Position { epoch: self.options.epoch, lane, offset: topic.last_offset };
        outlet.subscribed(session, ticket, &topic.key.name, at);
    }

    fn join(&mut self, session: Key, local: Key, outlet: &mut impl Outlet) {
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

    pub(super) fn leave(&mut self, session: Key, found: Subscription, outlet: &mut impl Outlet) {
        let local = self.topics.key_at(found.topic).expect("subscriptions name live topics");
        self.deliver_run(local, outlet);
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

    fn drop_if_deserted(&mut self, local: Key, outlet: &mut impl Outlet) {
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
