//! Brokers, a store and subscribers that come and go, against a model that knows what was lost.
//!
//! Lanes between brokers and to the store are queues that a seeded hand empties. Subscribers use
//! every form, are slow, are cut anywhere and come back on any shard and through another door with
//! what they had kept. The model has, per topic, the order that its lane gave and, worked out from
//! the limits alone, what history cannot have any more. A subscriber must get every message behind
//! its first answer once and in order, but for those that expired, and those of which it was told
//! that they are lost, when they were.
//!
//! `ears` notes what a broker wants done, `store` answers as the store would, `truth` is the model,
//! `account` judges one subscriber, `door` is what a shard keeps of its connection, `world` and
//! `steps` make things happen, `run` plays many seeds to their end.
//!
//! Deliberately not here: presence, private topics and administration, which the world beside has;
//! bytes on the wire.

mod account;
mod door;
mod ears;
mod run;
mod steps;
mod store;
mod truth;
mod world;
