//! Orders at any time and questions while nothing is under way, against what the model knows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::model::{Session, World};
use super::presence::Seen;
use super::steps::{APP_COUNT, SUBJECT_COUNT, TOKEN_COUNT};
use crate::broker::{
    Ask, ConnectionEntry, ConnectionPlace, Counts, Members, ReplyTo, Tally, Told, Whom,
};
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::form::Form;
use crate::model::identity::Revocation;
use crate::model::pattern::Patterns;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::{Key, Slab};

/// What is under way.
#[derive(Default)]
pub(super) struct Orders {
    next_ticket: u32,
    /// Per order, how many sessions or subscriptions it ended by the model.
    expected: HashMap<u32, u64>,
    told: HashMap<u32, Vec<Told>>,
    /// Sessions about to be told to close.
    meant: HashSet<(usize, Key)>,
    /// Subscriptions about to be ended.
    unsubscribed: Vec<(usize, Key, TopicName)>,
    /// Revocations that a shard is about to be told.
    revocations: Vec<(usize, AppIndex, Revocation, u64)>,
    pub(super) seen: Seen,
}

impl Orders {
    pub(super) fn told(&mut self, to: ReplyTo, told: Told) {
        self.told.entry(to.ticket).or_default().push(told);
    }

    /// Whether the session is closed by an order; each is closed once.
    pub(super) fn evicted(&mut self, shard: usize, key: Key) -> bool {
        self.meant.remove(&(shard, key))
    }

    pub(super) fn revoked(
        &mut self,
        shard: usize,
        app: AppIndex,
        revocation: Revocation,
        until_s: u64,
    ) {
        let told = (shard, app, revocation, until_s);
        let at = self.revocations.iter().position(|expected| *expected == told);
        self.revocations.swap_remove(at.expect("a revocation nobody ordered"));
    }
}

impl World {
    /// Orders something of all shards, or of a session's owner.
    pub(super) fn order(&mut self, asker: usize) {
        let app = AppIndex(u16::try_from(self.random.below(usize::from(APP_COUNT))).unwrap());
        let subject: Arc<str> = format!("s{}", self.random.below(SUBJECT_COUNT)).into();
        let token = format!("j{}", self.random.below(TOKEN_COUNT)).into_boxed_str();
        let owner = self.random.below(self.brokers.len());
        let cause = CloseCause::Administered;
        let close = |whom| Ask::Close { app, whom, cause };
        let revoke = |revocation| Ask::Revoke { app, revocation: Arc::new(revocation), until_s: 9 };
        let ask = match self.random.below(6) {
            0 => close(Whom::Subject(subject)),
            1 => close(Whom::TokenId(token)),
            2 => revoke(Revocation::TokenId(token)),
            3 => revoke(Revocation::Subject { subject: (*subject).into(), issued_before_s: 6 }),
            4 => {
                let Some(key) = self.session(owner) else { return };
                self.put(asker, owner..owner + 1, &close(Whom::Session(key)));
                return;
            }
            _ => {
                let lists: [&[&str]; 3] = [&["t*"], &["t0", "t1"], &["*", "!t2"]];
                let patterns = Arc::new(Patterns::new(lists[self.random.below(3)]));
                // A session without a token is found by its connection's id.
                let subject = match self.session(owner) {
                    Some(key) => self.sessions[owner].get(key).unwrap().subject().into(),
                    None => subject,
                };
                Ask::Unsubscribe { app, subject, patterns }
            }
        };
        self.put(asker, 0..self.brokers.len(), &ask);
    }

    /// Only observers are left; one order finds them all.
    pub(super) fn close_everyone(&mut self) {
        for app in (0..APP_COUNT).map(AppIndex) {
            let (whom, cause) = (Whom::Everyone, CloseCause::Administered);
            let told = self.ask_all(&Ask::Close { app, whom, cause }, 1);
            assert_eq!(told, Told::Closed(1));
        }
        assert!(self.sessions.iter().flat_map(Slab::iter).all(|(_, s)| s.evicted.is_some()));
    }

    fn put(&mut self, asker: usize, shards: std::ops::Range<usize>, ask: &Ask) -> u32 {
        let ticket = self.orders.next_ticket;
        self.orders.next_ticket += 1;
        let to = ReplyTo {
            shard: ShardIndex(u16::try_from(asker).unwrap()),
            session: Key { index: 0, generation: 0 },
            ticket,
            wants_receipt: true,
        };
        for shard in shards {
            if shard == asker {
                self.expect(shard, to, ask);
            }
            let shard = ShardIndex(u16::try_from(shard).unwrap());
            self.brokers[asker].ask(shard, ask.clone(), to, &mut self.ears[asker]);
            self.listen(asker);
        }
        ticket
    }

    /// A shard is about to carry out an order: what ought to come of it.
    pub(super) fn expect(&mut self, shard: usize, to: ReplyTo, ask: &Ask) {
        let sessions = &self.sessions[shard];
        let living = |app: AppIndex| {
            sessions.iter().filter(move |(_, s)| s.app == app && s.evicted.is_none())
        };
        let count = match ask {
            Ask::Close { app, whom, .. } => {
                let meant = living(*app).filter(|(key, session)| is_meant(whom, *key, session));
                let before = self.orders.meant.len();
                self.orders.meant.extend(meant.map(|(key, _)| (shard, key)));
                self.orders.meant.len() - before
            }
            Ask::Revoke { app, revocation, until_s } => {
                let revoked = (shard, *app, (**revocation).clone(), *until_s);
                self.orders.revocations.push(revoked);
                let meant = living(*app).filter(|(_, session)| is_revoked(revocation, session));
                let before = self.orders.meant.len();
                self.orders.meant.extend(meant.map(|(key, _)| (shard, key)));
                self.orders.meant.len() - before
            }
            Ask::Unsubscribe { app, subject, patterns } => {
                for (key, session) in living(*app).filter(|(_, s)| s.subject() == **subject) {
                    let topics = session.subscribed().filter(|t| patterns.matches(t.as_str()));
                    let ended = topics.map(|topic| (shard, key, topic.clone()));
                    self.orders.unsubscribed.extend(ended);
                }
                self.orders.unsubscribed.len()
            }
            _ => return,
        };
        let ended = match ask {
            Ask::Unsubscribe { .. } => &mut self.orders.seen.unsubscribed,
            _ => &mut self.orders.seen.closed,
        };
        *ended += count;
        *self.orders.expected.entry(to.ticket).or_default() += count as u64;
    }

    /// The subscriptions that an order ended have had what was theirs.
    pub(super) fn forget_unsubscribed(&mut self) {
        for (shard, key, topic) in std::mem::take(&mut self.orders.unsubscribed) {
            let session = self.sessions[shard].get_mut(key).unwrap();
            let app = session.app;
            let subscription = session.topics.remove(&topic).unwrap();
            self.check(shard, &(app, topic), &subscription);
        }
    }

    /// With nothing under way: orders were carried out, and questions are answered truly.
    pub(super) fn check_answers(&mut self) {
        assert!(self.orders.meant.is_empty(), "someone was not closed");
        assert!(self.orders.revocations.is_empty(), "a shard was not told of a revocation");
        for (ticket, expected) in std::mem::take(&mut self.orders.expected) {
            let answers = self.orders.told.remove(&ticket).expect("every shard answers");
            let told = answers.into_iter().reduce(|a, b| a.merge(b, 1)).unwrap();
            let is_true = told == Told::Closed(expected) || told == Told::Unsubscribed(expected);
            assert!(is_true, "{told:?}, not {expected}");
        }
        self.orders.told.clear();
        for app in (0..APP_COUNT).map(AppIndex) {
            self.check_connections(app);
            self.check_topics(app);
            self.check_members(app);
            self.check_details(app);
        }
    }

    /// Puts a question to all shards and merges their answers.
    fn ask_all(&mut self, ask: &Ask, limit: u32) -> Told {
        let asker = self.random.below(self.brokers.len());
        let ticket = self.put(asker, 0..self.brokers.len(), ask);
        self.settle();
        let answers = self.orders.told.remove(&ticket).unwrap();
        assert_eq!(answers.len(), self.brokers.len(), "each shard answers once");
        answers.into_iter().reduce(|a, b| a.merge(b, limit)).unwrap()
    }

    fn check_connections(&mut self, app: AppIndex) {
        let tokenless = self.in_app(app).find(|s| s.identity.subject.is_none());
        let tokenless = tokenless.map(|session| session.subject().into());
        for subject in [None, Some(Arc::from("s0")), tokenless] {
            let wanted = |s: &&Session| {
                let is_wanted = subject.as_ref().is_none_or(|subject| s.subject() == **subject);
                s.evicted.is_none() && is_wanted
            };
            let mut expected: Vec<ConnectionEntry> =
                self.in_app(app).filter(wanted).map(entry).collect();
            expected.sort_by_key(ConnectionEntry::place);
            let mut entries: Vec<ConnectionEntry> = Vec::new();
            loop {
                let after: Option<ConnectionPlace> = entries.last().map(ConnectionEntry::place);
                let ask = Ask::Connections { app, after, limit: 3, subject: subject.clone() };
                let Told::Connections(page) = self.ask_all(&ask, 3) else { panic!() };
                assert!(page.entries.len() == 3 || !page.has_more);
                entries.extend(page.entries);
                if !page.has_more {
                    break;
                }
            }
            assert_eq!(entries, expected);
        }
    }

    fn check_topics(&mut self, app: AppIndex) {
        let mut counts: BTreeMap<TopicName, u64> = BTreeMap::new();
        for topic in self.in_app(app).flat_map(Session::subscribed) {
            *counts.entry(topic.clone()).or_default() += 1;
        }
        let mut tallies: Vec<Tally<TopicName>> = Vec::new();
        loop {
            let after = tallies.last().map(|tally| tally.name.clone());
            let Told::Topics(page) = self.ask_all(&Ask::Topics { app, after, limit: 2 }, 2) else {
                panic!()
            };
            tallies.extend(page.entries);
            if !page.has_more {
                break;
            }
        }
        let living: Vec<&Session> = self.in_app(app).filter(|s| s.evicted.is_none()).collect();
        let is_websocket = |s: &&&Session| matches!(s.form, Form::Realtime { .. });
        let websockets = living.iter().filter(is_websocket).count() as u64;
        let expected = Counts {
            websockets,
            streams: living.len() as u64 - websockets,
            subscriptions: living.iter().map(|s| s.subscribed().count() as u64).sum(),
            topics: counts.len() as u64,
            polls: 0,
        };
        assert_eq!(self.ask_all(&Ask::Counts { app }, 1), Told::Counts(expected));
        let told = tallies.into_iter().map(|Tally { name, count }| (name, count));
        assert!(told.eq(counts), "topics");
    }

    fn check_members(&mut self, app: AppIndex) {
        let topic = TopicName::new("t0").unwrap();
        let mut counts: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for session in self.in_app(app).filter(|s| s.subscribed().any(|t| *t == topic)) {
            *counts.entry(session.subject().into()).or_default() += 1;
        }
        let Told::Members(Members { subjects, connection_count }) =
            self.ask_all(&Ask::Members { app, topic, limit: 2 }, 2)
        else {
            panic!()
        };
        assert_eq!(connection_count, counts.values().sum::<u64>());
        assert_eq!(subjects.has_more, counts.len() > 2);
        let told = subjects.entries.into_iter().map(|Tally { name, count }| (name, count));
        assert!(told.eq(counts.into_iter().take(2)), "members");
    }

    fn check_details(&mut self, app: AppIndex) {
        let all = self
            .sessions
            .iter()
            .enumerate()
            .flat_map(|(shard, sessions)| sessions.keys().map(move |key| (shard, key)));
        let all: Vec<(usize, Key)> = all.collect();
        for (owner, session) in all {
            let asker = self.random.below(self.brokers.len());
            let ticket = self.put(asker, owner..owner + 1, &Ask::Connection { app, session });
            self.settle();
            let told = self.orders.told.remove(&ticket).unwrap();
            let [Told::Connection(detail)] = told.as_slice() else { panic!("{told:?}") };
            let session = self.sessions[owner].get(session).unwrap();
            let is_known = session.app == app && session.evicted.is_none();
            assert_eq!(detail.is_some(), is_known);
            if let Some(detail) = detail {
                assert_eq!(detail.entry, entry(session));
                let mut topics: Vec<TopicName> = session.subscribed().cloned().collect();
                topics.sort();
                assert_eq!(detail.topics, topics);
                assert_eq!(detail.permissions, session.identity.rights.presented);
            }
        }
    }

    fn in_app(&self, app: AppIndex) -> impl Iterator<Item = &Session> {
        let all = self.sessions.iter().flat_map(Slab::iter);
        all.map(|(_, session)| session).filter(move |session| session.app == app)
    }
}

fn entry(session: &Session) -> ConnectionEntry {
    let port = u16::try_from(session.id.key.index).unwrap();
    ConnectionEntry {
        id: session.id,
        subject: session.subject().into(),
        form: session.form,
        address: Some(([10, 0, 0, 1], port).into()),
        connected_at_s: session.began_s,
        subscription_count: u32::try_from(session.subscribed().count()).unwrap(),
    }
}

fn is_meant(whom: &Whom, key: Key, session: &Session) -> bool {
    match whom {
        Whom::Everyone => true,
        Whom::Session(wanted) => *wanted == key,
        Whom::Subject(subject) => session.subject() == **subject,
        Whom::TokenId(id) => session.identity.token_id.as_deref() == Some(id),
    }
}

fn is_revoked(revocation: &Revocation, session: &Session) -> bool {
    let identity = &session.identity;
    match revocation {
        Revocation::TokenId(id) => identity.token_id.as_deref() == Some(id),
        Revocation::Subject { subject, issued_before_s } => {
            let is_new = identity.issued_at.is_some_and(|issued| issued >= *issued_before_s);
            identity.subject.as_deref() == Some(subject) && !is_new
        }
    }
}
