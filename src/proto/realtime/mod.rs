//! The Realtime Pub/Sub dialect (protocols.md §1): envelopes out, commands in.

mod administration;
mod command;
mod envelope;
mod ticket;

pub use administration::{HttpUnsubscribe, TOPIC_PATTERNS_MAX, parse_http_unsubscribe};
pub use command::{
    Command, CommandError, HttpPublish, Publish, Resume, Subscribe, parse_command,
    parse_http_publish,
};
pub use envelope::{
    Expiry, Resumed, ack, authenticated, client, envelope, expired, lost, refused, resumed, ticket,
    welcome,
};
pub use ticket::{TICKET_SIZE_MAX, issue_ticket, read_ticket};
