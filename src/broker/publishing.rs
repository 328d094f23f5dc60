//! Publishing: to the topic's home, through its order, to the shards that hold subscribers, and as
//! one run per topic and turn to their members.

use std::sync::Arc;

use super::core::Broker;
use super::home::{Place, TopicKey};
use super::local::Interest;
use super::outlet::Outlet;
use super::parcel::{Parcel, Receipt, ReplyTo};
use crate::model::id::MessageId;
use crate::model::message::{Message, Publication};
use crate::model::position::Position;
use crate::model::refusal::Refusal;
use crate::stdx::slab::Key;

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

    pub(super) fn append_to_run(&mut self, message: Arc<Message>) {
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

    pub(super) fn deliver_run(&mut self, local: Key, outlet: &mut impl Outlet) {
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
}
