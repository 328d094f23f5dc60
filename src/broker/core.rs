//! The broker of one shard: commands in, outlet calls out.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use super::home::{Home, TopicKey};
use super::local::LocalTopic;
use super::members::WatchedHere;
use super::outlet::Outlet;
use super::parcel::Parcel;
use super::session::Session;
use super::subjects::{Subject, SubjectKey};
use super::timers::Timers;
use super::watching::WatchedTopics;
use crate::model::application::{AppIndex, Applications};
use crate::model::id::{ConnectionId, ConnectionIds};
use crate::model::position::Epoch;
use crate::model::presence;
use crate::model::shard::ShardIndex;
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
}

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
}

impl Broker {
    /// A broker without sessions.
    ///
    /// # Panics
    /// Never: the names it makes are constant.
    pub fn new(options: BrokerOptions, applications: Arc<Applications>) -> Broker {
        Broker {
            hasher: foldhash::quality::FixedState::with_seed(options.seed),
            home: Home::new(options.idle_topics_max),
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

    /// The epoch of all positions.
    pub fn epoch(&self) -> Epoch {
        self.options.epoch
    }

    /// The shard that gives `topic` its order. A connection's private topic lives with its owner,
    /// the topic on which a topic's members are told with that topic.
    pub fn home_of(&self, app: AppIndex, topic: &TopicName) -> ShardIndex {
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
            Parcel::Deliver(message) => self.append_to_run(message),
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
                None => break,
            }
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

    pub(super) fn topic(&self, local: Key) -> &LocalTopic {
        self.topics.get(local).expect("a local topic lives while it is named")
    }

    pub(super) fn topic_mut(&mut self, local: Key) -> &mut LocalTopic {
        self.topics.get_mut(local).expect("a local topic lives while it is named")
    }
}
