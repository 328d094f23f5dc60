//! Latency histograms: nanoseconds in, quantiles out, sparse lists between processes.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Shortest time told apart, nanoseconds.
const LOW_NS: u64 = 1_000;
/// Longest time told apart, nanoseconds (10 minutes); longer ones count as this.
const HIGH_NS: u64 = 600_000_000_000;

/// A histogram of 1 µs to 10 min with three significant figures.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Latency {
        let histogram = Histogram::new_with_bounds(LOW_NS, HIGH_NS, 3)
            .expect("the bounds are constants that the histogram accepts");
        Latency { histogram }
    }
}

impl Latency {
    /// Counts one time.
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Sparse) {
        for &(ns, count) in &other.0 {
            self.histogram.saturating_record_n(ns, count);
        }
    }

    /// Hands over what was counted and starts again from nothing.
    pub fn take(&mut self) -> Sparse {
        let sparse = self.sparse();
        self.histogram.reset();
        sparse
    }

    /// The counts as a list of (nanoseconds, count).
    #[must_use]
    pub fn sparse(&self) -> Sparse {
        if self.histogram.is_empty() {
            return Sparse::default();
        }
        let steps = self.histogram.iter_recorded();
        Sparse(steps.map(|v| (v.value_iterated_to(), v.count_at_value())).collect())
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The time below which `quantile` (0 to 1) of all lie, nanoseconds; 0 when empty.
    #[must_use]
    pub fn at(&self, quantile: f64) -> u64 {
        if self.histogram.is_empty() { 0 } else { self.histogram.value_at_quantile(quantile) }
    }

    /// The longest, nanoseconds; 0 when empty.
    #[must_use]
    pub fn max(&self) -> u64 {
        if self.histogram.is_empty() { 0 } else { self.histogram.max() }
    }

    /// The figures for the report.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.count(),
            mean_ns: if self.count() == 0 { 0.0 } else { self.histogram.mean() },
            p50_ns: self.at(0.50),
            p90_ns: self.at(0.90),
            p99_ns: self.at(0.99),
            p99_9_ns: self.at(0.999),
            p99_99_ns: self.at(0.9999),
            max_ns: self.max(),
            curve: self.curve(),
        }
    }

    /// Points of the percentile plot: evenly spread over 1/(1-q), as far as the count supports.
    fn curve(&self) -> Vec<(f64, u64)> {
        let mut points = Vec::new();
        let mut remaining = 1.0_f64;
        #[expect(clippy::cast_precision_loss, reason = "a count of messages, far below 2^52")]
        let floor = 1.0 / (self.count().max(1) as f64);
        while self.count() > 0 && remaining >= floor {
            points.push((1.0 - remaining, self.at(1.0 - remaining)));
            remaining *= 0.8;
        }
        points
    }
}

/// A histogram's counts as (nanoseconds, count), as it travels between processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sparse(pub Vec<(u64, u64)>);

/// The figures of one histogram, nanoseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many times were counted.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_ns: f64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p99_9_ns: u64,
    /// 99.99th percentile.
    pub p99_99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// (quantile, nanoseconds) for the percentile plot.
    pub curve: Vec<(f64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_sparse_parts_equals_recording_in_one() {
        let (mut whole, mut left, mut right) =
            (Latency::default(), Latency::default(), Latency::default());
        for i in 0..10_000_u64 {
            let ns = 1_500 + i * i * 37;
            whole.record(ns);
            if i % 3 == 0 { left.record(ns) } else { right.record(ns) }
        }
        let mut joined = Latency::default();
        joined.merge(&left.take());
        joined.merge(&right.take());
        assert_eq!(joined.sparse(), whole.sparse());
        assert_eq!(joined.at(0.9999), whole.at(0.9999));
        assert_eq!((left.count(), left.max(), left.at(0.5)), (0, 0, 0));
    }

    #[test]
    fn quantiles_of_a_known_ramp() {
        let mut latency = Latency::default();
        (1..=1000_u64).for_each(|ms| latency.record(ms * 1_000_000));
        let q = latency.quantiles();
        let close = |got: u64, ms: u64| got.abs_diff(ms * 1_000_000) < ms * 2_000;
        assert!(close(q.p50_ns, 500) && close(q.p90_ns, 900) && close(q.p99_ns, 990), "{q:?}");
        assert!(close(q.p99_9_ns, 999) && close(q.max_ns, 1000), "{q:?}");
        assert!(q.curve.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1));
    }
}
