//! How a connection begins and ends.
//!
//! Invariant: whatever ended it, a connection leaves the broker, the table and the counters once,
//! at the end of the turn in which it was doomed.

use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use super::connection::{Connection, Phase};
use super::listener::Accepted;
use super::readiness::Source;
use super::run::Shard;
use super::transport::{Peer, Transport};
use crate::model::close::CloseCause;
use crate::stdx::clock;
use crate::stdx::slab::Key;

/// How long accepting pauses when descriptors or memory have run out.
pub(super) const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

impl Shard {
    /// Accepts what waits, up to the turn's budget.
    pub(super) fn accept(&mut self) {
        for _ in 0..self.delivery.options.turn.accepts_max {
            if self.listeners.is_empty() {
                return;
            }
            let untaken = self.accept_pace;
            if let Some((measure, pace)) = &mut self.accept_pace
                && let Err(wait) = pace.take(measure, clock::monotonic_ns(), 1)
            {
                // The rest waits in the kernel's queue; nobody is refused for the pace.
                return self.pause_accepting(wait);
            }
            match self.listeners.accept() {
                Accepted::Connection(fd, peer) => self.begin(fd, peer),
                Accepted::Gone => {}
                Accepted::Nobody => {
                    self.accept_pace = untaken;
                    return;
                }
                Accepted::Exhausted(error) => {
                    self.delivery.counters().accepts_shed.increment();
                    if let Some(suppressed) = self.accept_log.ask(self.delivery.now) {
                        tracing::warn!(
                            %error, suppressed,
                            "cannot accept: raise LimitNOFILE or lower shards.connections_max"
                        );
                    }
                    return self.pause_accepting(EXHAUSTED_PAUSE);
                }
            }
        }
    }

    /// Lets nobody in for a while; they wait in the kernel's queues.
    pub(super) fn pause_accepting(&mut self, pause: Duration) {
        if !self.listeners.is_empty() && self.accept_resumes.is_none() {
            self.listeners.forget(&self.readiness);
            self.accept_resumes = Some(clock::now() + pause);
        }
    }

    /// Lets clients in again after a pause.
    pub(super) fn resume_accepting(&mut self) {
        self.accept_resumes = None;
        if let Err(error) = self.listeners.watch(&self.readiness) {
            tracing::error!(%error, "cannot watch the listeners again");
        }
        self.accept_admin();
    }

    fn begin(&mut self, fd: OwnedFd, peer: Peer) {
        if self.public_connection_count() >= self.connections_max {
            // Closed at once: cheaper for both sides than an answer, and clients retry.
            self.delivery.counters().accepts_shed.increment();
            if let Some(suppressed) = self.accept_log.ask(self.delivery.now) {
                let connections_max = self.connections_max;
                tracing::warn!(
                    connections_max,
                    suppressed,
                    "full: connection closed at the accept"
                );
            }
            return;
        }
        let Ok(transport) = self.listeners.transport(peer) else {
            return self.turn_away(peer);
        };
        self.delivery.options.socket.apply(&fd);
        let mut connection = Connection::new(fd, peer, self.delivery.now);
        connection.flags.seam = transport.as_deref().is_some_and(Transport::is_seam);
        connection.transport = transport;
        self.admit(connection);
    }

    /// Takes a new connection into the table.
    pub(super) fn admit(&mut self, connection: Connection) {
        self.delivery.counters().accept(connection.door_kind());
        let key = self.delivery.connections.insert(connection);
        let connection = self.delivery.connections.get(key).expect("just inserted");
        if let Err(error) = self.readiness.watch(connection.fd.as_fd(), Source::Connection(key)) {
            tracing::warn!(%error, "cannot watch a socket");
            return self.delivery.doom(key, CloseCause::Socket);
        }
        self.reschedule(key);
    }

    /// Closes a connection whose PROXY protocol header would not be believed.
    fn turn_away(&mut self, peer: Peer) {
        self.delivery.counters().accepts_shed.increment();
        if let Some(suppressed) = self.accept_log.ask(self.delivery.now) {
            tracing::warn!(
                %peer, suppressed,
                "closed at the accept: a listener with proxy_protocol takes connections only from \
                 server.trusted_proxies"
            );
        }
    }

    /// The queue of a closing connection is empty: shut our side, wait for the peer's.
    pub(super) fn finish(&mut self, key: Key, cause: CloseCause) {
        let now = self.delivery.now;
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        if connection.flags.ended || connection.flags.ends_when_flushed {
            return self.delivery.doom(key, cause);
        }
        connection.phase = Phase::Lingering(cause);
        connection.began = now;
        let socket = socket2::SockRef::from(&connection.fd);
        if socket.shutdown(Shutdown::Write).is_err() {
            return self.delivery.doom(key, cause);
        }
        self.reschedule(key);
        self.delivery.read_again(key);
    }

    fn log_close(&mut self, connection: &Connection, cause: CloseCause) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(suppressed) = self.close_log.ask(self.delivery.now)
        {
            let (number, cause, door) =
                (cause.number(), cause.label(), connection.door_kind().label());
            tracing::debug!(number, cause, door, peer = %connection.peer, suppressed, "closed");
        }
    }

    /// Takes doomed connections away, and retired sessions out of the broker.
    pub(super) fn reap(&mut self) {
        while let Some(key) = self.delivery.retired.pop() {
            self.broker.end(key, self.time_us, &mut self.delivery);
            self.reschedule(key);
        }
        while let Some((key, cause)) = self.delivery.doomed.pop() {
            self.broker.end(key, self.time_us, &mut self.delivery);
            let Some(connection) = self.delivery.connections.remove(key) else { continue };
            self.delivery.counters().close(connection.door_kind(), cause);
            self.log_close(&connection, cause);
            if self.delivery.following.is_on() {
                self.delivery.trace_closed(key, &connection, cause);
            }
            if connection.is_admin() {
                self.admin_left(key);
            }
        }
    }
}
