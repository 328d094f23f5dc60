//! A histogram of durations with fixed exponential buckets and one writer.
//!
//! Buckets end at 1, 2, 4 … 2^25 µs (33 s), then infinity: one shift finds the bucket, and the
//! factor of two bounds the error of any quantile read from it.

use std::time::Duration;

use super::counters::Counter;

/// Buckets with an upper bound; one more has none.
pub const BOUNDED_COUNT: usize = 26;

/// Durations counted in buckets; see the module for the bounds.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BOUNDED_COUNT + 1],
    sum_us: Counter,
}

/// What a histogram held at one moment; several add up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Observations per bucket, not cumulative.
    pub buckets: [u64; BOUNDED_COUNT + 1],
    /// Sum of all observations in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one duration; fractions of a microsecond count as a whole one.
    pub fn observe(&self, duration: Duration) {
        let fraction_us = u64::from(duration.subsec_nanos().div_ceil(1000));
        self.observe_us(duration.as_secs().saturating_mul(1_000_000).saturating_add(fraction_us));
    }

    /// Counts one duration given in microseconds.
    pub fn observe_us(&self, duration_us: u64) {
        self.observe_many_us(duration_us, 1);
    }

    /// Counts the same duration `count` times, for what a batch shares.
    pub fn observe_many_us(&self, duration_us: u64, count: u64) {
        self.buckets[bucket_of(duration_us)].add(count);
        self.sum_us.add(duration_us.wrapping_mul(count));
    }

    /// What it holds. The shard may write meanwhile, so the sum may be one observation off; the
    /// count is taken from the buckets and always agrees with them.
    pub fn read(&self) -> Reading {
        Reading { buckets: self.buckets.each_ref().map(Counter::get), sum_us: self.sum_us.get() }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum_us: Counter::default(),
        }
    }
}

impl Reading {
    /// Nothing observed.
    pub const EMPTY: Reading = Reading { buckets: [0; BOUNDED_COUNT + 1], sum_us: 0 };

    /// Adds what `other` holds.
    #[must_use]
    pub fn plus(mut self, other: &Reading) -> Reading {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.wrapping_add(theirs);
        }
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
        self
    }

    /// Observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The upper bound of a bounded bucket in microseconds, inclusive.
pub const fn bound_us(bucket: usize) -> u64 {
    1 << bucket
}

fn bucket_of(duration_us: u64) -> usize {
    // The smallest power of two at or above the duration; 0 and 1 both fit the first bucket.
    let exponent = u64::BITS - duration_us.saturating_sub(1).leading_zeros();
    (exponent as usize).min(BOUNDED_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        for bucket in 1..BOUNDED_COUNT {
            assert_eq!(bucket_of(bound_us(bucket)), bucket);
            assert_eq!(bucket_of(bound_us(bucket) + 1), bucket + 1);
        }
        assert_eq!([0, 1, 2, u64::MAX].map(bucket_of), [0, 0, 1, BOUNDED_COUNT]);
    }

    #[test]
    fn readings_add_up() {
        let one = Histogram::default();
        one.observe(Duration::from_nanos(1_001));
        one.observe_many_us(100, 3);
        let other = Histogram::default();
        other.observe_us(u64::from(u32::MAX));
        let sum = Reading::EMPTY.plus(&one.read()).plus(&other.read());
        assert_eq!(sum.count(), 5);
        assert_eq!(sum.sum_us, 2 + 300 + u64::from(u32::MAX));
        assert_eq!((sum.buckets[1], sum.buckets[7], sum.buckets[BOUNDED_COUNT]), (1, 3, 1));
    }
}
