//! Several brokers in one thread against a model that knows nothing of shards.
//!
//! Lanes between brokers are queues that a seeded hand empties parcel by parcel, in any order of
//! lanes. The model keeps, per topic, the order that the home gave, and per subscription the offset
//! it began after. What a subscriber got must be exactly the messages after that offset, in order,
//! each once, up to what had reached its shard when it left.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Broker, BrokerOptions, Member, Outlet, Parcel, Receipt, ReplyTo, SubscribeOutcome};
use crate::model::application::{AppIndex, AppLimits, Application, Applications, CorsOrigins};
use crate::model::form::{Form, SseBody};
use crate::model::id::ConnectionIds;
use crate::model::message::{Message, Payload, Publication};
use crate::model::position::{Epoch, Position};
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::{Key, Slab};

const SEED_COUNT: u64 = 100;
const STEP_COUNT: usize = 2_000;
const APP_COUNT: u16 = 2;
const TOPIC_COUNT: usize = 6;
const SUBSCRIPTIONS_MAX: usize = 4;
/// Parcels in a lane from which on it has no room.
const LANE_LEN_MAX: usize = 40;

type Topic = (AppIndex, TopicName);

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// What happened, in order, on one shard.
enum Happened {
    Delivered(Form, Vec<Arc<Message>>, Vec<Member>),
    Private(Key, Arc<Message>),
    Subscribed(Key, u32, TopicName, Position),
    Outcome(ReplyTo, Result<Receipt, Refusal>),
    /// The home of a publish from elsewhere decided; the answer is on its way.
    Decided(ReplyTo, Result<Receipt, Refusal>),
}

/// One shard's outlet: writes down, forwards parcels.
struct Ears {
    lanes: Vec<VecDeque<Parcel>>,
    happened: Vec<Happened>,
}

impl Outlet for Ears {
    fn deliver(&mut self, form: Form, run: &[Arc<Message>], members: &[Member]) {
        assert!(!run.is_empty() && !members.is_empty(), "deliveries of nothing or to nobody");
        self.happened.push(Happened::Delivered(form, run.to_vec(), members.to_vec()));
    }

    fn deliver_private(&mut self, session: Key, message: &Arc<Message>) {
        self.happened.push(Happened::Private(session, Arc::clone(message)));
    }

    fn subscribed(&mut self, session: Key, ticket: u32, topic: &TopicName, at: Position) {
        self.happened.push(Happened::Subscribed(session, ticket, topic.clone(), at));
    }

    fn published(&mut self, to: ReplyTo, outcome: Result<Receipt, Refusal>) {
        self.happened.push(Happened::Outcome(to, outcome));
    }

    fn send(&mut self, shard: ShardIndex, parcel: Parcel) {
        if let Parcel::Published { to, outcome } = &parcel {
            self.happened.push(Happened::Decided(*to, outcome.clone()));
        }
        self.lanes[shard.index()].push_back(parcel);
    }

    fn has_room(&self, shard: ShardIndex) -> bool {
        self.lanes[shard.index()].len() < LANE_LEN_MAX
    }
}

/// A subscription as the model sees it.
#[derive(Default)]
struct Subscription {
    /// Answers still owed.
    owed: Vec<u32>,
    /// The offset of the first answer; `None` while there was none.
    after: Option<u64>,
    got: Vec<(u64, u64)>,
}

struct Session {
    app: AppIndex,
    form: Form,
    topics: HashMap<TopicName, Subscription>,
    private: Vec<u32>,
    private_expected: Vec<u32>,
}

/// A publish as the model sees it.
struct Published {
    topic: Topic,
    /// Set by its home.
    decided: bool,
    answered: bool,
}

struct World {
    random: Random,
    brokers: Vec<Broker>,
    ears: Vec<Ears>,
    ids: ConnectionIds,
    sessions: Vec<Slab<Session>>,
    /// Per topic, offsets in the order that the home gave them.
    placed: HashMap<Topic, Vec<u64>>,
    /// Per shard and topic, how many of `placed` have reached the shard.
    reached: HashMap<(usize, Topic), u64>,
    published: Vec<Published>,
    next_ticket: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let shard_count = u16::try_from(1 + random.below(4)).unwrap();
        let limits = AppLimits { subscriptions_max: SUBSCRIPTIONS_MAX, ..AppLimits::default() };
        let application = |id: &str| Application {
            id: Arc::from(id),
            enabled: true,
            open: true,
            keys: Vec::new(),
            client_inbound_ack_enabled: true,
            limits,
            cors_origins: CorsOrigins::Any,
        };
        let applications = Applications::new(vec![application("a"), application("b")], None);
        let applications = Arc::new(applications);
        let ids = ConnectionIds::random();
        // A home that forgets idle topics often, or never.
        let idle_topics_max = [1, 3, 1000][random.below(3)];
        let broker = |shard| {
            let options = BrokerOptions {
                shard: ShardIndex(shard),
                shard_count,
                epoch: Epoch(7),
                run: 1,
                seed,
                ids: ids.clone(),
                idle_topics_max,
            };
            Broker::new(options, Arc::clone(&applications))
        };
        let ears = |_| Ears {
            lanes: (0..shard_count).map(|_| VecDeque::new()).collect(),
            happened: Vec::new(),
        };
        World {
            brokers: (0..shard_count).map(broker).collect(),
            ears: (0..shard_count).map(ears).collect(),
            sessions: (0..shard_count).map(|_| Slab::with_chunk_len(2)).collect(),
            random,
            ids,
            placed: HashMap::new(),
            reached: HashMap::new(),
            published: Vec::new(),
            next_ticket: 0,
        }
    }

    fn step(&mut self) {
        let shard = self.random.below(self.brokers.len());
        match self.random.below(100) {
            0..8 => self.begin(shard),
            8..12 => self.end(shard),
            12..24 => self.subscribe(shard),
            24..34 => self.unsubscribe(shard),
            34..60 => self.publish(shard),
            60..90 => self.carry(shard),
            _ => self.deliver_runs(shard),
        }
    }

    fn topic(&mut self) -> TopicName {
        let number = self.random.below(TOPIC_COUNT);
        TopicName::new(&format!("t{number}")).unwrap()
    }

    fn session(&mut self, shard: usize) -> Option<Key> {
        let keys: Vec<Key> = self.sessions[shard].keys().collect();
        (!keys.is_empty()).then(|| keys[self.random.below(keys.len())])
    }

    fn begin(&mut self, shard: usize) {
        let app = AppIndex(u16::try_from(self.random.below(usize::from(APP_COUNT))).unwrap());
        let form = match self.random.below(3) {
            0 => Form::Realtime { positions: false, window: None },
            1 => Form::Realtime { positions: true, window: Some(15) },
            _ => Form::Sse { body: SseBody::Native, shared_id: true },
        };
        let session = Session {
            app,
            form,
            topics: HashMap::new(),
            private: Vec::new(),
            private_expected: Vec::new(),
        };
        let key = self.sessions[shard].insert(session);
        self.brokers[shard].begin(key, app, form);
    }

    fn end(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        self.brokers[shard].end(key, &mut self.ears[shard]);
        self.listen(shard);
        let session = self.sessions[shard].remove(key).unwrap();
        assert_eq!(session.private, session.private_expected);
        for (topic, subscription) in session.topics {
            self.check(shard, &(session.app, topic), &subscription);
        }
        // Again: must be nothing.
        self.brokers[shard].end(key, &mut self.ears[shard]);
        assert!(self.ears[shard].happened.is_empty());
    }

    fn subscribe(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        let topic = self.topic();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let session = self.sessions[shard].get_mut(key).unwrap();
        let (known, count) = (session.topics.contains_key(&topic), session.topics.len());
        session.topics.entry(topic.clone()).or_default().owed.push(ticket);
        let ears = &mut self.ears[shard];
        let outcome = self.brokers[shard].subscribe(key, topic.clone(), ticket, ears);
        if outcome == SubscribeOutcome::TooMany {
            // Waits count one by one, so that the limit may come early, never late.
            let session = self.sessions[shard].get_mut(key).unwrap();
            let waits: usize = session.topics.values().map(|s| s.owed.len()).sum();
            assert!(waits + count > SUBSCRIPTIONS_MAX);
            let subscription = session.topics.get_mut(&topic).unwrap();
            subscription.owed.retain(|owed| *owed != ticket);
            if !known {
                session.topics.remove(&topic);
            }
        } else {
            assert!(known || count < SUBSCRIPTIONS_MAX, "over the limit");
        }
        self.listen(shard);
    }

    fn unsubscribe(&mut self, shard: usize) {
        let Some(key) = self.session(shard) else { return };
        let topic = self.topic();
        self.brokers[shard].unsubscribe(key, &topic, &mut self.ears[shard]);
        self.listen(shard);
        let session = self.sessions[shard].get_mut(key).unwrap();
        let app = session.app;
        if let Some(subscription) = session.topics.remove(&topic) {
            self.check(shard, &(app, topic), &subscription);
        }
    }

    fn publish(&mut self, shard: usize) {
        let app = AppIndex(u16::try_from(self.random.below(usize::from(APP_COUNT))).unwrap());
        let target = self.random.below(self.brokers.len());
        let topic = match (self.random.below(10), self.session(target)) {
            (0, Some(key)) => {
                let id = self.ids.id(ShardIndex(u16::try_from(target).unwrap()), key);
                TopicName::new(&format!("priv/{id}")).unwrap()
            }
            _ => self.topic(),
        };
        let ticket = u32::try_from(self.published.len()).unwrap();
        let session = Key { index: ticket, generation: 0 };
        self.published.push(Published {
            topic: (app, topic.clone()),
            decided: false,
            answered: false,
        });
        let publication = Publication {
            app,
            topic,
            payload: Payload::Text(ticket.to_string().into()),
            message_type: None,
            client_id: None,
            publisher: None,
            compress: false,
        };
        let own = ShardIndex(u16::try_from(shard).unwrap());
        let reply = ReplyTo { shard: own, session, ticket, wants_receipt: true };
        self.brokers[shard].publish(publication, reply, 1, &mut self.ears[shard]);
        self.listen(shard);
    }

    /// Takes one to a few parcels out of one lane to `shard`.
    fn carry(&mut self, shard: usize) {
        let from = self.random.below(self.brokers.len());
        for _ in 0..=self.random.below(4) {
            let Some(parcel) = self.ears[from].lanes[shard].pop_front() else { return };
            self.hand_over(from, shard, parcel);
        }
    }

    fn hand_over(&mut self, from: usize, shard: usize, parcel: Parcel) {
        if let Parcel::Deliver(message) = &parcel {
            let topic = (message.publication.app, message.publication.topic.clone());
            let before = self.reached.insert((shard, topic), message.position.offset);
            assert!(before.is_none_or(|before| before < message.position.offset));
        }
        let from = ShardIndex(u16::try_from(from).unwrap());
        self.brokers[shard].receive(from, parcel, 1, &mut self.ears[shard]);
        self.listen(shard);
    }

    fn deliver_runs(&mut self, shard: usize) {
        self.brokers[shard].deliver_runs(&mut self.ears[shard]);
        assert!(!self.brokers[shard].has_runs());
        self.listen(shard);
    }

    /// Takes into the model what `shard` did.
    fn listen(&mut self, shard: usize) {
        for happened in std::mem::take(&mut self.ears[shard].happened) {
            match happened {
                Happened::Delivered(form, run, members) => {
                    self.delivered(shard, form, &run, &members);
                }
                Happened::Private(key, message) => {
                    if let Some(session) = self.sessions[shard].get_mut(key) {
                        assert_eq!(session.app, message.publication.app);
                        session.private.push(number(&message));
                    }
                }
                Happened::Subscribed(key, ticket, topic, at) => {
                    let session = self.sessions[shard].get_mut(key).expect("ended, then answered");
                    let home = self.brokers[shard].home_of(session.app, &topic);
                    assert_eq!((at.home, at.epoch), (home, Epoch(7)));
                    let subscription = session.topics.get_mut(&topic).expect("never asked for");
                    let owed = subscription.owed.iter().position(|owed| *owed == ticket);
                    subscription.owed.remove(owed.expect("answered once, in order"));
                    subscription.after.get_or_insert(at.offset);
                }
                Happened::Decided(reply, outcome) => self.decided(shard, reply, &outcome),
                Happened::Outcome(reply, outcome) => {
                    assert_eq!(reply.shard.index(), shard, "answers come to the asker");
                    let published = &self.published[reply.ticket as usize];
                    let home = self.brokers[shard].home_of(published.topic.0, &published.topic.1);
                    assert!(!published.answered, "answered twice");
                    // A refusal by the asker's own shard never reached the home.
                    if home.index() == shard || !published.decided {
                        self.decided(shard, reply, &outcome);
                    }
                    self.published[reply.ticket as usize].answered = true;
                }
            }
        }
    }

    fn decided(&mut self, shard: usize, reply: ReplyTo, outcome: &Result<Receipt, Refusal>) {
        let published = &mut self.published[reply.ticket as usize];
        assert!(!std::mem::replace(&mut published.decided, true), "decided twice");
        let Ok(receipt) = outcome else {
            return assert_eq!(*outcome, Err(Refusal::Overloaded));
        };
        assert_eq!(receipt.position.home.index(), shard);
        let topic = published.topic.clone();
        if let Some(id) = topic.1.as_str().strip_prefix("priv/") {
            let key = self.ids.parse(id).unwrap().key;
            if let Some(session) = self.sessions[shard].get_mut(key)
                && session.app == topic.0
            {
                session.private_expected.push(reply.ticket);
            }
            return;
        }
        self.reached.insert((shard, topic.clone()), receipt.position.offset);
        let placed = self.placed.entry(topic).or_default();
        assert!(placed.last().is_none_or(|last| *last < receipt.position.offset));
        placed.push(receipt.position.offset);
    }

    fn delivered(&mut self, shard: usize, form: Form, run: &[Arc<Message>], members: &[Member]) {
        let topic = &run[0].publication.topic;
        let app = run[0].publication.app;
        for member in members {
            let session = self.sessions[shard].at_mut(member.session).expect("members live");
            assert_eq!((session.app, session.form), (app, form));
            let subscription = session.topics.get_mut(topic).expect("members are subscribed");
            assert!(subscription.after.is_some(), "delivered before the answer");
            for message in run {
                assert_eq!((&message.publication.topic, message.publication.app), (topic, app));
                subscription.got.push((message.position.offset, message.previous));
            }
        }
    }

    /// A subscription has ended, or nothing is under way any more.
    fn check(&self, shard: usize, topic: &Topic, subscription: &Subscription) {
        let Some(after) = subscription.after else {
            return assert!(subscription.got.is_empty(), "delivered without an answer");
        };
        let reached = self.reached.get(&(shard, topic.clone())).copied().unwrap_or(0);
        let placed = self.placed.get(topic).map(Vec::as_slice).unwrap_or_default();
        let expected: Vec<u64> = placed
            .iter()
            .copied()
            .filter(|offset| (after + 1..=reached).contains(offset))
            .collect();
        let got: Vec<u64> = subscription.got.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(got, expected, "{topic:?} on shard {shard} after {after}");
        let mut last = after;
        for (index, (offset, previous)) in subscription.got.iter().enumerate() {
            // The first one's predecessor lies at or before the start; then the chain is exact.
            let unbroken = if index == 0 { *previous <= last } else { *previous == last };
            assert!(unbroken, "a gap shows where there is none: {previous} after {last}");
            last = *offset;
        }
    }

    /// Empties all lanes and runs.
    fn settle(&mut self) {
        while self.ears.iter().any(|ears| ears.lanes.iter().any(|lane| !lane.is_empty())) {
            for (from, to) in pairs(self.brokers.len()) {
                if let Some(parcel) = self.ears[from].lanes[to].pop_front() {
                    self.hand_over(from, to, parcel);
                }
            }
        }
        for shard in 0..self.brokers.len() {
            self.deliver_runs(shard);
        }
    }

    /// With nothing under way, every subscriber has everything after its start.
    fn check_settled(&mut self) {
        for (shard, sessions) in self.sessions.iter().enumerate() {
            for (_, session) in sessions.iter() {
                assert_eq!(session.private, session.private_expected);
                for (topic, subscription) in &session.topics {
                    assert!(subscription.owed.is_empty(), "every subscribe is answered");
                    let topic = (session.app, topic.clone());
                    self.check(shard, &topic, subscription);
                    let after = subscription.after.expect("answered");
                    let placed = self.placed.get(&topic).map(Vec::as_slice).unwrap_or_default();
                    let count = placed.iter().filter(|offset| **offset > after).count();
                    assert_eq!(subscription.got.len(), count, "something was lost");
                }
            }
        }
        assert!(self.published.iter().all(|published| published.answered));
    }

    /// Ends everything and sees that nothing is left behind.
    fn check_empty(&mut self) {
        for shard in 0..self.brokers.len() {
            while !self.sessions[shard].is_empty() {
                self.end(shard);
            }
        }
        self.settle();
        for broker in &self.brokers {
            assert_eq!((broker.subscription_count(), broker.topic_count()), (0, 0));
            assert!(!broker.has_runs());
        }
        // No home still believes that a shard wants its topics: a publish makes no parcel.
        for shard in 0..self.brokers.len() {
            for number in 0..TOPIC_COUNT {
                for app in (0..APP_COUNT).map(AppIndex) {
                    let topic = TopicName::new(&format!("t{number}")).unwrap();
                    if self.brokers[shard].home_of(app, &topic).index() == shard {
                        self.publish_unheard(shard, app, topic);
                    }
                }
            }
        }
    }

    fn publish_unheard(&mut self, shard: usize, app: AppIndex, topic: TopicName) {
        let publication = Publication {
            app,
            topic,
            payload: Payload::Text("".into()),
            message_type: None,
            client_id: None,
            publisher: None,
            compress: false,
        };
        let reply = ReplyTo {
            shard: ShardIndex(u16::try_from(shard).unwrap()),
            session: Key { index: 0, generation: 0 },
            ticket: 0,
            wants_receipt: false,
        };
        let ears = &mut self.ears[shard];
        self.brokers[shard].publish(publication, reply, 1, ears);
        assert!(!self.brokers[shard].has_runs());
        assert!(ears.happened.is_empty() && ears.lanes.iter().all(VecDeque::is_empty));
    }
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)))
}

fn number(message: &Message) -> u32 {
    match &message.publication.payload {
        Payload::Text(text) | Payload::Json(text) => text.parse().unwrap(),
    }
}

#[test]
fn every_subscriber_gets_exactly_what_it_subscribed_to() {
    for seed in 0..SEED_COUNT {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..2 {
                for _ in 0..STEP_COUNT / 2 {
                    world.step();
                }
                world.settle();
                world.check_settled();
            }
            world.check_empty();
            world.published.len() + world.placed.values().map(Vec::len).sum::<usize>()
        });
        let count = run.unwrap_or_else(|_| panic!("seed {seed} fails"));
        assert!(count > STEP_COUNT / 8, "seed {seed}: the simulation does too little ({count})");
    }
}
