//! What the service manager is told of the process's life (`sd_notify(3)`, `Type=notify`), and when.
//!
//! `READY=1` once every shard serves; `RELOADING=1` and `READY=1` around a reload; `STOPPING=1` at the
//! stop, with the time it may take; `STATUS=` when it has changed, every [`STATUS_INTERVAL`] at most;
//! `WATCHDOG=1` as long as no shard is stuck. Without `NOTIFY_SOCKET` all of this is silent and there is
//! no thread for it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::notify::Notifier;
use super::watchdog::Watchdog;
use crate::mesh::Wake;
use crate::shard::{ActiveDriver, Control, Stage};
use crate::stdx::clock;
use crate::telemetry::{Door, ShardCounters};

/// Shortest time between two status texts.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// Shortest time between two looks at the shards, however short the manager's interval.
const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What a stop may take beyond `server.stop_timeout`: the store folds its log into its file.
const STOP_RESERVE: Duration = Duration::from_secs(10);

/// The way to the service manager, where there is one. Copies are the same way.
#[derive(Clone, Debug)]
pub(super) struct Lifecycle {
    notifier: Option<Arc<Notifier>>,
    /// `WATCHDOG_USEC`: the manager ends a service that is silent for so long.
    watchdog: Option<Duration>,
}

/// The shards, for whom looks after them.
#[derive(Debug)]
pub(super) struct Shards {
    pub(super) counters: Arc<[ShardCounters]>,
    pub(super) wakes: Vec<Arc<Wake>>,
    pub(super) control: Arc<Control>,
    pub(super) driver: ActiveDriver,
}

impl Lifecycle {
    /// As this process's environment says.
    pub(super) fn from_environment() -> Lifecycle {
        Lifecycle::new(|name| std::env::var_os(name))
    }

    fn new(variable: impl Fn(&str) -> Option<OsString>) -> Lifecycle {
        let name = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let notifier = name.and_then(|name| match Notifier::new(&name) {
            Ok(notifier) => Some(Arc::new(notifier)),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                None
            }
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // Another process's watchdog is none of ours (`sd_watchdog_enabled(3)`).
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let interval = number("WATCHDOG_USEC").filter(|&us| us > 0 && is_ours);
        Lifecycle { notifier, watchdog: interval.map(Duration::from_micros) }
    }

    /// Every shard serves: says so and looks after them from now on.
    pub(super) fn serving(&self, shards: Shards) -> std::io::Result<()> {
        let Some(notifier) = self.notifier.clone() else { return Ok(()) };
        let status = status(&shards);
        notifier.send(&format!("READY=1\nSTATUS={status}"));
        let watchdog = self.watchdog;
        let thread = std::thread::Builder::new().name("lifecycle".to_owned());
        thread.spawn(move || watch(&notifier, watchdog, &shards, status))?;
        Ok(())
    }

    /// A reload begins; tell when it is over by [`Lifecycle::ready`], whatever came of it.
    pub(super) fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::machine_monotonic_us()));
    }

    /// A reload is over.
    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// The stop begins and has ended after `timeout`. The manager is asked for that much time, so that
    /// a `TimeoutStopSec` below `server.stop_timeout` cuts nobody off.
    pub(super) fn stopping(&self, timeout: Duration) {
        let time_us = timeout.saturating_add(STOP_RESERVE).as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={time_us}"));
    }

    fn send(&self, lines: &str) {
        if let Some(notifier) = &self.notifier {
            notifier.send(lines);
        }
    }
}

/// Feeds the watchdog and keeps the status, until the process ends.
fn watch(notifier: &Notifier, interval: Option<Duration>, shards: &Shards, mut told: String) {
    let (pause, owed_max) = rhythm(interval);
    let wakes = shards.wakes.clone();
    let mut watchdog = Watchdog::new(Arc::clone(&shards.counters), wakes, owed_max, clock::now());
    let mut status_due = clock::now() + STATUS_INTERVAL;
    loop {
        std::thread::sleep(pause);
        let now = clock::now();
        // Shards that have stopped owe nothing; what is left is bounded by the manager's stop timeout.
        let is_stopped = shards.control.stage() == Stage::Stopped;
        if interval.is_some() && (is_stopped || watchdog.check(now)) {
            notifier.send("WATCHDOG=1");
        }
        if now >= status_due {
            status_due = now + STATUS_INTERVAL;
            let status = status(shards);
            if status != told {
                notifier.send(&format!("STATUS={status}"));
                told = status;
            }
        }
    }
}

/// The time between two looks, and how many of them a shard may owe a turn: together half of the
/// manager's interval, so that the log says which shard is stuck before the process is ended for it.
fn rhythm(interval: Option<Duration>) -> (Duration, u32) {
    let Some(interval) = interval else { return (STATUS_INTERVAL, 1) };
    let pause = (interval / 4).clamp(CHECK_INTERVAL_MIN, STATUS_INTERVAL);
    let owed = (interval / 2).as_nanos().div_ceil(pause.as_nanos());
    (pause, u32::try_from(owed).unwrap_or(u32::MAX).max(2))
}

/// One line for `systemctl status`.
fn status(shards: &Shards) -> String {
    describe(&shards.counters, shards.control.stage(), shards.driver)
}

fn describe(counters: &[ShardCounters], stage: Stage, driver: ActiveDriver) -> String {
    let open =
        |counters: &ShardCounters| Door::ALL.iter().map(|&door| counters.open(door)).sum::<u64>();
    let connection_count: u64 = counters.iter().map(open).sum();
    let shard_count = counters.len();
    let driver = match driver {
        ActiveDriver::Uring(_) => "io_uring",
        ActiveDriver::Epoll => "epoll",
    };
    let mut text = match stage {
        Stage::Running => String::new(),
        Stage::Leaving | Stage::Draining | Stage::Stopped => "Stopping: ".to_owned(),
    };
    let connections = if connection_count == 1 { "connection" } else { "connections" };
    let shards = if shard_count == 1 { "shard" } else { "shards" };
    write!(text, "{connection_count} {connections} on {shard_count} {shards} ({driver})")
        .expect("a string takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_in_time_and_trips_before_the_manager_does() {
        let ms = Duration::from_millis;
        let cases = [
            (None, (ms(5_000), 1)),
            (Some(ms(2_000)), (ms(500), 2)),
            (Some(ms(30_000)), (ms(5_000), 3)),
            (Some(ms(60_000)), (ms(5_000), 6)),
            (Some(ms(1)), (ms(10), 2)),
        ];
        for (interval, expected) in cases {
            assert_eq!(rhythm(interval), expected, "{interval:?}");
        }
    }

    #[test]
    fn the_environment_says_whether_and_how_often() {
        let of = |variables: &[(&str, &str)]| {
            let find = |name: &str| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
            };
            let lifecycle = Lifecycle::new(find);
            (lifecycle.notifier.is_some(), lifecycle.watchdog)
        };
        let own = std::process::id().to_string();
        let second = Some(Duration::from_secs(1));
        assert_eq!(of(&[]), (false, None));
        assert_eq!(of(&[("NOTIFY_SOCKET", "")]), (false, None));
        assert_eq!(of(&[("NOTIFY_SOCKET", "nonsense")]), (false, None));
        assert_eq!(of(&[("NOTIFY_SOCKET", "@x"), ("WATCHDOG_USEC", "1000000")]), (true, second));
        let both = |pid: &str| of(&[("WATCHDOG_PID", pid), ("WATCHDOG_USEC", "1000000")]).1;
        assert_eq!((both(&own), both("1")), (second, None));
        assert_eq!(of(&[("WATCHDOG_USEC", "0")]), (false, None));
        assert_eq!(of(&[("WATCHDOG_USEC", "often")]), (false, None));
    }

    #[test]
    fn a_reload_is_told_from_its_beginning_to_its_end() {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let name = format!("fanwire-lifecycle-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let lifecycle = Lifecycle::new(|variable| {
            (variable == "NOTIFY_SOCKET").then(|| OsString::from(format!("@{name}")))
        });
        let received = || {
            let mut buffer = [0; 100];
            let size = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..size].to_vec()).unwrap()
        };
        let before = clock::machine_monotonic_us();
        lifecycle.reloading();
        lifecycle.ready();
        let reloading = received();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let time: u64 = time.parse().unwrap();
        assert!((before..=clock::machine_monotonic_us()).contains(&time), "{reloading}");
        assert_eq!(received(), "READY=1");
    }

    #[test]
    fn the_status_counts_connections_and_tells_the_stop() {
        let counters = ShardCounters::for_shards(2, 0);
        let status = |stage| describe(&counters, stage, ActiveDriver::Epoll);
        counters[1].accept(Door::Http);
        assert_eq!(status(Stage::Running), "1 connection on 2 shards (epoll)");
        counters[0].accept(Door::Http);
        let leaving = status(Stage::Draining);
        assert_eq!(leaving, "Stopping: 2 connections on 2 shards (epoll)");
    }
}
