//! What is told of sessions and of topics' members, as observers see it, against who is there.
//!
//! Each application has one observer that is subscribed to `secure/inbound` from before the first
//! session to after the last, and now and then to the members of topic `t0`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::model::{Session, World};
use super::steps::APP_COUNT;
use crate::model::application::{AppIndex, Application, Applications, SameSubject};
use crate::model::close::CloseCause;
use crate::model::form::{EventId, Form, SseBody};
use crate::model::identity::Identity;
use crate::model::message::{Message, Payload};
use crate::model::rights::Rights;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// All that observers saw.
#[derive(Default)]
pub(super) struct Presence {
    observers: Vec<(usize, Key)>,
    inbound: HashMap<AppIndex, Inbound>,
    members: HashMap<AppIndex, Members>,
    ended: Vec<Ended>,
    /// Per connection, when it ended or was told to.
    gone_us: HashMap<String, u64>,
    seen: Seen,
}

/// One application's `secure/inbound`.
#[derive(Default)]
struct Inbound {
    /// Per connection, what was told of it: true for connected.
    connections: HashMap<String, Vec<bool>>,
    /// Per subject, how many of its connections are there by what was told.
    counts: HashMap<String, usize>,
}

/// One application's members of `t0`, by what was told since the observer's last subscribe.
#[derive(Default)]
struct Members {
    named: BTreeSet<String>,
    count: u64,
    counted_us: Option<u64>,
}

/// A session that is over.
struct Ended {
    app: AppIndex,
    id: String,
    has_token: bool,
    is_present: bool,
    has_arrived: bool,
}

/// How often the rare things happened, so that none is missed by all seeds.
#[derive(Default, Debug)]
pub(super) struct Seen {
    pub(super) replaced: usize,
    pub(super) rejected: usize,
    pub(super) closed: usize,
    pub(super) unsubscribed: usize,
    debounced: usize,
    delivered_by_subject: usize,
    joins: usize,
    leaves: usize,
    counts: usize,
    member_lists: usize,
}

impl Seen {
    pub(super) fn add(&mut self, world: &World) {
        let (other, orders) = (&world.told.seen, &world.orders.seen);
        self.replaced += other.replaced;
        self.rejected += other.rejected;
        self.closed += orders.closed;
        self.unsubscribed += orders.unsubscribed;
        self.debounced += other.debounced;
        self.delivered_by_subject += other.delivered_by_subject;
        self.joins += other.joins;
        self.leaves += other.leaves;
        self.counts += other.counts;
        self.member_lists += other.member_lists;
    }

    pub(super) fn check(&self) {
        let counts = [
            self.replaced,
            self.rejected,
            self.closed,
            self.unsubscribed,
            self.debounced,
            self.delivered_by_subject,
            self.joins,
            self.leaves,
            self.counts,
            self.member_lists,
        ];
        assert!(counts.iter().all(|count| *count > 0), "never happened: {self:?}");
        println!("{self:?}");
    }
}

impl Presence {
    /// Takes in a run that an observer got.
    pub(super) fn observe(&mut self, applications: &Applications, run: &[Arc<Message>]) {
        for message in run {
            let publication = &message.publication;
            assert_eq!(publication.message_type.as_deref(), Some("presence"));
            assert_eq!(publication.publisher, None);
            let Payload::Json(text) = &publication.payload else { panic!("not JSON") };
            let data: Value = serde_json::from_str(text).unwrap();
            let application = applications.get(publication.app);
            if publication.topic.as_str() == "secure/inbound" {
                assert!(application.websocket_inbound_topic_enabled);
                self.inbound.entry(publication.app).or_default().take(&data, application);
                self.check_debounce(&data, message.time_us, application);
            } else {
                assert_eq!(data["topic"], "t0");
                let members = self.members.entry(publication.app).or_default();
                members.take(&data, message.time_us, application, &mut self.seen);
            }
        }
    }

    /// Where a subject has one connection at a time, each going waits for its whole time.
    fn check_debounce(&self, data: &Value, time_us: u64, application: &Application) {
        let id = data["client"]["connectionId"].as_str().unwrap();
        let debounce_us = u64::from(application.presence.debounce_ms) * 1000;
        let waits = debounce_us > 0
            && application.same_subject != SameSubject::Allow
            && data["client"]["subject"].as_str() != Some(id)
            && data["payload"]["status"] == "disconnected";
        assert!(!waits || time_us >= self.gone_us[id] + debounce_us, "{id} told too early");
    }

    /// A session is over.
    pub(super) fn ended(&mut self, session: &Session, time_us: u64) {
        self.gone_us.entry(session.id.to_string()).or_insert(time_us);
        self.seen.delivered_by_subject += session.by_subject.len();
        self.ended.push(Ended {
            app: session.app,
            id: session.id.to_string(),
            has_token: session.identity.subject.is_some(),
            is_present: session.is_present,
            has_arrived: session.arrived.is_some(),
        });
    }
}

impl Inbound {
    fn take(&mut self, data: &Value, application: &Application) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let id = text(&data["client"]["connectionId"]);
        let subject = text(&data["client"]["subject"]);
        let is_connected = data["payload"]["status"] == "connected";
        let told = self.connections.entry(id.clone()).or_default();
        let is_debounced = application.presence.debounce_ms > 0 && subject != id;
        // Where goings wait, the last one of a subject may go untold by another's coming.
        let is_in_turn = is_debounced || told.is_empty() == is_connected;
        assert!(is_in_turn && !told.contains(&is_connected), "{id} told twice or out of order");
        told.push(is_connected);
        let count = self.counts.entry(subject).or_default();
        if is_connected {
            *count += 1;
            let is_one = *count == 1 || application.same_subject == SameSubject::Allow;
            assert!(is_one, "two connections of one subject");
        } else {
            *count = count.checked_sub(1).expect("gone before it came");
        }
    }
}

impl Members {
    fn take(&mut self, data: &Value, time_us: u64, application: &Application, seen: &mut Seen) {
        self.count = data["count"].as_u64().unwrap();
        let max = u64::from(application.presence.members_max);
        let subject = data["subject"].as_str().map(str::to_owned);
        match data["event"].as_str().unwrap() {
            "join" => {
                seen.joins += 1;
                assert!(self.count <= max, "a crowd's join is told");
                assert!(self.named.insert(subject.unwrap()) || max < 10, "joined twice");
            }
            "leave" => {
                seen.leaves += 1;
                assert!(self.count < max, "a crowd's leave is told");
                assert!(self.named.remove(&subject.unwrap()) || max < 10, "left twice");
            }
            "count" => {
                seen.counts += 1;
                assert!(max < 10 && subject.is_none(), "few are named");
                let before = self.counted_us.replace(time_us);
                assert!(before.is_none_or(|before| before + 1_000_000 <= time_us), "too often");
                assert!(before.is_some() || self.count == max + 1, "the first over the limit");
            }
            other => panic!("told {other}"),
        }
        assert!(max < 10 || self.count == self.named.len() as u64, "the number is another");
    }
}

impl World {
    pub(super) fn begin_observing(&mut self) {
        for app in (0..APP_COUNT).map(AppIndex) {
            let shard = self.random.below(self.brokers.len());
            let identity = Arc::new(Identity::without_token(Rights::every_topic()));
            let form = Form::Sse { body: SseBody::Native, id: EventId::Cursor };
            let key = self.begin_session(shard, app, form, identity, false, true);
            self.subscribe_to(shard, key, &TopicName::new("secure/inbound").unwrap());
            self.told.observers.push((shard, key));
        }
        self.settle();
        for _ in 0..APP_COUNT {
            self.toggle_watch();
        }
    }

    pub(super) fn end_observing(&mut self) {
        for (shard, key) in std::mem::take(&mut self.told.observers) {
            self.end_session(shard, key);
        }
    }

    /// An observer begins or stops to want the members of `t0`.
    pub(super) fn toggle_watch(&mut self) {
        let number = self.random.below(self.told.observers.len());
        let (shard, key) = self.told.observers[number];
        let topic = TopicName::new("secure/presence/t0").unwrap();
        let session = self.sessions[shard].get(key).unwrap();
        if session.topics.contains_key(&topic) {
            self.unsubscribe_from(shard, key, topic);
        } else {
            self.told.members.insert(session.app, Members::default());
            self.subscribe_to(shard, key, &topic);
        }
    }

    /// A session was told to close.
    pub(super) fn evicted(&mut self, shard: usize, key: Key, cause: CloseCause) {
        let is_ordered = self.orders.evicted(shard, key);
        let session = self.sessions[shard].get_mut(key).expect("ended, then told to close");
        assert_eq!(session.evicted, None, "told to close twice");
        assert_eq!(is_ordered, cause != CloseCause::SameSubject);
        session.evicted = Some(cause);
        self.told.gone_us.insert(session.id.to_string(), self.time_us);
        if cause == CloseCause::SameSubject {
            assert!(session.is_present && session.identity.subject.is_some());
            match self.applications.get(session.app).same_subject {
                SameSubject::Allow => panic!("closed although others are allowed"),
                SameSubject::RejectNew => {
                    assert_eq!(session.arrived, None, "let in and kept out");
                    self.told.seen.rejected += 1;
                }
                SameSubject::ReplaceOld => self.told.seen.replaced += 1,
            }
        }
    }

    /// With nothing under way, a session was let in or told to close, and has had every message to
    /// its subject since.
    pub(super) fn check_identity(&self, session: &Session) {
        assert!(session.arrived.is_some() || session.evicted.is_some(), "neither in nor out");
        assert!(session.by_subject.is_sorted_by(|a, b| a.0 < b.0), "out of order, or twice");
        if session.evicted.is_some() || session.identity.subject.is_none() {
            return;
        }
        let name = format!("priv/{}", session.subject());
        let got: BTreeSet<usize> = session.by_subject.iter().map(|(_, n)| *n as usize).collect();
        for (number, published) in self.published.iter().enumerate().skip(session.arrived.unwrap())
        {
            if published.accepted && published.topic.0 == session.app {
                let is_its = published.topic.1.as_str() == name;
                assert!(!is_its || got.contains(&number), "lost on the way to {name}");
            }
        }
    }

    /// With nothing under way, what was told is what is.
    pub(super) fn check_told(&mut self) {
        for app in (0..APP_COUNT).map(AppIndex) {
            let application = self.applications.get(app);
            let all = self.sessions.iter().flat_map(|sessions| sessions.iter().map(|(_, s)| s));
            let sessions: Vec<&Session> = all.filter(|session| session.app == app).collect();
            let mut counts: HashMap<String, usize> = HashMap::new();
            for session in sessions.iter().filter(|session| session.is_present) {
                // Without a token nobody waits for its going, which is told when it ends.
                if session.evicted.is_none() || session.identity.subject.is_none() {
                    *counts.entry(session.subject()).or_default() += 1;
                }
            }
            if application.same_subject != SameSubject::Allow {
                assert!(counts.values().all(|count| *count == 1), "the rule is not kept");
            }
            let inbound = self.told.inbound.entry(app).or_default();
            inbound.counts.retain(|_, count| *count > 0);
            if application.websocket_inbound_topic_enabled {
                assert_eq!(inbound.counts, counts);
            }
            let (shard, key) = self.told.observers[usize::from(app.0)];
            let watch = TopicName::new("secure/presence/t0").unwrap();
            if self.sessions[shard].get(key).unwrap().topics.contains_key(&watch) {
                let is_on = |s: &&&Session| s.subscribed().any(|topic| topic.as_str() == "t0");
                let on: BTreeSet<String> =
                    sessions.iter().filter(is_on).map(|s| s.subject()).collect();
                let members = &self.told.members[&app];
                assert_eq!(members.count, on.len() as u64, "{application:?}");
                if application.presence.members_max > 10 {
                    self.told.seen.member_lists += usize::from(!on.is_empty());
                    assert_eq!(members.named, on);
                }
            }
        }
    }

    /// Every session is over: each present one was told as connected and disconnected, once.
    pub(super) fn check_all_told(&mut self) {
        for ended in std::mem::take(&mut self.told.ended) {
            let application = self.applications.get(ended.app);
            if !application.websocket_inbound_topic_enabled {
                continue;
            }
            let told = self.told.inbound[&ended.app].connections.get(&ended.id);
            let told = told.map(Vec::as_slice).unwrap_or_default();
            let may_be_untold =
                application.same_subject == SameSubject::RejectNew && !ended.has_arrived;
            if !ended.is_present {
                assert!(told.is_empty(), "a stream is told");
            } else if ended.has_token && application.presence.debounce_ms > 0 {
                self.told.seen.debounced += usize::from(!may_be_untold && told.len() < 2);
            } else if !(ended.has_token && may_be_untold && told.is_empty()) {
                assert_eq!(told, [true, false]);
            }
        }
    }
}
