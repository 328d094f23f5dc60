//! The broker of one shard: commands in, outlet calls out.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use smallvec::SmallVec;

use super::home::{Home, TopicKey};
use super::local::LocalTopic;
use super::outlet::Outlet;
use super::parcel::Parcel;
use super::session::Session;
use crate::model::application::{AppIndex, Applications};
use crate::model::form::Form;
use crate::model::id::{ConnectionId, ConnectionIds};
use crate::model::position::Epoch;
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
}

impl Broker {
    /// A broker without sessions.
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

    /// The shard that gives `topic` its order. A connection's private topic lives with its owner.
    ///
    /// # Panics
    /// Never: a remainder of the shard count is a shard.
    pub fn home_of(&self, app: AppIndex, topic: &TopicName) -> ShardIndex {
        if let Some(id) = self.private_connection(topic) {
            return id.shard;
        }
        let hash = self.hasher.hash_one((app, topic));
        let shard = hash % u64::from(self.options.shard_count);
        ShardIndex(u16::try_from(shard).expect("below the shard count"))
    }

    /// A session begins: its messages will be wanted in `form`.
    pub fn begin(&mut self, session: Key, app: AppIndex, form: Form) {
        let index = session.index as usize;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        self.sessions[index] = Some(Box::new(Session {
            app,
            form,
            subscriptions: SmallVec::new(),
            pending: SmallVec::new(),
            generation: session.generation,
        }));
    }

    /// A session ends: it leaves every topic. Unknown sessions are ignored.
    ///
    /// # Panics
    /// Only on a bug: a subscription that names a dead topic.
    pub fn end(&mut self, session: Key, outlet: &mut impl Outlet) {
        let Some(state) = self.session_mut(session) else { return };
        let pending = std::mem::take(&mut state.pending);
        while let Some(last) =
            self.session_mut(session).and_then(|s| s.subscriptions.last().copied())
        {
            self.leave(session, last, outlet);
        }
        for topic in pending {
            self.stop_waiting(session, topic, outlet);
        }
        self.sessions[session.index as usize] = None;
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
                let key = TopicKey { app, name: topic };
                self.home.add_interest(&key, from);
                let offset = self.home.offset();
                outlet.send(from, Parcel::Registered { app, topic: key.name, token, offset });
            }
            Parcel::Disinterest { app, topic } => {
                self.home.remove_interest(&TopicKey { app, name: topic }, from);
            }
            Parcel::Registered { app, topic, token, offset } => {
                self.registered(&TopicKey { app, name: topic }, token, offset, outlet);
            }
            Parcel::Deliver(message) => self.append_to_run(message),
        }
    }

    /// The connection whose private topic this is, if it is one of this process's.
    pub(super) fn private_connection(&self, topic: &TopicName) -> Option<ConnectionId> {
        if topic.class() != TopicClass::Private {
            return None;
        }
        let id = self.options.ids.parse(&topic.as_str()["priv/".len()..])?;
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
