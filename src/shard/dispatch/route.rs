//! Which route a request means, and what a route asks of its caller.

use http::Method;

use crate::model::identity::Role;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{Head, Query, split_at_byte};

/// A route with the parts of the path it names, still percent-encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route<'a> {
    /// `GET /`: the page for a person.
    Page,
    /// `GET /?channels=…`: a buzzPost stream.
    BuzzStream,
    /// `POST /`: a buzzPost publish.
    BuzzPublish,
    /// `GET /apps/{app}`: a Realtime WebSocket.
    WebSocket(&'a str),
    /// `GET /v1/{app}/events`: a native stream.
    Events(&'a str),
    /// `GET /v1/{app}/poll?topics=…`: a batch of messages, now or when there are some.
    Poll(&'a str),
    /// `GET /subscribe`: the simple form of it (protocols.md §5.3).
    SimplePoll,
    /// `POST /publish`: and of publishing.
    SimplePublish,
    /// `GET /v1/{app}/history?topic=…`: what was published.
    History(&'a str),
    /// `GET /v1/{app}/topics/{topic…}`: the latest message.
    Latest(&'a str, &'a str),
    /// `POST /v1/{app}/topics/{topic…}`: one message, the body is the payload.
    Topic(&'a str, &'a str),
    /// `POST /v1/{app}/publish`: several messages.
    Batch(&'a str),
    /// `POST /api/topics/{app}/publish`: a Realtime publish.
    RealtimePublish(&'a str),
    /// `POST /api/topics/{app}/unsubscribe`: ends a subject's subscriptions.
    Unsubscribe(&'a str),
    /// `DELETE /api/connections/{app}`: closes every connection.
    CloseAll(&'a str),
    /// `DELETE /api/connections/{app}/{connection}`: closes one.
    CloseOne(&'a str, &'a str),
    /// `GET /v1/{app}`: how much of everything there is.
    Counts(&'a str),
    /// `GET /v1/{app}/topics`: topics with subscribers.
    Topics(&'a str),
    /// `GET /v1/{app}/presence?topic=…`: who is on a topic.
    Presence(&'a str),
    /// `GET /v1/{app}/connections`: connections, paged.
    Connections(&'a str),
    /// `GET /v1/{app}/slow`: the connections to which most is owed.
    Slow(&'a str),
    /// `GET /v1/{app}/connections/{connection}`: one of them.
    Connection(&'a str, &'a str),
    /// `POST /v1/{app}/revocations`: revokes tokens and ends their sessions.
    Revoke(&'a str),
    /// `GET /api/health/status`, `/health/live`.
    Live,
    /// `GET /health/ready`.
    Ready,
    /// `GET /metrics`.
    Metrics,
    /// `GET /openapi.json`: all of this as an `OpenAPI` 3.1 document.
    OpenApi,
}

/// What a route asks of those who come through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gate {
    /// Roles whose tokens count, in the order in which their keys are tried.
    pub(super) roles: &'static [Role],
    /// Whose address list counts.
    pub(super) side: Role,
}

impl Gate {
    /// Clients of the platform: `authKey` and nothing else.
    const CLIENT: Gate = Gate { roles: &[Role::Client], side: Role::Client };
    /// Subscribers of the native routes, be they clients or backends.
    const READER: Gate = Gate { roles: &[Role::Client, Role::Admin], side: Role::Client };
    /// Publishers of the native routes; a client's token may publish what its permissions say.
    const WRITER: Gate = Gate { roles: &[Role::Admin, Role::Client], side: Role::Admin };
    /// Backends: `adminKey` and nothing else.
    const BACKEND: Gate = Gate { roles: &[Role::Admin], side: Role::Admin };
}

impl<'a> Route<'a> {
    /// The application that the path names; `None` also for buzzPost's, which the root path means.
    pub(super) fn application(self) -> Option<&'a str> {
        match self {
            Route::WebSocket(app)
            | Route::Events(app)
            | Route::Poll(app)
            | Route::History(app)
            | Route::Latest(app, _)
            | Route::Topic(app, _)
            | Route::Batch(app)
            | Route::RealtimePublish(app)
            | Route::Unsubscribe(app)
            | Route::CloseAll(app)
            | Route::CloseOne(app, _)
            | Route::Counts(app)
            | Route::Topics(app)
            | Route::Presence(app)
            | Route::Connections(app)
            | Route::Slow(app)
            | Route::Connection(app, _)
            | Route::Revoke(app) => Some(app),
            Route::Page
            | Route::BuzzStream
            | Route::BuzzPublish
            | Route::SimplePoll
            | Route::SimplePublish
            | Route::Live
            | Route::Ready
            | Route::Metrics
            | Route::OpenApi => None,
        }
    }

    /// What it asks of its caller; `None` where it asks nothing.
    pub(super) fn gate(self) -> Option<Gate> {
        match self {
            Route::WebSocket(_) => Some(Gate::CLIENT),
            Route::BuzzStream
            | Route::Events(_)
            | Route::Poll(_)
            | Route::SimplePoll
            | Route::History(_)
            | Route::Latest(..)
            | Route::Presence(_) => Some(Gate::READER),
            Route::BuzzPublish | Route::SimplePublish | Route::Topic(..) | Route::Batch(_) => {
                Some(Gate::WRITER)
            }
            Route::RealtimePublish(_)
            | Route::Unsubscribe(_)
            | Route::CloseAll(_)
            | Route::CloseOne(..)
            | Route::Counts(_)
            | Route::Topics(_)
            | Route::Connections(_)
            | Route::Slow(_)
            | Route::Connection(..)
            | Route::Revoke(_) => Some(Gate::BACKEND),
            Route::Page | Route::Live | Route::Ready | Route::Metrics | Route::OpenApi => None,
        }
    }

    /// Whether it belongs to the simple form of long polling.
    pub(super) fn is_simple(self) -> bool {
        matches!(self, Route::SimplePoll | Route::SimplePublish)
    }

    /// Whether its answer is a stream, which a browser opens again by itself unless it is told
    /// anything but 200 (WHATWG HTML §9.2.2).
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Route::BuzzStream | Route::Events(_))
    }
}

/// What was found at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Routed<'a> {
    /// A route that takes the method.
    Route(Route<'a>),
    /// `OPTIONS` on a route that exists; the route is what other methods would find.
    Options(Option<Route<'a>>, &'static str),
    /// Nothing that takes this request.
    Refused(Refused, &'static str),
}

/// The routes of one path, by method.
#[derive(Clone, Copy, Default)]
struct Methods<'a> {
    get: Option<Route<'a>>,
    post: Option<Route<'a>>,
    delete: Option<Route<'a>>,
}

impl<'a> Methods<'a> {
    fn get(route: Route<'a>) -> Self {
        Methods { get: Some(route), ..Methods::default() }
    }

    fn post(route: Route<'a>) -> Self {
        Methods { post: Some(route), ..Methods::default() }
    }

    fn delete(route: Route<'a>) -> Self {
        Methods { delete: Some(route), ..Methods::default() }
    }

    /// The value of Allow (RFC 9110 §10.2.1).
    fn allow(&self) -> &'static str {
        match (self.get, self.post, self.delete) {
            (Some(_), Some(_), _) => "GET, HEAD, POST, OPTIONS",
            (Some(_), None, _) => "GET, HEAD, OPTIONS",
            (None, Some(_), _) => "POST, OPTIONS",
            (None, None, _) => "DELETE, OPTIONS",
        }
    }
}

/// Finds the route.
pub(super) fn route<'a>(head: &Head<'a>) -> Routed<'a> {
    if head.path == "*" {
        return Routed::Options(None, "GET, HEAD, POST, DELETE, OPTIONS");
    }
    let Some(methods) = methods(head) else {
        let detail = "see /openapi.json for the routes there are";
        return Routed::Refused(Refused::new(Refusal::UnknownRoute, detail), "");
    };
    let allow = methods.allow();
    let found = match *head.method {
        Method::GET | Method::HEAD => methods.get,
        Method::POST => methods.post,
        Method::DELETE => methods.delete,
        // A preflight asks on behalf of a POST; at the root, the page and the publish both answer.
        Method::OPTIONS => {
            return Routed::Options(methods.post.or(methods.get).or(methods.delete), allow);
        }
        _ => None,
    };
    match found {
        Some(route) => Routed::Route(route),
        None => Routed::Refused(
            Refused::new(Refusal::BadMethod, format!("this path takes {allow}")),
            allow,
        ),
    }
}

fn methods<'a>(head: &Head<'a>) -> Option<Methods<'a>> {
    // Nearly all requests; the other paths need not be looked at for them.
    if head.path.starts_with("/v1/") {
        return application_route(head.path);
    }
    Some(match head.path {
        "/" => root(head.query),
        "/subscribe" => Methods::get(Route::SimplePoll),
        "/publish" => Methods::post(Route::SimplePublish),
        "/metrics" => Methods::get(Route::Metrics),
        "/health/live" | "/api/health/status" => Methods::get(Route::Live),
        "/health/ready" => Methods::get(Route::Ready),
        "/openapi.json" => Methods::get(Route::OpenApi),
        path => return application_route(path),
    })
}

fn root(query: &str) -> Methods<'_> {
    let wants_channels =
        Query::new(query).any(|pair| matches!(pair, Ok((name, _)) if name == "channels"));
    let get = if wants_channels { Route::BuzzStream } else { Route::Page };
    Methods { post: Some(Route::BuzzPublish), ..Methods::get(get) }
}

fn application_route(path: &str) -> Option<Methods<'_>> {
    if let Some(app) = path.strip_prefix("/apps/") {
        return is_segment(app).then(|| Methods::get(Route::WebSocket(app)));
    }
    if let Some(rest) = path.strip_prefix("/api/") {
        return platform_route(rest);
    }
    let rest = path.strip_prefix("/v1/")?;
    let Some((app, rest)) = split_at_byte(rest, b'/') else {
        return is_segment(rest).then(|| Methods::get(Route::Counts(rest)));
    };
    if app.is_empty() {
        return None;
    }
    Some(match rest {
        "events" => Methods::get(Route::Events(app)),
        "poll" => Methods::get(Route::Poll(app)),
        "history" => Methods::get(Route::History(app)),
        "publish" => Methods::post(Route::Batch(app)),
        "topics" => Methods::get(Route::Topics(app)),
        "presence" => Methods::get(Route::Presence(app)),
        "connections" => Methods::get(Route::Connections(app)),
        "slow" => Methods::get(Route::Slow(app)),
        "revocations" => Methods::post(Route::Revoke(app)),
        _ => match rest.strip_prefix("connections/") {
            Some(id) if is_segment(id) => Methods::get(Route::Connection(app, id)),
            _ => {
                let topic = rest.strip_prefix("topics/")?;
                Methods {
                    post: Some(Route::Topic(app, topic)),
                    ..Methods::get(Route::Latest(app, topic))
                }
            }
        },
    })
}

/// The platform's HTTP API (protocols.md §1.1).
fn platform_route(rest: &str) -> Option<Methods<'_>> {
    if let Some(rest) = rest.strip_prefix("topics/") {
        let (app, what) = split_at_byte(rest, b'/')?;
        let is_known = is_segment(app);
        return match what {
            "publish" if is_known => Some(Methods::post(Route::RealtimePublish(app))),
            "unsubscribe" if is_known => Some(Methods::post(Route::Unsubscribe(app))),
            _ => None,
        };
    }
    let rest = rest.strip_prefix("connections/")?;
    match split_at_byte(rest, b'/') {
        None => is_segment(rest).then(|| Methods::delete(Route::CloseAll(rest))),
        Some((app, id)) => {
            (is_segment(app) && is_segment(id)).then(|| Methods::delete(Route::CloseOne(app, id)))
        }
    }
}

fn is_segment(part: &str) -> bool {
    !part.is_empty() && !part.contains('/')
}
