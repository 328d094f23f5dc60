//! The Realtime Pub/Sub dialect (protocols.md §1): envelopes out, commands in.

mod command;
mod envelope;

pub use command::{Command, CommandError, HttpPublish, Publish, parse_command, parse_http_publish};
pub use envelope::{ack, envelope, welcome};
