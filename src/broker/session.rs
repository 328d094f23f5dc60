//! A session's subscriptions, as the broker keeps them.

use smallvec::SmallVec;

use crate::model::application::AppIndex;
use crate::model::form::Form;
use crate::stdx::slab::Key;

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

/// One subscriber of this shard.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) app: AppIndex,
    pub(super) form: Form,
    pub(super) subscriptions: SmallVec<[Subscription; 2]>,
    /// Topics asked for and not yet registered by their homes.
    pub(super) pending: SmallVec<[Key; 1]>,
    pub(super) generation: u32,
}
