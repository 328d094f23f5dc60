//! The home of a token's subject: which connections are that subject, on all shards.
//!
//! It applies `same_subject`, delivers to `priv/{subject}`, and tells coming and going on
//! `secure/inbound`. An evicted connection is forgotten at once, so that it is neither evicted nor
//! counted twice; its `Depart`, when it comes, finds nothing.
//!
//! What is told of a subject's present connections, each told as connected and disconnected once:
//! - A connection that `RejectNew` keeps out was never there: nothing is told.
//! - `ReplaceOld` tells that the old one went, then that the new one came, so that the last word on
//!   a subject that is there is always `connected`.
//! - With `debounce_ms`, the going of a subject's last connection waits. If the subject comes
//!   again meanwhile, also by replacing its old connection, neither is told: the subject was there
//!   all the time.
//!
//! Limits: one entry per subject with connections, or gone for less than `debounce_ms`.

use std::sync::Arc;

use smallvec::SmallVec;

use super::core::{Broker, Timer};
use super::outlet::Outlet;
use super::parcel::Parcel;
use super::timers::TimerId;
use crate::model::application::{AppIndex, SameSubject};
use crate::model::close::CloseCause;
use crate::model::id::ConnectionId;
use crate::model::identity::Identity;
use crate::model::presence::Attendance;

/// A token's subject within its application.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct SubjectKey {
    pub(super) app: AppIndex,
    pub(super) subject: Arc<str>,
}

/// A connection of a subject.
#[derive(Debug)]
struct Registered {
    connection: ConnectionId,
    /// What is told of it, when it counts as present.
    present: Option<Arc<Identity>>,
}

/// A present connection, and what is told of it.
#[derive(Debug)]
struct Client {
    connection: ConnectionId,
    identity: Arc<Identity>,
}

/// A going that is not told yet.
#[derive(Debug)]
struct Gone {
    timer: TimerId,
    client: Client,
}

/// All there is of a subject.
#[derive(Debug, Default)]
pub(super) struct Subject {
    connections: SmallVec<[Registered; 1]>,
    gone: Option<Box<Gone>>,
}

impl Subject {
    fn is_present(&self) -> bool {
        self.connections.iter().any(|registered| registered.present.is_some())
    }

    fn take_present(&mut self) -> Option<Client> {
        let at = self.connections.iter().position(|registered| registered.present.is_some())?;
        let Registered { connection, present } = self.connections.swap_remove(at);
        Some(Client { connection, identity: present? })
    }
}

impl Broker {
    /// Registers a session of a subject that lives here, or keeps it out.
    pub(super) fn arrive(
        &mut self,
        app: AppIndex,
        connection: ConnectionId,
        identity: Arc<Identity>,
        is_present: bool,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(subject) = identity.subject.clone() else { return };
        let key = &SubjectKey { app, subject };
        let present = is_present.then_some(identity);
        let rule = self.applications.get(app).same_subject;
        if present.is_some() && self.subjects.get(key).is_some_and(Subject::is_present) {
            match rule {
                SameSubject::Allow => {}
                SameSubject::RejectNew => return self.send_away(connection, outlet),
                SameSubject::ReplaceOld => self.replace_old(key, time_us, outlet),
            }
        }
        let subject = self.subjects.entry(key.clone()).or_default();
        subject.connections.push(Registered { connection, present: present.clone() });
        if let Some(identity) = present {
            self.came(key, &Client { connection, identity }, time_us, outlet);
        }
        if connection.shard == self.options.shard {
            self.arrived(connection.key, outlet);
        } else {
            outlet.send(connection.shard, Parcel::Arrived { session: connection.key });
        }
    }

    /// Forgets a session of a subject that lives here, unless that is done already.
    pub(super) fn departed(
        &mut self,
        key: &SubjectKey,
        connection: ConnectionId,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(subject) = self.subjects.get_mut(key) else { return };
        let at = subject.connections.iter().position(|known| known.connection == connection);
        let Some(at) = at else { return };
        if let Some(identity) = subject.connections.swap_remove(at).present {
            self.went(key, Client { connection, identity }, time_us, outlet);
        }
        self.drop_if_forgotten(key);
    }

    /// A subject has been gone for so long that it is told.
    pub(super) fn tell_gone(&mut self, key: &SubjectKey, time_us: u64, outlet: &mut impl Outlet) {
        let Some(gone) = self.subjects.get_mut(key).and_then(|subject| subject.gone.take()) else {
            return;
        };
        self.drop_if_forgotten(key);
        self.tell(key.app, &gone.client, Attendance::Disconnected, time_us, outlet);
    }

    /// Where to deliver what is published to `priv/{subject}`.
    pub(super) fn connections_of(
        &self,
        key: &SubjectKey,
    ) -> impl Iterator<Item = ConnectionId> + use<'_> {
        let known = self.subjects.get(key).map(|subject| subject.connections.iter());
        known.into_iter().flatten().map(|registered| registered.connection)
    }

    fn replace_old(&mut self, key: &SubjectKey, time_us: u64, outlet: &mut impl Outlet) {
        while let Some(old) = self.subjects.get_mut(key).and_then(Subject::take_present) {
            self.send_away(old.connection, outlet);
            self.went(key, old, time_us, outlet);
        }
    }

    fn send_away(&mut self, connection: ConnectionId, outlet: &mut impl Outlet) {
        let (session, cause) = (connection.key, CloseCause::SameSubject);
        if connection.shard == self.options.shard {
            self.evict(session, cause, outlet);
        } else {
            outlet.send(connection.shard, Parcel::Evict { session, cause });
        }
    }

    fn came(&mut self, key: &SubjectKey, client: &Client, time_us: u64, outlet: &mut impl Outlet) {
        let gone = self.subjects.get_mut(key).and_then(|subject| subject.gone.take());
        match gone {
            Some(gone) => self.timers.cancel(gone.timer),
            None => self.tell(key.app, client, Attendance::Connected, time_us, outlet),
        }
    }

    /// A present connection went, and is no longer among the subject's.
    fn went(&mut self, key: &SubjectKey, client: Client, time_us: u64, outlet: &mut impl Outlet) {
        let debounce_us = self.debounce_us(key.app);
        let subject = self.subjects.get_mut(key).expect("dropped only when it has nothing left");
        if debounce_us == 0 || subject.is_present() {
            return self.tell(key.app, &client, Attendance::Disconnected, time_us, outlet);
        }
        let timer = self.timers.schedule(time_us, debounce_us, Timer::SubjectGone(key.clone()));
        subject.gone = Some(Box::new(Gone { timer, client }));
    }

    fn tell(
        &mut self,
        app: AppIndex,
        client: &Client,
        attendance: Attendance,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Client { connection, identity } = client;
        self.announce_connection(app, *connection, identity, attendance, time_us, outlet);
    }

    fn drop_if_forgotten(&mut self, key: &SubjectKey) {
        if let Some(subject) = self.subjects.get(key)
            && subject.connections.is_empty()
            && subject.gone.is_none()
        {
            self.subjects.remove(key);
        }
    }

    /// How long a going waits before it is told.
    pub(super) fn debounce_us(&self, app: AppIndex) -> u64 {
        u64::from(self.applications.get(app).presence.debounce_ms) * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_with_one_connection_stays_within_its_budget() {
        // One entry of the table and nothing beside it.
        assert_eq!(std::mem::size_of::<(SubjectKey, Subject)>(), 64);
    }
}
