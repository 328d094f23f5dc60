//! Fan-out within one shard: a publish through its topic's home to the members' outbound queues,
//! and what a flush takes out of them. All of a delivery but the system call.
//!
//! The queues are the shard's own (`src/shard/outbound.rs`); round them stands only what
//! `shard::delivery` does for each member, less the connection table and the counters.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use fanwire::broker::{
    Arrival, Broker, BrokerOptions, Member, Outlet, Parcel, Receipt, ReplyTo, StartFrom,
    SubscribeOutcome, Told,
};
use fanwire::model::application::{AppIndex, Application, Applications};
use fanwire::model::close::CloseCause;
use fanwire::model::family::SlowConsumer;
use fanwire::model::form::Form;
use fanwire::model::id::ConnectionIds;
use fanwire::model::identity::{Identity, Revocation};
use fanwire::model::message::Message;
use fanwire::model::position::{Epoch, Position};
use fanwire::model::recovery::{LossReason, Recovery};
use fanwire::model::refusal::Refusal;
use fanwire::model::rights::Rights;
use fanwire::model::shard::ShardIndex;
use fanwire::model::store::{Page, StoreError, StoreRequest};
use fanwire::model::topic::TopicName;
use fanwire::proto::encode::Encoder;
use fanwire::stdx::slab::Key;

use super::Op;
use super::write::publication;
use crate::outbound::{Block, Outbound};

const FORM: Form = Form::Realtime { positions: false, window: None };

/// Outbound queues without connections, and a count of all that left them.
#[derive(Default)]
struct Queues {
    encoder: Encoder,
    owed: Vec<Outbound>,
    dirty: Vec<u32>,
    arrived_count: usize,
    subscribed_count: usize,
    published_count: usize,
}

impl Queues {
    /// Takes out what a flush would send; how many bytes.
    fn flush(&mut self) -> usize {
        let mut size = 0;
        for index in self.dirty.drain(..) {
            let queue = &mut self.owed[index as usize];
            let part = queue.only_part().expect("one run of one topic");
            let part_size = part.len();
            queue.consume(part_size);
            size += part_size;
        }
        size
    }
}

impl Outlet for Queues {
    fn deliver(
        &mut self,
        form: Form,
        run: &[Arc<Message>],
        members: &[Member],
        _policy: SlowConsumer,
        _stalled: &mut Vec<u32>,
    ) {
        let [message] = run else { panic!("one publish per turn") };
        // As `Delivery::block` does for a message that one shard delivers.
        assert!(message.is_for_one_shard());
        let mut bytes = Vec::new();
        self.encoder.append(&mut bytes, form, message);
        let block = Rc::new(Block::Bytes(bytes));
        for member in members {
            self.owed[member.session as usize].push(Rc::clone(&block));
            self.dirty.push(member.session);
        }
    }

    fn arrived(&mut self, _session: Key) {
        self.arrived_count += 1;
    }

    fn evict(&mut self, _session: Key, _cause: CloseCause) {
        unreachable!("nobody is sent away here")
    }

    fn deliver_private(&mut self, _session: Key, _message: &Arc<Message>) {
        unreachable!("no private topic here")
    }

    fn catch_up(&mut self, _session: Key, _form: Form, _messages: &[Arc<Message>]) {
        unreachable!("nobody gives a position here")
    }

    fn wants_more(&mut self, _session: Key) {
        unreachable!("nobody gives a position here")
    }

    fn lost(&mut self, _: Key, _: &[TopicName], _: Position, _: LossReason) {
        unreachable!("nobody gives a position here")
    }

    fn fetched(&mut self, _to: ReplyTo, _outcome: Result<Page, StoreError>) {
        unreachable!("nobody reads history here")
    }

    fn store(&mut self, _request: StoreRequest) {
        unreachable!("no topic is durable here")
    }

    fn store_has_room(&self) -> bool {
        false
    }

    fn subscribed(
        &mut self,
        _session: Key,
        _ticket: u32,
        _topics: &[TopicName],
        _at: Position,
        _recovery: Option<Recovery>,
    ) {
        self.subscribed_count += 1;
    }

    fn published(&mut self, _to: ReplyTo, outcome: Result<Receipt, Refusal>) {
        self.published_count += usize::from(outcome.is_ok());
    }

    fn send(&mut self, _shard: ShardIndex, _parcel: Parcel) {
        unreachable!("one shard only")
    }

    fn has_room(&self, _shard: ShardIndex) -> bool {
        true
    }

    fn told(&mut self, _to: ReplyTo, _told: Told) {
        unreachable!("nothing is asked here")
    }

    fn peer(&self, _session: Key) -> Option<SocketAddr> {
        None
    }

    fn queued_size(&self, session: Key) -> usize {
        self.owed[session.index as usize].size()
    }

    fn revoke(&mut self, _app: AppIndex, _revocation: &Revocation, _until_s: u64) {
        unreachable!("nothing is revoked here")
    }
}

/// One publish of 200 bytes to `COUNT` members, and the flush.
pub(crate) fn fan_out<const COUNT: u32>() -> Op {
    let mut broker = broker();
    let mut queues = Queues::default();
    // Each publish is a copy, as each is allocated when it is parsed.
    let prototype = publication(200);
    let ids = ConnectionIds::random();
    let identity = Arc::new(Identity::without_token(Rights::every_topic()));
    for index in 0..COUNT {
        let session = Key { index, generation: 0 };
        let arrival = Arrival {
            app: AppIndex(0),
            form: FORM,
            connection: ids.id(ShardIndex(0), session),
            identity: Arc::clone(&identity),
            is_present: true,
        };
        broker.begin(session, arrival, 0, &mut queues);
        let outcome =
            broker.subscribe(session, prototype.topic.clone(), 0, &StartFrom::Now, &mut queues);
        assert_eq!(outcome, SubscribeOutcome::Accepted);
        queues.owed.push(Outbound::default());
    }
    let counts = (queues.arrived_count, queues.subscribed_count);
    assert_eq!(counts, (COUNT as usize, COUNT as usize));
    let publisher = Key { index: COUNT, generation: 0 };
    let reply =
        ReplyTo { shard: ShardIndex(0), session: publisher, ticket: 0, wants_receipt: true };
    Box::new(move || {
        broker.publish(prototype.clone(), reply, 0, &mut queues);
        broker.deliver_runs(&mut queues);
        let size = queues.flush();
        assert!(size > 200 * COUNT as usize);
        size
    })
}

fn broker() -> Broker {
    let application = Application { open: true, ..Application::new("demo") };
    let options = BrokerOptions {
        shard: ShardIndex(0),
        shard_count: 1,
        epoch: Epoch(1),
        run: 1,
        seed: 1,
        ids: ConnectionIds::random(),
        idle_topics_max: 1000,
        history_size_max: 256 << 20,
        store: None,
    };
    Broker::new(options, Arc::new(Applications::new(vec![application], None)))
}
