//! The recovery after a drop: what the returners' processes say of each round, put together and
//! judged.
//!
//! That nothing is lost, doubled or out of order is judged as in every scenario, over the drops:
//! to the checker a member's connections are one. Here: that all came back in time.

use crate::control::Gathered;
use crate::memory::Brought;
use crate::report::{RecoverReport, RecoverRound};
use crate::run::per;

/// Most seconds between the end of the jitter window and the last member's being back.
pub const BACK_S_MAX: f64 = 5.0;

/// One drop and return, from what each process says of it; the drop was at `at_ns`.
#[must_use]
pub fn round(at_ns: u64, gathered: &[Gathered]) -> RecoverRound {
    let sum = |count: &dyn Fn(&Gathered) -> u64| gathered.iter().map(count).sum::<u64>();
    let window_ns = gathered.iter().map(|g| g.returned.window_ns).max().unwrap_or(0);
    let last_ns = gathered.iter().map(|g| g.last_ns).max().unwrap_or(0);
    let mut brought = Brought::default();
    for part in gathered {
        brought.add(part.returned.brought);
    }
    let (back, missing) = (sum(&|g| g.welcomed), sum(&|g| g.failed));
    RecoverRound {
        dropped: back + missing,
        back,
        window_s: per(window_ns, 1e9),
        all_back_s: (missing == 0).then(|| per(last_ns.saturating_sub(at_ns), 1e9)),
        refused: sum(&|g| g.returned.refused),
        brought,
        first_error: gathered.iter().find_map(|g| g.errors.first().cloned()),
    }
}

impl RecoverReport {
    /// Why the crowd did not come back as it should.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (number, round) in (1..).zip(&self.rounds) {
            let error = round.first_error.as_ref().map_or(String::new(), |e| format!("; {e}"));
            match round.all_back_s {
                None => failures.push(format!(
                    "drop {number}: {} of {} came back{error}",
                    round.back, round.dropped
                )),
                Some(all_back_s) if all_back_s > round.window_s + BACK_S_MAX => {
                    failures.push(format!(
                        "drop {number}: all were back after {all_back_s:.1} s, more than \
                         {BACK_S_MAX} s behind the window of {:.1} s{error}",
                        round.window_s
                    ));
                }
                Some(_) => {}
            }
        }
        if self.rounds.len() as u64 != self.rounds_due {
            failures.push("the run ended before its last drop".to_owned());
        }
        failures
    }

    /// What a reader should know of it.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let refused = (1..).zip(&self.rounds).filter(|(_, round)| round.refused > 0);
        refused
            .map(|(number, round)| {
                let first = round.first_error.as_deref().unwrap_or("");
                format!("drop {number}: {} attempts failed; the first: {first}", round.refused)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Returned;

    fn part(welcomed: u64, failed: u64, last_s: u64, window_s: u64) -> Gathered {
        let window_ns = window_s * 1_000_000_000;
        let brought = Brought { recovered: welcomed, lost: 0, messages: 10 };
        let last_ns = (100 + last_s) * 1_000_000_000;
        let returned = Returned { window_ns, refused: 1, brought };
        Gathered { welcomed, failed, last_ns, returned, ..Gathered::default() }
    }

    fn report(parts: &[Gathered]) -> RecoverReport {
        let rounds = vec![round(100_000_000_000, parts)];
        RecoverReport { rounds_due: 1, rounds, ..RecoverReport::default() }
    }

    #[test]
    fn the_last_of_all_processes_counts() {
        let in_time = report(&[part(5, 0, 4, 2), part(5, 0, 8, 3)]);
        let expected = RecoverRound {
            dropped: 10,
            back: 10,
            window_s: 3.0,
            all_back_s: Some(8.0),
            refused: 2,
            brought: Brought { recovered: 10, lost: 0, messages: 20 },
            first_error: None,
        };
        assert_eq!(in_time.rounds, [expected]);
        assert_eq!((in_time.failures(), in_time.notes().len()), (Vec::new(), 1));
        let late = report(&[part(5, 0, 9, 2), part(5, 0, 8, 3)]).failures();
        assert!(late[0].contains("all were back after 9.0 s"), "{late:?}");
        let absent = report(&[part(5, 0, 4, 2), part(4, 1, 8, 3)]).failures();
        assert_eq!(absent, ["drop 1: 9 of 10 came back"]);
        let short = RecoverReport { rounds_due: 1, ..RecoverReport::default() };
        assert_eq!(short.failures(), ["the run ended before its last drop"]);
    }
}
