//! Opening a stream of server-sent events: the native form and buzzPost's.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::super::connection::{Connection, Door, StreamDoor};
use super::super::respond;
use super::super::run::Shard;
use super::entry::Entered;
use super::http::Exchange;
use super::past::{parameter, read_position};
use super::publish::native_topic;
use super::session::expires_s;
use crate::broker::{Arrival, PageSize, StartFrom};
use crate::model::form::{EventId, Form, SseBody};
use crate::model::refusal::{Refusal, Refused};
use crate::model::rights::Rights;
use crate::model::topic::{TopicClass, TopicName};
use crate::proto::http1::{Head, Query, Response, StreamFraming};
use crate::proto::sse;
use crate::telemetry;

impl Shard {
    /// `GET /v1/{app}/events?topics=a,b[&format=raw]`; `topics` may repeat.
    pub(super) fn open_native_stream(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        let mut body = SseBody::Native;
        for pair in Query::new(head.query) {
            let (name, value) = pair?;
            match (name.as_ref(), value.as_ref()) {
                ("format", "raw") => body = SseBody::Raw,
                ("format", "json") => body = SseBody::Native,
                ("format", _) => {
                    return Err(Refused::new(Refusal::BadField, "`format` is `json` or `raw`"));
                }
                _ => {}
            }
        }
        self.open_stream(exchange, entered, head, "topics", body)
    }

    /// `GET /?channels=a,b`: default events whose data is the payload's characters.
    pub(super) fn open_buzzpost_stream(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        self.open_stream(exchange, entered, head, "channels", SseBody::Raw)
    }

    fn open_stream(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        head: &Head<'_>,
        list: &'static str,
        body: SseBody,
    ) -> Result<(), Refused> {
        let Entered { app, identity } = entered;
        let app = *app;
        let topics_max = self.delivery.options.sse.topics_max;
        let topics = self.stream_topics(entered, head, list, topics_max)?;
        let from = stream_start(head)?;
        let response_head = self.stream_head(exchange);
        if exchange.is_head() {
            self.answer_with(exchange.key, exchange.terms.closing(), |out, _| {
                out.extend_from_slice(&response_head);
            });
            return Ok(());
        }
        let lanes: Vec<_> = topics.iter().map(|topic| self.broker.lane_of(app, topic)).collect();
        let id = match &lanes[..] {
            [_] => EventId::Position,
            [first, rest @ ..] if rest.iter().all(|lane| lane == first) => EventId::LanePosition,
            _ => EventId::Cursor,
        };
        let application = self.delivery.applications.get(app);
        let limits = application.limits;
        let expires_s = expires_s(application, identity);
        let now = self.delivery.now;
        let Some(connection) = self.delivery.connections.get_mut(exchange.key) else {
            return Ok(());
        };
        if let Door::Http(door) = &connection.door
            && !door.answers.is_empty()
        {
            let detail = "a stream cannot be opened behind unanswered requests";
            return Err(Refused::new(Refusal::BadRequest, detail));
        }
        // Behind the answers to earlier requests, which may not have left yet.
        connection.outbound.append(|out| out.extend_from_slice(&response_head));
        connection.flags.held = true;
        connection.flags.retry_owed = true;
        connection.flags.ends_when_flushed = true;
        connection.began = now;
        connection.expires_s = expires_s;
        connection.outbound_size_max = u32::try_from(limits.outbound_size_max).unwrap_or(u32::MAX);
        connection.door = Door::Stream(StreamDoor {
            app,
            pending: u32::try_from(topics.len()).expect("bounded by sse.topics_max"),
            cursor: (id == EventId::Cursor).then(Box::default),
            early: None,
            keeps_id_without_data: is_browser(head),
        });
        self.delivery.counters().upgrade(telemetry::Door::Sse);
        let arrival = Arrival {
            app,
            form: Form::Sse { body, id },
            connection: self.delivery.ids.id(self.delivery.shard, exchange.key),
            identity: Arc::clone(identity),
            is_present: false,
        };
        self.broker.begin(exchange.key, arrival, self.time_us, &mut self.delivery);
        let page = PageSize::default();
        self.broker.subscribe_all(exchange.key, topics, &from, page, &mut self.delivery);
        self.reschedule(exchange.key);
        Ok(())
    }

    /// The topics asked for, each once, all of them allowed.
    pub(super) fn stream_topics(
        &self,
        entered: &Entered,
        head: &Head<'_>,
        list: &'static str,
        topics_max: usize,
    ) -> Result<Vec<TopicName>, Refused> {
        let limits = self.delivery.applications.get(entered.app).limits;
        let topics_max = topics_max.min(limits.subscriptions_max);
        let mut topics: Vec<TopicName> = Vec::new();
        for pair in Query::new(head.query) {
            let (name, value) = pair?;
            if name != list {
                continue;
            }
            for name in value.split(',') {
                let topic = native_topic(name)?;
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
                if topics.len() > topics_max {
                    let detail = format!(
                        "at most {topics_max} topics (sse.topics_max or poll.topics_max, and the \
                         application's subscriptions_max)"
                    );
                    return Err(Refused::new(Refusal::TooMany, detail));
                }
            }
        }
        if topics.is_empty() {
            return Err(Refused::new(
                Refusal::BadField,
                format!("`{list}` is missing: name the topics, separated by commas"),
            ));
        }
        for topic in &topics {
            check_may_subscribe(&entered.identity.rights, topic)?;
        }
        Ok(topics)
    }

    /// Tells an event stream to come again later. Any status but 200 would make a browser give up
    /// for good (WHATWG HTML §9.2.3), so it gets a stream that only says when to return and ends.
    pub(super) fn shed_stream(&mut self, exchange: Exchange, refused: &Refused) {
        self.count_refusal(exchange.key, refused);
        let retry = Duration::from_secs(u64::from(refused.retry_after().unwrap_or(1)));
        let jitter = self.delivery.connections.get(exchange.key).map_or(0, Connection::jitter);
        let mut answer = self.stream_head(exchange);
        if !exchange.is_head() {
            sse::append_retry(&mut answer, retry.max(self.delivery.options.sse.retry(jitter)));
        }
        self.answer_with(exchange.key, exchange.terms.closing(), |out, _| {
            out.extend_from_slice(&answer);
        });
    }

    pub(super) fn stream_head(&self, exchange: Exchange) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        let applications = &self.delivery.applications;
        let response =
            Response::start(&mut head, StatusCode::OK, exchange.terms, &self.delivery.date);
        respond::with_fields(response, &respond::cors_fields(exchange.cors, applications))
            .header("Cache-Control", "no-cache, no-transform")
            // nginx and those who follow it hold events back otherwise.
            .header("X-Accel-Buffering", "no")
            .stream("text/event-stream", StreamFraming::UntilClose);
        if !exchange.terms.head_only {
            // Some proxies pass a response on only with its first byte of content.
            head.extend_from_slice(sse::HEARTBEAT);
        }
        head
    }
}

/// Where a stream goes on: `Last-Event-ID`, which a reader sends when it returns, or `lastEventId`,
/// which its address may name for its first time.
fn stream_start(head: &Head<'_>) -> Result<StartFrom, Refused> {
    if let Some(id) = head.headers.get("last-event-id") {
        return Ok(str::from_utf8(id).map_or(StartFrom::Unknown, read_position));
    }
    Ok(parameter(head, "lastEventId")?.map_or(StartFrom::Now, |id| read_position(&id)))
}

/// Whether the request comes from a browser (Fetch Metadata §2.2), whose `EventSource` is the
/// standard's.
fn is_browser(head: &Head<'_>) -> bool {
    head.headers.get("sec-fetch-mode").is_some()
}

/// Checks that a subscriber may ask for a topic.
pub(super) fn check_may_subscribe(rights: &Rights, topic: &TopicName) -> Result<(), Refused> {
    if rights.may_subscribe(topic) {
        return Ok(());
    }
    let name: Cow<'_, str> = topic.as_str().into();
    let detail = match topic.class() {
        TopicClass::Private => format!("{name:?} is a private topic: nobody subscribes to it"),
        TopicClass::Secure | TopicClass::Public => {
            format!("subscribing to {name:?} is not among the key's rights")
        }
    };
    Err(Refused::new(Refusal::Forbidden, detail))
}
