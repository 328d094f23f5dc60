//! What an operator sees: counters, histograms, their exposition, and the log.
//!
//! Each shard writes its own counters with plain loads and stores; whoever answers `/metrics` reads
//! them all. Nothing here is shared between writers, and nothing here reads a clock.

pub mod counters;
pub mod door;
pub mod exposition;
pub mod histogram;
pub mod log;
pub mod metrics;
pub mod process;
pub mod rate_limit;
pub mod recovery;
pub mod reload;
pub mod status;
pub mod store;

pub use counters::{Counter, ShardCounters};
pub use door::{DeliveryDoor, Door, PublishDoor};
pub use histogram::Histogram;
pub use log::{LogFormat, LogLevel, LogOptions};
pub use metrics::{Exposed, Limits, render};
pub use process::ProcessStats;
pub use rate_limit::RateLimit;
pub use recovery::RecoveryCounters;
pub use reload::ReloadCounters;
pub use store::StoreCounters;
