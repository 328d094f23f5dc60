//! Rate limits by the generic cell rate algorithm (ITU-T I.371, annex A): one number per limit.
//!
//! The number is the *theoretical arrival time*: when the next unit would come if all of them came
//! evenly. A caller that is ahead of it by no more than the tolerance is admitted and moves it on.
//! [`LocalGcra`] belongs to one owner, [`Gcra`] is shared by threads, [`AddressRates`] is a table of
//! them for more keys than can be remembered. Each cell is 8 bytes and never grows.
//!
//! Invariants: never more than the burst and what the time has brought since; a refusal moves
//! nothing, and its wait is exact to the nanosecond as long as nobody else takes. Knows no clock: time is
//! an argument, in nanoseconds of one monotonic clock that all users of a cell share. A caller whose
//! time is behind another's is judged as if it had come at the later time, and loses nothing else.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Times are kept in 1/64 ns: fine enough for a rate of 10⁹ per second, and 64 bits last 9 years.
const PARTS_PER_NS: u64 = 64;

/// How much may come in the long run, and at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measure {
    /// Between two units that come evenly, in 1/64 ns.
    interval: u64,
    /// How far ahead of even arrivals a unit may be: the interval times the burst, in 1/64 ns.
    tolerance: u64,
}

impl Measure {
    /// `units` per `period` (rounded down by less than 1/64 ns per unit), `burst` of them at once after
    /// silence. Zero units or a zero burst count as one.
    #[must_use]
    pub fn new(units: u32, period: Duration, burst: u32) -> Measure {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let parts = period_ns.saturating_mul(PARTS_PER_NS);
        let interval = parts.div_ceil(u64::from(units.max(1)));
        Measure { interval, tolerance: interval.saturating_mul(u64::from(burst.max(1))) }
    }
}

/// The arrival time after `units` more, or how long until they would be admitted.
///
/// More units at once than the burst holds are admitted when nothing is owed, and are owed in full
/// afterwards: so a message that is larger than a burst is slow, not impossible.
fn advance(arrival: u64, measure: &Measure, now_ns: u64, units: u32) -> Result<u64, Duration> {
    let now = now_ns.saturating_mul(PARTS_PER_NS);
    let cost = measure.interval.saturating_mul(u64::from(units));
    let latest = now.saturating_add(measure.tolerance.max(cost));
    let next = arrival.max(now).saturating_add(cost);
    if next > latest {
        return Err(Duration::from_nanos((next - latest).div_ceil(PARTS_PER_NS)));
    }
    Ok(next)
}

/// One limit with one owner, such as a connection. New, it has its whole burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LocalGcra {
    arrival: u64,
}

impl LocalGcra {
    /// A limit of which nothing was taken.
    #[must_use]
    pub const fn new() -> LocalGcra {
        LocalGcra { arrival: 0 }
    }

    /// Takes `units` at `now_ns`.
    ///
    /// # Errors
    /// They come too early; after the returned time they would be admitted. Nothing is taken.
    pub fn take(&mut self, measure: &Measure, now_ns: u64, units: u32) -> Result<(), Duration> {
        self.arrival = advance(self.arrival, measure, now_ns, units)?;
        Ok(())
    }
}

/// One limit shared by threads, without a lock. New, it has its whole burst.
#[derive(Debug, Default)]
pub struct Gcra {
    arrival: AtomicU64,
}

impl Gcra {
    /// A limit of which nothing was taken.
    #[must_use]
    pub const fn new() -> Gcra {
        Gcra { arrival: AtomicU64::new(0) }
    }

    /// Takes `units` at `now_ns`. Tries again only when another thread has taken in between, so that
    /// some thread always gets on.
    ///
    /// # Errors
    /// As [`LocalGcra::take`].
    pub fn take(&self, measure: &Measure, now_ns: u64, units: u32) -> Result<(), Duration> {
        // Relaxed: the number is all that the threads share through it.
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            let next = advance(arrival, measure, now_ns, units)?;
            match self.arrival.compare_exchange_weak(
                arrival,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(found) => arrival = found,
            }
        }
    }
}

/// Limits per address in a table of fixed size; an IPv6 network of 64 bits counts as one address.
///
/// Addresses share cells by a hash with a secret key, so nobody can choose whose cell to share. Two
/// that share one also share its limit: it lets less through, never more. Among `n` addresses that have
/// lately come, one shares its cell with a chance of about `n` in 65,536. Who owns more networks than
/// there are cells can use up everyone's; a table that grew would let them use up memory instead.
#[derive(Debug)]
pub struct AddressRates {
    cells: Box<[Gcra]>,
    hasher: RandomState,
}

impl AddressRates {
    /// Cells of the table: 512 KiB.
    pub const CELL_COUNT: usize = 1 << 16;

    /// A table of which nothing was taken.
    #[must_use]
    pub fn new() -> AddressRates {
        AddressRates::with_cells(Self::CELL_COUNT)
    }

    fn with_cells(count: usize) -> AddressRates {
        let cells = (0..count).map(|_| Gcra::new()).collect();
        AddressRates { cells, hasher: RandomState::new() }
    }

    /// Takes one unit at `now_ns` for `address` within `scope`, such as an application; scopes are
    /// counted apart, and each may have a measure of its own.
    ///
    /// # Errors
    /// As [`LocalGcra::take`].
    pub fn take(
        &self,
        scope: u16,
        address: IpAddr,
        measure: &Measure,
        now_ns: u64,
    ) -> Result<(), Duration> {
        let hash = self.hasher.hash_one((scope, network_of(address)));
        #[expect(clippy::cast_possible_truncation, reason = "any of its bits serve")]
        let index = hash as usize % self.cells.len();
        self.cells[index].take(measure, now_ns, 1)
    }
}

impl Default for AddressRates {
    fn default() -> Self {
        AddressRates::new()
    }
}

/// An IPv4 address, also one written as IPv6, or the first 64 bits of an IPv6 address.
fn network_of(address: IpAddr) -> (bool, u64) {
    match address.to_canonical() {
        IpAddr::V4(address) => (false, u64::from(address.to_bits())),
        IpAddr::V6(address) => (true, (address.to_bits() >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: Duration = Duration::from_secs(1);

    /// Takes in order; each is `(at ms, units, wait in ms or admitted)`. Both kinds must agree.
    fn check(measure: Measure, takes: &[(u64, u32, Option<u64>)]) {
        let (mut local, shared) = (LocalGcra::new(), Gcra::new());
        for (at_ms, units, wait_ms) in takes {
            let expected = wait_ms.map_or(Ok(()), |wait_ms| Err(Duration::from_millis(wait_ms)));
            let now_ns = at_ms * MS;
            assert_eq!(local.take(&measure, now_ns, *units), expected, "{at_ms} ms, {units}");
            assert_eq!(shared.take(&measure, now_ns, *units), expected, "{at_ms} ms, {units}");
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        check(
            Measure::new(10, SECOND, 3),
            &[
                (5_000, 1, None),
                (5_000, 1, None),
                (5_000, 1, None),
                (5_000, 1, Some(100)),
                (5_099, 1, Some(1)),
                (5_100, 1, None),
                (5_100, 1, Some(100)),
                // Silence brings the burst back, and not more.
                (9_000, 3, None),
                (9_000, 1, Some(100)),
                (9_150, 2, Some(50)),
                (9_200, 2, None),
            ],
        );
    }

    #[test]
    fn slow_rates_are_exact() {
        let minute = Duration::from_mins(1);
        check(Measure::new(1, minute, 1), &[(0, 1, None), (1, 1, Some(59_999)), (60_000, 1, None)]);
        check(Measure::new(30, minute, 1), &[(0, 1, None), (0, 1, Some(2_000)), (2_000, 1, None)]);
    }

    #[test]
    fn more_than_a_burst_waits_for_silence_and_is_owed_in_full() {
        check(
            Measure::new(10, SECOND, 2),
            &[
                (0, 1, None),
                (0, 5, Some(100)),
                (100, 5, None),
                (100, 1, Some(400)),
                (500, 1, None),
                (500, 1, Some(100)),
            ],
        );
    }

    #[test]
    fn nothing_is_free_and_zero_counts_as_one() {
        check(Measure::new(10, SECOND, 1), &[(0, 0, None), (0, 1, None), (0, 0, None)]);
        assert_eq!(Measure::new(0, SECOND, 0), Measure::new(1, SECOND, 1));
    }

    #[test]
    fn a_caller_whose_clock_is_behind_takes_from_the_same_burst() {
        check(
            Measure::new(10, SECOND, 2),
            &[(1_000, 2, None), (900, 1, Some(200)), (1_100, 1, None)],
        );
    }

    #[test]
    fn threads_together_get_one_burst() {
        let (gcra, measure) = (Gcra::new(), Measure::new(1, SECOND, 1000));
        let admitted = || (0..1000).filter(|_| gcra.take(&measure, 7, 1).is_ok()).count();
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(admitted)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 1000);
    }

    #[test]
    fn addresses_and_scopes_are_counted_apart() {
        let (rates, measure) = (AddressRates::new(), Measure::new(1, SECOND, 1));
        let admits =
            |scope, address: &str| rates.take(scope, address.parse().unwrap(), &measure, 0).is_ok();
        // Two of four share a cell once in 10,000 runs, so one refusal too many is forgiven.
        let fresh = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"];
        let first: Vec<_> = fresh.iter().map(|address| admits(0, address)).collect();
        assert!(first.iter().filter(|admitted| **admitted).count() >= 3, "{first:?}");
        for same in ["192.0.2.1", "::ffff:192.0.2.2", "2001:db8:0:1:ffff::9", "2001:db8:0:2::1"] {
            assert!(!admits(0, same), "{same}");
        }
        assert!((1..4).filter(|scope| admits(*scope, "192.0.2.1")).count() >= 2);
    }

    #[test]
    fn whoever_shares_a_cell_shares_its_limit() {
        let (rates, measure) = (AddressRates::with_cells(1), Measure::new(1, SECOND, 2));
        let take = |address: IpAddr| rates.take(0, address, &measure, 0);
        assert_eq!(take(Ipv4Addr::LOCALHOST.into()), Ok(()));
        assert_eq!(take(Ipv6Addr::LOCALHOST.into()), Ok(()));
        assert_eq!(take(Ipv4Addr::BROADCAST.into()), Err(SECOND));
    }

    #[test]
    fn the_table_has_the_stated_size() {
        let rates = AddressRates::new();
        assert_eq!(std::mem::size_of_val(&*rates.cells), 512 << 10);
        assert_eq!(std::mem::size_of::<LocalGcra>(), 8);
    }

    proptest! {
        /// In every window: at most the burst and what the window's length brings.
        #[test]
        fn never_more_than_burst_and_rate(
            units in 1_u32..2_000_000_000,
            minutes in any::<bool>(),
            burst in 1_u32..5_000,
            takes in prop::collection::vec((0_u64..2_000_000_000, 1_u32..5_000), 1..80),
        ) {
            let period = if minutes { Duration::from_mins(1) } else { SECOND };
            let measure = Measure::new(units, period, burst);
            let (mut gcra, mut now_ns, mut admitted) = (LocalGcra::new(), 0, Vec::new());
            for (pause_ns, count) in takes {
                now_ns += pause_ns;
                let count = count.min(burst);
                if gcra.take(&measure, now_ns, count).is_ok() {
                    admitted.push((now_ns, u128::from(count)));
                }
            }
            for (first, (from_ns, _)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for (to_ns, count) in &admitted[first..] {
                    sum += count;
                    let time_ns = u128::from(to_ns - from_ns);
                    let brought = time_ns * u128::from(units) / period.as_nanos();
                    prop_assert!(sum <= u128::from(burst) + brought, "{sum} in {time_ns} ns");
                }
            }
        }

        /// After a refusal's wait the same is admitted, a nanosecond earlier it is not.
        #[test]
        fn a_refusals_wait_is_exact(
            units in 1_u32..2_000_000_000,
            burst in 1_u32..100,
            takes in prop::collection::vec((0_u64..1_000_000, 1_u32..200), 1..50),
        ) {
            let measure = Measure::new(units, SECOND, burst);
            let (mut gcra, mut now_ns) = (LocalGcra::new(), 0);
            for (pause_ns, count) in takes {
                now_ns += pause_ns;
                let before = gcra;
                let Err(wait) = gcra.take(&measure, now_ns, count) else { continue };
                prop_assert_eq!(gcra, before);
                let at_ns = now_ns + u64::try_from(wait.as_nanos()).unwrap();
                prop_assert!(gcra.take(&measure, at_ns - 1, count).is_err());
                gcra = before;
                prop_assert!(gcra.take(&measure, at_ns, count).is_ok());
                gcra = before;
            }
        }
    }
}
