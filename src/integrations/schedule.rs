//! When a key set is fetched, when one may be asked for, and when an old one is taken away. Sans I/O:
//! time and random words are arguments.
//!
//! Invariants: after an attempt the next one of its own accord is at least `retry_min` away (after a
//! success: half of `refresh_min`), so that no provider is ever hammered; every set is removed
//! `stale_max` after it was fetched, unless a newer one came. It does not know what is fetched.

use std::time::{Duration, Instant};

use super::options::KeySetOptions;

/// The longest span anything is put off for; more would be a mistyped setting.
const SPAN_MAX: Duration = Duration::from_hours(365 * 24);

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Take the set away: it is older than `stale_max`.
    Remove,
    /// Let requests cause fetches again.
    EndCoolDown,
    /// Fetch, and report by `succeeded` or `failed`.
    Fetch,
}

/// The times of one key set.
#[derive(Debug)]
pub(super) struct Schedule {
    options: KeySetOptions,
    fetch_at: Instant,
    cool_at: Option<Instant>,
    fetched_at: Option<Instant>,
    failure_count: u32,
}

impl Schedule {
    /// One whose first fetch is due now.
    pub(super) fn new(options: KeySetOptions, now: Instant) -> Schedule {
        Schedule { options, fetch_at: now, cool_at: None, fetched_at: None, failure_count: 0 }
    }

    /// The same with a set that is served already; its age counts from now.
    pub(super) fn serving(self, now: Instant) -> Schedule {
        Schedule { fetched_at: Some(now), ..self }
    }

    /// The first moment at which something is due.
    pub(super) fn next_at(&self) -> Instant {
        let others = [self.cool_at, self.stale_at()];
        others.into_iter().flatten().fold(self.fetch_at, Instant::min)
    }

    /// When the next fetch is due.
    pub(super) fn fetch_at(&self) -> Instant {
        self.fetch_at
    }

    /// When the set that is served was fetched; `None` without one.
    pub(super) fn fetched_at(&self) -> Option<Instant> {
        self.fetched_at
    }

    /// Takes what is due; each thing once. A fetch comes before the end of a cool-down, because it
    /// begins a new one.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        if self.stale_at().is_some_and(|at| at <= now) {
            self.fetched_at = None;
            return Some(Due::Remove);
        }
        if self.fetch_at <= now {
            self.cool_at = None;
            return Some(Due::Fetch);
        }
        if self.cool_at.is_some_and(|at| at <= now) {
            self.cool_at = None;
            return Some(Due::EndCoolDown);
        }
        None
    }

    /// A shard lacks a key and the cool-down is over: the fetch is due now.
    pub(super) fn request(&mut self, now: Instant) {
        self.fetch_at = now;
    }

    /// The fetch that was due has ended at `now` with a set that its provider calls fresh for
    /// `lifetime`. `word` is random.
    pub(super) fn succeeded(&mut self, now: Instant, lifetime: Option<Duration>, word: u64) {
        let KeySetOptions { refresh_min, refresh_max, refresh_unstated, .. } = self.options;
        let lifetime = lifetime.unwrap_or(refresh_unstated).max(refresh_min).min(refresh_max);
        self.failure_count = 0;
        self.fetched_at = Some(now);
        // At three quarters a failure leaves time for retries before the set expires. Spread over an
        // eighth, so that brokers started together drift apart.
        self.fetch_at = after(now, spread(lifetime.min(SPAN_MAX) * 3 / 4, 8, word));
        self.begin_cool_down(now);
    }

    /// The fetch that was due has failed at `now`. `word` is random.
    pub(super) fn failed(&mut self, now: Instant, word: u64) {
        let KeySetOptions { retry_min, retry_max, .. } = self.options;
        let doubled = 2_u32.saturating_pow(self.failure_count);
        let wait = retry_min.saturating_mul(doubled).min(retry_max).min(SPAN_MAX);
        self.failure_count = self.failure_count.saturating_add(1);
        self.fetch_at = after(now, spread(wait, 2, word).max(retry_min));
        self.begin_cool_down(now);
    }

    fn begin_cool_down(&mut self, now: Instant) {
        self.cool_at = Some(after(now, self.options.cool_down));
    }

    fn stale_at(&self) -> Option<Instant> {
        self.fetched_at.map(|at| after(at, self.options.stale_max))
    }
}

fn after(now: Instant, span: Duration) -> Instant {
    now + span.min(SPAN_MAX)
}

/// `span` less a random part of at most its `1/parts`.
fn spread(span: Duration, parts: u32, word: u64) -> Duration {
    let steps = u32::try_from(word >> 48).expect("16 bits are left");
    let part = (span / parts).mul_f64(f64::from(steps) / f64::from(u16::MAX));
    span.saturating_sub(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::clock;

    const S: Duration = Duration::from_secs(1);

    /// A schedule that has just taken its first fetch, and when.
    fn fetching(options: KeySetOptions) -> (Schedule, Instant) {
        let start = clock::now();
        let mut schedule = Schedule::new(options, start);
        assert_eq!(schedule.next_at(), start);
        assert_eq!(schedule.take_due(start), Some(Due::Fetch));
        (schedule, start)
    }

    /// Whole milliseconds from `start` to the next fetch.
    fn wait_ms(schedule: &Schedule, start: Instant) -> u128 {
        (schedule.fetch_at() - start).as_millis()
    }

    #[test]
    fn lifetimes_are_clamped_and_refreshed_at_three_quarters() {
        let cases = [
            (Some(400), 300_000, 262_500),
            (Some(0), 45_000, 39_375),
            (Some(86_400), 2_700_000, 2_362_500),
            (Some(u64::MAX), 2_700_000, 2_362_500),
            (None, 450_000, 393_750),
        ];
        for (lifetime_s, latest_ms, earliest_ms) in cases {
            let lifetime = lifetime_s.map(Duration::from_secs);
            let (mut schedule, start) = fetching(KeySetOptions::default());
            schedule.succeeded(start, lifetime, 0);
            assert_eq!(wait_ms(&schedule, start), latest_ms, "{lifetime_s:?}");
            schedule.succeeded(start, lifetime, u64::MAX);
            assert_eq!(wait_ms(&schedule, start), earliest_ms, "{lifetime_s:?}");
        }
    }

    #[test]
    fn failures_are_retried_ever_later_and_a_success_starts_over() {
        let (mut schedule, start) = fetching(KeySetOptions::default());
        for (word, expected_s) in
            [(0, [1, 2, 4, 8, 16, 32, 60, 60]), (u64::MAX, [1, 1, 2, 4, 8, 16, 30, 30])]
        {
            for expected_s in expected_s {
                schedule.failed(start, word);
                assert_eq!(wait_ms(&schedule, start), expected_s * 1000, "{word}");
            }
            schedule.succeeded(start, None, 0);
        }
        schedule.failure_count = u32::MAX;
        schedule.failed(start, 0);
        assert_eq!(wait_ms(&schedule, start), 60_000);
    }

    #[test]
    fn a_cool_down_ends_once_and_a_request_is_due_at_once() {
        let (mut schedule, start) = fetching(KeySetOptions::default());
        schedule.succeeded(start, None, 0);
        assert_eq!(schedule.next_at(), start + 10 * S);
        assert_eq!(
            schedule.take_due(start + (10 * S).saturating_sub(Duration::from_nanos(1))),
            None
        );
        assert_eq!(schedule.take_due(start + 10 * S), Some(Due::EndCoolDown));
        assert_eq!(schedule.take_due(start + 10 * S), None);
        assert_eq!(schedule.next_at(), start + 450 * S);
        schedule.request(start + 11 * S);
        assert_eq!(schedule.next_at(), start + 11 * S);
        assert_eq!(schedule.take_due(start + 11 * S), Some(Due::Fetch));
    }

    #[test]
    fn a_retry_within_the_cool_down_begins_it_anew() {
        let (mut schedule, start) = fetching(KeySetOptions::default());
        schedule.failed(start, 0);
        assert_eq!(schedule.next_at(), start + S);
        assert_eq!(schedule.take_due(start + S), Some(Due::Fetch));
        schedule.succeeded(start + 2 * S, None, 0);
        assert_eq!(schedule.next_at(), start + 12 * S);
        assert_eq!(schedule.take_due(start + 12 * S), Some(Due::EndCoolDown));
    }

    #[test]
    fn a_set_is_removed_when_its_provider_was_down_too_long() {
        let day = Duration::from_hours(24);
        let (mut schedule, start) = fetching(KeySetOptions::default());
        schedule.succeeded(start, None, 0);
        let mut fetch_count = 0;
        let now = loop {
            let now = schedule.next_at();
            match schedule.take_due(now) {
                Some(Due::Fetch) => {
                    fetch_count += 1;
                    schedule.failed(now, 0);
                }
                Some(Due::Remove) => break now,
                Some(Due::EndCoolDown) => {}
                None => panic!("something is due at next_at"),
            }
            assert!(now < start + day);
        };
        assert_eq!(now, start + day);
        assert_eq!(schedule.fetched_at(), None);
        assert!((1_400..1_440).contains(&fetch_count), "about one a minute: {fetch_count}");
        schedule.succeeded(now, None, 0);
        assert_eq!(schedule.fetched_at(), Some(now));
    }

    #[test]
    fn a_newer_set_puts_the_removal_off() {
        let (mut schedule, start) = fetching(KeySetOptions::default());
        schedule.succeeded(start, None, 0);
        let later = start + Duration::from_hours(23);
        schedule.succeeded(later, None, 0);
        assert_eq!(schedule.stale_at(), Some(later + Duration::from_hours(24)));
    }

    #[test]
    fn an_inherited_set_is_fetched_at_once_and_removed_when_that_never_succeeds() {
        let start = clock::now();
        let mut schedule = Schedule::new(KeySetOptions::default(), start).serving(start);
        assert_eq!(schedule.take_due(start), Some(Due::Fetch));
        schedule.failed(start, 0);
        assert_eq!(schedule.fetched_at(), Some(start));
        let day = start + Duration::from_hours(24);
        assert_eq!(schedule.take_due(day), Some(Due::Remove));
    }

    #[test]
    fn absurd_spans_do_not_overflow() {
        let max = Duration::MAX;
        let options = KeySetOptions {
            refresh_min: max,
            refresh_max: max,
            retry_min: max,
            retry_max: max,
            cool_down: max,
            stale_max: max,
            ..KeySetOptions::default()
        };
        let (mut schedule, start) = fetching(options);
        schedule.succeeded(start, Some(max), 0);
        assert_eq!(schedule.next_at(), start + SPAN_MAX * 3 / 4);
        schedule.failed(start, 0);
        assert_eq!(schedule.next_at(), start + SPAN_MAX);
    }
}
