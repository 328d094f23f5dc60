//! One shard's outlet: writes down what its broker wants done, and knows whose queues are full.

use std::collections::{HashSet, VecDeque};
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
const LANE_LEN_MAX: usize = 60;

/// What happened, in order, on one shard.
pub(super) enum Happened {
    Delivered(Form, Vec<Arc<Message>>, Vec<u32>),
    CaughtUp(Key, Form, Vec<Arc<Message>>),
    WantsMore(Key),
    Closed(u32),
    Subscribed(Key, u32, Vec<TopicName>, Position, Option<Recovery>),
    Lost(Key, Vec<TopicName>, Position, LossReason),
    /// The home of a publish decided.
    Placed(ReplyTo, Result<Receipt, Refusal>),
    Answered(ReplyTo, Result<Receipt, Refusal>),
}

/// One shard's outlet.
pub(super) struct Ears {
    pub(super) shard: ShardIndex,
    pub(super) lanes: Vec<VecDeque<Parcel>>,
    pub(super) store_lane: VecDeque<StoreRequest>,
    pub(super) happened: Vec<Happened>,
    /// Sessions whose queues have met their limit.
    pub(super) full: HashSet<u32>,
    /// Sessions that were closed and have not ended yet.
    pub(super) closed: HashSet<u32>,
    /// Times that a subscription had to wait for its session's queue, by policy.
    pub(super) stalled: [u64; SlowConsumer::ALL.len()],
}

impl Ears {
    pub(super) fn new(shard: ShardIndex, shard_count: u16) -> Ears {
        Ears {
            shard,
            lanes: (0..shard_count).map(|_| VecDeque::new()).collect(),
            store_lane: VecDeque::new(),
            happened: Vec::new(),
            full: HashSet::new(),
            closed: HashSet::new(),
            stalled: [0; SlowConsumer::ALL.len()],
        }
    }

    /// What a session is told, unless it was closed.
    fn note(&mut self, session: Key, what: Happened) {
        if !self.closed.contains(&session.index) {
            self.happened.push(what);
        }
    }
}

impl Outlet for Ears {
    fn deliver(
        &mut self,
        form: Form,
        run: &[Arc<Message>],
        members: &[Member],
        policy: SlowConsumer,
        stalled: &mut Vec<u32>,
    ) {
        assert!(!run.is_empty() && !members.is_empty(), "deliveries of nothing or to nobody");
        let mut taking = Vec::with_capacity(members.len());
        for Member { session, .. } in members {
            if self.closed.contains(session) {
                continue;
            }
            if !self.full.contains(session) {
                taking.push(*session);
                continue;
            }
            self.stalled[policy as usize] += 1;
            if policy == SlowConsumer::Close {
                self.closed.insert(*session);
                self.happened.push(Happened::Closed(*session));
            } else {
                stalled.push(*session);
            }
        }
        self.happened.push(Happened::Delivered(form, run.to_vec(), taking));
    }

    fn catch_up(&mut self, session: Key, form: Form, messages: &[Arc<Message>]) {
        assert!(!messages.is_empty(), "a page of nothing");
        self.note(session, Happened::CaughtUp(session, form, messages.to_vec()));
    }

    fn wants_more(&mut self, session: Key) {
        self.note(session, Happened::WantsMore(session));
    }

    fn arrived(&mut self, _session: Key) {}

    fn evict(&mut self, _session: Key, _cause: CloseCause) {
        unreachable!("everyone may stay");
    }

    fn deliver_private(&mut self, _session: Key, _message: &Arc<Message>) {
        unreachable!("nobody publishes privately");
    }

    fn subscribed(
        &mut self,
        session: Key,
        ticket: u32,
        topics: &[TopicName],
        at: Position,
        recovery: Option<Recovery>,
    ) {
        let topics = topics.to_vec();
        self.note(session, Happened::Subscribed(session, ticket, topics, at, recovery));
    }

    fn lost(&mut self, session: Key, topics: &[TopicName], at: Position, reason: LossReason) {
        self.note(session, Happened::Lost(session, topics.to_vec(), at, reason));
    }

    fn fetched(&mut self, _to: ReplyTo, _outcome: Result<Page, StoreError>) {
        unreachable!("nobody reads history by name");
    }

    fn published(&mut self, to: ReplyTo, outcome: Result<Receipt, Refusal>) {
        assert_eq!(to.shard, self.shard, "answers come to the asker");
        self.happened.push(Happened::Answered(to, outcome));
    }

    fn send(&mut self, shard: ShardIndex, parcel: Parcel) {
        if let Parcel::Published { to, outcome } = &parcel {
            self.happened.push(Happened::Placed(*to, outcome.clone()));
        }
        self.lanes[shard.index()].push_back(parcel);
    }

    fn has_room(&self, shard: ShardIndex) -> bool {
        self.lanes[shard.index()].len() < LANE_LEN_MAX
    }

    fn store(&mut self, request: StoreRequest) {
        self.store_lane.push_back(request);
    }

    fn store_has_room(&self) -> bool {
        self.store_lane.len() < LANE_LEN_MAX
    }

    fn told(&mut self, _to: ReplyTo, _told: Told) {
        unreachable!("nobody asks");
    }

    fn peer(&self, _session: Key) -> Option<SocketAddr> {
        None
    }

    fn queued_size(&self, _session: Key) -> usize {
        0
    }

    fn revoke(&mut self, _app: AppIndex, _revocation: &Revocation, _until_s: u64) {
        unreachable!("nobody orders");
    }
}
