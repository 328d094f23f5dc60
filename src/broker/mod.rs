//! One shard's meaning of messages: topics, subscriptions, order, fan-out.
//!
//! Synchronous and total: no socket, no clock, no await. Everything it wants done outside goes
//! through [`Outlet`], everything that must cross to another shard is a [`Parcel`].
//!
//! Invariants
//! - A topic's home is the same on every shard; only the home gives offsets.
//! - A member of a topic is a live session: ending a session leaves every topic first.
//! - A topic's pending run is delivered before its membership changes, so that nobody receives
//!   what was published before they joined or misses what was published before they left.

mod ask;
mod core;
mod home;
mod local;
mod outlet;
mod parcel;
mod session;
#[cfg(test)]
mod simulation;

pub use ask::{Ask, ConnectionPlace, Told, Whom};
pub use core::{Arrival, Broker, BrokerOptions};
pub use local::{Member, SubscribeOutcome};
pub use outlet::Outlet;
pub use parcel::{Parcel, Receipt, ReplyTo};
