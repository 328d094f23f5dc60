//! The admin door's routes: health, metrics, and what the process as a whole can tell.
//!
//! No route of an application is here, so nobody publishes or subscribes through this door.

use http::{Method, StatusCode};

use super::super::answer::Cors;
use super::super::follow::What;
use super::super::run::Shard;
use super::entry::unknown_application;
use super::http::Exchange;
use super::past::parameter;
use crate::model::application::AppIndex;
use crate::model::pattern::Patterns;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{Head, Request, Response};
use crate::stdx::slab::Key;

/// A route of the admin door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AdminRoute {
    Live,
    Ready,
    Metrics,
    /// `GET /v1/admin/status`: totals by shard and application.
    Status,
    /// `GET /v1/admin/load`: the same each second, and the busiest topics.
    Load,
    /// `GET /v1/admin/tail?app=A&topic=P[&payload=true]`: messages as they are placed.
    Tail,
    /// `GET /v1/admin/trace?app=A&subject=S`: what happens to a user's sessions.
    Trace,
}

impl AdminRoute {
    fn find(path: &str) -> Option<AdminRoute> {
        Some(match path {
            "/health/live" => AdminRoute::Live,
            "/health/ready" => AdminRoute::Ready,
            "/metrics" => AdminRoute::Metrics,
            "/v1/admin/status" => AdminRoute::Status,
            "/v1/admin/load" => AdminRoute::Load,
            "/v1/admin/tail" => AdminRoute::Tail,
            "/v1/admin/trace" => AdminRoute::Trace,
            _ => return None,
        })
    }

    /// Whether a balancer may ask it without the token.
    fn is_public(self) -> bool {
        matches!(self, AdminRoute::Live | AdminRoute::Ready)
    }
}

const ALLOW: &str = "GET, HEAD";

impl Shard {
    /// Serves a request that came through the admin door.
    pub(super) fn serve_admin(&mut self, key: Key, request: &Request<'_>) {
        let head = &request.head;
        let exchange = Exchange { key, terms: head.terms(), cors: Cors::Absent };
        let outcome = self
            .admitted_route(head)
            .and_then(|route| self.serve_admin_route(exchange, route, head));
        if let Err(refused) = outcome {
            let fields = [("Allow", ALLOW)];
            let is_method = refused.refusal == Refusal::BadMethod;
            self.refuse(exchange, &refused, if is_method { &fields } else { &[] });
        }
    }

    fn admitted_route(&self, head: &Head<'_>) -> Result<AdminRoute, Refused> {
        let found = AdminRoute::find(head.path);
        // Who has no token is not told which other routes there are.
        if !found.is_some_and(AdminRoute::is_public)
            && let Some(door) = &self.admin
        {
            let authorization = head.headers.single("authorization")?;
            door.admit(authorization, head.headers.text("host"))?;
        }
        let detail = "the admin door has /metrics, /health/live, /health/ready, /v1/admin/status, load, tail and trace";
        let route = found.ok_or_else(|| Refused::new(Refusal::UnknownRoute, detail))?;
        if matches!(*head.method, Method::GET | Method::HEAD) {
            return Ok(route);
        }
        Err(Refused::new(Refusal::BadMethod, format!("this path takes {ALLOW}")))
    }

    fn serve_admin_route(
        &mut self,
        exchange: Exchange,
        route: AdminRoute,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        match route {
            AdminRoute::Live => self.liveness_page(exchange),
            AdminRoute::Ready => self.readiness_page(exchange),
            AdminRoute::Metrics => self.metrics(exchange),
            AdminRoute::Status => self.status_page(exchange),
            AdminRoute::Load => self.follow(exchange, What::Load),
            AdminRoute::Tail => {
                let what = self.tail_of(head)?;
                self.follow(exchange, what);
            }
            AdminRoute::Trace => {
                let what = self.trace_of(head)?;
                self.follow(exchange, what);
            }
        }
        Ok(())
    }

    fn status_page(&mut self, exchange: Exchange) {
        let body = self.status(None).to_string();
        self.answer_with(exchange.key, exchange.terms, |out, date| {
            Response::start(out, StatusCode::OK, exchange.terms, date)
                .header("Cache-Control", "no-store")
                .finish("application/json", body.as_bytes());
        });
    }

    fn follow(&mut self, exchange: Exchange, what: What) {
        let head = self.stream_head(exchange);
        if exchange.is_head() {
            let terms = exchange.terms.closing();
            return self.answer_with(exchange.key, terms, |out, _| out.extend_from_slice(&head));
        }
        // Also where the client asks for a close: its end is the stream's.
        self.delivery.append(exchange.key, |out| out.extend_from_slice(&head));
        self.begin_following(exchange.key, what);
    }

    fn tail_of(&self, head: &Head<'_>) -> Result<What, Refused> {
        let app = self.application_named(head)?;
        let topic = needed(head, "topic", "name a topic, or a pattern with `*`")?;
        let with_payload = match parameter(head, "payload")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                return Err(Refused::new(Refusal::BadField, "`payload` is `true` or `false`"));
            }
        };
        Ok(What::Messages { app, topics: Patterns::new([topic]), with_payload })
    }

    fn trace_of(&self, head: &Head<'_>) -> Result<What, Refused> {
        let app = self.application_named(head)?;
        let subject = needed(head, "subject", "name a token's subject, or a connection's id")?;
        Ok(What::Subject { app, subject: subject.into() })
    }

    fn application_named(&self, head: &Head<'_>) -> Result<AppIndex, Refused> {
        let id = needed(head, "app", "name an application")?;
        let applications = &self.delivery.applications;
        let app = applications.find(&id).ok_or_else(unknown_application)?;
        if self.admin.as_ref().is_some_and(|door| door.shows(applications.get(app))) {
            return Ok(app);
        }
        let detail = "set admin.token: without it, only open applications are shown here";
        Err(Refused::new(Refusal::Forbidden, detail))
    }
}

fn needed(head: &Head<'_>, name: &str, what: &str) -> Result<String, Refused> {
    let given = parameter(head, name)?.filter(|value| !value.is_empty());
    let missing = || Refused::new(Refusal::BadField, format!("`{name}` is missing: {what}"));
    given.ok_or_else(missing)
}
