//! How key sets are kept fresh: plain values with their defaults.

use std::time::Duration;

/// Times and sizes of keeping key sets. Spans over a year count as a year.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySetOptions {
    /// Shortest lifetime a set is given, whatever its provider says. 60 s.
    pub refresh_min: Duration,
    /// Longest lifetime a set is given, whatever its provider says. 1 h.
    pub refresh_max: Duration,
    /// Lifetime of a set whose provider says nothing. 10 min.
    pub refresh_unstated: Duration,
    /// Wait after a first failure; doubles with each further one. 1 s.
    pub retry_min: Duration,
    /// Longest wait after a failure. 60 s.
    pub retry_max: Duration,
    /// How long after a fetch ended a lacking key causes no other. 10 s.
    pub cool_down: Duration,
    /// Age to which a set is served while its provider is down. 24 h.
    pub stale_max: Duration,
    /// Limit on one whole fetch: name, connection, head and body. 5 s.
    pub fetch_timeout: Duration,
    /// Most bytes a set may have. 256 KiB.
    pub body_size_max: usize,
}

impl Default for KeySetOptions {
    fn default() -> Self {
        KeySetOptions {
            refresh_min: Duration::from_mins(1),
            refresh_max: Duration::from_hours(1),
            refresh_unstated: Duration::from_mins(10),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_mins(1),
            cool_down: Duration::from_secs(10),
            stale_max: Duration::from_hours(24),
            fetch_timeout: Duration::from_secs(5),
            body_size_max: 256 * 1024,
        }
    }
}
