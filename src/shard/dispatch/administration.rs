//! Administration by HTTP: what is there, who is on a topic, and ending it.
//!
//! Every question and order goes to the shards as an `Ask`; the request's answer keeps its place
//! until all of them have told. What was answered has been done on every shard.

use std::sync::Arc;

use super::super::answer::{Answer, AnswerBody, Asked, Report};
use super::super::connection::Door;
use super::super::report::unknown_connection;
use super::super::run::Shard;
use super::http::Exchange;
use super::publish::bad_topic;
use super::route::Route;
use crate::broker::{Ask, ConnectionPlace, ReplyTo, Whom};
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::id::ConnectionId;
use crate::model::identity::Revocation;
use crate::model::pattern::Patterns;
use crate::model::presence;
use crate::model::refusal::{Refusal, Refused};
use crate::model::rights::Rights;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::proto::http1::{Head, Query, Request, decode_segment};
use crate::proto::{native, realtime};

/// Entries of a page when the request names no number, and at most.
const PAGE_LIMIT_DEFAULT: u32 = 100;
const PAGE_LIMIT_MAX: u32 = 1000;

/// Subjects on a topic up to which they are counted exactly; above it only connections are.
const SUBJECTS_COUNTED_MAX: u32 = 10_000;

/// For how long a revocation is kept when the request does not say: a token lives shorter.
const REVOCATION_LIFETIME_S: u64 = 24 * 3600;

/// Whom a question goes to.
#[derive(Clone, Copy)]
enum Audience {
    Everyone,
    One(ShardIndex),
}

/// What the query of a listing says.
struct Page {
    limit: u32,
    after: Option<String>,
    subject: Option<String>,
    topic: Option<String>,
}

impl Shard {
    /// Serves a route of administration.
    ///
    /// # Errors
    /// The caller may not, or the request is wrong.
    pub(super) fn administer(
        &mut self,
        exchange: Exchange,
        route: Route<'_>,
        app: AppIndex,
        rights: &Rights,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        match route {
            Route::Presence(_) => self.list_members(exchange, app, rights, &request.head),
            Route::Counts(_) => {
                check(rights.manage.application, "application")?;
                self.ask(exchange, Audience::Everyone, &Ask::Counts { app }, Report::Plain, 0);
                Ok(())
            }
            Route::Topics(_) => {
                check(rights.manage.application, "application")?;
                self.list_topics(exchange, app, &request.head)
            }
            Route::Unsubscribe(_) => {
                check(rights.manage.subscribers, "subscribers")?;
                self.unsubscribe_subject(exchange, app, request.body)
            }
            route => {
                check(rights.manage.connections, "connections")?;
                self.administer_connections(exchange, route, app, request)
            }
        }
    }

    fn administer_connections(
        &mut self,
        exchange: Exchange,
        route: Route<'_>,
        app: AppIndex,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        let cause = CloseCause::Administered;
        match route {
            Route::Connections(_) => self.list_connections(exchange, app, &request.head),
            Route::Slow(_) => {
                let limit = page(&request.head)?.limit;
                let ask = Ask::Slowest { app, limit };
                self.ask(exchange, Audience::Everyone, &ask, Report::Plain, limit);
                Ok(())
            }
            Route::Connection(_, id) => {
                let id = self.connection_id(id)?;
                let ask = Ask::Connection { app, session: id.key };
                self.ask(exchange, Audience::One(id.shard), &ask, Report::Plain, 0);
                Ok(())
            }
            Route::CloseOne(_, id) => {
                let id = self.connection_id(id)?;
                let ask = Ask::Close { app, whom: Whom::Session(id.key), cause };
                self.ask(exchange, Audience::One(id.shard), &ask, Report::CloseOne, 0);
                Ok(())
            }
            Route::CloseAll(_) => {
                let ask = Ask::Close { app, whom: Whom::Everyone, cause };
                self.ask(exchange, Audience::Everyone, &ask, Report::Plain, 0);
                Ok(())
            }
            _ => self.revoke(exchange, app, request.body),
        }
    }

    fn list_topics(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        let page = page(head)?;
        let after = page.after.map(|name| TopicName::new(&name)).transpose().map_err(bad_topic)?;
        let ask = Ask::Topics { app, after, limit: page.limit };
        self.ask(exchange, Audience::Everyone, &ask, Report::Plain, page.limit);
        Ok(())
    }

    fn list_connections(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        let page = page(head)?;
        let after = match page.after {
            None => None,
            // A connection that is gone still has its place in the order.
            Some(id) => Some(self.delivery.ids.parse(&id).map(place).ok_or_else(|| {
                Refused::new(Refusal::BadField, "`after` is not the `next` of an earlier page")
            })?),
        };
        let subject = page.subject.map(Arc::from);
        let ask = Ask::Connections { app, after, limit: page.limit, subject };
        self.ask(exchange, Audience::Everyone, &ask, Report::Plain, page.limit);
        Ok(())
    }

    /// Who is on a topic: for administrators, and for those who may be told of joins and leaves.
    fn list_members(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        rights: &Rights,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        let topic = page(head)?.topic.ok_or_else(|| {
            Refused::new(Refusal::BadField, "`topic` is missing: name the topic to look at")
        })?;
        let topic = TopicName::new(&topic).map_err(bad_topic)?;
        let feed = TopicName::new(&presence::presence_topic(topic.as_str()));
        let may_be_told = feed.is_ok_and(|feed| rights.may_subscribe(&feed));
        check(rights.manage.application || may_be_told, "application")?;
        let members_max = self.delivery.applications.get(app).presence.members_max;
        let limit = members_max.max(SUBJECTS_COUNTED_MAX);
        let ask = Ask::Members { app, topic: topic.clone(), limit };
        let report = Report::Members { topic, members_max };
        self.ask(exchange, Audience::Everyone, &ask, report, limit);
        Ok(())
    }

    fn unsubscribe_subject(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        body: &[u8],
    ) -> Result<(), Refused> {
        let order = realtime::parse_http_unsubscribe(&mut self.scanner, body)?;
        let patterns = Arc::new(Patterns::new(&order.topic_patterns));
        let ask = Ask::Unsubscribe { app, subject: order.subject.as_ref().into(), patterns };
        self.ask(exchange, Audience::Everyone, &ask, Report::Plain, 0);
        Ok(())
    }

    fn revoke(&mut self, exchange: Exchange, app: AppIndex, body: &[u8]) -> Result<(), Refused> {
        let order = native::parse_revocation(&mut self.scanner, body)?;
        let now_s = self.time_us / 1_000_000;
        let until_s = order.until_s.unwrap_or(now_s + REVOCATION_LIFETIME_S);
        if until_s <= now_s {
            let detail = "`until` lies in the past: name when the last such token expires";
            return Err(Refused::new(Refusal::BadField, detail));
        }
        if !self.authenticator.may_revoke(now_s) {
            let detail = "100,000 revocations are in force; try again when some have run out";
            return Err(Refused::new(Refusal::Overloaded, detail));
        }
        let revocation = match order.what {
            native::Revoked::Subject(subject) => {
                Revocation::Subject { subject: subject.as_ref().into(), issued_before_s: now_s + 1 }
            }
            native::Revoked::TokenId(id) => Revocation::TokenId(id.as_ref().into()),
        };
        let ask = Ask::Revoke { app, revocation: Arc::new(revocation), until_s };
        self.ask(exchange, Audience::Everyone, &ask, Report::Plain, 0);
        // A request that this shard reads next must not come in with what was revoked.
        self.keep_revocations();
        Ok(())
    }

    fn connection_id(&self, segment: &str) -> Result<ConnectionId, Refused> {
        let text = decode_segment(segment)?;
        self.delivery.ids.parse(&text).ok_or_else(unknown_connection)
    }

    /// Asks, and puts the request's answer in its place.
    fn ask(
        &mut self,
        exchange: Exchange,
        audience: Audience,
        ask: &Ask,
        report: Report,
        limit: u32,
    ) {
        let shard_count = u16::try_from(self.delivery.all_counters.len()).unwrap_or(u16::MAX);
        let Some(connection) = self.delivery.connections.get_mut(exchange.key) else { return };
        let Door::Http(door) = &mut connection.door else { return };
        let ticket = door.next_ticket;
        door.next_ticket = ticket.wrapping_add(1);
        let missing = match audience {
            Audience::Everyone => u32::from(shard_count),
            Audience::One(_) => 1,
        };
        let asked = Box::new(Asked { ticket, missing, told: None, limit, report });
        door.answers.push_back(Answer {
            terms: exchange.terms,
            cors: exchange.cors,
            body: AnswerBody::Asked(asked),
        });
        let to = ReplyTo {
            shard: self.delivery.shard,
            session: exchange.key,
            ticket,
            wants_receipt: true,
        };
        match audience {
            Audience::One(shard) => self.broker.ask(shard, ask.clone(), to, &mut self.delivery),
            Audience::Everyone => {
                for shard in (0..shard_count).map(ShardIndex) {
                    self.broker.ask(shard, ask.clone(), to, &mut self.delivery);
                }
            }
        }
    }
}

fn place(id: ConnectionId) -> ConnectionPlace {
    ConnectionPlace { slot: id.key.index, shard: id.shard }
}

fn check(is_granted: bool, managed: &str) -> Result<(), Refused> {
    if is_granted {
        return Ok(());
    }
    let detail = format!("this takes the permission realtime:admin:manage:{managed}");
    Err(Refused::new(Refusal::Forbidden, detail))
}

fn page(head: &Head<'_>) -> Result<Page, Refused> {
    let mut page = Page { limit: PAGE_LIMIT_DEFAULT, after: None, subject: None, topic: None };
    for pair in Query::new(head.query) {
        let (name, value) = pair?;
        match name.as_ref() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_LIMIT_MAX).contains(limit));
                page.limit = limit.ok_or_else(|| {
                    let detail = format!("`limit` is a number from 1 to {PAGE_LIMIT_MAX}");
                    Refused::new(Refusal::BadField, detail)
                })?;
            }
            "after" => page.after = Some(value.into_owned()),
            "subject" => page.subject = Some(value.into_owned()),
            "topic" => page.topic = Some(value.into_owned()),
            _ => {}
        }
    }
    Ok(page)
}
