//! What ought to happen: every broker's doings are compared with it as they are told.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ears::{Ears, Happened};
use super::orders::Orders;
use super::presence::Presence;
use crate::broker::{Broker, BrokerOptions, Member, Receipt, ReplyTo};
use crate::model::application::{
    AppIndex, AppLimits, Application, Applications, PresenceOptions, SameSubject,
};
use crate::model::close::CloseCause;
use crate::model::form::Form;
use crate::model::id::{ConnectionId, ConnectionIds};
use crate::model::identity::Identity;
use crate::model::message::{Message, Payload};
use crate::model::position::{Epoch, Lane};
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::{Key, Slab};

/// Most topics of one session.
pub(super) const SUBSCRIPTIONS_MAX: usize = 4;

pub(super) type Topic = (AppIndex, TopicName);

/// `SplitMix64`: the whole state is the seed.
pub(in crate::broker::simulation) struct Random(pub(in crate::broker::simulation) u64);

impl Random {
    pub(in crate::broker::simulation) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// A subscription as the model sees it.
#[derive(Default)]
pub(super) struct Subscription {
    /// Answers still owed.
    pub(super) owed: Vec<u32>,
    /// The offset of the first answer; `None` while there was none.
    pub(super) after: Option<u64>,
    pub(super) got: Vec<(u64, u64)>,
}

pub(super) struct Session {
    pub(super) app: AppIndex,
    pub(super) form: Form,
    pub(super) id: ConnectionId,
    pub(super) identity: Arc<Identity>,
    pub(super) is_present: bool,
    /// Sees presence all the time; nothing happens to it.
    pub(super) is_observer: bool,
    pub(super) began_s: u64,
    /// How many publishes had been made when it was let in.
    pub(super) arrived: Option<usize>,
    pub(super) evicted: Option<CloseCause>,
    /// Offsets and numbers of what it got on its subject's private topic.
    pub(super) by_subject: Vec<(u64, u32)>,
    pub(super) topics: HashMap<TopicName, Subscription>,
    pub(super) private: Vec<u32>,
    pub(super) private_expected: Vec<u32>,
}

impl Session {
    pub(super) fn subject(&self) -> String {
        match &self.identity.subject {
            Some(subject) => subject.to_string(),
            None => self.id.to_string(),
        }
    }

    /// The topics that it is known to be subscribed to.
    pub(super) fn subscribed(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.iter().filter(|(_, s)| s.after.is_some()).map(|(topic, _)| topic)
    }
}

/// A publish as the model sees it.
pub(super) struct Published {
    pub(super) topic: Topic,
    pub(super) accepted: bool,
    /// Set by its home.
    pub(super) decided: bool,
    pub(super) answered: bool,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) brokers: Vec<Broker>,
    pub(super) ears: Vec<Ears>,
    pub(super) ids: ConnectionIds,
    pub(super) sessions: Vec<Slab<Session>>,
    /// Per topic, offsets in the order that the home gave them.
    pub(super) placed: HashMap<Topic, Vec<u64>>,
    /// Per shard and topic, how many of `placed` have reached the shard.
    pub(super) reached: HashMap<(usize, Topic), u64>,
    pub(super) published: Vec<Published>,
    pub(super) next_ticket: u32,
    pub(super) refused_count: usize,
    pub(super) applications: Arc<Applications>,
    pub(super) time_us: u64,
    pub(super) told: Presence,
    pub(super) orders: Orders,
}

/// Applications whose rules the seed chooses.
fn applications(random: &mut Random) -> Applications {
    let limits = AppLimits { subscriptions_max: SUBSCRIPTIONS_MAX, ..AppLimits::default() };
    let rules = [SameSubject::Allow, SameSubject::RejectNew, SameSubject::ReplaceOld];
    let mut application = |id: &str| Application {
        open: true,
        limits,
        same_subject: rules[random.below(3)],
        presence: PresenceOptions {
            debounce_ms: [0, 3][random.below(2)],
            members_max: [2, 1000][random.below(2)],
        },
        websocket_inbound_topic_enabled: random.below(8) > 0,
        ..Application::new(id)
    };
    Applications::new(vec![application("a"), application("b")], None)
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let shard_count = u16::try_from(1 + random.below(4)).unwrap();
        let applications = Arc::new(applications(&mut random));
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
                history_size_max: 1 << 20,
                store: None,
            };
            Broker::new(options, Arc::clone(&applications))
        };
        let ears = |_| Ears {
            lanes: (0..shard_count).map(|_| VecDeque::new()).collect(),
            happened: Vec::new(),
        };
        let mut world = World {
            brokers: (0..shard_count).map(broker).collect(),
            ears: (0..shard_count).map(ears).collect(),
            sessions: (0..shard_count).map(|_| Slab::with_chunk_len(2)).collect(),
            random,
            ids,
            placed: HashMap::new(),
            reached: HashMap::new(),
            published: Vec::new(),
            next_ticket: 0,
            refused_count: 0,
            applications,
            time_us: 1_000_000,
            told: Presence::default(),
            orders: Orders::default(),
        };
        world.begin_observing();
        world
    }

    /// Takes into the model what `shard` did.
    pub(super) fn listen(&mut self, shard: usize) {
        for happened in std::mem::take(&mut self.ears[shard].happened) {
            match happened {
                Happened::Delivered(form, run, members) => {
                    self.delivered(shard, form, &run, &members);
                }
                Happened::Private(key, message) => {
                    self.delivered_privately(shard, key, &message);
                }
                Happened::Subscribed(key, ticket, topic, at) => {
                    let session = self.sessions[shard].get_mut(key).expect("ended, then answered");
                    let home = self.brokers[shard].home_of(session.app, &topic);
                    assert_eq!((at.lane, at.epoch), (Lane::Home(home), Epoch(7)));
                    let subscription = session.topics.get_mut(&topic).expect("never asked for");
                    let owed = subscription.owed.iter().position(|owed| *owed == ticket);
                    subscription.owed.remove(owed.expect("answered once, in order"));
                    subscription.after.get_or_insert(at.offset);
                }
                Happened::Arrived(key) => self.arrived(shard, key),
                Happened::Evicted(key, cause) => self.evicted(shard, key, cause),
                Happened::Told(to, told) => self.orders.told(to, told),
                Happened::Revoked(app, revocation, until_s) => {
                    self.orders.revoked(shard, app, revocation, until_s);
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
        self.forget_unsubscribed();
    }

    pub(super) fn decided(
        &mut self,
        shard: usize,
        reply: ReplyTo,
        outcome: &Result<Receipt, Refusal>,
    ) {
        let published = &mut self.published[reply.ticket as usize];
        assert!(!std::mem::replace(&mut published.decided, true), "decided twice");
        let Ok(receipt) = outcome else {
            assert_eq!(*outcome, Err(Refusal::Overloaded));
            self.refused_count += 1;
            return;
        };
        assert_eq!(receipt.position.lane, Lane::Home(ShardIndex(u16::try_from(shard).unwrap())));
        published.accepted = true;
        let topic = published.topic.clone();
        if let Some(subject) = topic.1.as_str().strip_prefix("priv/") {
            let Some(id) = self.ids.parse(subject) else { return };
            let key = id.key;
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

    pub(super) fn delivered(
        &mut self,
        shard: usize,
        form: Form,
        run: &[Arc<Message>],
        members: &[Member],
    ) {
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
            if session.is_observer {
                self.told.observe(&self.applications, run);
            }
        }
    }

    fn delivered_privately(&mut self, shard: usize, key: Key, message: &Message) {
        let session = self.sessions[shard].get_mut(key).expect("deliveries to the living");
        let name = message.publication.topic.as_str().strip_prefix("priv/").unwrap();
        assert_eq!(session.app, message.publication.app);
        if name == session.id.to_string() {
            return session.private.push(number(message));
        }
        assert_eq!(name, session.subject());
        // Its home has forgotten it then, and lanes keep order.
        assert_ne!(session.evicted, Some(CloseCause::SameSubject));
        session.by_subject.push((message.position.offset, number(message)));
    }

    fn arrived(&mut self, shard: usize, key: Key) {
        let session = self.sessions[shard].get_mut(key).expect("ended, then let in");
        assert_eq!((session.arrived, session.evicted), (None, None));
        session.arrived = Some(self.published.len());
    }

    /// A subscription has ended, or nothing is under way any more.
    pub(super) fn check(&self, shard: usize, topic: &Topic, subscription: &Subscription) {
        let Some(after) = subscription.after else {
            assert!(subscription.got.is_empty(), "delivered without an answer");
            return;
        };
        let mut last = after;
        for (index, (offset, previous)) in subscription.got.iter().enumerate() {
            // The first one's predecessor lies at or before the start; then the chain is exact.
            let unbroken = if index == 0 { *previous <= last } else { *previous == last };
            assert!(unbroken, "a gap shows where there is none: {previous} after {last}");
            last = *offset;
        }
        if is_told(&topic.1) {
            // What the broker itself publishes is judged by what it says.
            return;
        }
        let reached = self.reached.get(&(shard, topic.clone())).copied().unwrap_or(0);
        let placed = self.placed.get(topic).map(Vec::as_slice).unwrap_or_default();
        let expected: Vec<u64> = placed
            .iter()
            .copied()
            .filter(|offset| (after + 1..=reached).contains(offset))
            .collect();
        let got: Vec<u64> = subscription.got.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(got, expected, "{topic:?} on shard {shard} after {after}");
    }
}

/// Whether only the broker publishes there.
pub(super) fn is_told(topic: &TopicName) -> bool {
    topic.as_str().starts_with("secure/")
}

fn number(message: &Message) -> u32 {
    match &message.publication.payload {
        Payload::Text(text) | Payload::Json(text) => text.parse().unwrap(),
    }
}
