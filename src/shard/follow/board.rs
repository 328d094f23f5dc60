//! Who follows what, shared by all shards.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::load::TopicLoad;
use crate::mesh::Wake;
use crate::model::application::AppIndex;
use crate::model::pattern::Patterns;

/// Events that wait for one follower; further ones are dropped, counted and told as dropped.
const QUEUE_LEN_MAX: usize = 1024;

/// What a follower wants to see.
#[derive(Debug)]
pub(in crate::shard) enum What {
    /// Messages of matching topics.
    Messages {
        /// Of which application.
        app: AppIndex,
        /// Of which topics.
        topics: Patterns,
        /// Whether with their payloads.
        with_payload: bool,
    },
    /// The sessions of one subject.
    Subject {
        /// Of which application.
        app: AppIndex,
        /// A token's subject, or a connection's id.
        subject: Box<str>,
    },
    /// How much is published and delivered, by topic.
    Load,
}

/// One thing told to a follower.
#[derive(Debug)]
pub(super) enum Told {
    /// A JSON object in one line.
    Line(String),
    /// What one shard has counted since it told last.
    Load(Vec<TopicLoad>),
}

/// One follower, as those see it who tell.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) what: What,
    queue: Sender<Told>,
    dropped: AtomicU64,
}

impl Follower {
    /// Tells, if there is room.
    pub(super) fn tell(&self, told: Told) {
        if self.queue.try_send(told).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Things dropped so far.
    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// All followers at one moment.
pub(super) type Followers = Arc<[Arc<Follower>]>;

/// The followers, and how their reader is woken.
#[derive(Debug)]
pub struct FollowBoard {
    version: AtomicU32,
    followers: Mutex<Followers>,
    reader: Arc<Wake>,
}

impl FollowBoard {
    /// Nobody follows. `reader` wakes the shard that has the admin door.
    pub fn new(reader: Arc<Wake>) -> FollowBoard {
        FollowBoard { version: AtomicU32::new(0), followers: Mutex::new(Arc::new([])), reader }
    }

    /// Changes with every change of followers.
    pub(super) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn followers(&self) -> Followers {
        Arc::clone(&self.followers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a follower. Wake all shards afterwards: what they do from then on is told.
    pub(super) fn add(&self, what: What) -> (Arc<Follower>, Receiver<Told>) {
        let (queue, receiver) = bounded(QUEUE_LEN_MAX);
        let follower = Arc::new(Follower { what, queue, dropped: AtomicU64::new(0) });
        self.change(|followers| followers.push(Arc::clone(&follower)));
        (follower, receiver)
    }

    /// Takes a follower away.
    pub(super) fn remove(&self, gone: &Arc<Follower>) {
        self.change(|followers| followers.retain(|follower| !Arc::ptr_eq(follower, gone)));
    }

    /// Has the reader look at the queues.
    pub(super) fn wake_reader(&self) {
        self.reader.wake();
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Follower>>)) {
        // Held by whoever begins or ends to follow, and by each shard once after that.
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = followers.to_vec();
        change(&mut changed);
        *followers = changed.into();
        self.version.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let board = FollowBoard::new(Arc::new(Wake::new().unwrap()));
        let (follower, receiver) = board.add(What::Load);
        for number in 0..QUEUE_LEN_MAX + 3 {
            follower.tell(Told::Line(number.to_string()));
        }
        assert_eq!((receiver.len(), follower.dropped_count()), (QUEUE_LEN_MAX, 3));
        let before = board.version();
        assert_eq!(board.followers().len(), 1);
        board.remove(&follower);
        assert_eq!(board.followers().len(), 0);
        assert_ne!(board.version(), before);
    }
}
