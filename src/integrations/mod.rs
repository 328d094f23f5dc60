//! The slow path: what waits for other machines, on one thread of its own. The only user of tokio.
//!
//! It may be slow, absent or wrong without delaying a delivery that does not need it. `key_sets`
//! keeps token keys fresh: `schedule` says when, `fetch` how, `target` and `address` where it may
//! go, `freshness` how long an answer is good. `client` is the command line's way to a running
//! broker: `event_stream` reads what it sends, `reconnect` says when to come back.

mod address;
mod client;
mod event_stream;
mod fetch;
mod freshness;
mod key_sets;
mod options;
mod reconnect;
mod schedule;
mod target;

pub use client::{ADMIN, Client, ClientError, Credential, Notice, Problem, Receipt};
pub use event_stream::{Event, EventStream, TooLarge};
pub use key_sets::{ParsedKeys, start};
pub use options::KeySetOptions;
pub use target::check;
