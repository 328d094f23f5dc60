//! A rate as an operator states it; what counts against it is `stdx::rate`'s.

use std::time::Duration;

use crate::stdx::rate::Measure;

/// How many units (connections, commands, bytes, publishes) may come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Units per period in the long run; at least 1.
    pub units: u32,
    /// The period.
    pub per: Period,
    /// Units that may come at once after silence; at least 1.
    pub burst: u32,
}

/// What a rate's units are counted per.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// One second.
    Second,
    /// Sixty seconds, for rates below one per second.
    Minute,
}

impl Rate {
    /// The rate with one second's worth as its burst, at least one unit.
    #[must_use]
    pub fn with_default_burst(units: u32, per: Period) -> Rate {
        let burst = match per {
            Period::Second => units,
            Period::Minute => units / 60,
        };
        Rate { units, per, burst: burst.max(1) }
    }

    /// The rate as limits are judged by it; costs a division, so keep it where it is asked often.
    #[must_use]
    pub fn measure(self) -> Measure {
        let period = match self.per {
            Period::Second => Duration::from_secs(1),
            Period::Minute => Duration::from_mins(1),
        };
        Measure::new(self.units, period, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_seconds_worth_and_at_least_one() {
        let cases = [
            (100, Period::Second, 100),
            (1, Period::Second, 1),
            (600, Period::Minute, 10),
            (59, Period::Minute, 1),
        ];
        for (units, per, burst) in cases {
            assert_eq!(Rate::with_default_burst(units, per), Rate { units, per, burst });
        }
    }

    #[test]
    fn sixty_per_minute_are_one_per_second() {
        let rate = |units, per| Rate { units, per, burst: 7 }.measure();
        assert_eq!(rate(60, Period::Minute), rate(1, Period::Second));
        assert_ne!(rate(1, Period::Minute), rate(1, Period::Second));
    }
}
