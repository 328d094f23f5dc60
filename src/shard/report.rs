//! Writes answers of administration: what the shards told, as JSON.

use std::fmt::Display;
use std::io::Write as _;

use http::StatusCode;

use super::answer::{Asked, Report};
use crate::broker::{
    ConnectionDetail, ConnectionEntry, Counts, Members, Page, SlowEntry, Tally, Told,
};
use crate::model::form::Form;
use crate::model::refusal::{Refusal, Refused};
use crate::model::topic::TopicName;
use crate::proto::http1::{Date, Response, Terms, problem};
use crate::proto::json::escape_into;
use crate::stdx::clock::Timestamp;

/// Writes the answer to a question or an order that every shard asked has answered.
pub(super) fn write(
    out: &mut Vec<u8>,
    asked: Asked,
    terms: Terms,
    date: &Date,
    fields: &[(&'static str, &str)],
) {
    let mut body = Vec::new();
    let outcome = match asked.told {
        Some(told) => report(&mut body, &told, &asked.report),
        None => Err(Refused::new(Refusal::Internal, "no shard has answered")),
    };
    if let Err(refused) = outcome {
        return problem(out, &refused, terms, date, fields);
    }
    let response = Response::start(out, StatusCode::OK, terms, date);
    fields
        .iter()
        .fold(response, |response, (name, value)| response.header(name, value))
        .header("Cache-Control", "no-store")
        .finish("application/json", &body);
}

/// The refusal of a connection id that names nobody.
pub(super) fn unknown_connection() -> Refused {
    Refused::new(Refusal::UnknownConnection, "it may have ended; list those there are")
}

fn report(out: &mut Vec<u8>, told: &Told, report: &Report) -> Result<(), Refused> {
    match (told, report) {
        (Told::Closed(0), Report::CloseOne) | (Told::Connection(None), _) => {
            return Err(unknown_connection());
        }
        (Told::Closed(count), _) => numbers(out, &[("connections", *count)]),
        (Told::Unsubscribed(count), _) => numbers(out, &[("subscriptions", *count)]),
        (Told::Counts(counts), _) => write_counts(out, *counts),
        (Told::Topics(page), _) => write_topics(out, page),
        (Told::Connections(page), _) => write_connections(out, page),
        (Told::Slowest(entries), _) => write_slowest(out, entries),
        (Told::Connection(Some(detail)), _) => write_connection(out, detail),
        (Told::Members(members), Report::Members { topic, members_max }) => {
            write_members(out, members, topic, *members_max);
        }
        (Told::Members(_), _) => unreachable!("members are asked for with their topic"),
    }
    Ok(())
}

fn write_counts(out: &mut Vec<u8>, counts: Counts) {
    out.extend_from_slice(b"{\"connections\":");
    let Counts { websockets, streams, polls, .. } = counts;
    numbers(out, &[("websocket", websockets), ("sse", streams), ("poll", polls)]);
    let _ =
        write!(out, ",\"subscriptions\":{},\"topics\":{}}}", counts.subscriptions, counts.topics);
}

fn write_topics(out: &mut Vec<u8>, page: &Page<Tally<TopicName>>) {
    out.extend_from_slice(b"{\"topics\":");
    list(out, &page.entries, |out, tally| {
        out.extend_from_slice(b"{\"topic\":");
        escape_into(out, tally.name.as_str());
        let _ = write!(out, ",\"subscribers\":{}}}", tally.count);
    });
    let last = page.entries.last().map(|tally| tally.name.as_str());
    next(out, last.filter(|_| page.has_more));
    out.push(b'}');
}

/// Above `members_max` subjects there are numbers only; above what is gathered, connections only.
fn write_members(out: &mut Vec<u8>, members: &Members, topic: &TopicName, members_max: u32) {
    out.extend_from_slice(b"{\"topic\":");
    escape_into(out, topic.as_str());
    let _ = write!(out, ",\"connections\":{}", members.connection_count);
    let subjects = &members.subjects.entries;
    if !members.subjects.has_more {
        let _ = write!(out, ",\"count\":{}", subjects.len());
    }
    if subjects.len() <= members_max as usize && !members.subjects.has_more {
        out.extend_from_slice(b",\"members\":");
        list(out, subjects, |out, tally| {
            out.extend_from_slice(b"{\"subject\":");
            escape_into(out, &tally.name);
            let _ = write!(out, ",\"connections\":{}}}", tally.count);
        });
    }
    out.push(b'}');
}

fn write_connections(out: &mut Vec<u8>, page: &Page<ConnectionEntry>) {
    out.extend_from_slice(b"{\"connections\":");
    list(out, &page.entries, |out, entry| {
        out.push(b'{');
        write_entry(out, entry);
        let _ = write!(out, ",\"topics\":{}}}", entry.subscription_count);
    });
    let last = page.entries.last().map(|entry| entry.id.to_string());
    next(out, last.as_deref().filter(|_| page.has_more));
    out.push(b'}');
}

fn write_slowest(out: &mut Vec<u8>, entries: &[SlowEntry]) {
    out.extend_from_slice(b"{\"connections\":");
    list(out, entries, |out, slow| {
        out.push(b'{');
        write_entry(out, &slow.entry);
        let SlowEntry { queued_size, catching_count, .. } = slow;
        let _ = write!(out, ",\"queuedBytes\":{queued_size},\"catchingUp\":{catching_count}}}");
    });
    out.push(b'}');
}

fn write_connection(out: &mut Vec<u8>, detail: &ConnectionDetail) {
    out.push(b'{');
    write_entry(out, &detail.entry);
    out.extend_from_slice(b",\"permissions\":");
    list(out, &detail.permissions, |out, permission| escape_into(out, permission));
    let _ = write!(out, ",\"topicCount\":{},\"topics\":", detail.entry.subscription_count);
    list(out, &detail.topics, |out, topic| escape_into(out, topic.as_str()));
    out.push(b'}');
}

fn write_entry(out: &mut Vec<u8>, entry: &ConnectionEntry) {
    let _ = write!(out, "\"id\":\"{}\",\"subject\":", entry.id);
    escape_into(out, &entry.subject);
    let door = match entry.form {
        Form::Poll { .. } => "poll",
        Form::Realtime { .. } => "websocket",
        Form::Sse { .. } => "sse",
    };
    let connected_at = Timestamp(entry.connected_at_s * 1000);
    let _ = write!(out, ",\"door\":\"{door}\",\"connectedAt\":\"{connected_at}\",");
    out.extend_from_slice(b"\"remoteAddress\":");
    match entry.address {
        Some(address) => quoted(out, address.ip().to_canonical()),
        None => out.extend_from_slice(b"null"),
    }
}

/// What the next page's `after` is, or null.
fn next(out: &mut Vec<u8>, after: Option<&str>) {
    out.extend_from_slice(b",\"next\":");
    match after {
        Some(after) => escape_into(out, after),
        None => out.extend_from_slice(b"null"),
    }
}

fn numbers(out: &mut Vec<u8>, members: &[(&str, u64)]) {
    for (index, (name, number)) in members.iter().enumerate() {
        let _ = write!(out, "{}\"{name}\":{number}", if index == 0 { '{' } else { ',' });
    }
    out.push(b'}');
}

fn list<T>(out: &mut Vec<u8>, entries: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, entry);
    }
    out.push(b']');
}

/// A text without anything to escape.
fn quoted(out: &mut Vec<u8>, text: impl Display) {
    let _ = write!(out, "\"{text}\"");
}
