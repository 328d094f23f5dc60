//! Several brokers in one thread against a model that knows nothing of shards.
//!
//! Lanes between brokers are queues that a seeded hand empties parcel by parcel, in any order of
//! lanes. The model keeps, per topic, the order that the home gave, and per subscription the offset
//! it began after. What a subscriber got must be exactly the messages after that offset, in order,
//! each once, up to what had reached its shard when it left.
//!
//! `ears` notes what a broker wants done, `model` judges it, `steps` makes things happen, `run`
//! plays many seeds to their end. `presence` judges what is told of sessions and members by
//! observers that are always there; `orders` puts questions and orders and judges the answers;
//! `bursts` meets the limit of a turn.

mod bursts;
mod ears;
mod model;
mod orders;
mod presence;
mod recovery;
mod run;
mod steps;
