//! One shard's meaning of messages: topics, subscriptions, order, fan-out, presence.
//!
//! Synchronous and total: no socket, no clock, no await. Everything it wants done outside goes
//! through [`Outlet`], everything that must cross to another shard is a [`Parcel`].
//!
//! Where to look: `session` and `arriving` (who is here), `subjects` (the home of a token's
//! subject), `subscribing` and `local`, `publishing` and `home`, `watching` and `members` (who is
//! on a topic, told as it changes), `history` and `pages` (what is kept), `catching` (who was away or
//! slow), `durable` (what the store counts), `repeats`, `ask` and `answering` (administration).
//!
//! Invariants
//! - A topic's home is the same on every shard; only the home gives offsets.
//! - A member of a topic is a live session: ending a session leaves every topic first.
//! - A topic's pending run is delivered before its membership changes, so that nobody receives
//!   what was published before they joined or misses what was published before they left.
//! - What a shard tells itself as another shard's counterpart (`forward`) waits in a lane of its
//!   own, in order, until `run_timers`; so every home hears of every shard in one way.

mod answering;
mod arriving;
mod ask;
mod catching;
mod core;
mod durable;
mod history;
mod home;
mod local;
mod members;
mod outlet;
mod pages;
mod parcel;
mod publishing;
mod reading;
mod reload;
mod repeats;
mod session;
#[cfg(test)]
mod simulation;
mod subjects;
mod subscribing;
mod timers;
mod watching;

pub use ask::{
    Ask, ConnectionDetail, ConnectionEntry, ConnectionPlace, Counts, Members, Page, SlowEntry,
    TOPICS_NAMED_MAX, Tally, Told, Whom,
};
pub use catching::{PageSize, StartFrom};
pub use core::{Broker, BrokerOptions, CatchingStats};
pub use history::HistoryStats;
pub use local::{Member, SubscribeOutcome};
pub use outlet::Outlet;
pub use parcel::{PageFor, Parcel, Receipt, ReplyTo};
pub use reading::HistorySpan;
pub use session::Arrival;
