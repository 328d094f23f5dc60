//! Sessions begin and end, and their subjects' homes hear of it.
//!
//! A session without a token's subject is its own subject: nobody else can be it, so its shard is
//! its home and it is let in at once. Any other arrives at the home of `priv/{subject}`, which
//! answers `Arrived`, or `Evict` where `same_subject` keeps it out.
//!
//! Invariants: a session that was told to close is told so once; its home has forgotten it then,
//! or hears of it next. `Depart` never overtakes `Arrive`, because lanes keep order.

use std::sync::Arc;

use smallvec::SmallVec;

use super::core::Broker;
use super::outlet::Outlet;
use super::parcel::Parcel;
use super::session::{Arrival, Session};
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::id::ConnectionId;
use crate::model::identity::Identity;
use crate::model::presence::Attendance;
use crate::stdx::slab::Key;

impl Broker {
    /// A session begins. `Outlet::arrived` or `Outlet::evict` follows: at once when it has no
    /// token's subject, else when its subject's home has answered.
    pub fn begin(
        &mut self,
        session: Key,
        arrival: Arrival,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        let Arrival { app, form, connection, identity, is_present } = arrival;
        let index = session.index as usize;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        self.sessions[index] = Some(Box::new(Session {
            identity: Arc::clone(&identity),
            subscriptions: SmallVec::new(),
            under_way: None,
            generation: session.generation,
            began_s: u32::try_from(time_us / 1_000_000).unwrap_or(u32::MAX),
            app,
            form,
            is_present,
            is_evicted: false,
        }));
        outlet.session_began(session, app, &identity);
        if let Some(subject) = &identity.subject {
            let home = self.home_of_subject(app, subject);
            self.forward(home, Parcel::Arrive { app, connection, identity, is_present }, outlet);
            return;
        }
        if is_present {
            self.announce_connection(
                app,
                connection,
                &identity,
                Attendance::Connected,
                time_us,
                outlet,
            );
        }
        outlet.arrived(session);
    }

    /// A session ends: it leaves every topic. Unknown sessions are ignored.
    ///
    /// # Panics
    /// Only on a bug: a subscription that names a dead topic.
    pub fn end(&mut self, session: Key, time_us: u64, outlet: &mut impl Outlet) {
        let Some(state) = self.session(session) else { return };
        let mut last = state.subscriptions.last().copied();
        while let Some(found) = last {
            let local = self.topics.key_at(found.topic).expect("subscriptions name live topics");
            self.leave_topic(session, local, outlet);
            last = self.session(session).and_then(|state| state.subscriptions.last().copied());
        }
        // Only now: by what it was still owed it may have fallen behind.
        let under_way = self.session_mut(session).and_then(|state| state.under_way.take());
        if let Some(under_way) = under_way {
            for topic in under_way.pending {
                self.stop_waiting(session, topic, outlet);
            }
            for topic in under_way.catching.into_iter().flat_map(|unit| unit.topics) {
                self.topic_mut(topic).catching_count -= 1;
                self.drop_if_deserted(topic, outlet);
            }
        }
        if self.session(session).is_some_and(|state| !state.is_evicted) {
            self.depart(session, outlet);
        }
        let state = self.sessions[session.index as usize].take();
        if let Some(state) = state.as_deref() {
            outlet.session_ended(state.app);
        }
        if let Some(Session { app, identity, is_present: true, .. }) = state.as_deref()
            && identity.subject.is_none()
        {
            let connection = self.connection_id(session);
            let attendance = Attendance::Disconnected;
            self.announce_connection(*app, connection, identity, attendance, time_us, outlet);
        }
    }

    /// Who a session is, and of which application.
    pub fn identity_of(&self, session: Key) -> Option<(AppIndex, &Arc<Identity>)> {
        self.session(session).map(|state| (state.app, &state.identity))
    }

    /// A session presented a new token of the same subject: what that may not read, it leaves.
    /// What its coming was told with, its going will be told with.
    ///
    /// # Panics
    /// When the subject is another one: the caller has to refuse that.
    pub fn set_identity(
        &mut self,
        session: Key,
        identity: &Arc<Identity>,
        outlet: &mut impl Outlet,
    ) {
        let Some(state) = self.session_mut(session) else { return };
        assert_eq!(state.identity.subject, identity.subject, "a session keeps its subject");
        state.identity = Arc::clone(identity);
        self.unsubscribe_where(session, |topic| !identity.rights.may_subscribe(topic), outlet);
    }

    /// The subject's home has registered the session, which may be over already.
    pub(super) fn arrived(&self, session: Key, outlet: &mut impl Outlet) {
        if self.session(session).is_some_and(|state| !state.is_evicted) {
            outlet.arrived(session);
        }
    }

    /// Has a session closed that its subject's home has forgotten; whether it was not already.
    pub(super) fn evict(
        &mut self,
        session: Key,
        cause: CloseCause,
        outlet: &mut impl Outlet,
    ) -> bool {
        let Some(state) = self.session_mut(session) else { return false };
        if std::mem::replace(&mut state.is_evicted, true) {
            return false;
        }
        outlet.evict(session, cause);
        true
    }

    /// Has a session closed; whether it was not already.
    pub(super) fn close(
        &mut self,
        session: Key,
        cause: CloseCause,
        outlet: &mut impl Outlet,
    ) -> bool {
        let is_news = self.evict(session, cause, outlet);
        if is_news {
            self.depart(session, outlet);
        }
        is_news
    }

    /// Tells the home of the session's subject that it is gone.
    fn depart(&mut self, session: Key, outlet: &mut impl Outlet) {
        let Some(state) = self.session(session) else { return };
        let Some(subject) = state.identity.subject.clone() else { return };
        let app = state.app;
        let home = self.home_of_subject(app, &subject);
        let connection = self.connection_id(session);
        self.forward(home, Parcel::Depart { app, subject, connection }, outlet);
    }

    /// The id of one of this shard's connections.
    pub(super) fn connection_id(&self, session: Key) -> ConnectionId {
        self.options.ids.id(self.options.shard, session)
    }

    /// Who a session is: its token's subject, or else its connection id's text.
    pub(super) fn subject_of(&self, session: Key) -> Option<Arc<str>> {
        let state = self.session(session)?;
        let subject = state.identity.subject.clone();
        Some(subject.unwrap_or_else(|| self.connection_id(session).to_string().into()))
    }

    /// The live sessions of an application that have not been told to close, in slot order.
    pub(super) fn sessions_of(&self, app: AppIndex) -> impl Iterator<Item = (Key, &Session)> {
        self.sessions.iter().enumerate().filter_map(move |(index, session)| {
            let session = session.as_deref().filter(|s| s.app == app && !s.is_evicted)?;
            let index = u32::try_from(index).expect("slots are 32 bits");
            Some((Key { index, generation: session.generation }, session))
        })
    }
}
