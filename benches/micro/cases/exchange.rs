//! A publish by HTTP, whole: decoded, routed, its caller recognized, its topics and payloads taken,
//! its answer written. All of a publish but the broker and the system calls.
//!
//! The routes are the shard's own (`src/shard/dispatch/route.rs`); round them stand the look-ups of
//! `dispatch::http`, `entry` and `publish` in their order, less the connection table, the rates and
//! the counters, and the answer as `shard::respond` writes it.

use std::hint::black_box;
use std::sync::Arc;

use fanwire::auth::{Credential, Request as Asked};
use fanwire::model::application::{AppIndex, Applications};
use fanwire::model::id::MessageId;
use fanwire::model::identity::{Identity, Role};
use fanwire::model::message::{Payload, Publication};
use fanwire::model::position::{Epoch, Lane, Position};
use fanwire::model::shard::ShardIndex;
use fanwire::model::topic::TopicName;
use fanwire::proto::attributes::Given;
use fanwire::proto::http1::{
    Date, Decoded, Decoder, Head, Limits, Query, Request, Response, Scratch, SizeLimit,
    decode_segment,
};
use fanwire::proto::json::Scanner;
use fanwire::proto::native;
use http::StatusCode;

use super::Op;
use super::parse::{DEPTH_MAX, batch_body, json};
use super::token::{Door, NOW_S};
use crate::route::{Route, Routed, route};

const LIMITS: Limits = Limits {
    target: SizeLimit { size_max: 8192, key: "target" },
    head: SizeLimit { size_max: 16_384, key: "head" },
};
const BODY: SizeLimit = SizeLimit { size_max: 1 << 20, key: "body" };
const ROLES: &[Role] = &[Role::Admin, Role::Client];
const POSITION: Position =
    Position { epoch: Epoch(0xbeef), lane: Lane::Home(ShardIndex(1)), offset: 0x12345 };

/// One message of `SIZE` bytes, its publisher known by an API key.
pub(crate) fn single<const SIZE: usize>() -> Op {
    publish("topics/chat%2Froom-7", &format!("X-API-Key: {}", Door::API_KEY), &json(SIZE))
}

/// The same with a token of 400 bytes that was verified before.
pub(crate) fn with_token<const SIZE: usize>() -> Op {
    let token = Door::known().token;
    publish("topics/chat%2Froom-7", &format!("Authorization: Bearer {token}"), &json(SIZE))
}

/// `COUNT` messages of 200 bytes in one request.
pub(crate) fn batch<const COUNT: usize>() -> Op {
    publish("publish", &format!("X-API-Key: {}", Door::API_KEY), &batch_body(COUNT))
}

fn publish(path: &str, credential: &str, body: &str) -> Op {
    let request = format!(
        "POST /v1/demo/{path} HTTP/1.1\r\nHost: broker.example.com\r\n\
         User-Agent: backend/1.0\r\nAccept: */*\r\n{credential}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut shard = Shard::new();
    let mut decoder = Decoder::new();
    let mut scratch = Scratch::default();
    let mut out = Vec::with_capacity(16 << 10);
    Box::new(move || {
        let applications = &shard.door.applications;
        let (_, decoded) = decoder.decode(request.as_bytes(), &mut scratch, &LIMITS, |head| {
            application(applications, head).map(|_| BODY).ok_or_else(|| unreachable!())
        });
        let Decoded::Request(request) = decoded else { panic!("the request is whole") };
        out.clear();
        shard.serve(&request, &mut out);
        out.len()
    })
}

/// The part of a shard that a publish needs before it reaches the broker.
struct Shard {
    door: Door,
    scanner: Scanner,
    date: Date,
}

impl Shard {
    fn new() -> Shard {
        Shard { door: Door::known(), scanner: Scanner::new(DEPTH_MAX), date: Date::new(0) }
    }

    fn serve(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let head = &request.head;
        let (app, route) = application(&self.door.applications, head).expect("it is configured");
        assert_eq!(head.headers.text("origin"), None);
        let identity = self.recognize(app, head);
        let mut body = Vec::with_capacity(128);
        if let Route::Topic(_, topic) = route {
            let publication = self.publication(app, topic, request);
            // The token's own permissions name other topics; what counts is the look-up.
            black_box(identity.rights.may_publish(&publication.topic));
            append_receipt(&mut body);
        } else {
            let publications = self.publications(app, request.body);
            let mut topics = publications.iter().map(|publication| &publication.topic);
            assert!(topics.all(|topic| identity.rights.may_publish(topic)));
            body.reserve(128 * publications.len());
            body.extend_from_slice(b"{\"results\":[");
            for index in 0..publications.len() {
                if index > 0 {
                    body.push(b',');
                }
                append_receipt(&mut body);
            }
            body.extend_from_slice(b"]}");
        }
        Response::start(out, StatusCode::OK, head.terms(), &self.date)
            .finish("application/json", &body);
    }

    fn recognize(&mut self, app: AppIndex, head: &Head<'_>) -> Arc<Identity> {
        let single = |name| head.headers.single(name).expect("at most one");
        let token = single("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let key = ["x-api-key", "x-secret"].map(single).into_iter().flatten().next();
        assert_eq!(Query::new(head.query).count(), 0);
        let credential = match (token, key) {
            (Some(token), None) => Credential::Token(token),
            (None, Some(key)) => Credential::ApiKey(key),
            _ => panic!("one credential"),
        };
        let application = self.door.applications.get(app);
        let asked = Asked { app, application, roles: ROLES, credential, now_s: NOW_S };
        let known = self.door.authenticator.recognize(&asked);
        known.expect("known from before").expect("valid")
    }

    fn publication(&mut self, app: AppIndex, topic: &str, request: &Request<'_>) -> Publication {
        let headers = &request.head.headers;
        let topic = TopicName::native(&decode_segment(topic).expect("valid")).expect("legal");
        let content_type = headers.get("content-type");
        let payload = native::payload(&mut self.scanner, content_type, request.body);
        let given = Given::of_headers(|name| headers.single(name)).expect("none");
        let attributes = given.resolve(0).expect("none");
        Publication { attributes, ..publication(app, topic, payload.expect("JSON")) }
    }

    fn publications(&mut self, app: AppIndex, body: &[u8]) -> Vec<Publication> {
        let mut publications = Vec::new();
        for message in native::batch(&mut self.scanner, body, 1024, 0).expect("valid") {
            for topic in &message.topics {
                let topic = TopicName::native(topic).expect("legal");
                publications.push(Publication {
                    attributes: message.attributes.clone(),
                    ..publication(app, topic, message.payload.clone())
                });
            }
        }
        publications
    }
}

/// The application and the route of a publish.
fn application<'a>(applications: &Applications, head: &Head<'a>) -> Option<(AppIndex, Route<'a>)> {
    let Routed::Route(route) = route(head) else { return None };
    let app = applications.find(&decode_segment(route.application()?).ok()?)?;
    Some((app, route))
}

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

fn append_receipt(out: &mut Vec<u8>) {
    native::append_receipt(out, MessageId::new(1, POSITION), POSITION);
}
