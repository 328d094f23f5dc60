//! What happens when nothing happens: timeouts, pings, heartbeats. One wheel per shard, one entry
//! per connection; a connection's own state says what is due when its entry fires.

use std::time::Duration;

use super::connection::{Connection, Door, Phase};
use super::options::Options;
use super::run::Shard;
use crate::model::application::Applications;
use crate::model::close::{Close, CloseCause, NORMAL, UNAUTHORIZED};
use crate::model::refusal::{Refusal, Refused};
use crate::model::token::TokenExpiry;
use crate::proto::http1::{Progress, Terms};
use crate::proto::sse;
use crate::proto::ws::frame;
use crate::stdx::clock::Tick;
use crate::stdx::slab::Key;

/// Width of the wheel's slots; timeouts are late by at most this.
pub(super) const SLOT: Duration = Duration::from_millis(200);

/// Time that a connection whose last bytes are on their way may take to end.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is due for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// Look again then.
    Later(Tick),
    /// Remove it.
    End(CloseCause),
    /// Answer 408 and close.
    RequestTimeout(&'static str),
    /// Send a ping.
    Ping,
    /// Send a WebSocket close for silence.
    CloseIdle,
    /// A long poll has waited long enough.
    PollOver,
    /// Send an event stream's heartbeat.
    Heartbeat,
    /// Tell the client that its token has expired.
    TellExpired,
    /// Close, because the token has expired and no other was presented.
    CloseExpired,
}

/// What decides about deadlines.
#[derive(Clone, Copy)]
struct Rules<'a> {
    now: Tick,
    /// Wall clock, Unix seconds; tokens expire by it.
    unix_s: u64,
    options: &'a Options,
    applications: &'a Applications,
}

impl Shard {
    /// Runs every timer that is due.
    pub(super) fn run_timers(&mut self) {
        let now = self.delivery.now;
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(now, &mut fired);
        for key in fired.drain(..) {
            let Some(connection) = self.delivery.connections.get(key) else { continue };
            // A connection scheduled again for an earlier time left this entry behind.
            if connection.timer_due.is_due(now) {
                let due = due(connection, self.rules());
                self.act(key, due);
            }
        }
        self.fired = fired;
    }

    /// Has the wheel look at the connection when something is due for it, if that is earlier than
    /// it would. Call when something with a shorter deadline has begun.
    pub(super) fn reschedule(&mut self, key: Key) {
        let now = self.delivery.now;
        let Some(connection) = self.delivery.connections.get(key) else { return };
        let at = next_look(connection, self.rules());
        if connection.timer_due.since_ms(at) > 0 || connection.timer_due.is_due(now) {
            self.look_at(key, at);
        }
    }

    fn look_at(&mut self, key: Key, at: Tick) {
        if let Some(connection) = self.delivery.connections.get_mut(key) {
            connection.timer_due = at;
            self.wheel.schedule(key, at);
        }
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            now: self.delivery.now,
            unix_s: self.time_us / 1_000_000,
            options: &self.delivery.options,
            applications: &self.delivery.applications,
        }
    }

    fn act(&mut self, key: Key, due: Due) {
        match due {
            Due::Later(_) => {}
            Due::End(cause) => return self.delivery.doom(key, cause),
            Due::RequestTimeout(detail) => {
                let refused = Refused::new(Refusal::Timeout, detail);
                self.refuse_and_close(key, &refused, Terms::CLOSING, CloseCause::Timeout, &[]);
            }
            Due::Ping => self.ping(key),
            Due::CloseIdle => {
                let close = Close::new(NORMAL, "Nothing was heard for the idle timeout.");
                self.delivery.close_websocket(key, &close, CloseCause::Idle);
            }
            Due::PollOver => self.poll_is_over(key),
            Due::Heartbeat => self.heartbeat(key),
            Due::TellExpired => self.tell_expired(key),
            Due::CloseExpired => {
                let close = Close::new(UNAUTHORIZED, "The token has expired!");
                self.delivery.close_websocket(key, &close, CloseCause::Expired);
            }
        }
        if let Some(connection) = self.delivery.connections.get(key) {
            self.look_at(key, next_look(connection, self.rules()));
        }
    }

    fn ping(&mut self, key: Key) {
        if let Some(connection) = self.delivery.connections.get_mut(key) {
            connection.flags.pinged = true;
            let mut ping = Vec::with_capacity(2);
            frame::append_ping(&mut ping, b"");
            connection.outbound.push_control(ping);
            self.delivery.mark_dirty(key);
        }
    }

    /// A heartbeat is only worth sending where nothing else is on its way.
    fn heartbeat(&mut self, key: Key) {
        let now = self.delivery.now;
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        connection.began = now;
        if connection.outbound.is_empty() && !connection.flags.held {
            connection.outbound.append(|out| out.extend_from_slice(sse::HEARTBEAT));
            self.delivery.mark_dirty(key);
        }
    }
}

/// When the wheel should look at the connection next.
fn next_look(connection: &Connection, rules: Rules<'_>) -> Tick {
    match due(connection, rules) {
        Due::Later(at) => at,
        _ => rules.now.after(SLOT),
    }
}

fn due(connection: &Connection, rules: Rules<'_>) -> Due {
    let due = silence(connection, rules);
    let (Phase::Open, Due::Later(at)) = (connection.phase, due) else { return due };
    match expiry(connection, rules) {
        Some(Due::Later(expires)) if expires.is_due(at) => Due::Later(expires),
        None | Some(Due::Later(_)) => due,
        Some(expired) => expired,
    }
}

/// What the end of the connection's token brings.
fn expiry(connection: &Connection, rules: Rules<'_>) -> Option<Due> {
    let expires_s = u64::from(connection.expires_s?.get());
    let app = match &connection.door {
        Door::Http(_) | Door::Follow => return None,
        Door::WebSocket(door) => door.app,
        Door::Stream(door) => door.app,
    };
    let TokenExpiry::Close { grace_ms } = rules.applications.get(app).token_expiry else {
        return None;
    };
    let (at_s, then) = if connection.flags.expiry_told {
        (expires_s + u64::from(grace_ms.div_ceil(1000)), Due::CloseExpired)
    } else {
        (expires_s, Due::TellExpired)
    };
    let left = Duration::from_secs(at_s.saturating_sub(rules.unix_s));
    // The wheel knows nothing beyond 24 days: it looks again then.
    Some(if left.is_zero() { then } else { Due::Later(rules.now.after(left)) })
}

/// What the connection's silence, or the slowness of what is under way, brings.
fn silence(connection: &Connection, rules: Rules<'_>) -> Due {
    let Rules { now, options, .. } = rules;
    match connection.phase {
        Phase::Closing(cause) => {
            let limit = match connection.door {
                Door::WebSocket(_) => options.websocket.close_timeout,
                Door::Http(_) | Door::Stream(_) | Door::Follow => options.http.body_timeout,
            };
            after(connection.began, limit, now, Due::End(cause))
        }
        Phase::Lingering(cause) => {
            let limit = match connection.door {
                Door::WebSocket(_) => options.websocket.close_timeout,
                Door::Http(_) | Door::Stream(_) | Door::Follow => LINGER_TIMEOUT,
            };
            after(connection.began, limit, now, Due::End(cause))
        }
        Phase::Open if connection.is_beginning() => {
            let limit = options.http.head_timeout;
            after(connection.began, limit, now, Due::End(CloseCause::Timeout))
        }
        Phase::Open => match &connection.door {
            Door::Http(door) => {
                let http = &options.http;
                if let Some(poll) = door.poll() {
                    let is_over = poll.over_at.is_due(now);
                    return if is_over { Due::PollOver } else { Due::Later(poll.over_at) };
                }
                match door.decoder.progress() {
                    _ if !door.answers.is_empty() || door.held.is_some() => {
                        Due::Later(now.after(http.head_timeout))
                    }
                    Progress::Head => after(
                        connection.began,
                        http.head_timeout,
                        now,
                        Due::RequestTimeout(
                            "the request's head did not arrive in time (http.head_timeout)",
                        ),
                    ),
                    Progress::Body => after(
                        connection.began,
                        http.body_timeout,
                        now,
                        Due::RequestTimeout(
                            "the request's body did not arrive in time (http.body_timeout)",
                        ),
                    ),
                    Progress::Idle | Progress::Ended => {
                        let is_fresh =
                            connection.began == connection.heard && !connection.flags.served;
                        let limit = if is_fresh { http.head_timeout } else { http.idle_timeout };
                        after(connection.heard, limit, now, Due::End(CloseCause::Idle))
                    }
                }
            }
            Door::WebSocket(door) => {
                let websocket = &options.websocket;
                let limits = rules.applications.get(door.app).limits;
                let idle_timeout = Duration::from_millis(u64::from(limits.idle_timeout_ms));
                let idle = after(connection.heard, idle_timeout, now, Due::CloseIdle);
                if let (Due::Later(at), true) = (idle, connection.flags.pinged) {
                    // The pong moves `heard` without a word to the wheel: look again in time for
                    // the next ping, not only when silence would be over.
                    let next_ping = now.after(websocket.ping_interval);
                    return Due::Later(if next_ping.is_due(at) { next_ping } else { at });
                }
                if !matches!(idle, Due::Later(_)) {
                    return idle;
                }
                after(connection.heard, websocket.ping_interval, now, Due::Ping)
            }
            Door::Stream(_) | Door::Follow => {
                after(connection.began, options.sse.heartbeat_interval, now, Due::Heartbeat)
            }
        },
    }
}

fn after(since: Tick, limit: Duration, now: Tick, then: Due) -> Due {
    let at = since.after(limit);
    if at.is_due(now) { then } else { Due::Later(at) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::*;
    use crate::model::application::{AppIndex, AppLimits, Application};
    use crate::model::identity::Identity;
    use crate::model::rights::Rights;
    use crate::proto::ws::{Closing, Reader};
    use crate::shard::connection::WebSocketDoor;
    use crate::shard::transport::Peer;

    /// A WebSocket that answers each ping after `answer_ms`, or never; when it was pinged, until
    /// it was closed or ten minutes were over.
    fn pings(answer_ms: Option<u32>) -> (Vec<u32>, Option<u32>) {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut connection = Connection::new(OwnedFd::from(socket), peer, Tick(0));
        connection.door = Door::WebSocket(WebSocketDoor {
            reader: Reader::new(false),
            app: AppIndex(0),
            identity: Arc::new(Identity::without_token(Rights::every_topic())),
            positions: false,
            window: None,
            welcomed: true,
            closing: Closing::Open,
            presented: None,
            main_from: None,
            resuming: None,
            buckets: None,
        });
        let options = Options::default();
        let limits = AppLimits { idle_timeout_ms: 60_000, ..AppLimits::default() };
        let application = Application { limits, ..Application::new("a") };
        let applications = Applications::new(vec![application], None);
        let rules = |now| Rules { now, unix_s: 0, options: &options, applications: &applications };
        let (mut pinged_at, mut look) = (Vec::new(), Tick(0));
        for now in (0..600_000).step_by(50).map(Tick) {
            let answered = answer_ms.zip(pinged_at.last());
            if answered.is_some_and(|(answer_ms, at)| now.0 == at + answer_ms) {
                (connection.heard, connection.flags.pinged) = (now, false);
            }
            if !look.is_due(now) {
                continue;
            }
            match due(&connection, rules(now)) {
                Due::Ping => {
                    connection.flags.pinged = true;
                    pinged_at.push(now.0);
                }
                Due::CloseIdle => return (pinged_at, Some(now.0)),
                other => assert!(matches!(other, Due::Later(_)), "{other:?}"),
            }
            look = next_look(&connection, rules(now));
        }
        (pinged_at, None)
    }

    #[test]
    fn a_silent_client_is_pinged_at_every_interval_of_its_silence() {
        let (pinged_at, closed_at) = pings(Some(100));
        assert_eq!(closed_at, None);
        assert_eq!(pinged_at[0], 20_000);
        assert!(pinged_at.windows(2).all(|pair| pair[1] - pair[0] == 20_100), "{pinged_at:?}");
    }

    #[test]
    fn a_dead_client_is_pinged_once_and_closed_at_the_idle_timeout() {
        assert_eq!(pings(None), (vec![20_000], Some(60_000)));
    }
}
