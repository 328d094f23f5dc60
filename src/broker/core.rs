//! The broker of one shard: commands in, outlet calls out.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use smallvec::SmallVec;

use super::home::{Home, Place, TopicKey};
use super::local::{Interest, LocalTopic, Member, SubscribeOutcome, Waiter, count};
use super::outlet::Outlet;
use super::parcel::{Parcel, Receipt, ReplyTo};
use super::session::{Session, Subscription};
use crate::model::application::{AppIndex, Applications};
use crate::model::form::Form;
use crate::model::id::{ConnectionId, ConnectionIds, MessageId};
use crate::model::identity::Identity;
use crate::model::message::{Message, Publication};
use crate::model::position::{Epoch, Position};
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::topic::{TopicClass, TopicName};
use crate::stdx::slab::{Key, Slab};

/// What every broker of the process is told, equal on all shards but for `shard`.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Which shard this is.
    pub shard: ShardIndex,
    /// How many there are, `1..=SHARDS_MAX`.
    pub shard_count: u16,
    /// This life of the offset counters.
    pub epoch: Epoch,
    /// The upper half of message ids; random per process.
    pub run: u64,
    /// Seeds the map from topic to home; equal on all shards.
    pub seed: u64,
    /// Reads `priv/{connectionId}`.
    pub ids: ConnectionIds,
    /// Topics without subscribers that a home remembers at most.
    pub idle_topics_max: usize,
}

/// Who begins.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Namespace.
    pub app: AppIndex,
    /// Form.
    pub form: Form,
    /// Id.
    pub connection: ConnectionId,
    /// Who.
    pub identity: Arc<Identity>,
    /// Whether it announces its presence.
    pub is_present: bool,
}

/// Places that a topic keeps for its next run: a burst's memory is given back.
const RUN_LEN_KEPT_MAX: usize = 16;

/// One shard's topics and subscriptions.
#[derive(Debug)]
pub struct Broker {
    options: BrokerOptions,
    applications: Arc<Applications>,
    hasher: foldhash::quality::FixedState,
    home: Home,
    topics: Slab<LocalTopic>,
    by_name: HashMap<TopicKey, Key, foldhash::fast::RandomState>,
    /// Indexed like the connection table.
    sessions: Vec<Option<Box<Session>>>,
    /// Topics with a run to deliver.
    dirty: Vec<Key>,
    subscription_count: usize,
    next_token: u32,
}

impl Broker {
    /// A broker without sessions.
    pub fn new(options: BrokerOptions, applications: Arc<Applications>) -> Broker {
        Broker {
            hasher: foldhash::quality::FixedState::with_seed(options.seed),
            home: Home::new(options.idle_topics_max),
            options,
            applications,
            topics: Slab::default(),
            by_name: HashMap::default(),
            sessions: Vec::new(),
            dirty: Vec::new(),
            subscription_count: 0,
            next_token: 0,
        }
    }

    /// Subscriptions held by this shard's sessions.
    pub fn subscription_count(&self) -> usize {
        self.subscription_count
    }

    /// Topics with subscribers on this shard.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Topics whose order this shard keeps.
    pub fn home_topic_count(&self) -> usize {
        self.home.topic_count()
    }

    /// The epoch of all positions.
    pub fn epoch(&self) -> Epoch {
        self.options.epoch
    }

    /// The shard that gives `topic` its order. A connection's private topic lives with its owner.
    ///
    /// # Panics
    /// Never: a remainder of the shard count is a shard.
    pub fn home_of(&self, app: AppIndex, topic: &TopicName) -> ShardIndex {
        if let Some(id) = self.private_connection(topic) {
            return id.shard;
        }
        let hash = self.hasher.hash_one((app, topic));
        let shard = hash % u64::from(self.options.shard_count);
        ShardIndex(u16::try_from(shard).expect("below the shard count"))
    }

    /// A session begins: its messages will be wanted in `form`.
    pub fn begin(
        &mut self,
        session: Key,
        arrival: Arrival,
        _time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Arrival { app, form, .. } = arrival;
        outlet.arrived(session);
        let index = session.index as usize;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        self.sessions[index] = Some(Box::new(Session {
            app,
            form,
            subscriptions: SmallVec::new(),
            pending: SmallVec::new(),
            generation: session.generation,
        }));
    }

    /// A session ends: it leaves every topic. Unknown sessions are ignored.
    ///
    /// # Panics
    /// Only on a bug: a subscription that names a dead topic.
    pub fn end(&mut self, session: Key, _time_us: u64, outlet: &mut impl Outlet) {
        let Some(state) = self.session_mut(session) else { return };
        let pending = std::mem::take(&mut state.pending);
        while let Some(last) =
            self.session_mut(session).and_then(|s| s.subscriptions.last().copied())
        {
            self.leave(session, last, outlet);
        }
        for topic in pending {
            self.stop_waiting(session, topic, outlet);
        }
        self.sessions[session.index as usize] = None;
    }

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

    /// Publishes: here when the topic lives here, else by its home.
    pub fn publish(
        &mut self,
        publication: Publication,
        reply: ReplyTo,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let home = self.home_of(publication.app, &publication.topic);
        if home == self.options.shard {
            self.publish_here(publication, reply, time_us, outlet);
        } else if outlet.has_room(home) {
            outlet.send(home, Parcel::Publish { publication: Box::new(publication), reply });
        } else {
            outlet.published(reply, Err(Refusal::Overloaded));
        }
    }

    /// Takes a parcel from another shard.
    pub fn receive(
        &mut self,
        from: ShardIndex,
        parcel: Parcel,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        match parcel {
            Parcel::Publish { publication, reply } => {
                self.publish_here(*publication, reply, time_us, outlet);
            }
            Parcel::Published { to, outcome } => outlet.published(to, outcome),
            Parcel::Interest { app, topic, token } => {
                let key = TopicKey { app, name: topic };
                self.home.add_interest(&key, from);
                let offset = self.home.offset();
                outlet.send(from, Parcel::Registered { app, topic: key.name, token, offset });
            }
            Parcel::Disinterest { app, topic } => {
                self.home.remove_interest(&TopicKey { app, name: topic }, from);
            }
            Parcel::Registered { app, topic, token, offset } => {
                self.registered(&TopicKey { app, name: topic }, token, offset, outlet);
            }
            Parcel::Deliver(message) => self.append_to_run(message),
        }
    }

    /// stub
    pub fn set_identity(&mut self, _: Key, _: Arc<Identity>, _: &mut impl Outlet) {}
    /// stub
    pub fn run_timers(&mut self, _: u64, _: &mut impl Outlet) {}
    /// stub
    pub fn next_due_us(&self) -> Option<u64> {
        None
    }
    /// stub
    pub fn ask(&mut self, _: ShardIndex, _: super::Ask, to: ReplyTo, outlet: &mut impl Outlet) {
        outlet.told(to, super::Told::Count(0));
    }

    /// Whether `deliver_runs` has anything to do.
    pub fn has_runs(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Delivers every run gathered since the last call. Call once per turn, before the flush.
    pub fn deliver_runs(&mut self, outlet: &mut impl Outlet) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for local in dirty.drain(..) {
            self.deliver_run(local, outlet);
        }
        self.dirty = dirty;
    }

    fn publish_here(
        &mut self,
        publication: Publication,
        reply: ReplyTo,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let private = self.private_connection(&publication.topic);
        let key = TopicKey { app: publication.app, name: publication.topic.clone() };
        let interest = self.home.interest(&key);
        let own = self.options.shard;
        if interest.iter().any(|shard| shard != own && !outlet.has_room(shard)) {
            return self.answer_published(reply, Err(Refusal::Overloaded), outlet);
        }
        let place = match private {
            Some(_) => self.home.place_private(),
            None => self.home.place(&key),
        };
        let message = Arc::new(self.message(publication, place, time_us));
        if let Some(id) = private {
            let same_application =
                self.session(id.key).is_some_and(|session| session.app == message.publication.app);
            if same_application {
                outlet.deliver_private(id.key, &message);
            }
        }
        for shard in interest.iter() {
            if shard == own {
                self.append_to_run(Arc::clone(&message));
            } else {
                outlet.send(shard, Parcel::Deliver(Arc::clone(&message)));
            }
        }
        if reply.wants_receipt {
            let client_id = message.publication.client_id.clone();
            let receipt = Receipt { id: message.id, position: message.position, client_id };
            self.answer_published(reply, Ok(receipt), outlet);
        }
    }

    fn message(&self, publication: Publication, place: Place, time_us: u64) -> Message {
        let position =
            Position { epoch: self.options.epoch, home: self.options.shard, offset: place.offset };
        let id = MessageId::new(self.options.run, position);
        Message::new(publication, id, position, place.previous, time_us)
    }

    fn answer_published(
        &self,
        reply: ReplyTo,
        outcome: Result<Receipt, Refusal>,
        outlet: &mut impl Outlet,
    ) {
        if reply.shard == self.options.shard {
            outlet.published(reply, outcome);
        } else {
            outlet.send(reply.shard, Parcel::Published { to: reply, outcome });
        }
    }

    fn append_to_run(&mut self, message: Arc<Message>) {
        let key =
            TopicKey { app: message.publication.app, name: message.publication.topic.clone() };
        // Interest may have been withdrawn while the message was on its way.
        let Some(local) = self.by_name.get(&key).copied() else { return };
        let topic = self.topic_mut(local);
        if topic.interest != Interest::Registered {
            return;
        }
        topic.last_offset = topic.last_offset.max(message.position.offset);
        let was_clean = topic.run.is_empty();
        topic.run.push(message);
        if was_clean {
            self.dirty.push(local);
        }
    }

    fn deliver_run(&mut self, local: Key, outlet: &mut impl Outlet) {
        let Some(topic) = self.topics.get_mut(local) else { return };
        if topic.run.is_empty() {
            return;
        }
        for group in topic.groups.iter().filter(|group| !group.members.is_empty()) {
            outlet.deliver(group.form, &topic.run, &group.members);
        }
        topic.run.clear();
        topic.run.shrink_to(RUN_LEN_KEPT_MAX);
    }

    /// Finds the topic, or makes it and tells its home.
    fn local_topic(&mut self, key: TopicKey, outlet: &mut impl Outlet) -> Key {
        if let Some(known) = self.by_name.get(&key) {
            return *known;
        }
        let home = self.home_of(key.app, &key.name);
        let (interest, offset) = if home == self.options.shard {
            self.home.add_interest(&key, home);
            (Interest::Registered, self.home.offset())
        } else {
            self.next_token = self.next_token.wrapping_add(1);
            let token = self.next_token;
            let (app, topic) = (key.app, key.name.clone());
            outlet.send(home, Parcel::Interest { app, topic, token });
            (Interest::Pending(token), 0)
        };
        let local = self.topics.insert(LocalTopic::new(key.clone(), home, interest, offset));
        self.by_name.insert(key, local);
        local
    }

    fn registered(&mut self, key: &TopicKey, token: u32, offset: u64, outlet: &mut impl Outlet) {
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
        let at =
            Position { epoch: self.options.epoch, home: topic.home, offset: topic.last_offset };
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
    }

    fn leave(&mut self, session: Key, found: Subscription, outlet: &mut impl Outlet) {
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
        self.drop_if_deserted(local, outlet);
    }

    fn stop_waiting(&mut self, session: Key, local: Key, outlet: &mut impl Outlet) {
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
            self.home.remove_interest(&topic.key, topic.home);
        } else {
            let TopicKey { app, name } = topic.key;
            outlet.send(topic.home, Parcel::Disinterest { app, topic: name });
        }
    }

    /// The connection whose private topic this is, if it is one of this process's.
    fn private_connection(&self, topic: &TopicName) -> Option<ConnectionId> {
        if topic.class() != TopicClass::Private {
            return None;
        }
        let id = self.options.ids.parse(&topic.as_str()["priv/".len()..])?;
        (id.shard.0 < self.options.shard_count).then_some(id)
    }

    fn session(&self, key: Key) -> Option<&Session> {
        let session = self.sessions.get(key.index as usize)?.as_deref()?;
        (session.generation == key.generation).then_some(session)
    }

    fn session_mut(&mut self, key: Key) -> Option<&mut Session> {
        let session = self.sessions.get_mut(key.index as usize)?.as_deref_mut()?;
        (session.generation == key.generation).then_some(session)
    }

    fn topic(&self, local: Key) -> &LocalTopic {
        self.topics.get(local).expect("a local topic lives while it is named")
    }

    fn topic_mut(&mut self, local: Key) -> &mut LocalTopic {
        self.topics.get_mut(local).expect("a local topic lives while it is named")
    }
}
