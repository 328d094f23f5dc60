//! The stop, as a shard sees it: no new connections, then one connection after the other is told to
//! return elsewhere and when, spread over `server.stop_spread`.
//!
//! Each client gets a time of its own to come back, and, where it keeps positions, a ticket to come
//! back with. What it was owed leaves before.

use std::time::{Duration, Instant};

use super::connection::{Connection, Door};
use super::control::Stage;
use super::run::Shard;
use crate::model::close::{Close, CloseCause, GOING_AWAY};
use crate::model::refusal::{Refusal, Refused};
use crate::proto::sse;
use crate::stdx::clock;
use crate::stdx::slab::Key;

/// Longest time between two closes: a shard with few connections does not take all of the spread.
const INTERVAL_MAX: Duration = Duration::from_millis(2);

/// Connections on their way out.
#[derive(Debug)]
pub(super) struct Draining {
    /// The next stands last.
    left: Vec<Key>,
    began: Instant,
    closed_count: u32,
    interval: Duration,
}

impl Draining {
    fn new(left: Vec<Key>, spread: Duration, now: Instant) -> Draining {
        let count = u32::try_from(left.len()).unwrap_or(u32::MAX).max(1);
        let interval = (spread / count).min(INTERVAL_MAX);
        Draining { left, began: now, closed_count: 0, interval }
    }

    /// When the next connection is to be closed.
    pub(super) fn next_due(&self) -> Instant {
        self.began + self.interval * self.closed_count
    }

    fn take_due(&mut self, now: Instant) -> Option<Key> {
        if self.next_due() > now {
            return None;
        }
        self.closed_count += 1;
        self.left.pop()
    }
}

impl Shard {
    /// The process has gone on to another stage of its stop.
    pub(super) fn enter_stage(&mut self, stage: Stage) {
        self.stage = stage;
        if stage == Stage::Draining {
            self.listeners.close(&self.readiness);
            let left = self.public_connections().collect();
            let spread = self.delivery.options.drain.spread;
            self.draining = Some(Draining::new(left, spread, clock::now()));
        }
    }

    /// Closes the connections whose time has come.
    pub(super) fn drain_due(&mut self, now: Instant) {
        let Some(mut draining) = self.draining.take() else { return };
        while let Some(key) = draining.take_due(now) {
            self.part_with(key);
        }
        if !draining.left.is_empty() {
            self.draining = Some(draining);
        }
    }

    /// Tells one connection to go, and when to return.
    fn part_with(&mut self, key: Key) {
        self.answer_held(key);
        self.end_poll(key);
        if self.close_after_answers(key) {
            return;
        }
        let Some(connection) = self.delivery.connections.get(key) else { return };
        let retry = self.delivery.options.sse.retry(connection.jitter());
        match &connection.door {
            Door::Stream(_) => self.tell_when_to_return(key, retry),
            Door::WebSocket(door) if door.positions && door.welcomed => {
                self.issue_ticket(key, Some(retry));
            }
            Door::WebSocket(_) | Door::Http(_) | Door::Follow => {}
        }
        let reason = format!("The broker is stopping; come back in {} ms.", retry.as_millis());
        let close = Close { code: GOING_AWAY, reason: reason.into() };
        self.delivery.close_websocket(key, &close, CloseCause::Stopping);
    }

    /// A request whose token is not judged yet is told to come again.
    fn answer_held(&mut self, key: Key) {
        if let Some(Connection { door: Door::Http(door), .. }) =
            self.delivery.connections.get_mut(key)
            && let Some(held) = door.held.take()
        {
            let terms = held.request().head.terms();
            let refused = Refused::new(Refusal::Stopping, "its token was not judged yet");
            self.refuse_and_close(key, &refused, terms, CloseCause::Stopping, &[]);
        }
    }

    /// A stream that ends here shall be opened again later: a bare `retry:` line, which counts as
    /// soon as it is read and is no event (WHATWG HTML §9.2.6).
    fn tell_when_to_return(&mut self, key: Key, retry: Duration) {
        if let Some(connection) = self.delivery.connections.get_mut(key)
            && matches!(connection.door, Door::Stream(_))
            && !connection.flags.held
        {
            connection.outbound.append(|out| sse::append_retry(out, retry));
        }
    }
}
