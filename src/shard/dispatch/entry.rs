//! Into an application: which one, from where, with which credential.
//!
//! A signature is verified on the shard, within the turn's budget (`shards.turn.verify_time_max`);
//! a request beyond it, or one whose key set is being fetched, is held whole and served in a later
//! turn. Nothing of its connection is taken in meanwhile, so no later request can overtake it.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::answer::Cors;
use super::super::connection::{Door, Entrance};
use super::super::run::Shard;
use super::super::verifying::Judged;
use super::http::Exchange;
use super::route::{Gate, Route};
use crate::auth::{self, Credential};
use crate::model::application::{AppIndex, Application, CorsOrigins};
use crate::model::identity::{Identity, Role};
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{Head, Query, Request, decode_segment, split_at_byte};
use crate::stdx::slab::Key;

/// Who came in, and where.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) app: AppIndex,
    pub(super) identity: Arc<Identity>,
}

/// A credential as it stands in a request.
enum Presented<'a> {
    Absent,
    ApiKey(Cow<'a, str>),
    Token(Cow<'a, str>),
}

impl Shard {
    /// Enters the application of a route that has a gate, which is `known` where the head was read
    /// only now. `None`: the request is held for later.
    ///
    /// # Errors
    /// No such application, or not for this caller.
    pub(super) fn enter(
        &mut self,
        exchange: &mut Exchange,
        (route, gate): (Route<'_>, Gate),
        request: &Request<'_>,
        known: Option<AppIndex>,
    ) -> Result<Option<Entered>, Refused> {
        let applications = Arc::clone(&self.delivery.applications);
        let app = match route.application() {
            _ if known.is_some() => known,
            Some(id) => applications.find(&decode_segment(id)?),
            None if route.is_simple() => applications.simple_poll().map(|(app, _)| app),
            None => applications.buzzpost(),
        };
        let app = app.ok_or_else(unknown_application)?;
        let application = applications.get(app);
        exchange.cors = cors(app, application, &request.head);
        if !application.enabled {
            return Err(Refused::new(Refusal::ApplicationDisabled, "ask its operator"));
        }
        self.check_source(exchange.key, app, application, gate.side)?;
        let presented = presented(&request.head)?;
        let asked = auth::Request {
            app,
            application,
            roles: gate.roles,
            credential: presented.credential(),
            now_s: self.time_us / 1_000_000,
        };
        match self.identify(exchange.key, &asked) {
            Judged::Known(identity) => Ok(Some(Entered { app, identity })),
            Judged::Refused(refused) => Err(refused),
            Judged::Later => {
                self.hold(exchange.key, request);
                Ok(None)
            }
        }
    }

    /// Checks where the caller comes from and, once per connection, how often.
    fn check_source(
        &mut self,
        key: Key,
        app: AppIndex,
        application: &Application,
        side: Role,
    ) -> Result<(), Refused> {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return Ok(()) };
        let address = connection.peer.ip();
        if !application.source_addresses(side).allows(address) {
            let detail = "this application takes no requests from your network";
            return Err(Refused::new(Refusal::SourceForbidden, detail));
        }
        if connection.entrance == Entrance::Admitted {
            return Ok(());
        }
        self.rates.take_connection(app, address).map_err(|wait| {
            let detail = "your address begins connections faster than \
                          applications.limits.connections_per_address";
            Refused::new(Refusal::RateLimited, detail).retry_in(wait)
        })?;
        // Only now: who was refused is asked again, whatever connection it comes over.
        connection.entrance = Entrance::Admitted;
        Ok(())
    }

    /// Keeps a request that cannot be served yet.
    fn hold(&mut self, key: Key, request: &Request<'_>) {
        if let Some(connection) = self.delivery.connections.get_mut(key)
            && let Door::Http(door) = &mut connection.door
        {
            door.held = Some(Box::new(request.hold()));
        }
    }
}

impl Presented<'_> {
    fn credential(&self) -> Credential<'_> {
        match self {
            Presented::Absent => Credential::Absent,
            Presented::ApiKey(key) => Credential::ApiKey(key),
            Presented::Token(token) => Credential::Token(token),
        }
    }
}

/// The credential of a request: a token as `Authorization: Bearer` (RFC 6750 §2.1) or
/// `?access_token=` (§2.3, and the platform's form), or an API key in one of its own forms.
///
/// # Errors
/// More than one is presented, of which none could be known to be meant (RFC 6750 §2).
fn presented<'a>(head: &Head<'a>) -> Result<Presented<'a>, Refused> {
    let mut token = head.headers.single("authorization")?.and_then(bearer).map(Cow::Borrowed);
    let mut key = None;
    for name in ["x-api-key", "x-secret"] {
        if let Some(value) = head.headers.single(name)? {
            key = key.or(Some(Cow::Borrowed(value)));
        }
    }
    for pair in Query::new(head.query) {
        let (name, value) = pair?;
        match name.as_ref() {
            "access_token" if token.is_some() => return Err(ambiguous()),
            "access_token" => token = Some(value),
            "secret" => key = key.or(Some(value)),
            _ => {}
        }
    }
    match (token, key) {
        (None, None) => Ok(Presented::Absent),
        (None, Some(key)) => Ok(Presented::ApiKey(key)),
        (Some(token), None) => Ok(Presented::Token(token)),
        (Some(_), Some(_)) => Err(ambiguous()),
    }
}

/// The refusal of a path that names no application, or of the root path where it has none.
pub(super) fn unknown_application() -> Refused {
    let detail = "no application of this name is configured (at the root: buzzpost_application)";
    Refused::new(Refusal::UnknownApplication, detail)
}

fn ambiguous() -> Refused {
    Refused::new(Refusal::BadRequest, "present one credential, not several")
}

/// The token of an Authorization field; other schemes are for others, such as a proxy in front.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = split_at_byte(value, b' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// Which origin may read the answer.
pub(super) fn cors(app: AppIndex, application: &Application, head: &Head<'_>) -> Cors {
    let Some(origin) = head.headers.text("origin") else {
        return match application.cors_origins {
            CorsOrigins::Any => Cors::Absent,
            // A cache must not give this answer to a page that may read another one.
            CorsOrigins::List(_) => Cors::Unlisted,
        };
    };
    match &application.cors_origins {
        CorsOrigins::Any => Cors::Any,
        CorsOrigins::List(origins) => origins
            .iter()
            .position(|known| **known == *origin)
            .and_then(|index| u16::try_from(index).ok())
            .map_or(Cors::Unlisted, |index| Cors::Listed(app, index)),
    }
}
