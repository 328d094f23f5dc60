//! The only place that reads a clock. Everything else takes time as an argument.
//!
//! Invariant: `Tick` never goes backwards; `unix_ms` may (it follows the wall clock).

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time in milliseconds since the process's clock was started.
///
/// 32 bits hold 49 days; differences are taken with wrapping arithmetic, so spans of up to 24 days
/// compare correctly for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Tick(pub u32);

impl Tick {
    /// This tick moved on by `span`; spans over 24 days are cut to 24 days.
    #[must_use]
    pub fn after(self, span: Duration) -> Tick {
        let span_ms = u32::try_from(span.as_millis()).unwrap_or(SPAN_MS_MAX).min(SPAN_MS_MAX);
        Tick(self.0.wrapping_add(span_ms))
    }

    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is in fact later.
    #[must_use]
    pub fn since_ms(self, earlier: Tick) -> u32 {
        let difference = self.0.wrapping_sub(earlier.0);
        if difference > SPAN_MS_MAX { 0 } else { difference }
    }

    /// Whether `self` has been reached at `now`.
    #[must_use]
    pub fn is_due(self, now: Tick) -> bool {
        now.0.wrapping_sub(self.0) <= SPAN_MS_MAX
    }
}

const SPAN_MS_MAX: u32 = u32::MAX / 2;

/// A started monotonic clock. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts a clock: its `tick` is 0 now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { start: now() }
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick_at(now())
    }

    /// The tick of a moment that was read before, which spares reading the clock again.
    #[must_use]
    pub fn tick_at(&self, moment: Instant) -> Tick {
        let since = moment.duration_since(self.start);
        #[expect(clippy::cast_possible_truncation, reason = "Tick wraps by design")]
        Tick((since.as_secs() as u32).wrapping_mul(1000).wrapping_add(since.subsec_millis()))
    }
}

/// The monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds of the monotonic clock since some moment of this process; all threads agree on it.
#[must_use]
pub fn monotonic_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(now);
    u64::try_from(now().saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

/// `CLOCK_MONOTONIC` in microseconds, which other processes of this machine compare with their own.
#[must_use]
pub fn machine_monotonic_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * 1_000_000 + part(time.tv_nsec) / 1_000
}

/// Milliseconds since 1970-01-01 UTC; 0 if the machine's clock stands before it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Microseconds since 1970-01-01 UTC; 0 if the machine's clock stands before it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn unix_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// A Unix time in milliseconds; displays as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp(pub u64);

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0 / 1000;
        let (year, month, day) = civil_date(seconds / 86_400);
        let second = seconds % 86_400;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            self.0 % 1000
        )
    }
}

/// Year, month (1–12) and day (1–31) of the day that is `days` after 1970-01-01, in the Gregorian
/// calendar. Counts in eras of 400 years that begin on a March 1, so that the leap day is last.
#[must_use]
pub fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_read_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
            (1_795_226_645_123, "2026-11-21T02:04:05.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (ms, expected) in cases {
            assert_eq!(Timestamp(ms).to_string(), expected);
        }
    }

    #[test]
    fn ticks_compare_across_the_wrap() {
        let before = Tick(u32::MAX - 5);
        let after = before.after(Duration::from_millis(10));
        assert_eq!(after, Tick(4));
        assert_eq!(after.since_ms(before), 10);
        assert_eq!(before.since_ms(after), 0);
        assert!(before.is_due(after));
        assert!(!after.is_due(before));
        assert!(after.is_due(after));
    }
}
