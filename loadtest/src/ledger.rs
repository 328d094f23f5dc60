//! What the publisher knows about each topic: how many messages went out, and which of them the
//! server refused or left unanswered.
//!
//! A message is *accepted* when its answer was 2xx; then every subscriber must get it once. A
//! *refused* one (any other status) must reach nobody. One whose answer never came (*unknown*) may
//! reach each subscriber at most once.

use serde::{Deserialize, Serialize};

/// One topic's publishes, numbered from 0 without holes in the order they were sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopicLedger {
    /// How many were sent.
    pub sent: u64,
    /// Sequence numbers answered with something other than 2xx, ascending.
    pub refused: Vec<u64>,
    /// Sequence numbers whose answer never came, ascending.
    pub unknown: Vec<u64>,
    /// Send time of each, `CLOCK_MONOTONIC` nanoseconds, ascending; kept only where subscribers
    /// come and go while publishing goes on.
    pub sent_ns: Vec<u64>,
}

impl TopicLedger {
    /// Whether the server accepted `sequence`.
    #[must_use]
    pub fn is_accepted(&self, sequence: u64) -> bool {
        sequence < self.sent && !self.is_refused(sequence) && !self.is_unknown(sequence)
    }

    /// Whether the server refused `sequence`.
    #[must_use]
    pub fn is_refused(&self, sequence: u64) -> bool {
        self.refused.binary_search(&sequence).is_ok()
    }

    /// Whether nothing is known about `sequence`.
    #[must_use]
    pub fn is_unknown(&self, sequence: u64) -> bool {
        self.unknown.binary_search(&sequence).is_ok()
    }

    /// How many of the numbers `from..to` were accepted.
    #[must_use]
    pub fn accepted_between(&self, from: u64, to: u64) -> u64 {
        let to = to.min(self.sent);
        let inside = |list: &[u64]| {
            let (low, high) =
                (list.partition_point(|&s| s < from), list.partition_point(|&s| s < to));
            high.saturating_sub(low) as u64
        };
        to.saturating_sub(from)
            .saturating_sub(inside(&self.refused))
            .saturating_sub(inside(&self.unknown))
    }

    /// The first number sent at or after `time_ns`.
    #[must_use]
    pub fn first_sent_since(&self, time_ns: u64) -> u64 {
        self.sent_ns.partition_point(|&sent| sent < time_ns) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_partition_the_numbers() {
        let ledger = TopicLedger {
            sent: 10,
            refused: vec![2, 9],
            unknown: vec![5],
            sent_ns: (0..10).map(|i| 100 + i * 10).collect(),
        };
        let accepted: Vec<u64> = (0..12).filter(|&s| ledger.is_accepted(s)).collect();
        assert_eq!(accepted, [0, 1, 3, 4, 6, 7, 8]);
        for from in 0..12 {
            for to in from..12 {
                let counted = accepted.iter().filter(|&&s| s >= from && s < to).count() as u64;
                assert_eq!(ledger.accepted_between(from, to), counted, "{from}..{to}");
            }
        }
        assert_eq!(ledger.first_sent_since(0), 0);
        assert_eq!(ledger.first_sent_since(120), 2);
        assert_eq!(ledger.first_sent_since(121), 3);
        assert_eq!(ledger.first_sent_since(1_000), 10);
    }
}
