//! Publishing: to the topic's home, through its order, to the shards that hold subscribers, and as
//! one run per topic and turn to their members.

use std::sync::Arc;

use smallvec::SmallVec;

use super::core::Broker;
use super::home::{Place, TopicKey};
use super::local::Interest;
use super::outlet::Outlet;
use super::parcel::{Parcel, Receipt, ReplyTo};
use super::subjects::SubjectKey;
use crate::model::application::AppIndex;
use crate::model::id::{ConnectionId, MessageId};
use crate::model::identity::Identity;
use crate::model::message::{Message, Payload, Publication};
use crate::model::position::{Lane, Position};
use crate::model::presence::{self, Attendance};
use crate::model::refusal::Refusal;
use crate::model::shard::ShardSet;
use crate::model::topic::{TopicClass, TopicName};
use crate::stdx::slab::Key;

/// How long an idempotency key can be known at most, whatever its application's window.
const REPEAT_AGE_MAX_US: u64 = 24 * 3600 * 1_000_000;

/// Places that a topic keeps for its next run: a burst's memory is given back.
const RUN_LEN_KEPT_MAX: usize = 16;

impl Broker {
    /// Publishes: here when the topic lives here, else by its home.
    pub fn publish(
        &mut self,
        publication: Publication,
        reply: ReplyTo,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        self.time_us = time_us;
        let home = self.home_of(publication.app, &publication.topic);
        if home == self.options.shard {
            self.publish_here(publication, reply, time_us, outlet);
        } else if outlet.has_room(home) {
            outlet.send(home, Parcel::Publish { publication: Box::new(publication), reply });
        } else {
            outlet.published(reply, Err(Refusal::Overloaded));
        }
    }

    /// Whether `deliver_runs` has anything to do.
    pub fn has_runs(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Delivers every run gathered since the last call. Call once per turn, before the flush.
    pub fn deliver_runs(&mut self, outlet: &mut impl Outlet) {
        self.deliver_merged(outlet);
        let mut dirty = std::mem::take(&mut self.dirty);
        for local in dirty.drain(..) {
            self.deliver_run(local, outlet);
        }
        self.dirty = dirty;
    }

    pub(super) fn publish_here(
        &mut self,
        publication: Publication,
        reply: ReplyTo,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        if publication.topic.class() == TopicClass::Private {
            return self.publish_private(publication, reply, time_us, outlet);
        }
        let key = TopicKey { app: publication.app, name: publication.topic.clone() };
        let found = self.home.find(&key);
        if !self.has_room(self.home.interest(found), outlet) {
            return self.answer_published(reply, Err(Refusal::Overloaded), outlet);
        }
        if publication.attributes.is_some() && self.is_repeat(&key, &publication, reply, outlet) {
            return;
        }
        if self.is_durable(key.app, &key.name) {
            return self.publish_durable(publication, Some(reply), time_us, outlet);
        }
        let message = self.deliver_to(&key, found, publication, time_us, outlet);
        if let Some(repeated_as) = message.publication.idempotency_key() {
            self.repeats.note(&key, repeated_as, (message.id, message.position), time_us);
        }
        self.answer_placed(reply, &message, outlet);
    }

    /// Answers a publish that came before with the place it got then.
    fn is_repeat(
        &mut self,
        key: &TopicKey,
        publication: &Publication,
        reply: ReplyTo,
        outlet: &mut impl Outlet,
    ) -> bool {
        let Some(repeated_as) = publication.idempotency_key() else { return false };
        let window_us = self.applications.get(key.app).idempotency_window_ms * 1000;
        self.repeats.forget(self.time_us, REPEAT_AGE_MAX_US);
        let Some(place) = self.repeats.find(key, repeated_as, self.time_us, window_us) else {
            return false;
        };
        let client_id = publication.client_id.clone();
        let receipt = Receipt { id: place.id, position: place.position, client_id };
        if reply.wants_receipt {
            self.answer_published(reply, Ok(receipt), outlet);
        }
        true
    }

    /// Gives a publication its place whether or not lanes have room.
    pub(super) fn place_and_deliver(
        &mut self,
        publication: Publication,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        if self.is_durable(publication.app, &publication.topic) {
            return self.publish_durable(publication, None, time_us, outlet);
        }
        let key = TopicKey { app: publication.app, name: publication.topic.clone() };
        let found = self.home.find(&key);
        self.deliver_to(&key, found, publication, time_us, outlet);
    }

    #[expect(clippy::inline_always, reason = "its caller is every publish: 40 instructions each")]
    #[inline(always)]
    fn deliver_to(
        &mut self,
        key: &TopicKey,
        found: Option<Key>,
        publication: Publication,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) -> Arc<Message> {
        let (interest, local) = (self.home.interest(found), self.home.local(found));
        let (place, topic) = self.home.place(found, key);
        let mut message = self.message(Publication { topic, ..publication }, place, time_us);
        message.set_for_one_shard(interest.len() <= 1);
        let message = Arc::new(message);
        if let Some(aging) = self.home.keep(place, &message) {
            self.watch_history(aging, time_us);
        }
        self.hand_to(interest, local, &message, outlet);
        message
    }

    /// Keeps a message that the store has given its place, and hands it to its subscribers.
    pub(super) fn keep_and_deliver(
        &mut self,
        key: &TopicKey,
        place: Place,
        message: &Arc<Message>,
        outlet: &mut impl Outlet,
    ) {
        if let Some(aging) = self.home.keep(place, message) {
            self.watch_history(aging, self.time_us);
        }
        let found = self.home.find(key);
        self.hand_to(self.home.interest(found), self.home.local(found), message, outlet);
    }

    #[expect(clippy::inline_always, reason = "its caller is every publish")]
    #[inline(always)]
    fn hand_to(
        &mut self,
        interest: ShardSet,
        local: Option<Key>,
        message: &Arc<Message>,
        outlet: &mut impl Outlet,
    ) {
        outlet.placed(message);
        for shard in interest.iter() {
            if shard == self.options.shard {
                if let Some(local) = local {
                    self.append_to_run(local, Arc::clone(message));
                }
            } else {
                outlet.send(shard, Parcel::Deliver(Arc::clone(message)));
            }
        }
    }

    /// Publishes to the connections of a subject that lives here: those that came in with it, and
    /// the one whose id it is.
    fn publish_private(
        &mut self,
        publication: Publication,
        reply: ReplyTo,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let own = self.options.shard;
        let mut targets = self.private_targets(publication.app, &publication.topic);
        let shards = targets.iter().fold(ShardSet::default(), |mut shards, target| {
            shards.insert(target.shard);
            shards
        });
        if !self.has_room(shards, outlet) {
            return self.answer_published(reply, Err(Refusal::Overloaded), outlet);
        }
        let place = self.home.place_private();
        let message = Arc::new(self.message(publication, place, time_us));
        outlet.placed(&message);
        for shard in shards.iter() {
            let of_shard = targets.extract_if(.., |target| target.shard == shard);
            let sessions: Vec<Key> = of_shard.map(|target| target.key).collect();
            if shard == own {
                self.deliver_private(&sessions, &message, outlet);
            } else {
                let message = Arc::clone(&message);
                outlet.send(shard, Parcel::DeliverPrivate { message, sessions });
            }
        }
        self.answer_placed(reply, &message, outlet);
    }

    fn private_targets(&self, app: AppIndex, topic: &TopicName) -> Vec<ConnectionId> {
        let subject = &topic.as_str()["priv/".len()..];
        let key = SubjectKey { app, subject: subject.into() };
        let mut targets: Vec<ConnectionId> = self.connections_of(&key).collect();
        let named = self.connection_named(subject).filter(|id| !targets.contains(id));
        let lives = |id: &ConnectionId| self.session(id.key).is_some_and(|s| s.app == app);
        targets.extend(named.filter(lives));
        targets
    }

    /// Delivers to sessions of this shard, some of which may have ended.
    pub(super) fn deliver_private(
        &self,
        sessions: &[Key],
        message: &Arc<Message>,
        outlet: &mut impl Outlet,
    ) {
        for session in sessions.iter().filter(|session| self.session(**session).is_some()) {
            outlet.deliver_private(*session, message);
        }
    }

    /// Tells a connection's coming or going on `secure/inbound`, where the application has that.
    pub(super) fn announce_connection(
        &mut self,
        app: AppIndex,
        connection: ConnectionId,
        identity: &Identity,
        attendance: Attendance,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        if self.applications.get(app).websocket_inbound_topic_enabled {
            let body = presence::connection_event(connection, identity, attendance);
            self.announce(app, self.inbound.clone(), body, time_us, outlet);
        }
    }

    /// Publishes a presence event. It is never refused: a lane over its limit grows by one event
    /// per connection or subscription that began or ended meanwhile.
    pub(super) fn announce(
        &mut self,
        app: AppIndex,
        topic: TopicName,
        body: String,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let home = self.home_of(app, &topic);
        let publication = Publication {
            app,
            topic,
            payload: Payload::Json(body.into()),
            message_type: Some(presence::MESSAGE_TYPE.into()),
            client_id: None,
            publisher: None,
            compress: false,
            attributes: None,
        };
        if home == self.options.shard {
            self.place_and_deliver(publication, time_us, outlet);
        } else {
            outlet.send(home, Parcel::Announce(Box::new(publication)));
        }
    }

    fn has_room(&self, shards: ShardSet, outlet: &impl Outlet) -> bool {
        let own = self.options.shard;
        shards.iter().all(|shard| shard == own || outlet.has_room(shard))
    }

    fn answer_placed(&self, reply: ReplyTo, message: &Message, outlet: &mut impl Outlet) {
        if reply.wants_receipt {
            let client_id = message.publication.client_id.clone();
            let receipt = Receipt { id: message.id, position: message.position, client_id };
            self.answer_published(reply, Ok(receipt), outlet);
        }
    }

    fn message(&self, publication: Publication, place: Place, time_us: u64) -> Message {
        let lane = Lane::Home(self.options.shard);
        let position = Position { epoch: self.options.epoch, lane, offset: place.offset };
        let id = MessageId::new(self.options.run, position);
        Message::new(publication, id, position, place.previous, time_us)
    }

    pub(super) fn answer_published(
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

    /// Takes in what another shard's home hands over. Interest may have been withdrawn while the
    /// message was on its way.
    pub(super) fn take_delivered(&mut self, message: Arc<Message>) {
        let publication = &message.publication;
        let key = TopicKey { app: publication.app, name: publication.topic.clone() };
        if let Some(local) = self.by_name.get(&key).copied() {
            self.append_to_run(local, message);
        }
    }

    fn append_to_run(&mut self, local: Key, message: Arc<Message>) {
        let Some(topic) = self.topics.get_mut(local) else { return };
        if topic.interest != Interest::Registered {
            return;
        }
        topic.last_offset = topic.last_offset.max(message.position.offset);
        if topic.groups.iter().any(|group| group.form.is_merged() && !group.members.is_empty()) {
            self.merged.push((local, Arc::clone(&message)));
        }
        let topic = self.topic_mut(local);
        let was_clean = topic.run.is_empty();
        topic.run.push(message);
        if was_clean {
            self.dirty.push(local);
        }
    }

    /// Delivers a topic's run, and before it what is merged with it.
    pub(super) fn deliver_run(&mut self, local: Key, outlet: &mut impl Outlet) {
        self.deliver_merged(outlet);
        let Some(topic) = self.topics.get_mut(local) else { return };
        if topic.run.is_empty() {
            return;
        }
        let mut run = std::mem::take(&mut topic.run);
        self.deliver_to_groups(local, &run, false, outlet);
        run.clear();
        run.shrink_to(RUN_LEN_KEPT_MAX);
        if let Some(topic) = self.topics.get_mut(local) {
            topic.run = run;
        }
    }

    /// Delivers to those who want several topics in their lane's order. Messages of one home come
    /// here in that order, so they leave in it.
    pub(super) fn deliver_merged(&mut self, outlet: &mut impl Outlet) {
        if self.merged.is_empty() {
            return;
        }
        let merged = std::mem::take(&mut self.merged);
        for messages in merged.chunk_by(|(a, _), (b, _)| a == b) {
            let run: SmallVec<[Arc<Message>; 4]> =
                messages.iter().map(|(_, message)| Arc::clone(message)).collect();
            self.deliver_to_groups(messages[0].0, &run, true, outlet);
        }
    }

    /// Delivers to the members of a topic that want it merged, or to the others.
    fn deliver_to_groups(
        &mut self,
        local: Key,
        run: &[Arc<Message>],
        merged: bool,
        outlet: &mut impl Outlet,
    ) {
        let Some(topic) = self.topics.get(local) else { return };
        let mut stalled = Vec::new();
        let groups = topic.groups.iter().filter(|group| group.form.is_merged() == merged);
        for group in groups.filter(|group| !group.members.is_empty()) {
            outlet.deliver(group.form, run, &group.members, topic.slow_consumer, &mut stalled);
        }
        let before = run[0].position.offset - 1;
        for index in stalled {
            let Some(state) = self.sessions[index as usize].as_deref() else { continue };
            let session = Key { index, generation: state.generation };
            self.fall_behind(session, local, before, outlet);
        }
    }
}
