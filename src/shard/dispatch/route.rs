//! Which route a request means.

use http::Method;

use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{Head, Query};

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
    /// `POST /v1/{app}/topics/{topic…}`: one message, the body is the payload.
    Topic(&'a str, &'a str),
    /// `POST /v1/{app}/publish`: several messages.
    Batch(&'a str),
    /// `POST /api/topics/{app}/publish`: a Realtime publish.
    RealtimePublish(&'a str),
    /// `GET /api/health/status`, `/health/live`.
    Live,
    /// `GET /health/ready`.
    Ready,
    /// `GET /metrics`.
    Metrics,
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

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";
const BOTH: &str = "GET, HEAD, POST, OPTIONS";

/// Finds the route.
pub(super) fn route<'a>(head: &Head<'a>) -> Routed<'a> {
    let wants_channels =
        Query::new(head.query).any(|pair| matches!(pair, Ok((name, _)) if name == "channels"));
    let get_root = if wants_channels { Route::BuzzStream } else { Route::Page };
    let (get, post) = match head.path {
        "*" => return Routed::Options(None, BOTH),
        "/" => (Some(get_root), Some(Route::BuzzPublish)),
        "/metrics" => (Some(Route::Metrics), None),
        "/health/live" | "/api/health/status" => (Some(Route::Live), None),
        "/health/ready" => (Some(Route::Ready), None),
        path => match application_route(path) {
            Some(found) => found,
            None => {
                let detail = "see the README for the routes there are";
                return Routed::Refused(Refused::new(Refusal::UnknownRoute, detail), "");
            }
        },
    };
    let allow = match (get, post) {
        (Some(_), Some(_)) => BOTH,
        (Some(_), None) => GET,
        _ => POST,
    };
    let found = match *head.method {
        Method::GET | Method::HEAD => get,
        Method::POST => post,
        // Of two, the publish: a page needs no preflight, and knows no application.
        Method::OPTIONS => return Routed::Options(post.or(get), allow),
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

type Methods<'a> = (Option<Route<'a>>, Option<Route<'a>>);

fn application_route(path: &str) -> Option<Methods<'_>> {
    if let Some(app) = path.strip_prefix("/apps/") {
        return is_segment(app).then_some((Some(Route::WebSocket(app)), None));
    }
    if let Some(rest) = path.strip_prefix("/api/topics/") {
        let app = rest.strip_suffix("/publish")?;
        return is_segment(app).then_some((None, Some(Route::RealtimePublish(app))));
    }
    let (app, rest) = path.strip_prefix("/v1/")?.split_once('/')?;
    if app.is_empty() {
        return None;
    }
    match rest {
        "events" => Some((Some(Route::Events(app)), None)),
        "publish" => Some((None, Some(Route::Batch(app)))),
        _ => Some((None, Some(Route::Topic(app, rest.strip_prefix("topics/")?)))),
    }
}

fn is_segment(part: &str) -> bool {
    !part.is_empty() && !part.contains('/')
}
