//! Administration: one shard answers questions about its own sessions and topics, and carries out
//! orders on them.
//!
//! Subjects and token ids are found by looking at every session of the shard: about 10 ns each, so
//! 10 ms for a million, and nothing is kept for it while nobody asks.

use std::collections::BinaryHeap;
use std::sync::Arc;

use super::ask::{
    Ask, ConnectionDetail, ConnectionEntry, ConnectionPlace, Counts, Members, Page, SlowEntry,
    TOPICS_NAMED_MAX, Tally, Told, Whom,
};
use super::core::Broker;
use super::home::TopicKey;
use super::local::count;
use super::outlet::Outlet;
use super::parcel::{Parcel, ReplyTo};
use super::session::Session;
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::form::Form;
use crate::model::identity::{Identity, Revocation};
use crate::model::pattern::Patterns;
use crate::model::shard::ShardIndex;
use crate::model::topic::{TopicClass, TopicName};
use crate::stdx::slab::Key;

impl Broker {
    /// Puts a question or an order to a shard; the answer comes by `Outlet::told`, at once when
    /// the shard is this one.
    pub fn ask(&mut self, shard: ShardIndex, ask: Ask, to: ReplyTo, outlet: &mut impl Outlet) {
        if shard == self.options.shard {
            let told = self.answer(ask, outlet);
            outlet.told(to, told);
        } else {
            outlet.send(shard, Parcel::Ask { to, ask: Box::new(ask) });
        }
    }

    /// Does what is asked, and says what came of it.
    pub(super) fn answer(&mut self, ask: Ask, outlet: &mut impl Outlet) -> Told {
        match ask {
            Ask::Connections { app, after, limit, subject } => {
                Told::Connections(self.connections(app, after, limit, subject.as_deref(), outlet))
            }
            Ask::Slowest { app, limit } => Told::Slowest(self.slowest(app, limit, outlet)),
            Ask::Connection { app, session } => Told::Connection(self.detail(app, session, outlet)),
            Ask::Topics { app, after, limit } => {
                Told::Topics(self.topic_page(app, after.as_ref(), limit))
            }
            Ask::Counts { app } => Told::Counts(self.counts(app)),
            Ask::Members { app, topic, limit } => {
                Told::Members(self.member_page(&TopicKey { app, name: topic }, limit))
            }
            Ask::Close { app, whom, cause } => Told::Closed(match whom {
                Whom::Everyone => self.close_matching(app, cause, outlet, |_, _| true),
                Whom::Session(wanted) => {
                    self.close_matching(app, cause, outlet, |key, _| key == wanted)
                }
                Whom::Subject(subject) => {
                    let wanted = self.wanted(&subject);
                    self.close_matching(app, cause, outlet, |key, session| wanted.is(key, session))
                }
                Whom::TokenId(id) => self.close_matching(app, cause, outlet, |_, session| {
                    session.identity.token_id.as_ref() == Some(&id)
                }),
            }),
            Ask::Unsubscribe { app, subject, patterns } => {
                Told::Unsubscribed(self.unsubscribe_matching(app, &subject, &patterns, outlet))
            }
            Ask::Revoke { app, revocation, until_s } => {
                outlet.revoke(app, &revocation, until_s);
                Told::Closed(self.close_matching(app, CloseCause::Revoked, outlet, |_, session| {
                    is_revoked(&revocation, &session.identity)
                }))
            }
        }
    }

    fn connections(
        &self,
        app: AppIndex,
        after: Option<ConnectionPlace>,
        limit: u32,
        subject: Option<&str>,
        outlet: &impl Outlet,
    ) -> Page<ConnectionEntry> {
        let shard = self.options.shard;
        let subject = subject.map(|subject| self.wanted(subject));
        let wanted = self.sessions_of(app).filter(|(key, session)| {
            after.is_none_or(|after| after < ConnectionPlace { slot: key.index, shard })
                && subject.as_ref().is_none_or(|wanted| wanted.is(*key, session))
        });
        let entries = wanted
            .take(limit as usize + 1)
            .map(|(key, session)| self.entry(key, session, outlet))
            .collect();
        Page::cut(entries, limit)
    }

    /// Connections to which something is owed, most first. Holds twice as many as it tells at most.
    fn slowest(&self, app: AppIndex, limit: u32, outlet: &impl Outlet) -> Vec<SlowEntry> {
        let mut slowest = Vec::new();
        for (key, session) in self.sessions_of(app) {
            let units = session.under_way.iter().flat_map(|under_way| &under_way.catching);
            let catching_count = count(units.map(|unit| unit.topics.len()).sum());
            let queued_size = outlet.queued_size(key) as u64;
            if queued_size == 0 && catching_count == 0 {
                continue;
            }
            let entry = self.entry(key, session, outlet);
            slowest.push(SlowEntry { queued_size, catching_count, entry });
            if slowest.len() >= 2 * limit as usize {
                slowest = SlowEntry::slowest(slowest, limit);
            }
        }
        SlowEntry::slowest(slowest, limit)
    }

    fn entry(&self, key: Key, session: &Session, outlet: &impl Outlet) -> ConnectionEntry {
        let id = self.connection_id(key);
        let subject = session.identity.subject.clone();
        ConnectionEntry {
            id,
            subject: subject.unwrap_or_else(|| id.to_string().into()),
            form: session.form,
            address: outlet.peer(key),
            connected_at_s: u64::from(session.began_s),
            subscription_count: count(session.subscriptions.len()),
        }
    }

    fn detail(
        &self,
        app: AppIndex,
        key: Key,
        outlet: &impl Outlet,
    ) -> Option<Box<ConnectionDetail>> {
        let session = self.session(key).filter(|s| s.app == app && !s.is_evicted)?;
        let name = |topic| self.topics.at(topic).map(|topic| topic.key.name.clone());
        let subscriptions = session.subscriptions.iter();
        let mut topics: Vec<TopicName> =
            subscriptions.take(TOPICS_NAMED_MAX).filter_map(|s| name(s.topic)).collect();
        topics.sort_unstable();
        let permissions = Arc::clone(&session.identity.rights.presented);
        Some(Box::new(ConnectionDetail {
            entry: self.entry(key, session, outlet),
            permissions,
            topics,
        }))
    }

    fn topic_page(
        &self,
        app: AppIndex,
        after: Option<&TopicName>,
        limit: u32,
    ) -> Page<Tally<TopicName>> {
        let behind = |name: &TopicName| after.is_none_or(|after| name > after);
        let topics = self.by_name.iter().filter(|(key, _)| key.app == app && behind(&key.name));
        let tallies = topics.filter_map(|(key, local)| {
            let members = self.topic(*local).groups.iter().map(|group| group.members.len());
            let count = members.sum::<usize>() as u64;
            (count > 0).then_some((&key.name, count))
        });
        first_by_name(tallies, limit)
    }

    fn counts(&self, app: AppIndex) -> Counts {
        let topics = self.home.topics_with_interest(app) as u64;
        let mut counts = Counts { topics, ..Counts::default() };
        for (_, session) in self.sessions_of(app) {
            match session.form {
                Form::Realtime { .. } => counts.websockets += 1,
                Form::Sse { .. } => counts.streams += 1,
                Form::Poll { .. } => counts.polls += 1,
            }
            counts.subscriptions += session.subscriptions.len() as u64;
        }
        counts
    }

    fn member_page(&self, key: &TopicKey, limit: u32) -> Members {
        let local = self.by_name.get(key).copied();
        let counts = local.map(|local| self.count_subjects(local)).unwrap_or_default();
        let tallies = counts.iter().map(|(subject, count)| (subject, u64::from(*count)));
        Members {
            subjects: first_by_name(tallies, limit),
            connection_count: counts.values().map(|count| u64::from(*count)).sum(),
        }
    }

    fn close_matching(
        &mut self,
        app: AppIndex,
        cause: CloseCause,
        outlet: &mut impl Outlet,
        is_meant: impl Fn(Key, &Session) -> bool,
    ) -> u64 {
        let meant = self.sessions_of(app).filter(|(key, session)| is_meant(*key, session));
        let keys: Vec<Key> = meant.map(|(key, _)| key).collect();
        keys.into_iter().filter(|key| self.close(*key, cause, outlet)).count() as u64
    }

    fn wanted<'a>(&self, subject: &'a str) -> Wanted<'a> {
        let named = self.connection_named(subject);
        let own = named.filter(|id| id.shard == self.options.shard).map(|id| id.key);
        Wanted { subject, own }
    }

    fn unsubscribe_matching(
        &mut self,
        app: AppIndex,
        subject: &str,
        patterns: &Patterns,
        outlet: &mut impl Outlet,
    ) -> u64 {
        let wanted = self.wanted(subject);
        let meant = self.sessions_of(app).filter(|(key, session)| wanted.is(*key, session));
        let keys: Vec<Key> = meant.map(|(key, _)| key).collect();
        let is_meant = |name: &TopicName| {
            name.class() != TopicClass::Private && patterns.matches(name.as_str())
        };
        keys.into_iter().map(|key| self.unsubscribe_where(key, is_meant, outlet)).sum()
    }

    /// Ends a session's subscriptions to topics that `is_meant` says; how many there were.
    pub(super) fn unsubscribe_where(
        &mut self,
        session: Key,
        is_meant: impl Fn(&TopicName) -> bool,
        outlet: &mut impl Outlet,
    ) -> u64 {
        let Some(state) = self.session(session) else { return 0 };
        let joined = state.subscriptions.iter().filter_map(|s| self.topics.at(s.topic));
        let units = state.under_way.iter().flat_map(|under_way| &under_way.catching);
        let catching = units.flat_map(|unit| &unit.topics).map(|local| self.topic(*local));
        let names: Vec<TopicName> = joined
            .chain(catching)
            .map(|topic| &topic.key.name)
            .filter(|name| is_meant(name))
            .cloned()
            .collect();
        for name in &names {
            self.unsubscribe(session, name, outlet);
        }
        names.len() as u64
    }
}

/// A subject that is looked for.
struct Wanted<'a> {
    subject: &'a str,
    /// This shard's connection whose id it is.
    own: Option<Key>,
}

impl Wanted<'_> {
    fn is(&self, key: Key, session: &Session) -> bool {
        match &session.identity.subject {
            Some(subject) => **subject == *self.subject,
            None => self.own == Some(key),
        }
    }
}

fn is_revoked(revocation: &Revocation, identity: &Identity) -> bool {
    match revocation {
        Revocation::TokenId(id) => identity.token_id.as_ref() == Some(id),
        Revocation::Subject { subject, issued_before_s } => {
            identity.subject.as_deref() == Some(&**subject)
                && identity.issued_at.is_none_or(|issued| issued < *issued_before_s)
        }
    }
}

/// The first `limit` of tallies in any order, by name; never holds many more than that.
fn first_by_name<'a, N: Ord + Clone + 'a>(
    tallies: impl Iterator<Item = (&'a N, u64)>,
    limit: u32,
) -> Page<Tally<N>> {
    let mut first = BinaryHeap::new();
    for tally in tallies {
        first.push(tally);
        if first.len() > limit as usize + 1 {
            first.pop();
        }
    }
    let sorted = first.into_sorted_vec().into_iter();
    let entries = sorted.map(|(name, count)| Tally { name: name.clone(), count }).collect();
    Page::cut(entries, limit)
}
