//! What a broker asks of its shard.

use std::net::SocketAddr;
use std::sync::Arc;

use super::ask::Told;
use super::local::Member;
use super::parcel::{Parcel, Receipt, ReplyTo};
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::family::SlowConsumer;
use crate::model::form::Form;
use crate::model::identity::{Identity, Revocation};
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::recovery::{LossReason, Recovery};
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::store::{Page, StoreError, StoreRequest};
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// The shard as the broker sees it. None of these may call back into the broker.
pub trait Outlet {
    /// Queue a run of messages, oldest first, for every member. All want `form`. A member whose queue
    /// has met its limit is closed with [`SlowConsumer::Close`]; with any other policy nothing is
    /// queued for it, and its session goes into `stalled`.
    fn deliver(
        &mut self,
        form: Form,
        run: &[Arc<Message>],
        members: &[Member],
        policy: SlowConsumer,
        stalled: &mut Vec<u32>,
    );

    /// Queue messages of history, oldest first, for one session. Whatever its queue holds.
    fn catch_up(&mut self, session: Key, form: Form, messages: &[Arc<Message>]);

    /// The session has more to catch up with: call [`super::Broker::catch_up`] once its queue has
    /// room again.
    fn wants_more(&mut self, session: Key);

    /// The session is known to its subject's home: every publish to its private topics that is
    /// answered from now on will reach it. Once per session that is let in.
    fn arrived(&mut self, session: Key);

    /// Close the session, and end it. Once per session, and never one that has ended.
    fn evict(&mut self, session: Key, cause: CloseCause);

    /// Queue a message of one of the session's own private topics.
    fn deliver_private(&mut self, session: Key, message: &Arc<Message>);

    /// The session is subscribed to these topics of one lane: everything after `at` will reach it,
    /// or what `recovery` says, where a position was given.
    fn subscribed(
        &mut self,
        session: Key,
        ticket: u32,
        topics: &[TopicName],
        at: Position,
        recovery: Option<Recovery>,
    );

    /// Some messages of these topics up to `at` will not reach the session.
    fn lost(&mut self, session: Key, topics: &[TopicName], at: Position, reason: LossReason);

    /// A page of history that a session of this shard asked for.
    fn fetched(&mut self, to: ReplyTo, outcome: Result<Page, StoreError>);

    /// A publish of one of this shard's sessions has its outcome.
    fn published(&mut self, to: ReplyTo, outcome: Result<Receipt, Refusal>);

    /// Hand a parcel to another shard. Never refused: what may be refused asks `has_room` first.
    fn send(&mut self, shard: ShardIndex, parcel: Parcel);

    /// Whether the lane to `shard` is below its byte limit.
    fn has_room(&self, shard: ShardIndex) -> bool;

    /// Hand a request to the store. Never refused, as `send`.
    fn store(&mut self, request: StoreRequest);

    /// Whether the lane to the store is below its byte limit.
    fn store_has_room(&self) -> bool;

    /// One shard's answer to a question or order of this shard. Every shard asked answers once.
    fn told(&mut self, to: ReplyTo, told: Told);

    /// The session's address, while it has one.
    fn peer(&self, session: Key) -> Option<SocketAddr>;

    /// Bytes that wait for the session's peer.
    fn queued_size(&self, session: Key) -> usize;

    /// A session begins.
    fn session_began(&mut self, _session: Key, _app: AppIndex, _identity: &Identity) {}

    /// A session that began has ended. Once for each.
    fn session_ended(&mut self, _app: AppIndex) {}

    /// This home has given a message its place, and hands it out next.
    fn placed(&mut self, _message: &Arc<Message>) {}

    /// Refuse such tokens of the application until `until_s`, Unix seconds.
    fn revoke(&mut self, app: AppIndex, revocation: &Revocation, until_s: u64);
}
