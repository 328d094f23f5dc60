//! The checker of one subscription: constant work per delivery, memory only for holes.
//!
//! Online it notices duplicates and reorders; holes are remembered until the publisher's ledger
//! tells which of them are losses. A hole that is filled later was a reorder, not a loss.

use serde::{Deserialize, Serialize};

use crate::ledger::TopicLedger;
use crate::verdict::Kind;

/// What one delivery was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next in line, or a later one that leaves a hole.
    InOrder,
    /// It came after a later one.
    Late,
    /// It had come before.
    Duplicate,
}

/// From where on a subscription owes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// From the first message: it was subscribed before publishing began.
    First,
    /// From the first message sent at or after this time, when the server confirmed it.
    Confirmed(u64),
}

/// How a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It stands: the last accepted message is owed.
    Standing,
    /// It was cut by us: nothing is owed after the last message that came.
    Cut,
}

/// What a subscription received.
#[derive(Clone, Debug)]
pub struct Track {
    start: Start,
    first: u64,
    next: u64,
    /// Numbers skipped so far, as half-open ranges, ascending.
    holes: Vec<(u64, u64)>,
    /// Statements that messages are lost: the next number then, and when, nanoseconds.
    told: Vec<(u64, u64)>,
}

/// The final count of one subscription.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Deliveries that had to come.
    pub expected: u64,
    /// Deliveries whose publish has no known outcome.
    pub optional: u64,
    /// Deliveries that had to come but of which the server said that they are lost.
    pub told_lost: u64,
    /// Losses and refused deliveries, with how many of each and the first number of each.
    pub violations: Vec<(Kind, u64, u64)>,
}

impl Track {
    /// A subscription that has received nothing.
    #[must_use]
    pub fn new(start: Start) -> Track {
        Track { start, first: u64::MAX, next: 0, holes: Vec::new(), told: Vec::new() }
    }

    /// Moves the beginning of what is owed: the server has just confirmed the subscription.
    pub fn confirm(&mut self, start: Start) {
        self.start = start;
    }

    /// Notes that the server says, at `now_ns`, that messages behind the last that came are lost.
    pub fn told_lost(&mut self, now_ns: u64) {
        self.told.push((self.next, now_ns));
    }

    /// Notes the arrival of `sequence`.
    pub fn arrive(&mut self, sequence: u64) -> Arrival {
        if self.first == u64::MAX {
            self.first = sequence;
            self.next = sequence + 1;
            return Arrival::InOrder;
        }
        if sequence == self.next {
            self.next += 1;
            return Arrival::InOrder;
        }
        if sequence > self.next {
            self.holes.push((self.next, sequence));
            self.next = sequence + 1;
            return Arrival::InOrder;
        }
        if sequence < self.first {
            // Everything between it and what came first is a hole, until it comes too.
            if sequence + 1 < self.first {
                self.holes.insert(0, (sequence + 1, self.first));
            }
            self.first = sequence;
            return Arrival::Late;
        }
        if self.fill(sequence) { Arrival::Late } else { Arrival::Duplicate }
    }

    fn fill(&mut self, sequence: u64) -> bool {
        let index = self.holes.partition_point(|&(_, end)| end <= sequence);
        let Some(&(start, end)) = self.holes.get(index) else { return false };
        if sequence < start {
            return false;
        }
        let left = (start < sequence).then_some((start, sequence));
        let right = (sequence + 1 < end).then_some((sequence + 1, end));
        self.holes.splice(index..=index, left.into_iter().chain(right));
        true
    }

    /// Whether `sequence` has come.
    #[must_use]
    pub fn has(&self, sequence: u64) -> bool {
        let index = self.holes.partition_point(|&(_, end)| end <= sequence);
        let in_hole = self.holes.get(index).is_some_and(|&(start, _)| start <= sequence);
        self.first <= sequence && sequence < self.next && !in_hole
    }

    /// Compares what came with what the publisher says was sent.
    #[must_use]
    pub fn judge(&self, ledger: &TopicLedger, end: End) -> Judgement {
        let owed_from = match self.start {
            Start::First => 0,
            Start::Confirmed(time_ns) => ledger.first_sent_since(time_ns),
        };
        let received_to = if self.first == u64::MAX { owed_from } else { self.next };
        let owed_to = match end {
            End::Standing => ledger.sent,
            End::Cut => received_to.min(ledger.sent),
        };
        let mut judgement = Judgement {
            expected: ledger.accepted_between(owed_from, owed_to.max(owed_from)),
            optional: ledger.unknown.iter().filter(|&&s| self.has(s)).count() as u64,
            ..Judgement::default()
        };
        let mut lost = |kind, from: u64, to: u64| {
            let excused_to = self.excused_to(ledger, from, to);
            judgement.told_lost += ledger.accepted_between(from.max(owed_from), excused_to);
            judgement.lost(kind, ledger, excused_to.max(owed_from), to);
        };
        if self.first != u64::MAX {
            lost(Kind::Gap, 0, self.first);
        }
        for &(start, stop) in &self.holes {
            lost(Kind::Gap, start, stop);
        }
        if end == End::Standing {
            lost(Kind::Missing, if self.first == u64::MAX { 0 } else { self.next }, ledger.sent);
        }
        judgement.undue(Kind::Refused, ledger.refused.iter().copied().filter(|&s| self.has(s)));
        let beyond = if self.first == u64::MAX { ledger.sent } else { self.next };
        if beyond > ledger.sent {
            // The highest number that came was never sent by the publisher.
            judgement.undue(Kind::Alien, std::iter::once(beyond - 1));
        }
        judgement
    }
}

impl Track {
    /// To where the hole `from..to` is excused: up to what was sent when the server said, at its
    /// beginning, that messages are lost.
    fn excused_to(&self, ledger: &TopicLedger, from: u64, to: u64) -> u64 {
        let at = |&&(next, _): &&(u64, u64)| next == from;
        let said = self.told.iter().filter(at).map(|&(_, at_ns)| ledger.first_sent_since(at_ns));
        said.max().map_or(from, |sent| sent.min(to).max(from))
    }
}

impl Judgement {
    fn lost(&mut self, kind: Kind, ledger: &TopicLedger, from: u64, to: u64) {
        let count = ledger.accepted_between(from, to);
        if count == 0 {
            return;
        }
        let first = (from..to).find(|&s| ledger.is_accepted(s)).unwrap_or(from);
        self.note(kind, count, first);
    }

    fn undue(&mut self, kind: Kind, mut numbers: impl Iterator<Item = u64>) {
        if let Some(first) = numbers.next() {
            self.note(kind, 1 + numbers.count() as u64, first);
        }
    }

    fn note(&mut self, kind: Kind, count: u64, first: u64) {
        match self.violations.iter_mut().find(|known| known.0 == kind) {
            Some(known) => known.1 += count,
            None => self.violations.push((kind, count, first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(sent: u64) -> TopicLedger {
        TopicLedger { sent, ..TopicLedger::default() }
    }

    fn feed(sequences: &[u64]) -> (Track, Vec<Arrival>) {
        let mut track = Track::new(Start::First);
        let arrivals = sequences.iter().map(|&s| track.arrive(s)).collect();
        (track, arrivals)
    }

    /// What arrived, what was sent, late and duplicate arrivals, final violations.
    #[track_caller]
    fn check(came: &[u64], sent: u64, late: usize, doubled: usize, wrong: &[(Kind, u64, u64)]) {
        let (track, arrivals) = feed(came);
        let count = |what| arrivals.iter().filter(|&&a| a == what).count();
        assert_eq!((count(Arrival::Late), count(Arrival::Duplicate)), (late, doubled), "{came:?}");
        let judgement = track.judge(&ledger(sent), End::Standing);
        assert_eq!(
            (judgement.expected, judgement.violations.as_slice()),
            (sent, wrong),
            "{came:?}"
        );
    }

    #[test]
    fn each_fault_has_its_own_verdict() {
        check(&[0, 1, 2, 3], 4, 0, 0, &[]);
        check(&[0, 1, 3], 4, 0, 0, &[(Kind::Gap, 1, 2)]);
        check(&[1, 2, 3], 4, 0, 0, &[(Kind::Gap, 1, 0)]);
        check(&[0, 1, 2], 4, 0, 0, &[(Kind::Missing, 1, 3)]);
        check(&[], 4, 0, 0, &[(Kind::Missing, 4, 0)]);
        check(&[0, 1, 1, 2, 3], 4, 0, 1, &[]);
        check(&[0, 2, 1, 3], 4, 1, 0, &[]);
        check(&[1, 0, 2, 3], 4, 1, 0, &[]);
        check(&[3, 0, 2, 1], 4, 3, 0, &[]);
        check(&[2, 0, 0, 2], 3, 1, 2, &[(Kind::Gap, 1, 1)]);
        check(&[0, 1, 2, 3, 4], 4, 0, 0, &[(Kind::Alien, 1, 4)]);
        check(&[0, 5], 8, 0, 0, &[(Kind::Gap, 4, 1), (Kind::Missing, 2, 6)]);
    }

    #[test]
    fn refused_and_unknown_are_excused_when_absent() {
        let ledger = TopicLedger { refused: vec![1, 4], unknown: vec![2], ..ledger(5) };
        let (track, _) = feed(&[0, 3]);
        let expected = Judgement { expected: 2, ..Judgement::default() };
        assert_eq!(track.judge(&ledger, End::Standing), expected);
        let (track, _) = feed(&[0, 2, 3]);
        assert_eq!(track.judge(&ledger, End::Standing), Judgement { optional: 1, ..expected });
        let (track, _) = feed(&[0, 1, 3, 4]);
        let judgement = track.judge(&ledger, End::Standing);
        assert_eq!(judgement.violations, [(Kind::Refused, 2, 1)]);
    }

    #[test]
    fn a_late_subscriber_owes_only_what_was_sent_after_its_welcome() {
        let ledger = TopicLedger { sent_ns: (0..10).map(|i| i * 100).collect(), ..ledger(10) };
        let mut track = Track::new(Start::Confirmed(350));
        (3..8).for_each(|s| _ = track.arrive(s));
        let judgement = track.judge(&ledger, End::Cut);
        assert_eq!((judgement.expected, judgement.violations.len()), (4, 0));
        let judgement = track.judge(&ledger, End::Standing);
        assert_eq!(judgement.violations, [(Kind::Missing, 2, 8)]);
        let mut track = Track::new(Start::Confirmed(350));
        track.arrive(6);
        assert_eq!(track.judge(&ledger, End::Cut).violations, [(Kind::Gap, 2, 4)]);
        let silent = Track::new(Start::Confirmed(350));
        assert_eq!(silent.judge(&ledger, End::Cut), Judgement::default());
        assert_eq!(silent.judge(&ledger, End::Standing).violations, [(Kind::Missing, 6, 4)]);
    }

    #[test]
    fn a_loss_that_is_told_is_no_gap_but_is_counted() {
        let ledger = TopicLedger { sent_ns: (0..10).map(|i| i * 100).collect(), ..ledger(10) };
        // Told at 450, behind message 1: 2, 3 and 4 were sent by then.
        let check = |came: &[u64], told_lost: u64, violations: &[(Kind, u64, u64)]| {
            let (mut track, _) = feed(&came[..2]);
            track.told_lost(450);
            came[2..].iter().for_each(|&s| _ = track.arrive(s));
            let judgement = track.judge(&ledger, End::Standing);
            let got = (judgement.expected, judgement.told_lost, judgement.violations.as_slice());
            assert_eq!(got, (10, told_lost, violations), "{came:?}");
        };
        check(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 0, &[]);
        check(&[0, 1, 4, 5, 6, 7, 8, 9], 2, &[]);
        check(&[0, 1, 5, 6, 7, 8, 9], 3, &[]);
        check(&[0, 1, 6, 7, 8, 9], 3, &[(Kind::Gap, 1, 5)]);
        check(&[0, 1, 4, 6, 7, 8, 9], 2, &[(Kind::Gap, 1, 5)]);
        check(&[0, 1], 3, &[(Kind::Missing, 5, 5)]);
        let mut silent = Track::new(Start::First);
        silent.told_lost(450);
        let judgement = silent.judge(&ledger, End::Standing);
        assert_eq!((judgement.told_lost, judgement.violations), (5, vec![(Kind::Missing, 5, 5)]));
    }

    #[test]
    fn agrees_with_a_naive_model_on_random_histories() {
        let mut seed = 12_345_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            (seed >> 33) % below
        };
        for round in 0..2_000 {
            let came: Vec<u64> = (0..random(14)).map(|_| random(12)).collect();
            let (track, arrivals) = feed(&came);
            let mut seen = std::collections::BTreeSet::new();
            for (&sequence, &arrival) in came.iter().zip(&arrivals) {
                let naive = if seen.contains(&sequence) {
                    Arrival::Duplicate
                } else if seen.iter().any(|&other| other > sequence) {
                    Arrival::Late
                } else {
                    Arrival::InOrder
                };
                assert_eq!(arrival, naive, "round {round}: {came:?}");
                seen.insert(sequence);
            }
            let lost: u64 = track
                .judge(&ledger(12), End::Standing)
                .violations
                .iter()
                .map(|&(_, count, _)| count)
                .sum();
            assert_eq!(lost, 12 - seen.len() as u64, "round {round}: {came:?}");
            assert!((0..12).all(|s| track.has(s) == seen.contains(&s)), "round {round}: {came:?}");
        }
    }
}
