//! The Realtime Pub/Sub dialect (protocols.md §1): envelopes out, commands in.

mod administration;
mod command;
mod envelope;

pub use administration::{HttpUnsubscribe, TOPIC_PATTERNS_MAX, parse_http_unsubscribe};
pub use command::{Command, CommandError, HttpPublish, Publish, parse_command, parse_http_publish};
pub use envelope::{Expiry, ack, authenticated, client, envelope, expired, refused, welcome};
