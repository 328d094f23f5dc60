//! A shard: one thread with its listener, its connections and its part of the broker.

mod outbound;
mod send;
