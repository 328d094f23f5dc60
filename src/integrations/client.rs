//! A small HTTP client of a running broker, for the command line: publish one message, or read a
//! stream and come back to it whenever it ends.
//!
//! Blocking to its callers, which name no tokio. Invariants: credentials travel in header fields that
//! are marked as secret, to the given address only (no redirect, no proxy), and show up in no error.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url, redirect};
use serde_json::Value;
use tokio::runtime::{self, Runtime};

use super::event_stream::{Event, EventStream, TooLarge};
use super::fetch::failure;
use super::reconnect::Reconnect;
use crate::stdx::random;

/// Limit on making a connection, and on a whole publish.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that has vanished is noticed after this much silence and a few probes.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Most bytes of an answer that is no stream.
const ANSWER_SIZE_MAX: usize = 64 * 1024;

/// What stands in the place of an application in the admin door's routes.
pub const ADMIN: &str = "admin";

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a caller proves itself with; never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// An API key.
    Key(String),
    /// A token.
    Token(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::None => "None",
            Credential::Key(_) => "Key",
            Credential::Token(_) => "Token",
        })
    }
}

/// Why nothing came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientError {
    /// The broker could not be reached, or was lost. Another attempt may succeed.
    Unreachable(String),
    /// The broker refused.
    Refused(Problem),
    /// What answers is no Fanwire broker, or the request cannot be made at all.
    Unusable(String),
}

/// A refusal, from `application/problem+json` (RFC 9457) as far as the answer held it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The refusal's stable code, such as `unauthorized`; may be empty.
    pub code: String,
    /// What kind of problem it is; may be empty.
    pub title: String,
    /// What was wrong this time; may be empty.
    pub detail: String,
    /// When the broker wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// Whether the same request may succeed later.
    fn is_passing(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 429)
    }
}

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Its id.
    pub id: String,
    /// Its place in its topic's history.
    pub position: String,
}

/// What a subscriber is told.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// The stream is open.
    Connected,
    /// An event has come.
    Event(&'a Event),
    /// The stream has ended for this reason; it is opened again after this time.
    Lost(&'a str, Duration),
}

/// A client of one application of one broker.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    base: Url,
    app: String,
}

impl Client {
    /// A client of the application `app` of the broker at `url`.
    ///
    /// # Errors
    /// A URL that is not http or https, a credential that no header field can carry, or a system
    /// without certificates for https.
    pub fn new(url: &str, app: &str, credential: &Credential) -> Result<Client, ClientError> {
        let unusable = |reason: String| Err(ClientError::Unusable(reason));
        let base = match Url::parse(url) {
            Ok(base) if matches!(base.scheme(), "http" | "https") => base,
            Ok(_) => return unusable("the broker's URL must be http or https".to_owned()),
            Err(error) => return unusable(format!("the broker's URL is none: {error}")),
        };
        if !base.username().is_empty() || base.password().is_some() {
            return unusable("the broker's URL may not hold a user or password".to_owned());
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("fanwire/", env!("CARGO_PKG_VERSION")))
            .default_headers(authorization(credential)?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            // A kept connection may have ended unseen; each request here is rare enough for its own.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE);
        if base.scheme() == "http" {
            // Needs no certificates, so that a machine without any can use it.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| ClientError::Unusable(failure(error)))?;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| ClientError::Unusable(error.to_string()))?;
        Ok(Client { runtime, http, base, app: app.to_owned() })
    }

    /// Publishes `data`, as JSON or as text, and waits for its receipt.
    ///
    /// # Errors
    /// Whatever kept the broker from answering with one.
    pub fn publish(
        &self,
        topic: &str,
        data: Vec<u8>,
        is_json: bool,
    ) -> Result<Receipt, ClientError> {
        let kind = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
        let request = self
            .http
            .post(self.url(&["topics", topic]))
            .header(CONTENT_TYPE, kind)
            .timeout(PUBLISH_TIMEOUT)
            .body(data);
        self.runtime.block_on(async {
            let response = accepted(request.send().await.map_err(lost)?).await?;
            let answer = read_json(response).await?;
            let text = |name: &str| answer[name].as_str().map(str::to_owned);
            match (text("id"), text("position")) {
                (Some(id), Some(position)) => Ok(Receipt { id, position }),
                _ => Err(ClientError::Unusable("the answer is not a Fanwire broker's".to_owned())),
            }
        })
    }

    /// Reads the events of `topics` until `on` breaks. A stream that ends is opened again behind the
    /// last event, after the time that the broker asked for, ever later while the broker is away.
    ///
    /// # Errors
    /// A refusal that no waiting heals, or an answer that is no event stream.
    pub fn subscribe(
        &self,
        topics: &[String],
        raw: bool,
        on: impl FnMut(Notice<'_>) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let mut url = self.url(&["events"]);
        url.query_pairs_mut()
            .extend_pairs(topics.iter().map(|topic| ("topics", topic)))
            .append_pair("format", if raw { "raw" } else { "json" });
        self.read_stream(&url, on)
    }

    /// Reads a stream of the admin door, whose base this client's is and [`ADMIN`] its application:
    /// `route` with `query`. Otherwise as [`Client::subscribe`].
    ///
    /// # Errors
    /// As there.
    pub fn follow(
        &self,
        route: &str,
        query: &[(&str, &str)],
        on: impl FnMut(Notice<'_>) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let mut url = self.url(&[route]);
        url.query_pairs_mut().extend_pairs(query);
        self.read_stream(&url, on)
    }

    fn read_stream(
        &self,
        url: &Url,
        mut on: impl FnMut(Notice<'_>) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let mut stream = EventStream::default();
        let mut reconnect = Reconnect::default();
        self.runtime.block_on(async {
            loop {
                let (reason, wanted) =
                    match self.read(url, &mut stream, &mut reconnect, &mut on).await {
                        Ok(()) => return Ok(()),
                        Err(ClientError::Refused(problem)) if problem.is_passing() => {
                            (problem.to_string(), problem.retry_after)
                        }
                        Err(ClientError::Unreachable(reason)) => (reason, None),
                        Err(other) => return Err(other),
                    };
                let wait = reconnect.wait(wanted.or(stream.retry()), random::word());
                if on(Notice::Lost(&reason, wait)).is_break() {
                    return Ok(());
                }
                tokio::time::sleep(wait).await;
                stream.reconnect();
            }
        })
    }

    /// One connection of a stream. `Ok` when `on` breaks; every other end is an error.
    async fn read(
        &self,
        url: &Url,
        stream: &mut EventStream,
        reconnect: &mut Reconnect,
        on: &mut impl FnMut(Notice<'_>) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let mut request = self.http.get(url.clone()).header(ACCEPT, "text/event-stream");
        // An id that no field can carry did not come from a Fanwire broker.
        if let Ok(id) = HeaderValue::from_str(stream.last_event_id())
            && !id.is_empty()
        {
            request = request.header(LAST_EVENT_ID, id);
        }
        let mut response = accepted(request.send().await.map_err(lost)?).await?;
        if !is_event_stream(response.headers()) {
            return Err(ClientError::Unusable("the answer is no event stream".to_owned()));
        }
        reconnect.succeeded();
        if on(Notice::Connected).is_break() {
            return Ok(());
        }
        let mut events = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            let fed = stream.feed(&chunk, &mut events);
            for event in events.drain(..) {
                if on(Notice::Event(&event)).is_break() {
                    return Ok(());
                }
            }
            fed.map_err(|TooLarge| ClientError::Unusable("an event is too large".to_owned()))?;
        }
        Err(ClientError::Unreachable("the broker ended the stream".to_owned()))
    }

    /// `/v1/{app}/` and these segments, below the base's own path.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.path_segments_mut()
            .expect("http and https URLs have paths")
            .pop_if_empty()
            .extend(["v1", &self.app])
            .extend(segments);
        url
    }
}

fn authorization(credential: &Credential) -> Result<HeaderMap, ClientError> {
    let (name, value) = match credential {
        Credential::None => return Ok(HeaderMap::new()),
        Credential::Key(key) => (API_KEY, HeaderValue::from_str(key)),
        Credential::Token(token) => {
            (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")))
        }
    };
    let Ok(mut value) = value else {
        let reason = "the key or token holds a character that a header field cannot carry";
        return Err(ClientError::Unusable(reason.to_owned()));
    };
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(name, value)]))
}

fn lost(error: reqwest::Error) -> ClientError {
    ClientError::Unreachable(failure(error))
}

/// The response if its status is a success's; else the problem that it tells.
async fn accepted(response: Response) -> Result<Response, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    // Behind a proxy the body may be anything; then the status must do.
    let body = read_json(response).await.unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (code, title, detail) = (text("code"), text("title"), text("detail"));
    let title = if title.is_empty() {
        status.canonical_reason().unwrap_or_default().to_owned()
    } else {
        title
    };
    Err(ClientError::Refused(Problem { status: status.as_u16(), code, title, detail, retry_after }))
}

async fn read_json(mut response: Response) -> Result<Value, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > ANSWER_SIZE_MAX {
            return Err(ClientError::Unusable("the answer is too large".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body)
        .map_err(|error| ClientError::Unusable(format!("the answer is not JSON: {error}")))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.title)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable(reason) | ClientError::Unusable(reason) => f.write_str(reason),
            ClientError::Refused(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}
