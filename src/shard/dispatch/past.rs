//! What was published: `GET /v1/{app}/poll`, `/history` and `/topics/{topic}`, and where a reader
//! says that it stands.

use super::super::answer::{Answer, AnswerBody, History, HistoryShape};
use super::super::connection::Door;
use super::super::polling::{Poll, PollDialect};
use super::super::run::Shard;
use super::entry::Entered;
use super::http::Exchange;
use super::publish::native_topic;
use super::stream::check_may_subscribe;
use crate::broker::{Arrival, HistorySpan, PageSize, ReplyTo, StartFrom};
use crate::model::form::Form;
use crate::model::position::Cursor;
use crate::model::refusal::{Refusal, Refused};
use crate::model::topic::TopicName;
use crate::proto::http1::{Head, Query, decode_segment};
use crate::stdx::clock::Tick;

/// Messages of a page of history when the request does not say.
const HISTORY_COUNT: u32 = 100;
/// Most messages of a page of history.
const HISTORY_COUNT_MAX: u32 = 1000;
/// Payload bytes at which a page of history ends.
const HISTORY_SIZE_MAX: usize = 1 << 20;

/// A poll's request, read.
struct PollRequest {
    from: StartFrom,
    over_at: Tick,
    page: PageSize,
    known_tag: Option<Box<str>>,
    dialect: PollDialect,
}

impl Shard {
    /// `GET /v1/{app}/poll?topics=a,b[&since=P][&wait=25][&limit=100]`.
    pub(super) fn poll(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        let options = self.delivery.options.poll;
        let topics = self.stream_topics(entered, head, "topics", options.topics_max)?;
        let known_tag = head.headers.text("if-none-match");
        let since = match parameter(head, "since")? {
            Some(since) => Some(since),
            // A tag is the position in quotes (RFC 9110 §8.8.3).
            None => known_tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned()),
        };
        let wait = match parameter(head, "wait")? {
            None => options.wait_max,
            Some(text) => std::time::Duration::from_secs(number("wait", &text)?),
        };
        let limit = match parameter(head, "limit")? {
            None => options.messages_max as u64,
            Some(text) => number("limit", &text)?.clamp(1, options.messages_max as u64),
        };
        let page = PageSize {
            count_max: u32::try_from(limit).expect("clamped"),
            size_max: options.size_max,
        };
        let poll = PollRequest {
            from: since.as_deref().map_or(StartFrom::Now, read_position),
            over_at: self.delivery.now.after(wait.min(options.wait_max)),
            page,
            known_tag: known_tag.map(Into::into),
            dialect: PollDialect::Native,
        };
        self.begin_poll(exchange, entered, topics, poll)
    }

    /// `GET /subscribe` (protocols.md §5.3): one message as text. A browser's cache sends the tag of
    /// the last answer, by which nothing is lost between two polls; `since` does the same.
    pub(super) fn poll_simple(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        topic: TopicName,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        check_may_subscribe(&entered.identity.rights, &topic)?;
        let since = match parameter(head, "since")? {
            Some(since) => Some(since),
            None => head.headers.text("if-none-match").map(|tag| tag.trim_matches('"').to_owned()),
        };
        let wait_max = self.delivery.options.poll.wait_max;
        let poll = PollRequest {
            from: since.as_deref().map_or(StartFrom::Now, read_position),
            over_at: self.delivery.now.after(wait_max),
            page: PageSize { count_max: 1, ..PageSize::default() },
            known_tag: None,
            dialect: PollDialect::Simple,
        };
        self.begin_poll(exchange, entered, vec![topic], poll)
    }

    fn begin_poll(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        topics: Vec<TopicName>,
        request: PollRequest,
    ) -> Result<(), Refused> {
        let Some(connection) = self.delivery.connections.get_mut(exchange.key) else {
            return Ok(());
        };
        let Door::Http(door) = &mut connection.door else { return Ok(()) };
        if door.poll().is_some() || !door.answers.is_empty() {
            let detail = "a poll cannot stand behind unanswered requests";
            return Err(Refused::new(Refusal::BadRequest, detail));
        }
        let count = u32::try_from(topics.len()).expect("bounded by poll.topics_max");
        let count_max = request.page.count_max as usize;
        let (dialect, over_at) = (request.dialect, request.over_at);
        let poll = Poll::new(dialect, count, count_max, over_at, request.known_tag);
        door.answers.push_back(Answer {
            terms: exchange.terms,
            cors: exchange.cors,
            body: AnswerBody::Poll(Box::new(poll)),
        });
        let arrival = Arrival {
            app: entered.app,
            form: Form::Poll { merged: topics.len() > 1 },
            connection: self.delivery.ids.id(self.delivery.shard, exchange.key),
            identity: std::sync::Arc::clone(&entered.identity),
            is_present: false,
        };
        let (broker, outlet) = (&mut self.broker, &mut self.delivery);
        broker.begin(exchange.key, arrival, self.time_us, outlet);
        broker.subscribe_all(exchange.key, topics, &request.from, request.page, outlet);
        self.delivery.polls_touched.push(exchange.key);
        self.reschedule(exchange.key);
        Ok(())
    }

    /// `GET /v1/{app}/history?topic=T[&after=P|&before=P][&limit=100]`: without a position the newest.
    pub(super) fn history(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        let topic = parameter(head, "topic")?
            .ok_or_else(|| Refused::new(Refusal::BadField, "`topic` is missing"))?;
        let span = match (parameter(head, "after")?, parameter(head, "before")?) {
            (None, None) => HistorySpan::Newest,
            (Some(after), None) => HistorySpan::After(strict_position("after", &after)?),
            (None, Some(before)) => HistorySpan::Before(strict_position("before", &before)?),
            (Some(_), Some(_)) => {
                let detail = "either `after` or `before`, not both";
                return Err(Refused::new(Refusal::BadField, detail));
            }
        };
        let limit = match parameter(head, "limit")? {
            None => HISTORY_COUNT,
            Some(text) => {
                let limit = number("limit", &text)?.clamp(1, u64::from(HISTORY_COUNT_MAX));
                u32::try_from(limit).expect("clamped")
            }
        };
        let page = PageSize { count_max: limit, size_max: HISTORY_SIZE_MAX };
        self.ask_history(exchange, entered, native_topic(&topic)?, &span, page, HistoryShape::List)
    }

    /// `GET /v1/{app}/topics/{topic}`: its latest message; 204 when none is kept.
    pub(super) fn latest(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        topic: &str,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        let topic = native_topic(&decode_segment(topic)?)?;
        let shape = HistoryShape::Latest(head.headers.text("if-none-match").map(Into::into));
        let page = PageSize { count_max: 1, size_max: HISTORY_SIZE_MAX };
        self.ask_history(exchange, entered, topic, &HistorySpan::Newest, page, shape)
    }

    fn ask_history(
        &mut self,
        exchange: Exchange,
        entered: &Entered,
        topic: TopicName,
        span: &HistorySpan,
        page: PageSize,
        shape: HistoryShape,
    ) -> Result<(), Refused> {
        check_may_subscribe(&entered.identity.rights, &topic)?;
        let Some(connection) = self.delivery.connections.get_mut(exchange.key) else {
            return Ok(());
        };
        let Door::Http(door) = &mut connection.door else { return Ok(()) };
        let ticket = door.next_ticket;
        door.next_ticket = ticket.wrapping_add(1);
        let (lane, after, loss) = self.broker.judge_span(entered.app, &topic, span);
        let history =
            History { ticket, topic: topic.clone(), shape, loss, after, lane, outcome: None };
        door.answers.push_back(Answer {
            terms: exchange.terms,
            cors: exchange.cors,
            body: AnswerBody::History(Box::new(history)),
        });
        let shard = self.delivery.shard;
        let reply = ReplyTo { shard, session: exchange.key, ticket, wants_receipt: true };
        self.broker.read_history(entered.app, topic, span, page, reply, &mut self.delivery);
        Ok(())
    }
}

/// From where on a stream or a poll goes on that gives this position. An empty one is none: that is
/// what a reader sends whose last event reset it (WHATWG HTML §9.2.6).
pub(super) fn read_position(text: &str) -> StartFrom {
    match text {
        "" => StartFrom::Now,
        text => Cursor::parse(text).map_or(StartFrom::Unknown, StartFrom::Position),
    }
}

fn strict_position(name: &str, text: &str) -> Result<Cursor, Refused> {
    Cursor::parse(text).ok_or_else(|| {
        Refused::new(Refusal::BadField, format!("`{name}` is no position that this broker gave"))
    })
}

/// The last value of a query parameter.
pub(super) fn parameter(head: &Head<'_>, name: &str) -> Result<Option<String>, Refused> {
    let mut found = None;
    for pair in Query::new(head.query) {
        let (known, value) = pair?;
        if known == name {
            found = Some(value.into_owned());
        }
    }
    Ok(found)
}

fn number(name: &str, text: &str) -> Result<u64, Refused> {
    text.parse().map_err(|_error| {
        Refused::new(Refusal::BadField, format!("`{name}` is not a whole number"))
    })
}
