//! The broker of one shard: commands in, outlet calls out.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use super::durable::StoreLane;
use super::history::HistoryStats;
use super::home::{Home, TopicKey};
use super::local::LocalTopic;
use super::members::WatchedHere;
use super::outlet::Outlet;
use super::parcel::Parcel;
use super::repeats::Repeats;
use super::session::{Session, UnderWay};
use super::subjects::{Subject, SubjectKey};
use super::timers::Timers;
use super::watching::WatchedTopics;
use crate::model::application::{AppIndex, Applications};
use crate::model::family::SlowConsumer;
use crate::model::id::{ConnectionId, ConnectionIds};
use crate::model::message::Message;
use crate::model::position::{Epoch, Lane, Position};
use crate::model::presence;
use crate::model::recovery::LossReason;
use crate::model::shard::ShardIndex;
use crate::model::store::StoreIdentity;
use crate::model::topic::{TopicClass, TopicName};
use crate::stdx::slab::{Key, Slab};

/// What every broker of the process is told, equal on all shards but for `shard`.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Which shard this is.
    pub shard: ShardIndex,
    /// How many there are, `1..=SHARDS_MAX`.
    pub shard_count: u16,
    /// This life of the offset counters.
    pub epoch: Epoch,
    /// The upper half of message ids; random per process.
    pub run: u64,
    /// Seeds the map from topic to home; equal on all shards.
    pub seed: u64,
    /// Reads `priv/{connectionId}`.
    pub ids: ConnectionIds,
    /// Topics without subscribers that a home remembers at most.
    pub idle_topics_max: usize,
    /// Bytes that this shard's home topics may keep in memory.
    pub history_size_max: usize,
    /// The store, where there is one.
    pub store: Option<StoreIdentity>,
}

/// What became of sessions that were away or slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CatchingStats {
    /// Positions from which everything could be recovered.
    pub recovered: u64,
    /// Times that something was told as lost, by reason.
    pub lost: [u64; LossReason::ALL.len()],
    /// Subscriptions that left the live members for a while, by their topic's policy.
    pub fell_behind: [u64; SlowConsumer::ALL.len()],
}

/// Stands for all durable topics of an application; no topic has this name.
const DURABLE: &str = "";

/// Shortest time between two looks at a history's age.
const HISTORY_AGE_INTERVAL_US: u64 = 1_000_000;

/// Timers that one turn runs; those over it run in the next turn, which begins at once.
const TIMERS_PER_TURN_MAX: usize = 1024;

/// One shard's topics and subscriptions.
#[derive(Debug)]
pub struct Broker {
    pub(super) options: BrokerOptions,
    pub(super) applications: Arc<Applications>,
    pub(super) hasher: foldhash::quality::FixedState,
    pub(super) home: Home,
    pub(super) topics: Slab<LocalTopic>,
    pub(super) by_name: HashMap<TopicKey, Key, foldhash::fast::RandomState>,
    /// Indexed like the connection table.
    pub(super) sessions: Vec<Option<Box<Session>>>,
    /// Topics with a run to deliver.
    pub(super) dirty: Vec<Key>,
    pub(super) subscription_count: usize,
    pub(super) next_token: u32,
    /// What this shard owes itself, until `run_timers`. Bounded by the commands of a turn.
    pub(super) own_lane: VecDeque<Parcel>,
    pub(super) timers: Timers<Timer>,
    /// Token subjects whose home this is.
    pub(super) subjects: HashMap<SubjectKey, Subject, foldhash::fast::RandomState>,
    /// Topics of this home whose members are told.
    pub(super) members: WatchedHere,
    /// Topics whose homes watch them.
    pub(super) watched: WatchedTopics,
    /// `secure/inbound`.
    pub(super) inbound: TopicName,
    /// What those members get this turn who want several topics in their lane's order.
    pub(super) merged: Vec<(Key, Arc<Message>)>,
    pub(super) store_lane: StoreLane,
    pub(super) repeats: Repeats,
    pub(super) stats: CatchingStats,
    /// The wall clock as it was last told.
    pub(super) time_us: u64,
}

/// What comes due.
#[derive(Debug)]
pub(super) enum Timer {
    /// A subject has been gone for its application's `debounce_ms`.
    SubjectGone(SubjectKey),
    /// A subject has been off a watched topic for as long.
    MemberGone(TopicKey, Arc<str>),
    /// The number of a watched topic's members may be told again.
    Count(TopicKey),
    /// A topic's oldest message has met its age limit, if the watch of this number is still on.
    HistoryAge(Key, u32),
}

impl Broker {
    /// A broker without sessions.
    ///
    /// # Panics
    /// Never: the names it makes are constant.
    pub fn new(options: BrokerOptions, applications: Arc<Applications>) -> Broker {
        Broker {
            hasher: foldhash::quality::FixedState::with_seed(options.seed),
            home: Home::new(
                Arc::clone(&applications),
                options.idle_topics_max,
                options.history_size_max,
                options.store.map_or(0, |store| store.offset),
            ),
            options,
            applications,
            topics: Slab::default(),
            by_name: HashMap::default(),
            sessions: Vec::new(),
            dirty: Vec::new(),
            subscription_count: 0,
            next_token: 0,
            own_lane: VecDeque::new(),
            timers: Timers::default(),
            subjects: HashMap::default(),
            members: HashMap::default(),
            watched: WatchedTopics::default(),
            inbound: TopicName::new(presence::INBOUND).expect("a constant legal name"),
            merged: Vec::new(),
            store_lane: StoreLane::default(),
            repeats: Repeats::default(),
            stats: CatchingStats::default(),
            time_us: 0,
        }
    }

    /// Subscriptions held by this shard's sessions.
    pub fn subscription_count(&self) -> usize {
        self.subscription_count
    }

    /// Topics with subscribers on this shard.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Topics whose order this shard keeps.
    pub fn home_topic_count(&self) -> usize {
        self.home.topic_count()
    }

    /// What this shard's home topics keep.
    pub fn history_stats(&self) -> HistoryStats {
        self.home.history_stats()
    }

    /// What became of sessions that were away or slow.
    pub fn catching_stats(&self) -> CatchingStats {
        self.stats
    }

    /// The epoch of a lane's positions.
    pub(super) fn epoch_of(&self, lane: Lane) -> Epoch {
        match lane {
            Lane::Home(_) => self.options.epoch,
            Lane::Store => self.options.store.map_or(Epoch(0), |store| store.epoch),
        }
    }

    /// A place in a lane.
    pub(super) fn position(&self, lane: Lane, offset: u64) -> Position {
        Position { epoch: self.epoch_of(lane), lane, offset }
    }

    /// Whether the store counts a topic. A connection's own topics are never kept.
    #[inline]
    pub(super) fn is_durable(&self, app: AppIndex, topic: &TopicName) -> bool {
        self.applications.get(app).has_durable_topics() && self.is_durable_topic(app, topic)
    }

    fn is_durable_topic(&self, app: AppIndex, topic: &TopicName) -> bool {
        let application = self.applications.get(app);
        topic.class() != TopicClass::Private
            && application.family(application.family_of(topic)).durable
    }

    /// Who counts a topic, which is what positions of it name.
    pub fn lane_of(&self, app: AppIndex, topic: &TopicName) -> Lane {
        if self.is_durable(app, topic) { Lane::Store } else { Lane::Home(self.home_of(app, topic)) }
    }

    /// The home and the lane of a local topic.
    pub(super) fn way_of(&self, local: Key) -> (ShardIndex, Lane) {
        let topic = self.topic(local);
        let lane = if topic.is_durable { Lane::Store } else { Lane::Home(topic.home) };
        (topic.home, lane)
    }

    pub(super) fn policy_of(&self, local: Key) -> SlowConsumer {
        self.topic(local).slow_consumer
    }

    /// The shard that gives `topic` its order. A connection's private topic lives with its owner,
    /// the topic on which a topic's members are told with that topic.
    ///
    /// All durable topics of an application live together: see `durable`.
    pub fn home_of(&self, app: AppIndex, topic: &TopicName) -> ShardIndex {
        if self.is_durable(app, topic) {
            return self.home_of_name(app, DURABLE);
        }
        let name = topic.as_str();
        match topic.class() {
            TopicClass::Public => self.home_of_name(app, name),
            TopicClass::Secure => {
                self.home_of_name(app, presence::watched_topic(name).unwrap_or(name))
            }
            TopicClass::Private => self.home_of_private(app, &name["priv/".len()..], name),
        }
    }

    /// The home of `priv/{subject}`.
    pub(super) fn home_of_subject(&self, app: AppIndex, subject: &str) -> ShardIndex {
        self.home_of_private(app, subject, &["priv/", subject].concat())
    }

    fn home_of_private(&self, app: AppIndex, subject: &str, name: &str) -> ShardIndex {
        match self.connection_named(subject) {
            Some(id) => id.shard,
            None => self.home_of_name(app, name),
        }
    }

    #[inline]
    fn home_of_name(&self, app: AppIndex, name: &str) -> ShardIndex {
        let hash = self.hasher.hash_one((app, name));
        let shard = hash % u64::from(self.options.shard_count);
        ShardIndex(u16::try_from(shard).expect("below the shard count"))
    }

    /// Takes a parcel from another shard.
    pub fn receive(
        &mut self,
        from: ShardIndex,
        parcel: Parcel,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        self.time_us = time_us;
        match parcel {
            Parcel::Publish { publication, reply } => {
                self.publish_here(*publication, reply, time_us, outlet);
            }
            Parcel::Published { to, outcome } => outlet.published(to, outcome),
            Parcel::Interest { app, topic, token } => {
                self.register(&TopicKey { app, name: topic }, from, token, outlet);
            }
            Parcel::Disinterest { app, topic } => {
                self.remove_interest(&TopicKey { app, name: topic }, from, outlet);
            }
            Parcel::Registered { app, topic, token, offset } => {
                self.registered(&TopicKey { app, name: topic }, token, offset, outlet);
            }
            Parcel::Deliver(message) => self.take_delivered(message),
            Parcel::DeliverPrivate { message, sessions } => {
                self.deliver_private(&sessions, &message, outlet);
            }
            Parcel::Announce(publication) => {
                self.place_and_deliver(*publication, time_us, outlet);
            }
            Parcel::Ask { to, ask } => {
                let told = Box::new(self.answer(*ask, outlet));
                outlet.send(from, Parcel::Told { to, told });
            }
            Parcel::Told { to, told } => outlet.told(to, *told),
            Parcel::Fetch { to, wanted } => self.serve_page(from, to, *wanted, outlet),
            Parcel::Fetched { to, outcome } => {
                self.take_page(to, outcome.map(|page| *page), outlet);
            }
            Parcel::Stored(reply) => self.stored(reply, outlet),
            Parcel::Store(_) => unreachable!("only the store is asked to store"),
            Parcel::Arrive { app, connection, identity, is_present } => {
                self.arrive(app, connection, identity, is_present, time_us, outlet);
            }
            Parcel::Arrived { session } => self.arrived(session, outlet),
            Parcel::Depart { app, subject, connection } => {
                self.departed(&SubjectKey { app, subject }, connection, time_us, outlet);
            }
            Parcel::Evict { session, cause } => {
                self.evict(session, cause, outlet);
            }
            Parcel::Watch { app, topic, token } => {
                self.watch(from, TopicKey { app, name: topic }, token, outlet);
            }
            Parcel::Unwatch { app, topic } => self.unwatch(&TopicKey { app, name: topic }),
            Parcel::Members { app, topic, token, subjects } => {
                let key = TopicKey { app, name: topic };
                self.members_told(&key, from, token, &subjects, time_us, outlet);
            }
            Parcel::Member { app, topic, subject, is_on } => {
                let key = TopicKey { app, name: topic };
                self.member_told(&key, from, &subject, is_on, time_us, outlet);
            }
        }
    }

    /// Does what has come due, and what this shard owes itself. Call once per turn, after all that
    /// was read and received and before `deliver_runs`.
    pub fn run_timers(&mut self, time_us: u64, outlet: &mut impl Outlet) {
        let own = self.options.shard;
        self.time_us = time_us;
        while let Some(parcel) = self.own_lane.pop_front() {
            self.receive(own, parcel, time_us, outlet);
        }
        self.timers.advance(time_us);
        for _ in 0..TIMERS_PER_TURN_MAX {
            match self.timers.take_due() {
                Some(Timer::SubjectGone(key)) => self.tell_gone(&key, time_us, outlet),
                Some(Timer::MemberGone(key, subject)) => {
                    self.tell_leave(&key, &subject, time_us, outlet);
                }
                Some(Timer::Count(key)) => self.tell_count_again(&key, time_us, outlet),
                Some(Timer::HistoryAge(history, watch)) => {
                    self.expire_history(history, watch, time_us);
                }
                None => break,
            }
        }
    }

    /// Looks at a history's age from now on, and no more as it did before.
    pub(super) fn watch_history(&mut self, history: Key, time_us: u64) {
        let watch = self.home.begin_watch(history);
        self.expire_history(history, watch, time_us);
    }

    /// Looks at a history's age now, and again when its next message is due.
    fn expire_history(&mut self, history: Key, watch: u32, time_us: u64) {
        if let Some(due_us) = self.home.expire(history, watch, time_us) {
            let delay_us = due_us.saturating_sub(time_us).max(HISTORY_AGE_INTERVAL_US);
            self.timers.schedule(time_us, delay_us, Timer::HistoryAge(history, watch));
        }
    }

    /// When `run_timers` has something to do, on the clock it is given; a time long past for at
    /// once. `None` while nothing is under way.
    pub fn next_due_us(&self) -> Option<u64> {
        if self.own_lane.is_empty() { self.timers.next_due_us() } else { Some(0) }
    }

    /// Hands a parcel to a shard, which may be this one.
    pub(super) fn forward(&mut self, shard: ShardIndex, parcel: Parcel, outlet: &mut impl Outlet) {
        if shard == self.options.shard {
            self.own_lane.push_back(parcel);
        } else {
            outlet.send(shard, parcel);
        }
    }

    /// The connection of this process that `text` is the id of.
    pub(super) fn connection_named(&self, text: &str) -> Option<ConnectionId> {
        let id = self.options.ids.parse(text)?;
        (id.shard.0 < self.options.shard_count).then_some(id)
    }

    pub(super) fn session(&self, key: Key) -> Option<&Session> {
        let session = self.sessions.get(key.index as usize)?.as_deref()?;
        (session.generation == key.generation).then_some(session)
    }

    pub(super) fn session_mut(&mut self, key: Key) -> Option<&mut Session> {
        let session = self.sessions.get_mut(key.index as usize)?.as_deref_mut()?;
        (session.generation == key.generation).then_some(session)
    }

    /// What of a live session's subscribing is not over.
    pub(super) fn under_way(&mut self, session: Key) -> &mut UnderWay {
        let state = self.session_mut(session).expect("the caller has looked it up");
        state.under_way.get_or_insert_default()
    }

    pub(super) fn topic(&self, local: Key) -> &LocalTopic {
        self.topics.get(local).expect("a local topic lives while it is named")
    }

    pub(super) fn topic_mut(&mut self, local: Key) -> &mut LocalTopic {
        self.topics.get_mut(local).expect("a local topic lives while it is named")
    }
}
