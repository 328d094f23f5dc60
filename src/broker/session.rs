//! A session: who it is, and its subscriptions as the broker keeps them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::catching::CatchUp;
use crate::model::application::AppIndex;
use crate::model::form::Form;
use crate::model::id::ConnectionId;
use crate::model::identity::Identity;
use crate::stdx::slab::Key;

/// Who begins a session.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Whose namespace its topics are in.
    pub app: AppIndex,
    /// How it wants its messages, for its whole life.
    pub form: Form,
    /// Its connection's id.
    pub connection: ConnectionId,
    /// Who it is. Its *subject* is the identity's, or else the connection id's text.
    pub identity: Arc<Identity>,
    /// Whether its coming and going is told and `same_subject` holds for it: yes for a Realtime
    /// WebSocket, no for an event stream.
    pub is_present: bool,
}

/// One subscription, seen from the session. 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Subscription {
    /// The local topic's index.
    pub(super) topic: u32,
    /// The group within the topic.
    pub(super) group: u32,
    /// The place among the group's members.
    pub(super) place: u32,
}

/// Subscriptions on their way; kept only while there are some.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// Topics asked for and not yet registered by their homes.
    pub(super) pending: Vec<Key>,
    /// What it catches up with.
    pub(super) catching: Vec<CatchUp>,
}

impl UnderWay {
    /// Topics in it.
    pub(super) fn len(&self) -> usize {
        self.pending.len() + self.catching.iter().map(|unit| unit.topics.len()).sum::<usize>()
    }
}

/// One subscriber of this shard.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) identity: Arc<Identity>,
    pub(super) subscriptions: SmallVec<[Subscription; 2]>,
    /// What of its subscribing is not over.
    pub(super) under_way: Option<Box<UnderWay>>,
    pub(super) generation: u32,
    /// When it began, Unix seconds; 32 bits hold them until the year 2106.
    pub(super) began_s: u32,
    pub(super) app: AppIndex,
    pub(super) form: Form,
    pub(super) is_present: bool,
    /// The shard was told to close it; its subject's home no longer counts it, or will not once
    /// what is on the way has come.
    pub(super) is_evicted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_stays_within_its_budget() {
        assert_eq!(std::mem::size_of::<Session>(), 64);
    }
}
