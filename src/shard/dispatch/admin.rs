//! The admin door's routes: health, metrics, and what the process as a whole can tell.
//!
//! No route of an application is here, so nobody publishes or subscribes through this door.

use http::Method;

use super::super::answer::Cors;
use super::super::run::Shard;
use super::http::Exchange;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::{Head, Request};
use crate::stdx::slab::Key;

/// A route of the admin door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AdminRoute {
    Live,
    Ready,
    Metrics,
}

impl AdminRoute {
    fn find(path: &str) -> Option<AdminRoute> {
        Some(match path {
            "/health/live" => AdminRoute::Live,
            "/health/ready" => AdminRoute::Ready,
            "/metrics" => AdminRoute::Metrics,
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
        let detail = "the admin door has /metrics, /health/live, /health/ready";
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
        _head: &Head<'_>,
    ) -> Result<(), Refused> {
        match route {
            AdminRoute::Live => self.liveness_page(exchange),
            AdminRoute::Ready => self.readiness_page(exchange),
            AdminRoute::Metrics => self.metrics(exchange),
        }
        Ok(())
    }
}
