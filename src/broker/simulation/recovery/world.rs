//! Everything there is, and how what brokers do is taken into the model.

use std::sync::Arc;

use super::super::model::Random;
use super::account::Account;
use super::door::{Burst, Door};
use super::ears::{Ears, Happened};
use super::store::{FakeStore, STORE};
use super::truth::{EPOCH, Placed, TOPICS, Truth, application};
use crate::broker::{Broker, BrokerOptions, Receipt, ReplyTo};
use crate::model::application::{AppIndex, Applications};
use crate::model::id::ConnectionIds;
use crate::model::message::{Message, Payload, Publication};
use crate::model::position::{Lane, Position};
use crate::model::recovery::LossReason;
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::stdx::slab::{Key, Slab};

pub(super) const APP: AppIndex = AppIndex(0);
const CLIENT_COUNT: usize = 14;

/// A publish, by its number.
pub(super) struct Published {
    pub(super) topic: usize,
    pub(super) idempotency_key: Option<Box<str>>,
    pub(super) expires_us: u64,
    pub(super) is_answered: bool,
}

/// Who subscribes, over all its connections.
pub(super) struct Client {
    /// What it knows: as of the last item that reached it.
    pub(super) accounts: Vec<Account>,
    pub(super) door: Option<Door>,
    pub(super) last_shard: usize,
    pub(super) last_door: usize,
}

/// What happened, over all seeds, so that the test cannot go blind.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Seen {
    pub(super) deliveries: u64,
    pub(super) caught_up: u64,
    pub(super) recovered: u64,
    pub(super) recovered_messages: u64,
    pub(super) lost: [u64; LossReason::ALL.len()],
    pub(super) fell_behind: [u64; 4],
    pub(super) more_pages: u64,
    pub(super) cut_with_queue: u64,
    pub(super) cut_while_catching: u64,
    pub(super) other_door: u64,
    pub(super) other_shard: u64,
    pub(super) polls: u64,
    pub(super) polls_lost: u64,
    pub(super) repeats: u64,
    pub(super) refused: u64,
    pub(super) short_pages: u64,
    pub(super) resubscribed: u64,
    pub(super) subscribed_twice: u64,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) brokers: Vec<Broker>,
    pub(super) ears: Vec<Ears>,
    pub(super) store: FakeStore,
    pub(super) truth: Truth,
    pub(super) ids: ConnectionIds,
    /// Per shard, whose session it is.
    pub(super) sessions: Vec<Slab<usize>>,
    pub(super) clients: Vec<Client>,
    pub(super) published: Vec<Published>,
    pub(super) time_us: u64,
    pub(super) next_ticket: u32,
    pub(super) seen: Seen,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random(seed ^ 0x7ec0_5e77);
        let shard_count = u16::try_from(1 + random.below(4)).unwrap();
        let application = application();
        let applications = Arc::new(Applications::new(vec![application.clone()], None));
        let ids = ConnectionIds::random();
        let (idle_topics_max, history_size_max) =
            [(1000, 1 << 30), (1000, 1 << 30), (1, 1 << 30), (1000, 60_000)][random.below(4)];
        let broker = |shard| {
            let options = BrokerOptions {
                shard: ShardIndex(shard),
                shard_count,
                epoch: EPOCH,
                run: 1,
                seed,
                ids: ids.clone(),
                idle_topics_max,
                history_size_max,
                store: Some(STORE),
            };
            Broker::new(options, Arc::clone(&applications))
        };
        let brokers: Vec<Broker> = (0..shard_count).map(broker).collect();
        let mut truth = Truth::new(&application, |name| brokers[0].lane_of(APP, name));
        truth.may_suspect = idle_topics_max == 1 || history_size_max < 1 << 30;
        let shards = usize::from(shard_count);
        let mut client = |_| {
            let count = 1 + random.below(4);
            let first = random.below(TOPICS.len());
            let stride = 1 + random.below(3);
            let topics = (0..count).map(|index| (first + index * stride) % TOPICS.len());
            let accounts = topics.map(Account::new).collect();
            Client { accounts, door: None, last_shard: 0, last_door: 0 }
        };
        let clients = (0..CLIENT_COUNT).map(&mut client).collect();
        World {
            random,
            ears: (0..shard_count).map(|s| Ears::new(ShardIndex(s), shard_count)).collect(),
            brokers,
            store: FakeStore::new(shards),
            truth,
            ids,
            sessions: (0..shards).map(|_| Slab::with_chunk_len(4)).collect(),
            clients,
            published: Vec::new(),
            time_us: 1_000_000,
            next_ticket: 0,
            seen: Seen::default(),
        }
    }

    /// Takes into the model what `shard` did.
    pub(super) fn listen(&mut self, shard: usize) {
        let mut closed = Vec::new();
        let mut happened = std::mem::take(&mut self.ears[shard].happened).into_iter().peekable();
        while let Some(what) = happened.next() {
            match what {
                Happened::Delivered(form, run, members) => {
                    for index in members {
                        let key = self.sessions[shard].key_at(index).expect("members live");
                        self.seen.deliveries += run.len() as u64;
                        self.give(shard, key, |door, truth, now_us| {
                            assert_eq!(door.form, form);
                            for message in &run {
                                door.take(truth, message, now_us);
                            }
                        });
                    }
                }
                Happened::CaughtUp(key, form, messages) => {
                    self.seen.deliveries += messages.len() as u64;
                    self.seen.caught_up += messages.len() as u64;
                    let goes_on =
                        matches!(happened.peek(), Some(Happened::WantsMore(more)) if *more == key);
                    self.give(shard, key, |door, truth, now_us| {
                        assert_eq!(door.form, form);
                        if let Some(Burst::Counted(count)) = door.burst
                            && !goes_on
                        {
                            assert_eq!(count, messages.len() as u64, "what was promised follows");
                        }
                        door.take_burst(truth, &messages, now_us);
                    });
                }
                Happened::WantsMore(key) => {
                    self.seen.more_pages += 1;
                    self.give(shard, key, |door, _, _| {
                        (door.wants_more, door.fell_behind) = (true, true);
                    });
                }
                Happened::Closed(index) => closed.push(index),
                Happened::Subscribed(key, ticket, names, at, recovery) => {
                    if let Some(recovery) = recovery {
                        if let Some(reason) = recovery.loss {
                            self.seen.lost[reason as usize] += 1;
                        } else {
                            self.seen.recovered += 1;
                            self.seen.recovered_messages += recovery.count;
                        }
                    }
                    let follows =
                        matches!(happened.peek(), Some(Happened::CaughtUp(to, ..)) if *to == key);
                    self.give(shard, key, |door, truth, now_us| {
                        door.subscribed(truth, ticket, &names, at, recovery, now_us);
                        if !follows {
                            let count = recovery.map_or(0, |recovery| recovery.count);
                            assert_eq!(count, 0, "messages were promised");
                            door.burst = None;
                        }
                    });
                }
                Happened::Lost(key, names, at, reason) => {
                    self.seen.lost[reason as usize] += 1;
                    let follows =
                        matches!(happened.peek(), Some(Happened::CaughtUp(to, ..)) if *to == key);
                    self.give(shard, key, |door, truth, now_us| {
                        door.lost(truth, &names, at, reason, now_us);
                        door.burst = door.burst.filter(|_| follows);
                    });
                }
                Happened::Placed(reply, outcome) => self.placed(shard, reply, &outcome),
                Happened::Answered(reply, outcome) => {
                    let published = &self.published[reply.ticket as usize];
                    let name = &self.truth.topics[published.topic].name;
                    if self.brokers[shard].home_of(APP, name).index() == shard {
                        self.placed(shard, reply, &outcome);
                    }
                    let published = &mut self.published[reply.ticket as usize];
                    assert!(!std::mem::replace(&mut published.is_answered, true));
                }
            }
        }
        for index in closed {
            if let Some(client) = self.sessions[shard].at(index).copied() {
                self.cut(client);
            }
        }
    }

    /// Something for a session; what its queue then holds decides whether it takes more.
    fn give(&mut self, shard: usize, key: Key, what: impl FnOnce(&mut Door, &Truth, u64)) {
        let client = *self.sessions[shard].get(key).expect("what happens, happens to the living");
        let door = self.clients[client].door.as_mut().expect("it has a session");
        what(door, &self.truth, self.time_us);
        if door.is_full() {
            self.ears[shard].full.insert(key.index);
        }
    }

    /// A home has decided on a publish.
    fn placed(&mut self, shard: usize, reply: ReplyTo, outcome: &Result<Receipt, Refusal>) {
        let number = reply.ticket as usize;
        let published = &self.published[number];
        let Ok(receipt) = outcome else {
            assert_eq!(*outcome, Err(Refusal::Overloaded));
            self.seen.refused += 1;
            return;
        };
        let topic = &mut self.truth.topics[published.topic];
        let position = receipt.position;
        let known = published
            .idempotency_key
            .as_ref()
            .map(|key| *topic.repeated.entry(key.clone()).or_insert(position));
        assert!(known.is_none_or(|known| known == position), "a repeat got another receipt");
        assert_eq!(position, topic.position(position.offset));
        let is_new = topic.behind(position.offset - 1).is_empty();
        if topic.lane == Lane::Store {
            assert!(!is_new, "the store has told what it gave");
            return;
        }
        assert_eq!(topic.lane, Lane::Home(ShardIndex(u16::try_from(shard).unwrap())));
        if !is_new {
            self.seen.repeats += 1;
            return;
        }
        let (topic, expires_us) = (published.topic, published.expires_us);
        let placed = Placed { offset: position.offset, number, time_us: self.time_us, expires_us };
        self.truth.place(topic, placed);
    }

    /// What a position means to a client: the lane of one of its topics.
    pub(super) fn stale(position: Position) -> Position {
        Position { epoch: crate::model::position::Epoch(position.epoch.0 + 1), ..position }
    }
}

/// The number that a message was published with.
pub(super) fn number(message: &Message) -> usize {
    let Payload::Text(text) = &message.publication.payload else { panic!("published as text") };
    text.trim_end().parse().expect("published as a number")
}

pub(super) fn publication(world: &World, number: usize, size: usize) -> Publication {
    let published = &world.published[number];
    Publication {
        app: APP,
        topic: world.truth.topics[published.topic].name.clone(),
        payload: Payload::Text(format!("{number:<size$}").into()),
        message_type: None,
        client_id: None,
        publisher: None,
        compress: false,
        attributes: None,
    }
}
