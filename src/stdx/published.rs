//! A value that one thread replaces now and then and others keep copies of.
//!
//! A reader asks at each turn, which costs one atomic load, and locks only when there is something new.
//! The publisher can wait until every reader has taken it.
//!
//! Invariant: whoever learns of a value by way of another reader (a message sent after that reader took
//! it) and asks then, gets it too or a newer one. One thread publishes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The latest value, and which it is.
#[derive(Debug)]
pub struct Published<T> {
    generation: AtomicU64,
    latest: Mutex<Latest<T>>,
    is_taken: Condvar,
}

#[derive(Debug)]
struct Latest<T> {
    value: Arc<T>,
    generation: u64,
    /// Readers that have not said that they use it.
    missing_count: usize,
}

/// Which value a reader has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen(u64);

impl<T> Published<T> {
    /// Publishes a first value, which readers that have [`Seen::default`] are taken to hold.
    pub fn new(value: Arc<T>) -> Published<T> {
        Published {
            generation: AtomicU64::new(0),
            latest: Mutex::new(Latest { value, generation: 0, missing_count: 0 }),
            is_taken: Condvar::new(),
        }
    }

    /// Replaces the value, which `reader_count` readers are to take; wake them afterwards.
    pub fn publish(&self, value: Arc<T>, reader_count: usize) {
        let mut latest = self.lock();
        let generation = latest.generation + 1;
        *latest = Latest { value, generation, missing_count: reader_count };
        drop(latest);
        self.generation.store(generation, Ordering::Release);
    }

    /// Whether there is something newer than `seen`.
    #[inline]
    pub fn is_newer_than(&self, seen: Seen) -> bool {
        self.generation.load(Ordering::Acquire) != seen.0
    }

    /// The latest value, unless it is the one that was seen.
    #[inline]
    pub fn take(&self, seen: &mut Seen) -> Option<Arc<T>> {
        self.is_newer_than(*seen).then(|| {
            let latest = self.lock();
            *seen = Seen(latest.generation);
            Arc::clone(&latest.value)
        })
    }

    /// A reader uses the value that it has `seen` from now on; call once per value taken.
    pub fn acknowledge(&self, seen: Seen) {
        let mut latest = self.lock();
        if latest.generation == seen.0 {
            latest.missing_count = latest.missing_count.saturating_sub(1);
            if latest.missing_count == 0 {
                self.is_taken.notify_all();
            }
        }
    }

    /// Waits until all readers use the latest value, at most so long; how many do not.
    ///
    /// # Panics
    /// Never: nothing that is done under the lock panics.
    pub fn wait(&self, patience: Duration) -> usize {
        let is_missing = |latest: &mut Latest<T>| latest.missing_count > 0;
        let waited = self.is_taken.wait_timeout_while(self.lock(), patience, is_missing);
        waited.expect("nothing that is done under the lock panics").0.missing_count
    }

    fn lock(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().expect("nothing that is done under the lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_once_and_the_last_one_counts() {
        let published = Published::new(Arc::new('a'));
        let mut seen = Seen::default();
        assert_eq!(published.take(&mut seen), None);
        published.publish(Arc::new('b'), 1);
        published.publish(Arc::new('c'), 1);
        assert!(published.is_newer_than(seen));
        assert_eq!(published.take(&mut seen).as_deref(), Some(&'c'));
        assert_eq!(published.take(&mut seen), None);
    }

    #[test]
    fn the_publisher_waits_for_those_who_have_the_latest() {
        let published = Published::new(Arc::new(0));
        let (mut first, mut second) = (Seen::default(), Seen::default());
        published.publish(Arc::new(1), 2);
        published.take(&mut first);
        published.publish(Arc::new(2), 2);
        published.acknowledge(first);
        assert_eq!(published.wait(Duration::ZERO), 2, "the former value was acknowledged");
        for seen in [&mut first, &mut second] {
            published.take(seen);
            published.acknowledge(*seen);
        }
        assert_eq!(published.wait(Duration::ZERO), 0);
    }

    #[test]
    fn who_hears_of_a_value_from_another_reader_gets_it_or_a_newer_one() {
        const LAST: u32 = 2000;
        let published = Published::new(Arc::new(0));
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let reader = || {
                let mut seen = Seen::default();
                let mut value = 0;
                while value < LAST {
                    value = published.take(&mut seen).map_or(value, |newer| *newer);
                    said.send(value).expect("the other reader listens to the last");
                }
            };
            scope.spawn(reader);
            let hearer = scope.spawn(|| {
                let (mut seen, mut value) = (Seen::default(), 0);
                while value < LAST {
                    let rumour = heard.recv().expect("the last is said");
                    value = published.take(&mut seen).map_or(value, |newer| *newer);
                    assert!(value >= rumour, "heard of {rumour}, got {value}");
                }
                heard
            });
            (1..=LAST).for_each(|value| published.publish(Arc::new(value), 0));
            hearer.join().expect("it gets what it hears of")
        });
    }

    #[test]
    fn a_reader_on_another_thread_ends_the_wait() {
        let published = Published::new(Arc::new(0));
        published.publish(Arc::new(1), 1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut seen = Seen::default();
                published.take(&mut seen);
                published.acknowledge(seen);
            });
            assert_eq!(published.wait(Duration::from_secs(40)), 0);
        });
    }
}
