//! The only place that reads a clock. Everything else takes time as an argument.
//!
//! Invariant: `Tick` never goes backwards; `unix_ms` may (it follows the wall clock).

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
        #[expect(clippy::cast_possible_truncation, reason = "Tick wraps by design")]
        Tick(now().duration_since(self.start).as_millis() as u32)
    }
}

/// The monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970-01-01 UTC; 0 if the machine's clock stands before it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

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
