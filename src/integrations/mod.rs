//! The slow path: what waits for other machines, on one thread of its own. The only user of tokio.
//!
//! It may be slow, absent or wrong without delaying a delivery that does not need it. `key_sets`
//! keeps token keys fresh: `schedule` says when, `fetch` how, `target` and `address` where it may
//! go, `freshness` how long an answer is good.

mod address;
mod fetch;
mod freshness;
mod key_sets;
mod options;
mod schedule;
mod target;

pub use key_sets::{ParsedKeys, start};
pub use options::KeySetOptions;
pub use target::check;
