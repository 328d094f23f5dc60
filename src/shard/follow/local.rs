//! One shard's copy of the followers, and what it remembers for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::board::{FollowBoard, Follower, Followers, Told, What};
use super::load::Loads;
use crate::model::identity::Identity;
use crate::shard::run::Shard;
use crate::stdx::clock::Tick;
use crate::stdx::slab::Key;

/// Time between two tellings of numbers.
const INTERVAL: Duration = Duration::from_secs(1);

/// A session of a subject that is followed.
#[derive(Debug, Default)]
pub(in crate::shard) struct Traced {
    pub(super) followers: Vec<Arc<Follower>>,
    /// Messages delivered since that was told last.
    pub(super) delivered: u64,
}

/// What a shard tells its followers from.
#[derive(Debug)]
pub(in crate::shard) struct Following {
    pub(super) board: Arc<FollowBoard>,
    pub(super) followers: Followers,
    pub(super) traced: HashMap<Key, Traced, foldhash::fast::RandomState>,
    pub(super) loads: Loads,
    pub(super) has_load: bool,
    /// Whose request is being served, while a subject is followed.
    pub(super) serving: Option<Arc<Identity>>,
    version: u32,
    /// When numbers are told next; `None` with none to tell.
    due: Option<Tick>,
}

impl Following {
    /// Nobody is followed yet.
    pub(in crate::shard) fn new(board: Arc<FollowBoard>) -> Following {
        Following {
            board,
            followers: Arc::new([]),
            traced: HashMap::default(),
            loads: Loads::default(),
            has_load: false,
            serving: None,
            // Not the board's: the first turn looks at it.
            version: u32::MAX,
            due: None,
        }
    }

    /// Whether anybody follows anything.
    pub(in crate::shard) fn is_on(&self) -> bool {
        !self.followers.is_empty()
    }

    /// A request of this identity is being served.
    pub(in crate::shard) fn serve(&mut self, identity: Option<&Arc<Identity>>) {
        if self.is_on() {
            self.serving = identity.map(Arc::clone);
        }
    }

    /// How long the shard may park before numbers are to be told.
    pub(in crate::shard) fn wait(&self, now: Tick) -> Option<Duration> {
        let due = self.due?;
        let left_ms = if due.is_due(now) { 0 } else { due.since_ms(now) };
        Some(Duration::from_millis(u64::from(left_ms)))
    }

    /// Takes over the board's followers if they have changed; whether they have.
    fn refresh(&mut self) -> bool {
        let version = self.board.version();
        if version == self.version {
            return false;
        }
        self.version = version;
        self.followers = self.board.followers();
        self.has_load = self.followers.iter().any(|follower| matches!(follower.what, What::Load));
        self.serving = None;
        true
    }

    fn has_numbers(&self) -> bool {
        !self.loads.is_empty() || self.traced.values().any(|traced| traced.delivered > 0)
    }

    fn tell_load(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let busiest = self.loads.take_busiest();
        for follower in self.followers.iter() {
            if matches!(follower.what, What::Load) {
                follower.tell(Told::Load(busiest.clone()));
            }
        }
    }
}

impl Shard {
    /// Learns who follows. Call at the beginning of a turn.
    pub(in crate::shard) fn learn_followers(&mut self) {
        if self.delivery.following.refresh() {
            self.retrace();
        }
    }

    /// Finds the sessions that are followed from now on.
    fn retrace(&mut self) {
        let mut before = std::mem::take(&mut self.delivery.following.traced);
        if !self.delivery.following.is_on() {
            return;
        }
        let keys: Vec<Key> = self.delivery.connections.keys().collect();
        for key in keys {
            if let Some((app, identity)) = self.broker.identity_of(key) {
                self.delivery.trace_session(key, app, identity, before.remove(&key));
            }
        }
    }

    /// Tells numbers whose time has come. Call once per turn, behind the deliveries.
    pub(in crate::shard) fn tell_followers(&mut self) {
        let now = self.delivery.now;
        let following = &mut self.delivery.following;
        if !following.is_on() {
            following.due = None;
            return;
        }
        match following.due {
            None if following.has_numbers() => following.due = Some(now.after(INTERVAL)),
            Some(due) if due.is_due(now) => {
                following.due = None;
                following.tell_load();
                self.delivery.tell_delivered();
            }
            _ => {}
        }
        if self.admin.is_none() {
            self.delivery.following.board.wake_reader();
        }
    }
}
