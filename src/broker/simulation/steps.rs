//! What may happen: one seeded step at a time.

use std::collections::HashMap;
use std::sync::Arc;

use super::model::{Published, SUBSCRIPTIONS_MAX, Session, World};
use crate::broker::{Arrival, Parcel, ReplyTo, SubscribeOutcome};
use crate::model::application::AppIndex;
use crate::model::form::{Form, SseBody};
use crate::model::identity::Identity;
use crate::model::message::{Payload, Publication};
use crate::model::rights::Rights;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

pub(super) const APP_COUNT: u16 = 2;
pub(super) const TOPIC_COUNT: usize = 6;

impl World {
    pub(super) fn step(&mut self) {
        let shard = self.random.below(self.brokers.len());
        match self.random.below(100) {
            0..8 => self.begin(shard),
            8..12 => self.end(shard),
            12..24 => self.subscribe(shard),
            24..34 => self.unsubscribe(shard),
            34..60 => self.publish(shard),
            60..90 => self.carry(shard),
            _ => self.deliver_runs(shard),
        }
    }

    pub(super) fn topic(&mut self) -> TopicName {
        let number = self.random.below(TOPIC_COUNT);
        TopicName::new(&format!("t{number}")).unwrap()
    }

    pub(super) fn session(&mut self, shard: usize) -> Option<Key> {
        let keys: Vec<Key> = self.sessions[shard].keys().collect();
        (!keys.is_empty()).then(|| keys[self.random.below(keys.len())])
    }

    pub(super) fn begin(&mut self, shard: usize) {
        let app = AppIndex(u16::try_from(self.random.below(usize::from(APP_COUNT))).unwrap());
        let form = match self.random.below(3) {
            0 => Form::Realtime { positions: false, window: None },
            1 => Form::Realtime { positions: true, window: Some(15) },
            _ => Form::Sse { body: SseBody::Native, shared_id: true },
        };
        let session = Session {
            app,
            form,
            topics: HashMap::new(),
            private: Vec::new(),
            private_expected: Vec::new(),
        };
        let key = self.sessions[shard].insert(session);
        let own = ShardIndex(u16::try_from(shard).unwrap());
        let arrival = Arrival {
            app,
            form,
            connection: self.ids.id(own, key),
            identity: Arc::new(Identity::without_token(Rights::every_topic())),
            is_present: false,
        };
        self.brokers[shard].begin(key, arrival, 1, &mut self.ears[shard]);
        self.listen(shard);
    }

    pub(super) fn end(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        self.brokers[shard].end(key, 1, &mut self.ears[shard]);
        self.listen(shard);
        let session = self.sessions[shard].remove(key).unwrap();
        assert_eq!(session.private, session.private_expected);
        for (topic, subscription) in session.topics {
            self.check(shard, &(session.app, topic), &subscription);
        }
        // Again: must be nothing.
        self.brokers[shard].end(key, 1, &mut self.ears[shard]);
        assert!(self.ears[shard].happened.is_empty());
    }

    pub(super) fn subscribe(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        let topic = self.topic();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let session = self.sessions[shard].get_mut(key).unwrap();
        let (known, count) = (session.topics.contains_key(&topic), session.topics.len());
        session.topics.entry(topic.clone()).or_default().owed.push(ticket);
        let ears = &mut self.ears[shard];
        let outcome = self.brokers[shard].subscribe(key, topic.clone(), ticket, ears);
        if outcome == SubscribeOutcome::TooMany {
            // Waits count one by one, so that the limit may come early, never late.
            let session = self.sessions[shard].get_mut(key).unwrap();
            let waits: usize = session.topics.values().map(|s| s.owed.len()).sum();
            assert!(waits + count > SUBSCRIPTIONS_MAX);
            let subscription = session.topics.get_mut(&topic).unwrap();
            subscription.owed.retain(|owed| *owed != ticket);
            if !known {
                session.topics.remove(&topic);
            }
        } else {
            assert!(known || count < SUBSCRIPTIONS_MAX, "over the limit");
        }
        self.listen(shard);
    }

    pub(super) fn unsubscribe(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        let topic = self.topic();
        self.brokers[shard].unsubscribe(key, &topic, &mut self.ears[shard]);
        self.listen(shard);
        let session = self.sessions[shard].get_mut(key).unwrap();
        let app = session.app;
        if let Some(subscription) = session.topics.remove(&topic) {
            self.check(shard, &(app, topic), &subscription);
        }
    }

    pub(super) fn publish(&mut self, shard: usize) {
        let app = AppIndex(u16::try_from(self.random.below(usize::from(APP_COUNT))).unwrap());
        let target = self.random.below(self.brokers.len());
        let topic = match (self.random.below(10), self.session(target)) {
            (0, Some(key)) => {
                let id = self.ids.id(ShardIndex(u16::try_from(target).unwrap()), key);
                TopicName::new(&format!("priv/{id}")).unwrap()
            }
            _ => self.topic(),
        };
        let ticket = u32::try_from(self.published.len()).unwrap();
        let session = Key { index: ticket, generation: 0 };
        self.published.push(Published {
            topic: (app, topic.clone()),
            decided: false,
            answered: false,
        });
        let publication = publication(app, topic, self.published.len() - 1);
        let own = ShardIndex(u16::try_from(shard).unwrap());
        let reply = ReplyTo { shard: own, session, ticket, wants_receipt: true };
        self.brokers[shard].publish(publication, reply, 1, &mut self.ears[shard]);
        self.listen(shard);
    }

    /// Takes one to a few parcels out of one lane to `shard`.
    pub(super) fn carry(&mut self, shard: usize) {
        let from = self.random.below(self.brokers.len());
        for _ in 0..=self.random.below(4) {
            let Some(parcel) = self.ears[from].lanes[shard].pop_front() else { return };
            self.hand_over(from, shard, parcel);
        }
    }

    pub(super) fn hand_over(&mut self, from: usize, shard: usize, parcel: Parcel) {
        if let Parcel::Deliver(message) = &parcel {
            let topic = (message.publication.app, message.publication.topic.clone());
            let before = self.reached.insert((shard, topic), message.position.offset);
            assert!(before.is_none_or(|before| before < message.position.offset));
        }
        let from = ShardIndex(u16::try_from(from).unwrap());
        self.brokers[shard].receive(from, parcel, 1, &mut self.ears[shard]);
        self.listen(shard);
    }

    pub(super) fn deliver_runs(&mut self, shard: usize) {
        self.brokers[shard].deliver_runs(&mut self.ears[shard]);
        assert!(!self.brokers[shard].has_runs());
        self.listen(shard);
    }
}

/// A publication that came by HTTP.
pub(super) fn publication(app: AppIndex, topic: TopicName, number: usize) -> Publication {
    Publication {
        app,
        topic,
        payload: Payload::Text(number.to_string().into()),
        message_type: None,
        client_id: None,
        publisher: None,
        compress: false,
    }
}
