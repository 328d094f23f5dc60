//! The client of one server, a process of its own: each has its own descriptors.
//!
//! It opens its crowd, says what it has learned of the server's bytes, and then plays a round per
//! line on its standard input and answers with what the round was like.

mod conversation;
mod crowd;
mod rounds;
mod timed;

pub(crate) use conversation::run;
