//! What a broker asks of its shard.

use std::net::SocketAddr;
use std::sync::Arc;

use super::ask::Told;
use super::local::Member;
use super::parcel::{Parcel, Receipt, ReplyTo};
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::form::Form;
use crate::model::identity::Revocation;
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// The shard as the broker sees it. None of these may call back into the broker.
pub trait Outlet {
    /// Queue a run of one topic's messages, oldest first, for every member. All want `form`.
    fn deliver(&mut self, form: Form, run: &[Arc<Message>], members: &[Member]);

    /// Queue a message of the session's own private topic; the session may be gone.
    fn deliver_private(&mut self, session: Key, message: &Arc<Message>);

    /// The session is subscribed: everything after `at` will reach it.
    fn subscribed(&mut self, session: Key, ticket: u32, topic: &TopicName, at: Position);

    /// A publish of one of this shard's sessions has its outcome.
    fn published(&mut self, to: ReplyTo, outcome: Result<Receipt, Refusal>);

    /// The session's subject is registered with its home.
    fn arrived(&mut self, session: Key);

    /// End the session's connection.
    fn evict(&mut self, session: Key, cause: CloseCause);

    /// One of the shards asked has told.
    fn told(&mut self, to: ReplyTo, told: Told);

    /// Where a session's peer is.
    fn peer(&self, session: Key) -> Option<SocketAddr>;

    /// Refuse such tokens from now on, until then.
    fn revoke(&mut self, app: AppIndex, revocation: &Revocation, until_s: u64);

    /// Hand a parcel to another shard. Never refused: what may be refused asks `has_room` first.
    fn send(&mut self, shard: ShardIndex, parcel: Parcel);

    /// Whether the lane to `shard` is below its byte limit.
    fn has_room(&self, shard: ShardIndex) -> bool;
}
