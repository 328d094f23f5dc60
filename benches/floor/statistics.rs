//! Median, range and a 95 % interval of the median.

use std::fmt;

use serde_json::{Value, json};

/// A sample's summary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    least: f64,
    most: f64,
    low: f64,
    high: f64,
    count: usize,
}

impl Summary {
    /// Summarizes a sample that is not empty. The interval is the distribution-free one from the
    /// order statistics (binomial, normal approximation).
    pub(crate) fn of(sample: &[f64]) -> Summary {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
        let n = count as f64;
        let reach = 1.96 * n.sqrt() / 2.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the sample's indices"
        )]
        let at = |rank: f64| sorted[(rank.max(0.0) as usize).min(count - 1)];
        Summary {
            median: f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]),
            least: sorted[0],
            most: sorted[count - 1],
            low: at((n / 2.0 - reach).floor()),
            high: at((n / 2.0 + reach).ceil() - 1.0),
            count,
        }
    }

    pub(crate) fn to_json(self) -> Value {
        json!({ "median": self.median, "low": self.low, "high": self.high, "pairs": self.count })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { median, least, most, low, high, count } = self;
        write!(f, "{median:.3} (95 % {low:.3}–{high:.3}, all {least:.3}–{most:.3}, n = {count})")
    }
}

/// The value below which `share` of a sorted sample lies.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a few thousand"
)]
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}
