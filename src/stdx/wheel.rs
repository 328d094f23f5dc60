//! A coarse timer wheel: one entry per watched thing, checked lazily.
//!
//! The wheel only says "look at this key now"; the owner decides whether anything is due and
//! schedules again. So moving a deadline later costs nothing, and a stale entry is harmless.
//!
//! Invariant: an entry fires at its slot's time or up to one slot later, never earlier.

use std::time::Duration;

use super::clock::Tick;
use super::slab::Key;

/// Slots in one turn of the wheel. Entries further away wait in the farthest slot and are asked again.
const SLOT_COUNT: usize = 128;

/// Slots from the next one to fire to the farthest.
const REACH_MAX: u32 = 127;

/// A timer wheel of [`Key`]s with slots of a fixed width.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<Key>>,
    slot_ms: u32,
    /// Time of the next slot to fire.
    next: Tick,
    next_index: usize,
    len: usize,
}

impl Wheel {
    /// A wheel that starts at `now` with slots `slot` wide (at least 1 ms).
    pub fn new(now: Tick, slot: Duration) -> Wheel {
        let slot_ms = u32::try_from(slot.as_millis()).unwrap_or(u32::MAX).max(1);
        Wheel {
            slots: (0..SLOT_COUNT).map(|_| Vec::new()).collect(),
            slot_ms,
            next: Tick(now.0.wrapping_add(slot_ms)),
            next_index: 0,
            len: 0,
        }
    }

    /// Asks that `key` be looked at once `due` is reached; when that will be: `due`, or earlier for
    /// one that is further away than the wheel reaches.
    #[must_use = "an entry that is looked at before it is due has to be scheduled again"]
    pub fn schedule(&mut self, key: Key, due: Tick) -> Tick {
        let distance_ms = due.since_ms(self.next);
        let steps = distance_ms.div_ceil(self.slot_ms);
        let reach = steps.min(REACH_MAX);
        self.slots[(self.next_index + reach as usize) % SLOT_COUNT].push(key);
        self.len += 1;
        if steps == reach { due } else { Tick(self.next.0.wrapping_add(reach * self.slot_ms)) }
    }

    /// Moves every key whose slot has come at `now` into `fired`.
    pub fn advance(&mut self, now: Tick, fired: &mut Vec<Key>) {
        while self.next.is_due(now) {
            let slot = &mut self.slots[self.next_index];
            self.len -= slot.len();
            // A busy slot's memory is given back: connections cluster, and slack would count
            // against the budget per idle connection.
            fired.append(slot);
            slot.shrink_to(64);
            self.next = Tick(self.next.0.wrapping_add(self.slot_ms));
            self.next_index = (self.next_index + 1) % SLOT_COUNT;
        }
    }

    /// When `advance` next has something to do at the earliest; `None` when the wheel is empty.
    pub fn next_due(&self) -> Option<Tick> {
        (self.len > 0).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> Key {
        Key { index, generation: 0 }
    }

    #[test]
    fn fires_at_the_slot_and_never_early() {
        let mut wheel = Wheel::new(Tick(0), Duration::from_millis(100));
        let dues = [0, 1, 99, 100, 101, 5_000, 12_700];
        for (index, due) in dues.iter().enumerate() {
            let looked_at = wheel.schedule(key(u32::try_from(index).unwrap()), Tick(*due));
            assert_eq!(looked_at, Tick(*due));
        }
        let mut seen = Vec::new();
        for now in (0..20_000).step_by(50) {
            let mut fired = Vec::new();
            wheel.advance(Tick(now), &mut fired);
            for key in fired {
                let due = dues[key.index as usize];
                assert!(now >= due && now <= due + 150, "{key:?} due {due} fired at {now}");
                seen.push(key.index);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..7).collect::<Vec<_>>());
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn a_wheel_that_stood_still_looks_early_and_then_in_time() {
        let mut wheel = Wheel::new(Tick(0), Duration::from_millis(100));
        let (now, due) = (Tick(1_000_000), Tick(1_001_000));
        let looked_at = wheel.schedule(key(1), due);
        assert!(looked_at.is_due(now));
        let mut fired = Vec::new();
        wheel.advance(now, &mut fired);
        assert_eq!(fired, [key(1)]);
        assert_eq!(wheel.schedule(key(1), due), due);
        wheel.advance(due, &mut fired);
        assert_eq!(fired.len(), 2);
    }

    #[test]
    fn a_far_entry_is_asked_about_within_one_turn() {
        let mut wheel = Wheel::new(Tick(0), Duration::from_millis(10));
        let looked_at = wheel.schedule(key(1), Tick(1_000_000));
        assert_eq!(looked_at, Tick(10 * 128));
        let mut fired = Vec::new();
        wheel.advance(looked_at, &mut fired);
        assert_eq!(fired, [key(1)]);
    }
}
