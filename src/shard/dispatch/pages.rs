//! What operators and newcomers look at: health, metrics, the page.

use http::StatusCode;

use super::super::control::Stage;
use super::super::options::MetricsShown;
use super::super::run::Shard;
use super::http::Exchange;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::http1::Response;
use crate::stdx::clock;
use crate::telemetry::{self, Exposed, Limits, ProcessStats};

/// The page at `/`: subscribes, publishes and shows what arrives. Self-contained.
const PAGE: &[u8] = include_bytes!("page.html");

/// Every route as an `OpenAPI` 3.1 document; a test compares it with the routes there are.
const OPENAPI: &[u8] = include_bytes!("openapi.json");

/// Nothing but the page's own inline style and script, and calls to this server.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

impl Shard {
    pub(super) fn page(&mut self, exchange: Exchange) {
        self.answer_with(exchange.key, exchange.terms, |out, date| {
            Response::start(out, StatusCode::OK, exchange.terms, date)
                .header("Content-Security-Policy", PAGE_POLICY)
                .header("X-Content-Type-Options", "nosniff")
                .header("Cache-Control", "no-cache")
                .finish("text/html; charset=utf-8", PAGE);
        });
    }

    /// The process runs and this shard turns; readable from anywhere, as the platform's is.
    pub(super) fn liveness_page(&mut self, exchange: Exchange) {
        self.health(exchange, StatusCode::OK, b"{\"status\":\"ok\"}");
    }

    /// Whether new connections should be sent here.
    pub(super) fn readiness_page(&mut self, exchange: Exchange) {
        match self.stage {
            Stage::Running => self.health(exchange, StatusCode::OK, b"{\"status\":\"ready\"}"),
            Stage::Leaving | Stage::Draining | Stage::Stopped => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                self.health(exchange, status, b"{\"status\":\"stopping\"}");
            }
        }
    }

    pub(super) fn openapi_page(&mut self, exchange: Exchange) {
        self.answer_with(exchange.key, exchange.terms, |out, date| {
            Response::start(out, StatusCode::OK, exchange.terms, date)
                .header("Cache-Control", "no-cache")
                .header("Access-Control-Allow-Origin", "*")
                .finish("application/json", OPENAPI);
        });
    }

    fn health(&mut self, exchange: Exchange, status: StatusCode, body: &'static [u8]) {
        self.answer_with(exchange.key, exchange.terms, |out, date| {
            Response::start(out, status, exchange.terms, date)
                .header("Cache-Control", "no-store")
                .header("Access-Control-Allow-Origin", "*")
                .finish("application/json", body);
        });
    }

    /// The metrics at the main door, where they are shown there.
    ///
    /// # Errors
    /// They are not.
    pub(super) fn public_metrics(&mut self, exchange: Exchange) -> Result<(), Refused> {
        let is_shown = match self.delivery.options.pages.metrics {
            MetricsShown::Always => true,
            MetricsShown::Never => false,
            MetricsShown::Loopback => !self.listeners.is_exposed(),
        };
        if !is_shown {
            let detail = "the metrics are at the admin door (admin.listen, server.metrics_public)";
            return Err(Refused::new(Refusal::UnknownRoute, detail));
        }
        self.metrics(exchange);
        Ok(())
    }

    pub(super) fn metrics(&mut self, exchange: Exchange) {
        let mut text = Vec::with_capacity(32 * 1024);
        let shards = &self.delivery.all_counters;
        let exposed = Exposed {
            shards,
            applications: &self.delivery.applications,
            process: &ProcessStats::read(self.started_unix_ms, clock::unix_us()),
            store: self.store_counters.as_deref(),
            reloads: &self.reloads,
            limits: Limits {
                connections_max: (self.connections_max * shards.len()) as u64,
                history_bytes_max: self.delivery.options.history.memory_max as u64,
            },
        };
        telemetry::render(&exposed, &mut text);
        self.answer_with(exchange.key, exchange.terms, |out, date| {
            Response::start(out, StatusCode::OK, exchange.terms, date)
                .header("Cache-Control", "no-store")
                .finish("text/plain; version=0.0.4; charset=utf-8", &text);
        });
    }
}
