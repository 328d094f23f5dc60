//! Rates: what all shards share, and what each WebSocket has left.
//!
//! Shared ones are one atomic number each, touched only where an application has such a rate.
//! Addresses hash into a table of fixed size under a key of this process: two that meet share their
//! rate, which nobody can aim at.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::application::{AppIndex, AppLimits, Applications, Rate};
use crate::model::close::{Close, TRY_AGAIN_LATER};
use crate::stdx::clock;
use crate::stdx::rate::{Bucket, Gcra, Measure};

/// Cells of one application's addresses: half a megabyte, only where the rate is limited.
const ADDRESS_CELLS_COUNT: usize = 1 << 16;

/// What all shards share.
#[derive(Debug)]
pub struct Rates {
    applications: Box<[Shared]>,
    hasher: RandomState,
    started: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    publishes: Option<(Measure, Gcra)>,
    connections: Option<(Measure, Box<[Gcra]>)>,
}

impl Rates {
    /// The rates of every application, all buckets full.
    pub fn new(applications: &Applications) -> Rates {
        let shared = |limits: &AppLimits| Shared {
            publishes: limits.publishes.map(|rate| (measure(rate), Gcra::default())),
            connections: limits.connections_per_address.map(|rate| {
                let cells = (0..ADDRESS_CELLS_COUNT).map(|_| Gcra::default()).collect();
                (measure(rate), cells)
            }),
        };
        Rates {
            applications: applications.iter().map(|(_, app)| shared(&app.limits)).collect(),
            hasher: RandomState::new(),
            started: clock::now(),
        }
    }

    /// Counts a connection from `address`.
    pub(super) fn take_connection(&self, app: AppIndex, address: IpAddr) -> Result<(), Duration> {
        let Some((measure, cells)) = &self.applications[usize::from(app.0)].connections else {
            return Ok(());
        };
        let hash = self.hasher.hash_one(network(address));
        let cell = usize::try_from(hash % ADDRESS_CELLS_COUNT as u64).unwrap_or_default();
        cells[cell].take(*measure, self.now_ns(), 1)
    }

    /// Counts publishes of an application.
    pub(super) fn take_publishes(&self, app: AppIndex, count: u32) -> Result<(), Duration> {
        match &self.applications[usize::from(app.0)].publishes {
            None => Ok(()),
            Some((measure, gcra)) => gcra.take(*measure, self.now_ns(), u64::from(count)),
        }
    }

    /// Nanoseconds since the process began.
    pub(super) fn now_ns(&self) -> u64 {
        let since = clock::now().duration_since(self.started);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Who counts as one: an IPv4 address, or the /64 that one IPv6 host has to itself.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

fn measure(rate: Rate) -> Measure {
    Measure::per_second(rate.per_second, rate.burst)
}

/// What one WebSocket has left of its rates.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    commands: Bucket,
    bytes: Bucket,
}

/// More than a rate allows.
#[derive(Debug)]
pub(super) struct TooMuch {
    pub(super) what: &'static str,
    pub(super) wait: Duration,
}

impl Buckets {
    /// Full buckets, if the limits name a rate.
    pub(super) fn for_limits(limits: &AppLimits) -> Option<Box<Buckets>> {
        let is_limited =
            limits.commands_per_connection.is_some() || limits.bytes_per_connection.is_some();
        is_limited.then(Box::default)
    }

    /// Counts a command of `size` bytes at `now_ns`.
    pub(super) fn take(
        &mut self,
        limits: &AppLimits,
        size: usize,
        now_ns: u64,
    ) -> Result<(), TooMuch> {
        let Buckets { commands, bytes } = self;
        for (rate, bucket, units, what) in [
            (limits.commands_per_connection, commands, 1, "commands"),
            (limits.bytes_per_connection, bytes, size as u64, "bytes"),
        ] {
            if let Some(rate) = rate {
                let taken = bucket.take(measure(rate), now_ns, units);
                taken.map_err(|wait| TooMuch { what, wait })?;
            }
        }
        Ok(())
    }
}

impl TooMuch {
    pub(super) fn close(&self) -> Close {
        let seconds = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        let reason = format!("Too many {}! Try again in {} s.", self.what, seconds.max(1));
        Close { code: TRY_AGAIN_LATER, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::application::Application;

    #[test]
    fn one_address_cannot_use_up_anothers_rate() {
        let rate = Some(Rate { per_second: 1, burst: 2 });
        let limits = AppLimits { connections_per_address: rate, ..AppLimits::default() };
        let application = Application { limits, ..Application::new("a") };
        let rates = Rates::new(&Applications::new(vec![application], None));
        let take = |address: &str| rates.take_connection(AppIndex(0), address.parse().unwrap());
        assert!(take("2001:db8::1").is_ok());
        assert!(take("2001:db8::ffff:1").is_ok());
        assert!(take("2001:db8::2").is_err(), "one /64 is one host");
        assert!(take("2001:db8:0:1::2").is_ok());
        assert!(take("10.0.0.1").is_ok());
        assert!(take("::ffff:10.0.0.1").is_ok());
        assert!(take("10.0.0.1").is_err(), "a mapped address is the same address");
    }

    #[test]
    fn a_websocket_is_held_to_commands_and_to_bytes() {
        let limits = AppLimits {
            commands_per_connection: Some(Rate { per_second: 1, burst: 2 }),
            bytes_per_connection: Some(Rate { per_second: 100, burst: 100 }),
            ..AppLimits::default()
        };
        let mut buckets = Buckets::for_limits(&limits).unwrap();
        let mut take = |size, now_ms: u64| {
            buckets.take(&limits, size, now_ms * 1_000_000).map_err(|too_much| too_much.what)
        };
        assert_eq!(take(50, 1000), Ok(()));
        assert_eq!(take(60, 1000), Err("bytes"));
        assert_eq!(take(10, 2000), Ok(()));
        assert_eq!(take(10, 2001), Err("commands"));
        assert!(Buckets::for_limits(&AppLimits::default()).is_none());
    }
}
