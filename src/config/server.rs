//! Keys of the process: where it listens, how it stops, how many shards it runs.

use std::net::SocketAddr;
use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind};
use super::values::Values;
use super::written::show_duration;
use crate::model::shard::SHARDS_MAX;
use crate::shard::options::{DrainOptions, MetricsShown, PagesOptions};

/// What the process as a whole is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerOptions {
    /// Where every shard listens. Key `server.listen`.
    pub listen: SocketAddr,
    /// Time from the stop signal to the forced end; connections are closed in between. Key
    /// `server.stop_timeout`.
    pub stop_timeout: Duration,
    /// Time between "not ready" and the first close of a stop; part of `stop_timeout`. Key
    /// `server.stop_delay`.
    pub stop_delay: Duration,
    /// Shards to run, at most [`SHARDS_MAX`]; `None` = one per CPU the process may run on. Key
    /// `shards.count`.
    pub shard_count: Option<usize>,
    /// Whether each shard's thread is pinned to one CPU. Key `shards.pin`.
    pub pin: bool,
    /// Whether a connection goes to the shard on whose CPU it came in; only with `pin`. Key
    /// `shards.steer_by_cpu`.
    pub steer_by_cpu: bool,
    /// Whether memory may lie in huge pages. Key `shards.huge_pages`.
    pub huge_pages: bool,
}

impl ServerOptions {
    /// Shards to run where the process may run on `cpus` CPUs: 1–[`SHARDS_MAX`].
    pub fn shards_on(&self, cpus: usize) -> usize {
        self.shard_count.unwrap_or(cpus).clamp(1, usize::from(SHARDS_MAX))
    }
}

const STOP_TIMEOUT: &str = "server.stop_timeout";
const STOP_DELAY: &str = "server.stop_delay";
const STOP_SPREAD: &str = "server.stop_spread";
const METRICS_PUBLIC: &str = "server.metrics_public";

/// Keys outside of any section; TOML wants them first.
pub(super) const ROOT_KEYS: &[Key] = &[Key::new(
    "buzzpost_application",
    Kind::Text,
    "demo",
    "Id of the application that buzzPost's root path (GET /?channels=…, POST /) belongs to.",
)
.live()];

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "server.listen",
        Kind::Address,
        "127.0.0.1:8480",
        "Where to listen: an IP address and port; port 0 lets the kernel choose. An address other \
         than loopback is refused while an application is open to everyone.",
    ),
    Key::new(
        STOP_TIMEOUT,
        Kind::Duration { min: Duration::ZERO, max: DURATION_MAX },
        "10s",
        "Time from SIGTERM to the forced end. Connections are asked to go in between; a second \
         SIGTERM ends it at once. Keep systemd's TimeoutStopSec above it.",
    )
    .live(),
    Key::new(
        STOP_DELAY,
        Kind::Duration { min: Duration::ZERO, max: DURATION_MAX },
        "0s",
        "Time from SIGTERM, when the readiness route begins to say no, to the first close, for a \
         load balancer to notice. With stop_spread below stop_timeout.",
    )
    .live(),
    Key::new(
        STOP_SPREAD,
        Kind::Duration { min: Duration::ZERO, max: Duration::from_mins(10) },
        "2s",
        "Time over which the closes of a stop are spread, so that clients do not come back all at \
         once; 0s = all at once. With stop_delay below stop_timeout.",
    )
    .live(),
    Key::new(
        METRICS_PUBLIC,
        Kind::Choice(&["loopback", "always", "never"]),
        "loopback",
        "Whether /metrics is answered at the main door too, without any token: loopback = while no \
         other machine reaches any of its listeners. The admin door always has it.",
    )
    .live(),
];

pub(super) fn server(values: &Values) -> ServerOptions {
    ServerOptions {
        listen: values.address("server.listen"),
        stop_timeout: values.duration(STOP_TIMEOUT),
        stop_delay: values.duration(STOP_DELAY),
        shard_count: values.number_unless_zero("shards.count"),
        pin: values.flag("shards.pin"),
        steer_by_cpu: values.flag("shards.steer_by_cpu"),
        huge_pages: values.flag("shards.huge_pages"),
    }
}

pub(super) fn drain(values: &Values) -> DrainOptions {
    DrainOptions { spread: stop_spread(values) }
}

pub(super) fn pages(values: &Values) -> PagesOptions {
    let metrics = match &*values.choice(METRICS_PUBLIC) {
        "loopback" => MetricsShown::Loopback,
        "always" => MetricsShown::Always,
        "never" => MetricsShown::Never,
        other => unreachable!("{other} is no choice of {METRICS_PUBLIC}"),
    };
    PagesOptions { metrics }
}

/// As it is set; else the default, or less where the stop leaves less time than that.
fn stop_spread(values: &Values) -> Duration {
    let spread = values.duration(STOP_SPREAD);
    if values.is_set(STOP_SPREAD) {
        return spread;
    }
    let left = values.duration(STOP_TIMEOUT).saturating_sub(values.duration(STOP_DELAY));
    spread.min(left / 2)
}

/// Whether a stop's closes are over before its forced end. The problem is told of a key that someone
/// set.
pub(super) fn check_stop(values: &mut Values) {
    let keys = [STOP_SPREAD, STOP_DELAY];
    let Some(key) = keys.into_iter().find(|key| values.is_set(key)) else { return };
    let keys = [STOP_SPREAD, STOP_DELAY, STOP_TIMEOUT];
    let [_, delay, timeout] = keys.map(|key| values.duration(key));
    let spread = stop_spread(values);
    let closes_late = delay + spread >= timeout && delay + spread > Duration::ZERO;
    if closes_late && keys.iter().all(|key| values.is_sound(key)) {
        let [spread, delay, timeout] = [spread, delay, timeout].map(show_duration);
        let text = format!(
            "{STOP_DELAY} + {STOP_SPREAD} must be below {STOP_TIMEOUT}: {delay} + {spread} is not \
             below {timeout}, and whoever is left then is cut off"
        );
        values.problem(key, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_follow_the_cpus_unless_told() {
        let mut options = ServerOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            stop_timeout: Duration::ZERO,
            stop_delay: Duration::ZERO,
            shard_count: None,
            pin: true,
            steer_by_cpu: false,
            huge_pages: false,
        };
        assert_eq!([0, 1, 8, 1000].map(|cpus| options.shards_on(cpus)), [1, 1, 8, 64]);
        options.shard_count = Some(3);
        assert_eq!(options.shards_on(8), 3);
    }
}
