//! Rates: what all shards share, and what each WebSocket has left.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::application::{AppIndex, AppLimits, Application, Applications};
use crate::model::close::{Close, TRY_AGAIN_LATER};
use crate::model::rate::Rate;
use crate::stdx::clock;
use crate::stdx::rate::{AddressRates, Gcra, LocalGcra, Measure};

/// What all shards share. Touched only where an application has such a rate.
#[derive(Debug)]
pub struct Rates {
    applications: Box<[OfApplication]>,
    /// Half a megabyte, only where some application limits connections per address.
    addresses: Option<Arc<AddressRates>>,
    started: Instant,
}

#[derive(Debug)]
struct OfApplication {
    connections_per_address: Option<Measure>,
    publishes: Option<(Measure, Arc<Gcra>)>,
    commands: Option<Measure>,
    bytes: Option<Measure>,
}

impl Rates {
    /// The rates of every application, of which nothing was taken.
    pub fn new(applications: &Applications) -> Rates {
        let none = Rates { applications: Box::default(), addresses: None, started: clock::now() };
        none.succeeded_by(applications)
    }

    /// The rates of these applications' successors. What was taken stays taken.
    #[must_use]
    pub fn succeeded_by(&self, applications: &Applications) -> Rates {
        let of_application = |(index, application): (AppIndex, &Application)| {
            let limits = &application.limits;
            let former = self.applications.get(usize::from(index.0));
            let taken = former.and_then(|former| former.publishes.as_ref());
            let taken = || taken.map_or_else(Arc::default, |(_, taken)| Arc::clone(taken));
            OfApplication {
                connections_per_address: limits.connections_per_address.map(Rate::measure),
                publishes: limits.publishes.map(|rate| (rate.measure(), taken())),
                commands: limits.commands_per_connection.map(Rate::measure),
                bytes: limits.bytes_per_connection.map(Rate::measure),
            }
        };
        let applications: Box<[_]> = applications.iter().map(of_application).collect();
        let has_addresses = applications.iter().any(|app| app.connections_per_address.is_some());
        let addresses = self.addresses.as_ref().map(Arc::clone);
        Rates {
            applications,
            addresses: has_addresses.then(|| addresses.unwrap_or_default()),
            started: self.started,
        }
    }

    /// Counts a connection from `address`.
    pub(super) fn take_connection(&self, app: AppIndex, address: IpAddr) -> Result<(), Duration> {
        match (&self.of(app).connections_per_address, &self.addresses) {
            (Some(measure), Some(rates)) => rates.take(app.0, address, measure, self.now_ns()),
            _ => Ok(()),
        }
    }

    /// Counts publishes of an application.
    pub(super) fn take_publishes(&self, app: AppIndex, count: u32) -> Result<(), Duration> {
        match &self.of(app).publishes {
            None => Ok(()),
            Some((measure, gcra)) => gcra.take(measure, self.now_ns(), count),
        }
    }

    /// Counts a command of `size` bytes of one WebSocket.
    pub(super) fn take_command(
        &self,
        app: AppIndex,
        buckets: &mut Buckets,
        size: usize,
    ) -> Result<(), TooMuch> {
        let OfApplication { commands, bytes, .. } = self.of(app);
        let now_ns = self.now_ns();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        for (measure, bucket, units, what) in [
            (commands, &mut buckets.commands, 1, "commands"),
            (bytes, &mut buckets.bytes, size, "bytes"),
        ] {
            if let Some(measure) = measure {
                let taken = bucket.take(measure, now_ns, units);
                taken.map_err(|wait| TooMuch { what, wait })?;
            }
        }
        Ok(())
    }

    fn of(&self, app: AppIndex) -> &OfApplication {
        &self.applications[usize::from(app.0)]
    }

    fn now_ns(&self) -> u64 {
        let since = clock::now().duration_since(self.started);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What one WebSocket has taken of its rates.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    commands: LocalGcra,
    bytes: LocalGcra,
}

impl Buckets {
    /// Buckets, if the limits name a rate.
    pub(super) fn for_limits(limits: &AppLimits) -> Option<Box<Buckets>> {
        let is_limited =
            limits.commands_per_connection.is_some() || limits.bytes_per_connection.is_some();
        is_limited.then(Box::default)
    }
}

/// More than a rate allows.
#[derive(Debug)]
pub(super) struct TooMuch {
    pub(super) what: &'static str,
    pub(super) wait: Duration,
}

impl TooMuch {
    /// The close that says when to come again.
    pub(super) fn close(&self) -> Close {
        let seconds = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        let reason = format!("Too many {}! Try again in {} s.", self.what, seconds.max(1));
        Close { code: TRY_AGAIN_LATER, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rate::Period;

    fn rates(limits: AppLimits) -> Rates {
        let application = Application { limits, ..Application::new("a") };
        let unlimited = Application::new("b");
        Rates::new(&Applications::new(vec![application, unlimited], None))
    }

    fn slow(burst: u32) -> Rate {
        Rate { units: 1, per: Period::Minute, burst }
    }

    #[test]
    fn each_application_has_its_own_rates_and_most_have_none() {
        let limits = AppLimits {
            connections_per_address: Some(slow(1)),
            publishes: Some(slow(3)),
            ..AppLimits::default()
        };
        let rates = rates(limits);
        let address = "10.0.0.1".parse().unwrap();
        assert!(rates.take_connection(AppIndex(0), address).is_ok());
        assert!(rates.take_connection(AppIndex(0), address).is_err());
        assert!(rates.take_publishes(AppIndex(0), 3).is_ok());
        assert!(rates.take_publishes(AppIndex(0), 1).is_err());
        for _ in 0..9 {
            assert!(rates.take_connection(AppIndex(1), address).is_ok());
            assert!(rates.take_publishes(AppIndex(1), 1000).is_ok());
        }
    }

    #[test]
    fn what_was_taken_stays_taken_when_the_rates_are_read_again() {
        let limits = AppLimits {
            connections_per_address: Some(slow(1)),
            publishes: Some(slow(3)),
            ..AppLimits::default()
        };
        let first = rates(limits);
        let address = "10.0.0.1".parse().unwrap();
        assert!(first.take_connection(AppIndex(0), address).is_ok());
        assert!(first.take_publishes(AppIndex(0), 3).is_ok());
        let of = |limits| {
            let list = ["a", "b", "c"].map(|id| Application { limits, ..Application::new(id) });
            Applications::new(list.into(), None)
        };
        let second = first.succeeded_by(&of(limits));
        assert!(second.take_connection(AppIndex(0), address).is_err());
        assert!(second.take_publishes(AppIndex(0), 1).is_err());
        assert!(first.take_publishes(AppIndex(0), 1).is_err(), "a shard that is a moment behind");
        assert!(second.take_publishes(AppIndex(2), 3).is_ok());
        let third = second.succeeded_by(&of(AppLimits::default()));
        assert!(third.take_publishes(AppIndex(0), 1000).is_ok());
    }

    #[test]
    fn a_websocket_is_held_to_commands_and_to_bytes() {
        let limits = AppLimits {
            commands_per_connection: Some(slow(2)),
            bytes_per_connection: Some(slow(100)),
            ..AppLimits::default()
        };
        let rates = rates(limits);
        let mut buckets = Buckets::for_limits(&limits).unwrap();
        let mut take = |size| {
            rates.take_command(AppIndex(0), &mut buckets, size).map_err(|too_much| too_much.what)
        };
        assert_eq!(take(60), Ok(()));
        assert_eq!(take(60), Err("bytes"));
        assert_eq!(take(10), Err("commands"));
        assert!(Buckets::for_limits(&AppLimits::default()).is_none());
    }
}
