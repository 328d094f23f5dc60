//! A shard: one thread per CPU with its listeners, its connections and its part of the broker. The
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
mod control;
mod delivery;
mod dispatch;
mod draining;
mod fan_out;
mod flush;
mod follow;
mod inbox;
mod inherited;
mod lifecycle;
mod listener;
mod listeners;
pub mod options;
mod outbound;
mod outlet;
mod past;
mod polling;
mod rates;
mod read;
mod readiness;
mod reload;
mod report;
mod respond;
mod run;
mod runtime;
mod send;
mod steering;
mod tally;
mod tell;
mod timers;
mod transport;
mod verifying;

pub use admin::AdminDoor;
pub use control::{Control, Stage};
pub use follow::FollowBoard;
pub use listener::{ListenAddress, Listener, Seam, somaxconn};
pub use listeners::{LISTENERS_MAX, Listeners};
pub use options::Options;
pub use rates::Rates;
pub use reload::Snapshot;
pub use run::{Shard, ShardSeed};
pub use runtime::{ActiveDriver, probe_uring};
pub use steering::steer_by_cpu;
pub use transport::{CertificateText, Part, TlsAcceptor, TlsFault, TlsVersion};
