//! Rates: the generic cell rate algorithm (GCRA, ITU-T I.371 annex A), one number per rate.
//!
//! The number is the *theoretical arrival time*: when the bucket would be empty again if everything
//! taken so far had come evenly. A unit moves it on by the rate's interval; a unit is refused when
//! the number would run ahead of now by more than the burst. Equal to a token bucket, without a timer.
//!
//! Times are nanoseconds since any fixed moment, given by the caller. `Gcra` may be shared by threads
//! (one compare-exchange per take, no lock); `Bucket` is one thread's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How fast units may come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measure {
    /// Nanoseconds from one unit to the next in the long run; at least 1.
    pub interval_ns: u64,
    /// Units that may come at once after silence; at least 1.
    pub burst: u64,
}

impl Measure {
    /// `per_second` units per second, at least 1.
    pub const fn per_second(per_second: u32, burst: u32) -> Measure {
        let per_second = if per_second == 0 { 1 } else { per_second };
        let burst = if burst == 0 { 1 } else { burst };
        Measure { interval_ns: 1_000_000_000 / per_second as u64, burst: burst as u64 }
    }

    /// The arrival time after `units` more at `now`, or how long to wait for them. More units than
    /// the burst are taken from a full bucket, which is then in debt: else they never could be.
    fn after(self, arrival_ns: u64, now_ns: u64, units: u64) -> Result<u64, Duration> {
        let start = arrival_ns.max(now_ns);
        let cost = self.interval_ns.saturating_mul(units);
        let room = self.interval_ns.saturating_mul(self.burst);
        let next = start.saturating_add(cost);
        let earliest = next.saturating_sub(room.max(cost));
        if earliest > now_ns {
            return Err(Duration::from_nanos(earliest - now_ns));
        }
        Ok(next)
    }
}

/// A rate that threads share.
#[derive(Debug, Default)]
pub struct Gcra {
    arrival_ns: AtomicU64,
}

impl Gcra {
    /// Takes `units`, or none of them.
    ///
    /// # Errors
    /// How long to wait until they can be taken, if nobody else takes any meanwhile.
    pub fn take(&self, measure: Measure, now_ns: u64, units: u64) -> Result<(), Duration> {
        let mut arrival_ns = self.arrival_ns.load(Ordering::Relaxed);
        loop {
            let next = measure.after(arrival_ns, now_ns, units)?;
            match self.arrival_ns.compare_exchange_weak(
                arrival_ns,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(current) => arrival_ns = current,
            }
        }
    }
}

/// A rate of one thread. 8 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    arrival_ns: u64,
}

impl Bucket {
    /// Takes `units`, or none of them.
    ///
    /// # Errors
    /// How long to wait until they can be taken.
    pub fn take(&mut self, measure: Measure, now_ns: u64, units: u64) -> Result<(), Duration> {
        self.arrival_ns = measure.after(self.arrival_ns, now_ns, units)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_then_the_rate() {
        let measure = Measure::per_second(10, 3);
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now| bucket.take(measure, now, 1);
        for _ in 0..3 {
            assert_eq!(taken(&mut bucket, SECOND), Ok(()));
        }
        assert_eq!(taken(&mut bucket, SECOND), Err(Duration::from_millis(100)));
        assert_eq!(taken(&mut bucket, SECOND + 99_999_999), Err(Duration::from_nanos(1)));
        assert_eq!(taken(&mut bucket, SECOND + 100_000_000), Ok(()));
        assert_eq!(taken(&mut bucket, SECOND + 100_000_000), Err(Duration::from_millis(100)));
    }

    #[test]
    fn more_than_the_burst_at_once_waits_for_a_full_bucket_and_leaves_a_debt() {
        let measure = Measure::per_second(10, 5);
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(measure, SECOND, 1), Ok(()));
        assert_eq!(bucket.take(measure, SECOND, 20), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(measure, 2 * SECOND, 20), Ok(()));
        assert_eq!(bucket.take(measure, 2 * SECOND, 1), Err(Duration::from_millis(1600)));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_and_a_wait_is_exact(
            per_second in 1u32..5000,
            burst in 1u32..50,
            steps in proptest::collection::vec((0u64..SECOND / 10, 1u64..4), 1..200),
        ) {
            let measure = Measure::per_second(per_second, burst);
            let shared = Gcra::default();
            let mut bucket = Bucket::default();
            let (mut now, mut taken) = (SECOND, 0);
            for (pause, units) in steps {
                now += pause;
                let outcome = bucket.take(measure, now, units);
                prop_assert_eq!(shared.take(measure, now, units), outcome);
                match outcome {
                    Ok(()) => taken += units,
                    Err(wait) => {
                        let wait_ns = u64::try_from(wait.as_nanos()).unwrap();
                        let mut early = bucket;
                        prop_assert!(early.take(measure, now + wait_ns - 1, units).is_err());
                        let mut late = bucket;
                        prop_assert!(late.take(measure, now + wait_ns, units).is_ok());
                    }
                }
                let allowed = u64::from(burst).max(3) + (now - SECOND) / measure.interval_ns + 1;
                prop_assert!(taken <= allowed, "{} of {}", taken, allowed);
            }
        }
    }
}
