//! What may happen: one seeded step at a time.

use std::collections::HashMap;
use std::sync::Arc;

use super::model::{Published, SUBSCRIPTIONS_MAX, Session, World};
use crate::broker::{Arrival, Parcel, ReplyTo, StartFrom, SubscribeOutcome};
use crate::model::application::AppIndex;
use crate::model::form::{EventId, Form, SseBody};
use crate::model::identity::Identity;
use crate::model::message::{Payload, Publication};
use crate::model::rights::Rights;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

pub(super) const APP_COUNT: u16 = 2;
pub(super) const TOPIC_COUNT: usize = 6;
pub(super) const SUBJECT_COUNT: usize = 4;
pub(super) const TOKEN_COUNT: usize = 3;

impl World {
    pub(super) fn step(&mut self) {
        let shard = self.random.below(self.brokers.len());
        match self.random.below(100) {
            0..8 => self.begin(shard),
            8..12 => self.end(shard),
            12..24 => self.subscribe(shard),
            24..31 => self.unsubscribe(shard),
            31..33 => self.order(shard),
            33..34 => {
                self.toggle_watch();
                self.set_identity(shard);
            }
            34..56 => self.publish(shard),
            56..82 => self.carry(shard),
            82..90 => self.pass_time(shard),
            _ => self.deliver_runs(shard),
        }
    }

    pub(super) fn topic(&mut self) -> TopicName {
        let number = self.random.below(TOPIC_COUNT);
        // Members of the second topic are wanted now and then; those of the first by observers.
        let name = match self.random.below(12) {
            0 => "secure/presence/t1".to_owned(),
            _ => format!("t{number}"),
        };
        TopicName::new(&name).unwrap()
    }

    fn pass_time(&mut self, shard: usize) {
        self.time_us += self.random.below(1500) as u64;
        self.run_timers(shard);
    }

    pub(super) fn run_timers(&mut self, shard: usize) {
        self.brokers[shard].run_timers(self.time_us, &mut self.ears[shard]);
        self.listen(shard);
    }

    /// One of the sessions to which things happen.
    pub(super) fn session(&mut self, shard: usize) -> Option<Key> {
        let sessions = self.sessions[shard].iter().filter(|(_, session)| !session.is_observer);
        let keys: Vec<Key> = sessions.map(|(key, _)| key).collect();
        (!keys.is_empty()).then(|| keys[self.random.below(keys.len())])
    }

    pub(super) fn begin(&mut self, shard: usize) {
        let app = AppIndex(u16::try_from(self.random.below(usize::from(APP_COUNT))).unwrap());
        let form = match self.random.below(3) {
            0 => Form::Realtime { positions: false, window: None },
            1 => Form::Realtime { positions: true, window: Some(15) },
            _ => Form::Sse { body: SseBody::Native, id: EventId::Position },
        };
        let is_present = matches!(form, Form::Realtime { .. });
        let identity = self.identity();
        self.begin_session(shard, app, form, identity, is_present, false);
    }

    /// Half of them come with a token.
    fn identity(&mut self) -> Arc<Identity> {
        let identity = Identity::without_token(Rights::every_topic());
        Arc::new(match self.random.below(2) {
            0 => identity,
            _ => Identity {
                subject: Some(format!("s{}", self.random.below(SUBJECT_COUNT)).into()),
                token_id: Some(format!("j{}", self.random.below(TOKEN_COUNT)).into()),
                issued_at: [None, Some(5), Some(6)][self.random.below(3)],
                ..identity
            },
        })
    }

    /// Someone presents a new token of the same subject.
    fn set_identity(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        let new = self.identity();
        let session = self.sessions[shard].get_mut(key).unwrap();
        let subject = session.identity.subject.clone();
        // Rights that end no subscription; that they may is tested apart.
        let presented = Arc::from([format!("p{}", self.time_us)]);
        let rights = Rights { presented, ..Rights::every_topic() };
        session.identity = Arc::new(Identity { subject, rights, ..(*new).clone() });
        let identity = Arc::clone(&session.identity);
        self.brokers[shard].set_identity(key, &identity, &mut self.ears[shard]);
    }

    pub(super) fn begin_session(
        &mut self,
        shard: usize,
        app: AppIndex,
        form: Form,
        identity: Arc<Identity>,
        is_present: bool,
        is_observer: bool,
    ) -> Key {
        let own = ShardIndex(u16::try_from(shard).unwrap());
        let connection = self.ids.id(own, self.sessions[shard].next_key());
        let key = self.sessions[shard].insert(Session {
            app,
            form,
            id: connection,
            identity: Arc::clone(&identity),
            is_present,
            is_observer,
            began_s: self.time_us / 1_000_000,
            arrived: None,
            evicted: None,
            by_subject: Vec::new(),
            topics: HashMap::new(),
            private: Vec::new(),
            private_expected: Vec::new(),
        });
        let arrival = Arrival { app, form, connection, identity, is_present };
        self.brokers[shard].begin(key, arrival, self.time_us, &mut self.ears[shard]);
        self.listen(shard);
        key
    }

    pub(super) fn end(&mut self, shard: usize) {
        if let Some(key) = self.session(shard) {
            self.end_session(shard, key);
        }
    }

    pub(super) fn end_session(&mut self, shard: usize, key: Key) {
        self.brokers[shard].end(key, self.time_us, &mut self.ears[shard]);
        self.listen(shard);
        let session = self.sessions[shard].remove(key).unwrap();
        assert_eq!(session.private, session.private_expected);
        self.told.ended(&session, self.time_us);
        for (topic, subscription) in session.topics {
            self.check(shard, &(session.app, topic), &subscription);
        }
        // Again: must be nothing.
        self.brokers[shard].end(key, self.time_us, &mut self.ears[shard]);
        assert!(self.ears[shard].happened.is_empty());
    }

    pub(super) fn subscribe(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        let topic = self.topic();
        self.subscribe_to(shard, key, &topic);
    }

    pub(super) fn subscribe_to(&mut self, shard: usize, key: Key, topic: &TopicName) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let session = self.sessions[shard].get_mut(key).unwrap();
        let (known, count) = (session.topics.contains_key(topic), session.topics.len());
        session.topics.entry(topic.clone()).or_default().owed.push(ticket);
        let ears = &mut self.ears[shard];
        let outcome =
            self.brokers[shard].subscribe(key, topic.clone(), ticket, &StartFrom::Now, ears);
        if outcome == SubscribeOutcome::TooMany {
            // Waits count one by one, so that the limit may come early, never late.
            let session = self.sessions[shard].get_mut(key).unwrap();
            let waits: usize = session.topics.values().map(|s| s.owed.len()).sum();
            assert!(waits + count > SUBSCRIPTIONS_MAX);
            let subscription = session.topics.get_mut(topic).unwrap();
            subscription.owed.retain(|owed| *owed != ticket);
            if !known {
                session.topics.remove(topic);
            }
        } else {
            assert!(known || count < SUBSCRIPTIONS_MAX, "over the limit");
        }
        self.listen(shard);
    }

    pub(super) fn unsubscribe(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        let topic = self.topic();
        self.unsubscribe_from(shard, key, topic);
    }

    pub(super) fn unsubscribe_from(&mut self, shard: usize, key: Key, topic: TopicName) {
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
            (1..4, _) => {
                let subject = self.random.below(SUBJECT_COUNT);
                TopicName::new(&format!("priv/s{subject}")).unwrap()
            }
            _ => TopicName::new(&format!("t{}", self.random.below(TOPIC_COUNT))).unwrap(),
        };
        let ticket = u32::try_from(self.published.len()).unwrap();
        let session = Key { index: ticket, generation: 0 };
        self.published.push(Published {
            topic: (app, topic.clone()),
            accepted: false,
            decided: false,
            answered: false,
        });
        let publication = publication(app, topic, self.published.len() - 1);
        let own = ShardIndex(u16::try_from(shard).unwrap());
        let reply = ReplyTo { shard: own, session, ticket, wants_receipt: true };
        self.brokers[shard].publish(publication, reply, self.time_us, &mut self.ears[shard]);
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
        if let Parcel::Ask { to, ask } = &parcel {
            self.expect(shard, *to, ask);
        }
        let from = ShardIndex(u16::try_from(from).unwrap());
        self.brokers[shard].receive(from, parcel, self.time_us, &mut self.ears[shard]);
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
        attributes: None,
    }
}
