//! Who is asking: API keys and signed tokens. The outcome is always a `model::identity::Identity`.
//!
//! `authenticator` is the door; `judge` follows one token from `jws` (its form) over `raw_key` and
//! `key_set` (whose signature) to `claims` (what it says); `key_ring` holds the configured keys,
//! `cache` and `revocations` what was found out and what was withdrawn. `mint` and `explain` are the
//! operator's.
//!
//! Invariants: synchronous, no I/O, no clock; time is an argument in Unix seconds. jsonwebtoken and
//! subtle are named here alone. A credential or key is never printed, logged or part of an error.

mod admin_token;
mod api_keys;
mod authenticator;
mod cache;
mod claims;
mod explain;
mod json;
mod judge;
mod jws;
mod key;
mod key_ring;
mod key_set;
pub mod mint;
mod raw_key;
mod recent;
mod revocations;
#[cfg(test)]
mod rfc_tests;

pub use admin_token::AdminToken;
pub use authenticator::{Authenticator, Credential, Request, Verdict, not_valid_here};
pub use explain::{Explanation, explain};
pub use judge::KeySets;
pub use key_ring::{KeyProblem, KeyRing};
pub use key_set::KeySet;
pub use raw_key::check_key;
pub use revocations::TooManyRevocations;
