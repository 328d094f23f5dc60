//! Keys of the process: where it listens, how it stops, how many shards it runs.

use std::net::SocketAddr;
use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind};
use super::values::Values;
use crate::model::shard::SHARDS_MAX;

/// What the process as a whole is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerOptions {
    /// Where every shard listens. Key `server.listen`.
    pub listen: SocketAddr,
    /// Time from the stop signal to the forced end; connections are closed in between. Key
    /// `server.stop_timeout`.
    pub stop_timeout: Duration,
    /// Shards to run, at most [`SHARDS_MAX`]; `None` = one per CPU the process may run on. Key
    /// `shards.count`.
    pub shard_count: Option<usize>,
    /// Whether each shard's thread is pinned to one CPU. Key `shards.pin`.
    pub pin: bool,
}

impl ServerOptions {
    /// Shards to run where the process may run on `cpus` CPUs: 1–[`SHARDS_MAX`].
    pub fn shards_on(&self, cpus: usize) -> usize {
        self.shard_count.unwrap_or(cpus).clamp(1, usize::from(SHARDS_MAX))
    }
}

/// Keys outside of any section; TOML wants them first.
pub(super) const ROOT_KEYS: &[Key] = &[Key::new(
    "buzzpost_application",
    Kind::Text,
    "demo",
    "Id of the application that buzzPost's root path (GET /?channels=…, POST /) belongs to.",
)];

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "server.listen",
        Kind::Address,
        "127.0.0.1:8480",
        "Where to listen: an IP address and port; port 0 lets the kernel choose. An address other \
         than loopback is refused while an application is open to everyone.",
    ),
    Key::new(
        "server.stop_timeout",
        Kind::Duration { min: Duration::ZERO, max: DURATION_MAX },
        "10s",
        "Time from SIGTERM to the forced end. Connections are asked to go in between; a second \
         SIGTERM ends it at once. Keep systemd's TimeoutStopSec above it.",
    ),
];

pub(super) fn server(values: &Values) -> ServerOptions {
    ServerOptions {
        listen: values.address("server.listen"),
        stop_timeout: values.duration("server.stop_timeout"),
        shard_count: values.number_unless_zero("shards.count"),
        pin: values.flag("shards.pin"),
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
            shard_count: None,
            pin: true,
        };
        assert_eq!([0, 1, 8, 1000].map(|cpus| options.shards_on(cpus)), [1, 1, 8, 64]);
        options.shard_count = Some(3);
        assert_eq!(options.shards_on(8), 3);
    }
}
