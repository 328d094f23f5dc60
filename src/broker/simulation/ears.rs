//! One shard's outlet: writes down what its broker wants done, and keeps its lanes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::broker::{Member, Outlet, Parcel, Receipt, ReplyTo, Told};
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::family::SlowConsumer;
use crate::model::form::Form;
use crate::model::identity::Revocation;
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::recovery::{LossReason, Recovery};
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::store::{Page, StoreError, StoreRequest};
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// Parcels in a lane from which on it has no room.
const LANE_LEN_MAX: usize = 40;

/// What happened, in order, on one shard.
pub(super) enum Happened {
    Delivered(Form, Vec<Arc<Message>>, Vec<Member>),
    Private(Key, Arc<Message>),
    Arrived(Key),
    Evicted(Key, CloseCause),
    Told(ReplyTo, Told),
    Revoked(AppIndex, Revocation, u64),
    Subscribed(Key, u32, TopicName, Position),
    Outcome(ReplyTo, Result<Receipt, Refusal>),
    /// The home of a publish from elsewhere decided; the answer is on its way.
    Decided(ReplyTo, Result<Receipt, Refusal>),
}

/// One shard's outlet: writes down, forwards parcels.
pub(super) struct Ears {
    pub(super) lanes: Vec<VecDeque<Parcel>>,
    pub(super) happened: Vec<Happened>,
}

impl Outlet for Ears {
    fn deliver(
        &mut self,
        form: Form,
        run: &[Arc<Message>],
        members: &[Member],
        _policy: SlowConsumer,
        _stalled: &mut Vec<u32>,
    ) {
        assert!(!run.is_empty() && !members.is_empty(), "deliveries of nothing or to nobody");
        self.happened.push(Happened::Delivered(form, run.to_vec(), members.to_vec()));
    }

    fn arrived(&mut self, session: Key) {
        self.happened.push(Happened::Arrived(session));
    }

    fn evict(&mut self, session: Key, cause: CloseCause) {
        self.happened.push(Happened::Evicted(session, cause));
    }

    fn deliver_private(&mut self, session: Key, message: &Arc<Message>) {
        self.happened.push(Happened::Private(session, Arc::clone(message)));
    }

    fn catch_up(&mut self, _session: Key, _form: Form, _messages: &[Arc<Message>]) {
        unreachable!("nobody here gives a position");
    }

    fn wants_more(&mut self, _session: Key) {
        unreachable!("nobody here gives a position");
    }

    fn lost(&mut self, _: Key, _: &[TopicName], _: Position, _: LossReason) {
        unreachable!("nobody here gives a position");
    }

    fn fetched(&mut self, _to: ReplyTo, _outcome: Result<Page, StoreError>) {
        unreachable!("nobody here reads history");
    }

    fn store(&mut self, _request: StoreRequest) {
        unreachable!("no topic here is durable");
    }

    fn store_has_room(&self) -> bool {
        false
    }

    fn subscribed(
        &mut self,
        session: Key,
        ticket: u32,
        topics: &[TopicName],
        at: Position,
        recovery: Option<Recovery>,
    ) {
        assert_eq!(recovery, None, "nobody here gives a position");
        let [topic] = topics else { panic!("one topic is asked for at a time") };
        self.happened.push(Happened::Subscribed(session, ticket, topic.clone(), at));
    }

    fn published(&mut self, to: ReplyTo, outcome: Result<Receipt, Refusal>) {
        self.happened.push(Happened::Outcome(to, outcome));
    }

    fn send(&mut self, shard: ShardIndex, parcel: Parcel) {
        if let Parcel::Published { to, outcome } = &parcel {
            self.happened.push(Happened::Decided(*to, outcome.clone()));
        }
        let may_be_refused = match &parcel {
            Parcel::Publish { .. } | Parcel::DeliverPrivate { .. } => true,
            Parcel::Deliver(message) => message.publication.message_type.is_none(),
            _ => false,
        };
        assert!(!may_be_refused || self.has_room(shard), "pushed into a full lane");
        self.lanes[shard.index()].push_back(parcel);
    }

    fn has_room(&self, shard: ShardIndex) -> bool {
        self.lanes[shard.index()].len() < LANE_LEN_MAX
    }

    fn told(&mut self, to: ReplyTo, told: Told) {
        self.happened.push(Happened::Told(to, told));
    }

    fn peer(&self, session: Key) -> Option<SocketAddr> {
        let port = u16::try_from(session.index).unwrap();
        Some(SocketAddr::from(([10, 0, 0, 1], port)))
    }

    fn queued_size(&self, _session: Key) -> usize {
        0
    }

    fn revoke(&mut self, app: AppIndex, revocation: &Revocation, until_s: u64) {
        self.happened.push(Happened::Revoked(app, revocation.clone(), until_s));
    }
}
