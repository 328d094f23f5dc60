//! The nouns every layer shares: names, positions, messages, limits, refusals. No I/O, no clock.

pub mod address;
pub mod application;
pub mod close;
pub mod code;
pub mod family;
pub mod form;
pub mod id;
pub mod identity;
pub mod key_board;
pub mod message;
pub mod pattern;
pub mod position;
pub mod presence;
pub mod proxies;
pub mod rate;
pub mod recovery;
pub mod refusal;
pub mod rights;
pub mod shard;
pub mod store;
pub mod succession;
pub mod token;
pub mod topic;
