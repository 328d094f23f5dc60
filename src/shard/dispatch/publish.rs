//! Publishing by HTTP: four bodies, one way to the broker.

use smallvec::SmallVec;

use super::super::answer::{Answer, AnswerBody, PublishDialect, Publishes};
use super::super::connection::Door;
use super::super::run::Shard;
use super::entry::unknown_application;
use super::http::Exchange;
use crate::broker::ReplyTo;
use crate::model::application::AppIndex;
use crate::model::message::{Payload, Publication};
use crate::model::refusal::{Refusal, Refused};
use crate::model::rights::Rights;
use crate::model::topic::{TopicError, TopicName};
use crate::proto::attributes::Given;
use crate::proto::http1::{Request, decode_segment};
use crate::proto::native::BatchMessage;
use crate::proto::{buzzpost, native, realtime};
use crate::telemetry::PublishDoor;

impl Shard {
    /// `POST /v1/{app}/topics/{topic…}`: the body is the payload.
    pub(super) fn publish_topic(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        rights: &Rights,
        topic: &str,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        let topic = native_topic(&decode_segment(topic)?)?;
        let content_type = request.head.headers.get("content-type");
        let payload = native::payload(&mut self.scanner, content_type, request.body)?;
        let headers = &request.head.headers;
        let attributes = Given::of_headers(|name| headers.single(name))?.resolve(self.time_us)?;
        let publication = Publication { attributes, ..publication(app, topic, payload) };
        self.publish_all(
            exchange,
            PublishDialect::Single,
            PublishDoor::Native,
            rights,
            [publication],
        )
    }

    /// `POST /publish`: the body is the text; the answer is `ok` (protocols.md §5.3).
    pub(super) fn publish_simple(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        rights: &Rights,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        let topic = self.simple_topic()?;
        let payload = native::payload(&mut self.scanner, None, request.body)?;
        let publication = publication(app, topic, payload);
        let door = PublishDoor::Native;
        self.publish_all(exchange, PublishDialect::Simple, door, rights, [publication])
    }

    /// The topic of the simple form of long polling, where there is one.
    pub(super) fn simple_topic(&self) -> Result<TopicName, Refused> {
        let simple = self.delivery.applications.simple_poll();
        simple.map(|(_, topic)| topic.clone()).ok_or_else(unknown_application)
    }

    /// `POST /v1/{app}/publish`: several messages, all or none as far as they can be judged.
    pub(super) fn publish_batch(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        rights: &Rights,
        body: &[u8],
    ) -> Result<(), Refused> {
        let messages_max = self.delivery.options.publish.messages_max;
        let size_max = self.delivery.applications.get(app).limits.native_payload_size_max;
        let batch = native::batch(&mut self.scanner, body, messages_max, self.time_us)?;
        let mut publications = Vec::with_capacity(batch.len());
        for BatchMessage { topics, payload, attributes } in batch {
            check_size(&payload, size_max, "native_payload_size_max")?;
            let Some((last, others)) = topics.split_last() else { continue };
            for topic in others {
                let attributes = attributes.clone();
                let bare = publication(app, native_topic(topic)?, payload.clone());
                publications.push(Publication { attributes, ..bare });
            }
            let bare = publication(app, native_topic(last)?, payload);
            publications.push(Publication { attributes, ..bare });
        }
        let door = PublishDoor::Native;
        self.publish_all(exchange, PublishDialect::Batch, door, rights, publications)
    }

    /// `POST /api/topics/{app}/publish`.
    pub(super) fn publish_realtime(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        rights: &Rights,
        body: &[u8],
    ) -> Result<(), Refused> {
        let publish = realtime::parse_http_publish(&mut self.scanner, body)?;
        let topic = TopicName::new(&publish.topic).map_err(bad_topic)?;
        let payload = Payload::Json(publish.message.into());
        let size_max = self.delivery.applications.get(app).limits.realtime_payload_size_max;
        check_size(&payload, size_max, "realtime_payload_size_max")?;
        let publication =
            Publication { compress: publish.compress, ..publication(app, topic, payload) };
        let door = PublishDoor::RealtimeHttp;
        self.publish_all(exchange, PublishDialect::Single, door, rights, [publication])
    }

    /// `POST /`.
    pub(super) fn publish_buzzpost(
        &mut self,
        exchange: Exchange,
        app: AppIndex,
        rights: &Rights,
        body: &[u8],
    ) -> Result<(), Refused> {
        let publish = buzzpost::parse_publish(&mut self.scanner, body)?;
        let topic = native_topic(&publish.channel)?;
        let payload = Payload::Json(publish.data.into());
        let size_max = self.delivery.applications.get(app).limits.native_payload_size_max;
        check_size(&payload, size_max, "native_payload_size_max")?;
        let publication = publication(app, topic, payload);
        let door = PublishDoor::BuzzPost;
        self.publish_all(exchange, PublishDialect::Single, door, rights, [publication])
    }

    /// Publishes on behalf of one request; its answer waits for every outcome.
    fn publish_all(
        &mut self,
        exchange: Exchange,
        dialect: PublishDialect,
        door: PublishDoor,
        rights: &Rights,
        publications: impl IntoIterator<Item = Publication> + AsRef<[Publication]>,
    ) -> Result<(), Refused> {
        let all = publications.as_ref();
        if let Some(forbidden) = all.iter().find(|p| !rights.may_publish(&p.topic)) {
            return Err(Refused::new(
                Refusal::Forbidden,
                format!(
                    "publishing to {:?} is not among the caller's rights",
                    forbidden.topic.as_str()
                ),
            ));
        }
        let count = u32::try_from(all.len()).expect("bounded by publish.messages_max");
        if let Some(first) = all.first() {
            self.rates.take_publishes(first.app, count).map_err(|wait| {
                let detail = "the application publishes faster than applications.limits.publishes";
                Refused::new(Refusal::RateLimited, detail).retry_in(wait)
            })?;
        }
        let Some(first_ticket) = self.expect_outcomes(exchange, dialect, count) else {
            return Ok(());
        };
        for (index, publication) in (0..count).zip(publications) {
            self.delivery.counters().publish(door, publication.app, 1);
            let reply = ReplyTo {
                shard: self.delivery.shard,
                session: exchange.key,
                ticket: first_ticket.wrapping_add(index),
                wants_receipt: true,
            };
            self.broker.publish(publication, reply, self.time_us, &mut self.delivery);
        }
        Ok(())
    }

    /// Puts the request's answer in its place; the first of its tickets.
    fn expect_outcomes(
        &mut self,
        exchange: Exchange,
        dialect: PublishDialect,
        count: u32,
    ) -> Option<u32> {
        let connection = self.delivery.connections.get_mut(exchange.key)?;
        let Door::Http(door) = &mut connection.door else { return None };
        let first_ticket = door.next_ticket;
        door.next_ticket = first_ticket.wrapping_add(count);
        let outcomes = SmallVec::from_elem(None, count as usize);
        let publishes = Publishes { dialect, first_ticket, missing: count, outcomes };
        door.answers.push_back(Answer {
            terms: exchange.terms,
            cors: exchange.cors,
            body: AnswerBody::Publishes(publishes),
        });
        Some(first_ticket)
    }
}

/// A publication that came by HTTP.
fn publication(app: AppIndex, topic: TopicName, payload: Payload) -> Publication {
    Publication {
        app,
        topic,
        payload,
        message_type: None,
        client_id: None,
        publisher: None,
        compress: false,
        attributes: None,
    }
}

/// A topic's name by the native routes' rules.
pub(super) fn native_topic(name: &str) -> Result<TopicName, Refused> {
    TopicName::native(name).map_err(bad_topic)
}

pub(super) fn bad_topic(error: TopicError) -> Refused {
    Refused::new(Refusal::BadTopic, error.text())
}

fn check_size(payload: &Payload, size_max: usize, key: &str) -> Result<(), Refused> {
    let size = payload.size();
    if size <= size_max {
        return Ok(());
    }
    Err(Refused::new(
        Refusal::PayloadTooLarge,
        format!(
            "the payload has {size} bytes; at most {size_max} are taken (applications.limits.{key})"
        ),
    ))
}
