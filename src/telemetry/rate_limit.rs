//! Keeps one call site from filling the log: so many lines per interval, the rest counted.
//!
//! Time is an argument. The owner keeps one `RateLimit` per call site and shard.

use std::time::Duration;

use crate::stdx::clock::Tick;

/// At most `burst` events per interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    burst: u32,
    interval: Duration,
    /// When the running interval began; `None` before the first event.
    begun: Option<Tick>,
    said: u32,
    suppressed: u64,
}

impl RateLimit {
    /// At most `burst` events per `interval` (whole milliseconds, at most 24 days). The interval
    /// begins with the first event after the one before has ended.
    pub const fn new(burst: u32, interval: Duration) -> RateLimit {
        RateLimit { burst, interval, begun: None, said: 0, suppressed: 0 }
    }

    /// Asks to say something at `now`: `Some` = say it, and how many were suppressed since the last
    /// one said; `None` = keep quiet, it has been counted.
    pub fn ask(&mut self, now: Tick) -> Option<u64> {
        if self.begun.is_none_or(|begun| begun.after(self.interval).is_due(now)) {
            self.begun = Some(now);
            self.said = 0;
        }
        if self.said >= self.burst {
            self.suppressed += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_an_interval_tells_what_was_suppressed() {
        let mut limit = RateLimit::new(2, Duration::from_secs(1));
        let asked = [0, 1, 2, 999, 1_000, 1_001, 1_002, 5_000];
        let said = asked.map(|ms| limit.ask(Tick(ms)));
        assert_eq!(said, [Some(0), Some(0), None, None, Some(2), Some(0), None, Some(1)]);
    }

    #[test]
    fn the_clock_may_wrap_and_a_burst_of_none_says_nothing() {
        let mut limit = RateLimit::new(1, Duration::from_secs(1));
        assert_eq!(limit.ask(Tick(u32::MAX - 10)), Some(0));
        assert_eq!(limit.ask(Tick(900)), None);
        assert_eq!(limit.ask(Tick(990)), Some(1));
        assert_eq!(RateLimit::new(0, Duration::from_secs(1)).ask(Tick(0)), None);
    }
}
