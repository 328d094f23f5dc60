//! HTTP requests: admitted at their head, served when whole, answered in order.

use std::sync::Arc;

use http::StatusCode;

use super::super::answer::{Answer, AnswerBody, Cors};
use super::super::connection::{Door, HttpDoor};
use super::super::respond;
use super::super::run::Shard;
use super::entry::{Entered, cors, unknown_application};
use super::route::{Route, Routed, route};
use crate::model::application::{AppIndex, Applications};
use crate::model::close::CloseCause;
use crate::model::refusal::Refused;
use crate::proto::http1::{
    CONTINUE, Decoded, Decoder, Framing, Head, Held, Limits, Progress, Request, Response,
    SizeLimit, Terms, decode_segment, problem,
};
use crate::shard::options::Options;
use crate::stdx::slab::Key;

/// Browsers may send these from another origin.
const CORS_HEADERS: &str = "Authorization, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, \
     Message-Key, TTL, X-API-Key, X-Secret";

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
        let options = Arc::clone(&self.delivery.options);
        let Some(connection) = self.delivery.connections.get_mut(key) else { return bytes.len() };
        let is_admin = connection.is_admin();
        let Door::Http(door) = &mut connection.door else { return bytes.len() };
        if door.answers.back().is_some_and(|last| !last.terms.keep_alive) {
            // The stop has made it the last: nothing behind it would be answered.
            return bytes.len();
        }
        if door.held.is_some() || must_wait(door, bytes, options.http.pipeline_depth_max) {
            return 0;
        }
        let mut decoder = std::mem::take(&mut door.decoder);
        let before = decoder.progress();
        let mut scratch = self.scratch.take().unwrap_or_default();
        let limits = limits(&options);
        let applications = Arc::clone(&self.delivery.applications);
        let mut admission = Admission::default();
        let (used, decoded) = decoder.decode(bytes, &mut scratch, &limits, |head| {
            admit(head, &applications, &options, &mut admission)
        });
        match decoded {
            Decoded::NeedMore => {}
            Decoded::Continue => self.answer_with(key, INTERIM, |out, _| {
                out.extend_from_slice(CONTINUE);
            }),
            Decoded::Request(request) => {
                if let Some(connection) = self.delivery.connections.get_mut(key) {
                    connection.flags.served = true;
                    if connection.transport.is_some() {
                        self.note_client(key, &request.head);
                    }
                }
                if is_admin {
                    self.serve_admin(key, &request);
                } else {
                    self.serve(key, &request, admission.app);
                }
            }
            Decoded::Refused(refused, terms) => {
                let cause = match refused.refusal.entry().status {
                    413 | 414 | 431 => CloseCause::TooBig,
                    _ => CloseCause::Protocol,
                };
                // RFC 9110 §15.5.6: a 405 names the methods there are.
                let fields = [("Allow", admission.allow)];
                let fields = if admission.allow.is_empty() { &[] } else { &fields[..] };
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

    /// Serves a whole request, of which the application may be known already.
    fn serve(&mut self, key: Key, request: &Request<'_>, app: Option<AppIndex>) {
        let head = &request.head;
        let mut exchange = Exchange { key, terms: head.terms(), cors: Cors::Absent };
        match route(head) {
            Routed::Route(route) => match self.serve_route(&mut exchange, route, request, app) {
                Err(refused) if route.is_stream() && refused.retry_after().is_some() => {
                    self.shed_stream(exchange, &refused);
                }
                Err(refused) => self.refuse(exchange, &refused, &[]),
                Ok(()) => {}
            },
            Routed::Options(route, allow) => self.options(exchange, route, head, allow),
            Routed::Refused(refused, "") => self.refuse(exchange, &refused, &[]),
            Routed::Refused(refused, allow) => self.refuse(exchange, &refused, &[("Allow", allow)]),
        }
        self.delivery.following.serve(None);
    }

    /// Serves a request that was held while its token was judged.
    pub(in crate::shard) fn serve_held(&mut self, key: Key, held: &Held) {
        self.serve(key, &held.request(), None);
    }

    fn serve_route(
        &mut self,
        exchange: &mut Exchange,
        route: Route<'_>,
        request: &Request<'_>,
        app: Option<AppIndex>,
    ) -> Result<(), Refused> {
        let Some(gate) = route.gate() else {
            match route {
                Route::Live => self.liveness_page(*exchange),
                Route::Ready => self.readiness_page(*exchange),
                Route::Metrics => return self.public_metrics(*exchange),
                Route::OpenApi => self.openapi_page(*exchange),
                _ => self.page(*exchange),
            }
            return Ok(());
        };
        let Some(entered) = self.enter(exchange, (route, gate), request, app)? else {
            return Ok(());
        };
        let head = &request.head;
        let Entered { app, identity } = &entered;
        self.delivery.following.serve(Some(identity));
        let (app, rights) = (*app, &identity.rights);
        match route {
            Route::BuzzStream => self.open_buzzpost_stream(*exchange, &entered, head),
            Route::Events(_) => self.open_native_stream(*exchange, &entered, head),
            Route::Poll(_) => self.poll(*exchange, &entered, head),
            Route::SimplePoll => {
                let topic = self.simple_topic()?;
                self.poll_simple(*exchange, &entered, topic, head)
            }
            Route::History(_) => self.history(*exchange, &entered, head),
            Route::Latest(_, topic) => self.latest(*exchange, &entered, topic, head),
            Route::WebSocket(_) => self.upgrade(*exchange, entered, head),
            Route::BuzzPublish => self.publish_buzzpost(*exchange, app, rights, request.body),
            Route::Topic(_, topic) => self.publish_topic(*exchange, app, rights, topic, request),
            Route::SimplePublish => self.publish_simple(*exchange, app, rights, request),
            Route::Batch(_) => self.publish_batch(*exchange, app, rights, request.body),
            Route::RealtimePublish(_) => {
                self.publish_realtime(*exchange, app, rights, request.body)
            }
            route => self.administer(*exchange, route, app, rights, request),
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
            let fields = respond::cors_fields(cors, &applications);
            let response = Response::start(out, StatusCode::NO_CONTENT, exchange.terms, date);
            let mut response = respond::with_fields(response.header("Allow", allow), &fields);
            if matches!(cors, Cors::Any | Cors::Listed(..)) {
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
            let mut all = respond::cors_fields(exchange.cors, &applications);
            all.extend(fields.iter().copied());
            problem(out, refused, exchange.terms, date, &all);
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
        if self.delivery.following.is_on() {
            self.delivery.trace_refused(key, refused);
        }
        self.delivery.counters().refuse(refused.refusal);
        if let Some(suppressed) = self.refusal_log.ask(self.delivery.now) {
            let peer = self.delivery.connections.get(key).map(|connection| connection.peer);
            let entry = refused.refusal.entry();
            let (number, code) = (entry.number, entry.code);
            let detail = &refused.detail;
            tracing::info!(?peer, number, code, detail, suppressed, "refused");
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

/// What was found out about a request at its head.
#[derive(Default)]
struct Admission {
    /// The methods there are, where the request's is not among them.
    allow: &'static str,
    /// The application that it enters.
    app: Option<AppIndex>,
}

/// Says at a request's head how large its body may be. What cannot be routed and has a body is
/// refused before the body is taken, with the methods there are in `found`; without one it is
/// answered in its turn.
fn admit(
    head: &Head<'_>,
    applications: &Applications,
    options: &Options,
    found: &mut Admission,
) -> Result<SizeLimit, Refused> {
    const NONE: SizeLimit = SizeLimit { size_max: 0, key: "this route takes no body" };
    let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
    let route = match route(head) {
        Routed::Route(route) if route.gate().is_some() => route,
        Routed::Route(_) | Routed::Options(..) => return Ok(NONE),
        Routed::Refused(..) if !has_body => return Ok(NONE),
        Routed::Refused(refused, methods) => {
            found.allow = methods;
            return Err(refused);
        }
    };
    found.app = application_of(route, applications);
    let limits = match found.app {
        Some(app) => &applications.get(app).limits,
        None if has_body => return Err(unknown_application()),
        None => return Ok(NONE),
    };
    Ok(match route {
        Route::Topic(..) | Route::SimplePublish => SizeLimit {
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
        Route::Unsubscribe(_) | Route::Revoke(_) => ADMINISTRATION,
        _ => NONE,
    })
}

/// Bodies of administration: 50 patterns or a subject.
const ADMINISTRATION: SizeLimit = SizeLimit { size_max: 64 * 1024, key: "a fixed limit" };

/// Room for what stands around a payload in a publish body.
const ENVELOPE_SIZE: usize = 4096;

fn application_of(route: Route<'_>, applications: &Applications) -> Option<AppIndex> {
    match route {
        Route::BuzzStream | Route::BuzzPublish => applications.buzzpost(),
        Route::SimplePoll | Route::SimplePublish => applications.simple_poll().map(|(app, _)| app),
        route => applications.find(&decode_segment(route.application()?).ok()?),
    }
}

fn limits(options: &Options) -> Limits {
    Limits {
        target: SizeLimit { size_max: options.http.target_size_max, key: "http.target_size_max" },
        head: SizeLimit { size_max: options.http.head_size_max, key: "http.head_size_max" },
    }
}

impl Exchange {
    /// Whether the request was a HEAD.
    pub(super) fn is_head(&self) -> bool {
        self.terms.head_only
    }
}
