//! A shard: one thread per CPU with its listener, its connections and its part of the broker. The
//! only user of monoio and of the send ring.
//!
//! Inward: `readiness` → `read` → the codecs of `proto` → `dispatch` → `broker`. Outward: `broker`
//! → `outlet` (with `fan_out` and `tell`) → `outbound` → `flush` → `send`, or the mesh → another shard's `inbox`. `run` is
//! the turn that calls them in order, `runtime` parks the thread between turns.
//!
//! Invariants
//! - Everything between two parks is synchronous; a turn has budgets and therefore an end.
//! - Each dirty connection is sent to once per turn.
//! - A panic while one connection is handled ends that connection, not the shard.

mod admin;
mod answer;
mod backlog;
mod catching;
mod connection;
mod counting;
mod delivery;
mod dispatch;
mod draining;
mod fan_out;
mod flush;
mod follow;
mod inbox;
mod lifecycle;
mod listener;
pub mod options;
mod outbound;
mod outlet;
mod past;
mod polling;
mod rates;
mod read;
mod readiness;
mod report;
mod respond;
mod run;
mod runtime;
mod send;
mod tell;
mod timers;
mod verifying;

pub use admin::AdminDoor;
pub use follow::FollowBoard;
pub use listener::{Listener, somaxconn};
pub use options::Options;
pub use rates::Rates;
pub use run::{Control, Shard, ShardSeed, Stage};
pub use runtime::ActiveDriver;
