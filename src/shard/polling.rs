//! Long polls: requests that wait for messages, as short subscriptions of their connections.
//!
//! A poll subscribes from the position it gives, gathers what history and its topics bring, and is
//! over as soon as a turn has brought something, or its time is. Its answer's position is the next
//! poll's `since`; between two polls nothing is subscribed, and history bridges the gap.

use std::sync::Arc;

use http::StatusCode;

use super::answer::AnswerBody;
use super::connection::{Connection, Door, HttpDoor};
use super::respond::{Fields, with_fields};
use super::run::Shard;
use crate::model::form::Form;
use crate::model::message::{Message, Payload};
use crate::model::position::{Cursor, Position};
use crate::model::recovery::LossReason;
use crate::model::topic::TopicName;
use crate::proto::http1::{Date, Response, Terms};
use crate::proto::{json, sse};
use crate::stdx::clock::Tick;
use crate::stdx::slab::Key;

/// How a poll is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PollDialect {
    /// `GET /v1/{app}/poll`: a batch as JSON.
    Native,
    /// `GET /subscribe` (protocols.md §5.3): one message as text.
    Simple,
}

/// A poll that waits.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) dialect: PollDialect,
    /// Subscribes not yet answered.
    pub(super) pending_count: u32,
    /// When it is over though nothing came.
    pub(super) over_at: Tick,
    pub(super) is_over: bool,
    /// Most messages of the answer; what came besides comes again.
    count_max: usize,
    /// The client has an answer with this position and may use it again (RFC 9110 §13.1.2).
    pub(super) known_tag: Option<Box<str>>,
    messages: Vec<Arc<Message>>,
    losses: Vec<(LossReason, Vec<TopicName>)>,
    /// Where it stands without its messages.
    base: Cursor,
}

impl Poll {
    /// A poll that has asked for `pending_count` topics.
    pub(super) fn new(
        dialect: PollDialect,
        pending_count: u32,
        count_max: usize,
        over_at: Tick,
        known_tag: Option<Box<str>>,
    ) -> Poll {
        Poll {
            dialect,
            pending_count,
            over_at,
            is_over: false,
            count_max,
            known_tag,
            messages: Vec::new(),
            losses: Vec::new(),
            base: Cursor::default(),
        }
    }

    /// Messages have come.
    pub(super) fn take(&mut self, messages: &[Arc<Message>]) {
        self.messages.extend_from_slice(messages);
    }

    /// Topics are subscribed.
    pub(super) fn subscribed(
        &mut self,
        topics: &[TopicName],
        at: Position,
        loss: Option<LossReason>,
    ) {
        let count = u32::try_from(topics.len()).unwrap_or(u32::MAX);
        self.pending_count = self.pending_count.saturating_sub(count);
        self.base.advance(at);
        if let Some(reason) = loss {
            self.losses.push((reason, topics.to_vec()));
        }
    }

    /// Messages will not come.
    pub(super) fn lost(&mut self, topics: &[TopicName], at: Position, reason: LossReason) {
        self.base.advance(at);
        // What came before the loss cannot come again behind it.
        self.count_max = self.count_max.max(self.messages.len());
        self.losses.push((reason, topics.to_vec()));
    }

    fn is_due(&self, now: Tick) -> bool {
        let has_news = !self.messages.is_empty() || !self.losses.is_empty();
        self.pending_count == 0 && (has_news || self.over_at.is_due(now))
    }

    /// Where the next poll goes on: behind the messages of the answer. Each lane's stand in its order,
    /// so leaving out the last of them leaves no gap.
    fn cursor(&self) -> Cursor {
        self.messages.iter().fold(self.base.clone(), |mut cursor, message| {
            cursor.advance(message.position);
            cursor
        })
    }
}

impl HttpDoor {
    /// The poll that this connection waits for: the last answer, since no request follows it before
    /// it is over.
    pub(super) fn poll_mut(&mut self) -> Option<&mut Poll> {
        match &mut self.answers.back_mut()?.body {
            AnswerBody::Poll(poll) if !poll.is_over => Some(poll),
            _ => None,
        }
    }

    /// The same to look at.
    pub(super) fn poll(&self) -> Option<&Poll> {
        match &self.answers.back()?.body {
            AnswerBody::Poll(poll) if !poll.is_over => Some(poll),
            _ => None,
        }
    }
}

impl Shard {
    /// Answers the polls that are over. Call when this turn's messages have been delivered.
    pub(super) fn finish_polls(&mut self) {
        while let Some(key) = self.delivery.polls_touched.pop() {
            let now = self.delivery.now;
            if self.delivery.poll_mut(key).is_some_and(|poll| poll.is_due(now)) {
                self.finish_poll(key);
            }
        }
    }

    fn finish_poll(&mut self, key: Key) {
        // What is still owed to it arrives while the session ends.
        self.broker.end(key, self.time_us, &mut self.delivery);
        if let Some(poll) = self.delivery.poll_mut(key) {
            poll.messages.truncate(poll.count_max);
            poll.is_over = true;
        }
        self.delivery.write_answers(key);
        self.reschedule(key);
    }

    /// A poll's time is over.
    pub(super) fn poll_is_over(&mut self, key: Key) {
        self.delivery.polls_touched.push(key);
    }

    /// The broker stops: polls are answered at once, with a position to come back with.
    pub(super) fn end_poll(&mut self, key: Key) {
        let now = self.delivery.now;
        if let Some(Connection { door: Door::Http(door), .. }) =
            self.delivery.connections.get_mut(key)
            && let Some(poll) = door.poll_mut()
        {
            poll.over_at = now;
            self.delivery.polls_touched.push(key);
        }
    }
}

/// Writes a poll's answer.
pub(super) fn write(
    out: &mut Vec<u8>,
    poll: &Poll,
    terms: Terms,
    date: &Date,
    fields: &Fields<'_>,
) {
    let tag = format!("\"{}\"", poll.cursor());
    match poll.dialect {
        PollDialect::Native => write_native(out, poll, &tag, terms, date, fields),
        PollDialect::Simple => write_simple(out, poll, &tag, terms, date, fields),
    }
}

fn write_native(
    out: &mut Vec<u8>,
    poll: &Poll,
    tag: &str,
    terms: Terms,
    date: &Date,
    fields: &Fields<'_>,
) {
    let is_known = poll.messages.is_empty()
        && poll.losses.is_empty()
        && poll.known_tag.as_deref() == Some(tag);
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let response = with_fields(Response::start(out, status, terms, date), fields)
        .header("Cache-Control", "private, no-cache")
        .header("ETag", tag);
    if is_known {
        return response.finish_empty();
    }
    let mut body = Vec::with_capacity(256 * (1 + poll.messages.len()));
    body.extend_from_slice(b"{\"messages\":[");
    append_items(&mut body, &poll.messages);
    body.extend_from_slice(b"],\"position\":");
    json::escape_into(&mut body, tag.trim_matches('"'));
    body.extend_from_slice(b",\"lost\":");
    match merge_losses(&poll.losses) {
        None => body.extend_from_slice(b"null"),
        Some((reason, topics)) => sse::loss(&mut body, reason, &topics),
    }
    body.push(b'}');
    response.finish("application/json", &body);
}

/// The topics of all losses, with the first one's reason.
fn merge_losses(losses: &[(LossReason, Vec<TopicName>)]) -> Option<(LossReason, Vec<TopicName>)> {
    let (reason, _) = losses.first()?;
    let mut topics: Vec<TopicName> = losses.iter().flat_map(|(_, topics)| topics.clone()).collect();
    topics.sort_unstable();
    topics.dedup();
    Some((*reason, topics))
}

/// Appends messages as items of a JSON array.
pub(super) fn append_items(out: &mut Vec<u8>, messages: &[Arc<Message>]) {
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let form = Form::Poll { merged: false };
        out.extend_from_slice(message.form(form, |message| {
            let mut item = Vec::with_capacity(256);
            sse::envelope(&mut item, message, true);
            item
        }));
    }
}

/// One message as text; nothing but time gone by is a 502, on which that client asks again at once.
fn write_simple(
    out: &mut Vec<u8>,
    poll: &Poll,
    tag: &str,
    terms: Terms,
    date: &Date,
    fields: &Fields<'_>,
) {
    let status = if poll.messages.is_empty() { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    let response = with_fields(Response::start(out, status, terms, date), fields)
        .header("Cache-Control", "no-cache, must-revalidate")
        .header("ETag", tag);
    let text = match poll.messages.first().map(|message| &message.publication.payload) {
        None => "".into(),
        Some(Payload::Text(text)) => text.as_ref().into(),
        Some(Payload::Json(text)) => {
            json::characters(text.trim_ascii()).unwrap_or_else(|| text.as_ref().into())
        }
    };
    response.finish("text/plain;charset=utf-8", text.as_bytes());
}
