//! What the process tells its shards while they run: how far its stop has come, and what the
//! configuration says now.
//!
//! Knows no shard: whoever changes something wakes the shards afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use super::reload::Snapshot;
use crate::stdx::published::Published;

/// How far the process's stop has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Stage {
    /// Serving.
    Running = 0,
    /// Serving, but not ready for new clients any more.
    Leaving = 1,
    /// Not accepting; connections are being closed.
    Draining = 2,
    /// Leave at once.
    Stopped = 3,
}

/// What the process tells its shards while they run, and they each other.
#[derive(Debug)]
pub struct Control {
    /// What the configuration says. Each shard compares its generation once per turn.
    pub snapshots: Published<Snapshot>,
    stage: AtomicU8,
    /// Shards that still have connections, or may get some.
    undrained_count: AtomicU16,
}

impl Control {
    /// For so many shards, all of them running by this snapshot.
    pub fn new(shard_count: u16, snapshot: Arc<Snapshot>) -> Control {
        Control {
            snapshots: Published::new(snapshot),
            stage: AtomicU8::new(Stage::Running as u8),
            undrained_count: AtomicU16::new(shard_count),
        }
    }

    /// Each shard says once that its last connection is gone; whether it is the last to.
    pub(super) fn drained(&self) -> bool {
        self.undrained_count.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Moves to a later stage; wake the shards afterwards.
    pub fn set(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// The stage now.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Running,
            1 => Stage::Leaving,
            2 => Stage::Draining,
            _ => Stage::Stopped,
        }
    }
}
