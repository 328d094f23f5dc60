//! Server-sent events (WHATWG HTML §9.2): writing events, and the head of the stream.
//!
//! Invariant: whatever the payload holds, it stays inside `data:` lines; CR, LF and CRLF all end
//! a line for the reader (WHATWG HTML §9.2.5), so each of them starts a new `data:` line here.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use super::encode::append_payload;
use super::{digits, json, realtime};
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::recovery::LossReason;
use crate::model::topic::TopicName;
use crate::stdx::clock::Timestamp;

/// A comment line: keeps proxies and dead-peer detection awake, dispatches nothing.
pub const HEARTBEAT: &[u8] = b":\n";

/// Appends the native envelope `{"topic","id","time","data"}`. A message that has a type, came over
/// a WebSocket, or was given an id by its client, says so in `messageType`, `client` and
/// `clientMessageId`; by these a reader of `secure/inbound` can answer.
/// With `position`, that follows the time.
pub fn envelope(out: &mut Vec<u8>, message: &Message, position: bool) {
    out.extend_from_slice(b"{\"topic\":");
    json::escape_into(out, message.publication.topic.as_str());
    // Ids, times and positions are plain ASCII: nothing to escape.
    out.extend_from_slice(b",\"id\":\"");
    digits::append_id(out, message.id);
    out.extend_from_slice(b"\",\"time\":\"");
    digits::append_time(out, Timestamp(message.time_us / 1000));
    if position {
        out.extend_from_slice(b"\",\"position\":\"");
        digits::append_position(out, message.position);
    }
    out.push(b'"');
    out.extend_from_slice(b",\"data\":");
    let publication = &message.publication;
    append_payload(out, &publication.payload);
    if let Some(message_type) = &publication.message_type {
        out.extend_from_slice(b",\"messageType\":");
        json::escape_into(out, message_type);
    }
    if let Some(publisher) = &publication.publisher {
        out.extend_from_slice(b",\"client\":");
        realtime::client(out, publisher);
    }
    if let Some(id) = &publication.client_id {
        out.extend_from_slice(b",\"clientMessageId\":");
        json::escape_into(out, id);
    }
    out.push(b'}');
}

/// Appends `data` as as many `data:` lines as it has lines.
pub fn append_data(out: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { return };
        let width = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + width..];
    }
}

/// Appends an `id:` line. Ids are positions and cursors: no NUL, no line end.
pub fn append_id(out: &mut Vec<u8>, id: &impl Display) {
    let _ = writeln!(out, "id: {id}");
}

/// Appends the `id:` line of a message whose id is its own position.
pub(super) fn append_position_id(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(b"id: ");
    digits::append_position(out, position);
    out.push(b'\n');
}

/// Appends a `retry:` line: the reader's next reconnect waits that many whole milliseconds. It belongs inside the
/// first event's block, because some readers dispatch a block of its own as an empty event.
pub fn append_retry(out: &mut Vec<u8>, retry: Duration) {
    let _ = writeln!(out, "retry: {}", retry.as_millis());
}

/// Appends the data of a `lost` event: why, and of which topics, `{"reason":S,"topics":[S…]}`.
pub fn loss(out: &mut Vec<u8>, reason: LossReason, topics: &[TopicName]) {
    out.extend_from_slice(b"{\"reason\":");
    json::escape_into(out, reason.code());
    out.extend_from_slice(b",\"topics\":[");
    for (index, topic) in topics.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::escape_into(out, topic.as_str());
    }
    out.extend_from_slice(b"]}");
}

/// Appends a whole `lost` event with its `id:`. Readers that only ask for messages do not see it.
pub fn append_lost(out: &mut Vec<u8>, reason: LossReason, topics: &[TopicName], id: &impl Display) {
    append_id(out, id);
    out.extend_from_slice(b"event: lost\ndata: ");
    loss(out, reason, topics);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, expected: &str) {
        let mut out = Vec::new();
        append_data(&mut out, data.as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{data:?}");
    }

    #[test]
    fn every_line_end_starts_a_data_line() {
        check("", "data: \n");
        check("a", "data: a\n");
        check(" a", "data:  a\n");
        check("a\nb", "data: a\ndata: b\n");
        check("a\rb", "data: a\ndata: b\n");
        check("a\r\nb", "data: a\ndata: b\n");
        check("a\n\rb", "data: a\ndata: \ndata: b\n");
        check("a\r\r\nb\n", "data: a\ndata: \ndata: b\ndata: \n");
        check(
            "a\rdata: forged\r\revent: x",
            "data: a\ndata: data: forged\ndata: \ndata: event: x\n",
        );
    }
}
