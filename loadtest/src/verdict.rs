//! Counts of what was expected, what came, and everything that went wrong.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most single violations that are kept word for word; all are counted.
pub const EXAMPLES_MAX: usize = 20;

/// One way in which delivery can be wrong. Any of them fails the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An accepted message between two delivered ones never came.
    Gap,
    /// An accepted message at the end never came.
    Missing,
    /// A message came twice.
    Duplicate,
    /// A message came after a later one.
    Reorder,
    /// A payload or envelope was changed.
    Corrupt,
    /// A message that this subscriber never asked for, or that was never sent.
    Alien,
    /// A message came although its publish was answered with an error.
    Refused,
    /// The server closed, or lost, a subscriber that read promptly.
    Disconnected,
}

impl Kind {
    /// All kinds, in the order in which reports list them.
    pub const ALL: [Kind; 8] = [
        Kind::Gap,
        Kind::Missing,
        Kind::Duplicate,
        Kind::Reorder,
        Kind::Corrupt,
        Kind::Alien,
        Kind::Refused,
        Kind::Disconnected,
    ];

    /// The word used in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Gap => "gaps",
            Kind::Missing => "missing",
            Kind::Duplicate => "duplicates",
            Kind::Reorder => "reorders",
            Kind::Corrupt => "corrupt",
            Kind::Alien => "alien",
            Kind::Refused => "refused but delivered",
            Kind::Disconnected => "disconnected",
        }
    }
}

/// One violation, precisely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// What is wrong.
    pub kind: Kind,
    /// Number of the subscriber in this run.
    pub subscriber: u32,
    /// Name of the topic; empty when it is not known.
    pub topic: String,
    /// Sequence number; absent when the message could not be read.
    pub sequence: Option<u64>,
    /// When it was noticed, `CLOCK_MONOTONIC` nanoseconds; `u64::MAX` for the final count.
    pub noticed_ns: u64,
    /// What was seen, in words.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: subscriber {}", self.kind.name(), self.subscriber)?;
        if !self.topic.is_empty() {
            write!(f, ", topic {}", self.topic)?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, ", message {sequence}")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// How many violations of each kind; in JSON an object with one entry per kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Kind, u64>", into = "BTreeMap<Kind, u64>")]
pub struct Violations([u64; Kind::ALL.len()]);

impl From<BTreeMap<Kind, u64>> for Violations {
    fn from(map: BTreeMap<Kind, u64>) -> Violations {
        Violations(Kind::ALL.map(|kind| map.get(&kind).copied().unwrap_or(0)))
    }
}

impl From<Violations> for BTreeMap<Kind, u64> {
    fn from(violations: Violations) -> BTreeMap<Kind, u64> {
        Kind::ALL.into_iter().zip(violations.0).collect()
    }
}

/// The counts of one worker, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Deliveries that had to come.
    pub expected: u64,
    /// Deliveries that did come, wrong ones included.
    pub delivered: u64,
    /// Violations by kind.
    pub violations: Violations,
    /// The first few violations.
    pub examples: Vec<Violation>,
    /// Deliveries of publishes whose outcome is unknown: neither required nor wrong.
    pub optional: u64,
    /// Times a subscription was told that messages of it are lost.
    pub lost_statements: u64,
    /// Deliveries that had to come and are covered by such a statement.
    pub told_lost: u64,
    /// Envelopes parsed as JSON, because they differed from the expected bytes or as a sample.
    pub envelopes_parsed: u64,
    /// Frames that are neither welcome nor delivery (acks, notices).
    pub other_frames: u64,
}

impl Tally {
    /// Counts one violation and keeps it if it is among the first.
    pub fn add(&mut self, violation: Violation) {
        self.count(violation.kind, 1);
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(violation);
        }
    }

    /// Counts violations without keeping them.
    pub fn count(&mut self, kind: Kind, times: u64) {
        self.violations.0[kind as usize] += times;
    }

    /// How many violations of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.violations.0[kind as usize]
    }

    /// How many violations of all kinds.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.violations.0.iter().sum()
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.wrong() == 0
    }

    /// Adds another worker's counts; the earliest examples are kept.
    pub fn merge(&mut self, other: Tally) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.optional += other.optional;
        self.lost_statements += other.lost_statements;
        self.told_lost += other.told_lost;
        self.envelopes_parsed += other.envelopes_parsed;
        self.other_frames += other.other_frames;
        for (sum, more) in self.violations.0.iter_mut().zip(other.violations.0) {
            *sum += more;
        }
        self.examples.extend(other.examples);
        self.examples.sort_by_key(|violation| violation.noticed_ns);
        self.examples.truncate(EXAMPLES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_index_their_own_counter() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn counts_survive_json_under_their_names() {
        let mut tally = Tally::default();
        tally.count(Kind::Refused, 3);
        let text = serde_json::to_string(&tally).unwrap();
        assert!(text.contains(r#""refused":3"#), "{text}");
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);
    }

    #[test]
    fn merging_keeps_the_earliest_examples_and_all_counts() {
        let violation = |noticed_ns| Violation {
            kind: Kind::Duplicate,
            subscriber: 4,
            topic: "t".into(),
            sequence: Some(9),
            noticed_ns,
            detail: String::new(),
        };
        let (mut left, mut right) = (Tally::default(), Tally::default());
        (100..130).for_each(|ns| left.add(violation(ns)));
        right.add(violation(5));
        left.merge(right);
        assert_eq!((left.of(Kind::Duplicate), left.wrong(), left.is_clean()), (31, 31, false));
        assert_eq!((left.examples.len(), left.examples[0].noticed_ns), (EXAMPLES_MAX, 5));
        assert_eq!(left.examples[0].to_string(), "duplicates: subscriber 4, topic t, message 9");
    }
}
