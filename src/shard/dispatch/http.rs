//! HTTP requests: admitted at their head, served when whole, answered in order.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;

use super::super::answer::{Answer, AnswerBody, Cors};
use super::super::connection::{Door, HttpDoor};
use super::super::respond;
use super::super::run::Shard;
use super::route::{Route, Routed, route};
use crate::model::application::{AppIndex, Application, Applications, CorsOrigins};
use crate::model::close::CloseCause;
use crate::model::identity::Identity;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{
    CONTINUE, Decoded, Decoder, Framing, Head, Limits, Progress, Query, Request, Response,
    SizeLimit, Terms, decode_segment, problem,
};
use crate::shard::options::Options;
use crate::stdx::slab::Key;

/// Browsers may send these from another origin.
const CORS_HEADERS: &str =
    "Authorization, Cache-Control, Content-Type, Last-Event-ID, X-API-Key, X-Secret";

/// An interim response ends nothing.
const INTERIM: Terms = Terms { keep_alive: true, ..Terms::CLOSING };

/// Seconds for which a browser may remember the answer to a preflight.
const CORS_AGE_MAX: u64 = 86_400;

/// A request on its way through the routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) key: Key,
    pub(super) terms: Terms,
    pub(super) cors: Cors,
}

impl Shard {
    /// Takes in bytes of an HTTP connection; how many it used, 0 when it has to wait.
    pub(in crate::shard) fn take_in_http(&mut self, key: Key, bytes: &[u8]) -> usize {
        let options = self.delivery.options;
        let Some(connection) = self.delivery.connections.get_mut(key) else { return bytes.len() };
        let Door::Http(door) = &mut connection.door else { return bytes.len() };
        if door.answers.back().is_some_and(|last| !last.terms.keep_alive) {
            // The stop has made it the last: nothing behind it would be answered.
            return bytes.len();
        }
        if must_wait(door, bytes, options.http.pipeline_depth_max) {
            return 0;
        }
        let mut decoder = std::mem::take(&mut door.decoder);
        let before = decoder.progress();
        let mut scratch = self.scratch.take().unwrap_or_default();
        let limits = limits(&options);
        let applications = Arc::clone(&self.delivery.applications);
        let mut allow = "";
        let (used, decoded) = decoder.decode(bytes, &mut scratch, &limits, |head| {
            admit(head, &applications, &options, &mut allow)
        });
        match decoded {
            Decoded::NeedMore => {}
            Decoded::Continue => self.answer_with(key, INTERIM, |out, _| {
                out.extend_from_slice(CONTINUE);
            }),
            Decoded::Request(request) => {
                if let Some(connection) = self.delivery.connections.get_mut(key) {
                    connection.flags.served = true;
                }
                self.serve(key, &request);
            }
            Decoded::Refused(refused, terms) => {
                let cause = match refused.refusal.entry().status {
                    413 | 414 | 431 => CloseCause::TooBig,
                    _ => CloseCause::Protocol,
                };
                // RFC 9110 §15.5.6: a 405 names the methods there are.
                let fields = [("Allow", allow)];
                let fields = if allow.is_empty() { &[] } else { &fields[..] };
                self.refuse_and_close(key, &refused, terms, cause, fields);
            }
        }
        scratch.release();
        self.scratch = Some(scratch);
        self.put_back(key, decoder, before);
        used
    }

    /// Gives the decoder back, if the connection still speaks HTTP, and watches its progress.
    fn put_back(&mut self, key: Key, decoder: Decoder, before: Progress) {
        let now = self.delivery.now;
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let Door::Http(door) = &mut connection.door else { return };
        let progress = decoder.progress();
        door.decoder = decoder;
        if progress != before {
            connection.began = now;
            self.reschedule(key);
        }
    }

    fn serve(&mut self, key: Key, request: &Request<'_>) {
        let head = &request.head;
        let mut exchange = Exchange { key, terms: head.terms(), cors: Cors::Absent };
        match route(head) {
            Routed::Route(route) => {
                if let Err(refused) = self.serve_route(&mut exchange, route, request) {
                    self.refuse(exchange, &refused, &[]);
                }
            }
            Routed::Options(route, allow) => self.options(exchange, route, head, allow),
            Routed::Refused(refused, "") => self.refuse(exchange, &refused, &[]),
            Routed::Refused(refused, allow) => self.refuse(exchange, &refused, &[("Allow", allow)]),
        }
    }

    fn serve_route(
        &mut self,
        exchange: &mut Exchange,
        route: Route<'_>,
        request: &Request<'_>,
    ) -> Result<(), Refused> {
        let head = &request.head;
        match route {
            Route::Page => self.page(*exchange),
            Route::Live => self.liveness_page(*exchange),
            Route::Ready => self.readiness_page(*exchange),
            Route::Metrics => self.metrics(*exchange),
            Route::BuzzStream => {
                let (app, identity) = self.enter_buzzpost(exchange, head)?;
                self.open_buzzpost_stream(*exchange, app, &identity, head)?;
            }
            Route::BuzzPublish => {
                let (app, identity) = self.enter_buzzpost(exchange, head)?;
                self.publish_buzzpost(*exchange, app, &identity.rights, request.body)?;
            }
            Route::WebSocket(app) => {
                let (app, identity) = self.enter(exchange, app, head)?;
                self.upgrade(*exchange, app, identity, head)?;
            }
            Route::Events(app) => {
                let (app, identity) = self.enter(exchange, app, head)?;
                self.open_native_stream(*exchange, app, &identity, head)?;
            }
            Route::Topic(app, topic) => {
                let (app, identity) = self.enter(exchange, app, head)?;
                self.publish_topic(*exchange, app, &identity.rights, topic, request)?;
            }
            Route::Batch(app) => {
                let (app, identity) = self.enter(exchange, app, head)?;
                self.publish_batch(*exchange, app, &identity.rights, request.body)?;
            }
            Route::RealtimePublish(app) => {
                let (app, identity) = self.enter(exchange, app, head)?;
                self.publish_realtime(*exchange, app, &identity.rights, request.body)?;
            }
        }
        Ok(())
    }

    /// Enters an application: it exists, serves, and the caller has rights in it.
    fn enter(
        &self,
        exchange: &mut Exchange,
        app: &str,
        head: &Head<'_>,
    ) -> Result<(AppIndex, Arc<Identity>), Refused> {
        let id = decode_segment(app)?;
        let Some(app) = self.delivery.applications.find(&id) else {
            let detail = "no application of this name is configured";
            return Err(Refused::new(Refusal::UnknownApplication, detail));
        };
        self.enter_index(exchange, app, head)
    }

    fn enter_buzzpost(
        &self,
        exchange: &mut Exchange,
        head: &Head<'_>,
    ) -> Result<(AppIndex, Arc<Identity>), Refused> {
        let Some(app) = self.delivery.applications.buzzpost() else {
            let detail = "the root path belongs to no application (buzzpost_application)";
            return Err(Refused::new(Refusal::UnknownApplication, detail));
        };
        self.enter_index(exchange, app, head)
    }

    fn enter_index(
        &self,
        exchange: &mut Exchange,
        app: AppIndex,
        head: &Head<'_>,
    ) -> Result<(AppIndex, Arc<Identity>), Refused> {
        let application = self.delivery.applications.get(app);
        exchange.cors = cors(app, application, head);
        if !application.enabled {
            return Err(Refused::new(Refusal::ApplicationDisabled, "ask its operator"));
        }
        let presented = presented_key(head)?;
        match self.authenticator.authenticate(application, presented.as_deref()) {
            Ok(identity) => Ok((app, Arc::clone(identity))),
            Err(refusal) => Err(Refused::new(
                refusal,
                "present an API key of this application in X-API-Key, X-Secret or ?secret=",
            )),
        }
    }

    fn options(
        &mut self,
        exchange: Exchange,
        route: Option<Route<'_>>,
        head: &Head<'_>,
        allow: &'static str,
    ) {
        let applications = Arc::clone(&self.delivery.applications);
        let app = route.and_then(|route| application_of(route, &applications));
        let cors = match app {
            Some(app) => cors(app, applications.get(app), head),
            None => Cors::Absent,
        };
        self.answer_with(exchange.key, exchange.terms, |out, date| {
            let origin = respond::allowed_origin(cors, &applications);
            let response = Response::start(out, StatusCode::NO_CONTENT, exchange.terms, date);
            let mut response = respond::with_origin(response.header("Allow", allow), origin);
            if origin.is_some() {
                response = response
                    .header("Access-Control-Allow-Methods", allow)
                    .header("Access-Control-Allow-Headers", CORS_HEADERS)
                    .header_number("Access-Control-Max-Age", CORS_AGE_MAX);
            }
            response.finish_empty();
        });
    }

    /// Answers a request that can be refused without ending the connection.
    pub(super) fn refuse(
        &mut self,
        exchange: Exchange,
        refused: &Refused,
        fields: &[(&'static str, &str)],
    ) {
        self.count_refusal(exchange.key, refused);
        let applications = Arc::clone(&self.delivery.applications);
        self.answer_with(exchange.key, exchange.terms, |out, date| {
            let origin = respond::allowed_origin(exchange.cors, &applications);
            if fields.is_empty() {
                respond::write_refusal(out, refused, exchange.terms, date, origin);
            } else {
                problem(out, refused, exchange.terms, date, fields);
            }
        });
    }

    /// Answers a request that could not be read, and ends the connection.
    pub(in crate::shard) fn refuse_and_close(
        &mut self,
        key: Key,
        refused: &Refused,
        terms: Terms,
        cause: CloseCause,
        fields: &[(&str, &str)],
    ) {
        self.count_refusal(key, refused);
        let terms = terms.closing();
        self.answer_as(key, terms, cause, |out, date| problem(out, refused, terms, date, fields));
    }

    pub(super) fn count_refusal(&mut self, key: Key, refused: &Refused) {
        self.delivery.counters().refuse(refused.refusal);
        if let Some(suppressed) = self.refusal_log.ask(self.delivery.now) {
            let peer = self.delivery.connections.get(key).map(|connection| connection.peer);
            let code = refused.refusal.entry().code;
            let detail = &refused.detail;
            tracing::info!(?peer, code, detail, suppressed, "refused");
        }
    }

    /// Writes an answer in its turn.
    pub(super) fn answer_with(
        &mut self,
        key: Key,
        terms: Terms,
        write: impl FnOnce(&mut Vec<u8>, &crate::proto::http1::Date),
    ) {
        self.answer_as(key, terms, CloseCause::Done, write);
    }

    fn answer_as(
        &mut self,
        key: Key,
        terms: Terms,
        cause: CloseCause,
        write: impl FnOnce(&mut Vec<u8>, &crate::proto::http1::Date),
    ) {
        let date = self.delivery.date;
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let Door::Http(door) = &mut connection.door else { return };
        if !door.answers.is_empty() {
            let mut bytes = Vec::new();
            write(&mut bytes, &date);
            let body = AnswerBody::Ready(bytes);
            door.answers.push_back(Answer { terms, cors: Cors::Absent, body });
            return;
        }
        connection.outbound.append(|out| write(out, &date));
        self.delivery.mark_dirty(key);
        if !terms.keep_alive {
            self.delivery.close(key, cause);
        }
    }
}

/// Whether the next request has to wait for answers: there are as many as may be outstanding, or
/// it may be a GET, which can turn the connection into a stream or a WebSocket.
fn must_wait(door: &HttpDoor, bytes: &[u8], pipeline_depth_max: usize) -> bool {
    if door.answers.is_empty() || door.decoder.progress() != Progress::Idle {
        return false;
    }
    door.answers.len() >= pipeline_depth_max || !bytes.starts_with(b"P")
}

/// Says at a request's head how large its body may be. What cannot be routed and has a body is
/// refused before the body is taken, with the methods there are in `allow`; without one it is
/// answered in its turn.
fn admit(
    head: &Head<'_>,
    applications: &Applications,
    options: &Options,
    allow: &mut &'static str,
) -> Result<SizeLimit, Refused> {
    const NONE: SizeLimit = SizeLimit { size_max: 0, key: "this route takes no body" };
    let route = match route(head) {
        Routed::Route(route) => route,
        Routed::Options(..) => return Ok(NONE),
        Routed::Refused(..) if matches!(head.framing, Framing::None | Framing::Length(0)) => {
            return Ok(NONE);
        }
        Routed::Refused(refused, methods) => {
            *allow = methods;
            return Err(refused);
        }
    };
    let limits = application_of(route, applications).map(|app| applications.get(app).limits);
    let Some(limits) = limits else { return Ok(NONE) };
    Ok(match route {
        Route::Topic(..) => SizeLimit {
            size_max: limits.native_payload_size_max,
            key: "applications.limits.native_payload_size_max",
        },
        Route::Batch(_) => {
            SizeLimit { size_max: options.publish.body_size_max, key: "publish.body_size_max" }
        }
        // The payload's own size is judged exactly once it is known; escapes may double it.
        Route::BuzzPublish => SizeLimit {
            size_max: 2 * limits.native_payload_size_max + ENVELOPE_SIZE,
            key: "twice applications.limits.native_payload_size_max",
        },
        Route::RealtimePublish(_) => SizeLimit {
            size_max: 2 * limits.realtime_payload_size_max + ENVELOPE_SIZE,
            key: "twice applications.limits.realtime_payload_size_max",
        },
        _ => NONE,
    })
}

/// Room for what stands around a payload in a publish body.
const ENVELOPE_SIZE: usize = 4096;

fn application_of(route: Route<'_>, applications: &Applications) -> Option<AppIndex> {
    match route {
        Route::BuzzStream | Route::BuzzPublish => applications.buzzpost(),
        Route::WebSocket(app)
        | Route::Events(app)
        | Route::Topic(app, _)
        | Route::Batch(app)
        | Route::RealtimePublish(app) => applications.find(&decode_segment(app).ok()?),
        Route::Page | Route::Live | Route::Ready | Route::Metrics => None,
    }
}

fn limits(options: &Options) -> Limits {
    Limits {
        target: SizeLimit { size_max: options.http.target_size_max, key: "http.target_size_max" },
        head: SizeLimit { size_max: options.http.head_size_max, key: "http.head_size_max" },
    }
}

fn cors(app: AppIndex, application: &Application, head: &Head<'_>) -> Cors {
    let Some(origin) = head.headers.text("origin") else { return Cors::Absent };
    match &application.cors_origins {
        CorsOrigins::Any => Cors::Any,
        CorsOrigins::List(origins) => origins
            .iter()
            .position(|known| **known == *origin)
            .and_then(|index| u16::try_from(index).ok())
            .map_or(Cors::Absent, |index| Cors::Listed(app, index)),
    }
}

/// The API key as presented: a header of either name, else `?secret=` (buzzPost's form).
fn presented_key<'a>(head: &Head<'a>) -> Result<Option<Cow<'a, str>>, Refused> {
    for name in ["x-api-key", "x-secret"] {
        if let Some(key) = head.headers.single(name)? {
            return Ok(Some(Cow::Borrowed(key)));
        }
    }
    for pair in Query::new(head.query) {
        let (name, value) = pair?;
        if name == "secret" {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

impl Exchange {
    /// Whether the request was a HEAD.
    pub(super) fn is_head(&self) -> bool {
        self.terms.head_only
    }
}
