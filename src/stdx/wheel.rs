//! A coarse timer wheel: one entry per watched thing, checked lazily.
//!
//! The wheel only says "look at this key now"; the owner decides whether anything is due and
//! schedules again. So moving a deadline later costs nothing, and a stale entry is harmless.
//!
//! Invariant: an entry fires once, at its time or up to one slot later, never earlier, however far
//! away it is and however long nobody has advanced the wheel.

use std::time::Duration;

use super::clock::Tick;
use super::slab::Key;

/// Slots in one turn of the wheel. Entries further away wait in the farthest slot and are filed
/// again when it comes.
const SLOT_COUNT: usize = 128;

/// A timer wheel of [`Key`]s with slots of a fixed width.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<(Key, Tick)>>,
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

    /// Asks that `key` be looked at once `due` is reached.
    pub fn schedule(&mut self, key: Key, due: Tick) {
        self.file(key, due);
        self.len += 1;
    }

    /// Moves every key whose time has come at `now` into `fired`.
    pub fn advance(&mut self, now: Tick, fired: &mut Vec<Key>) {
        while self.next.is_due(now) {
            let mut slot = std::mem::take(&mut self.slots[self.next_index]);
            let reached = self.next;
            self.next = Tick(self.next.0.wrapping_add(self.slot_ms));
            self.next_index = (self.next_index + 1) % SLOT_COUNT;
            for (key, due) in slot.drain(..) {
                if due.is_due(reached) {
                    self.len -= 1;
                    fired.push(key);
                } else {
                    self.file(key, due);
                }
            }
            // A busy slot's memory is given back: connections cluster, and slack would count
            // against the budget per idle connection.
            slot.shrink_to(64);
            self.keep_allocation(slot);
        }
    }

    /// When `advance` next has something to do at the earliest; `None` when the wheel is empty.
    pub fn next_due(&self) -> Option<Tick> {
        (self.len > 0).then_some(self.next)
    }

    fn file(&mut self, key: Key, due: Tick) {
        let distance_ms = due.since_ms(self.next);
        let steps = (distance_ms.div_ceil(self.slot_ms) as usize).min(SLOT_COUNT - 1);
        self.slots[(self.next_index + steps) % SLOT_COUNT].push((key, due));
    }

    /// Gives the slot that has just come its emptied list back, unless it got a new one meanwhile.
    fn keep_allocation(&mut self, slot: Vec<(Key, Tick)>) {
        let index = (self.next_index + SLOT_COUNT - 1) % SLOT_COUNT;
        if self.slots[index].capacity() == 0 {
            self.slots[index] = slot;
        }
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
            wheel.schedule(key(u32::try_from(index).unwrap()), Tick(*due));
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
    fn a_far_entry_fires_at_its_time_and_once() {
        let mut wheel = Wheel::new(Tick(0), Duration::from_millis(10));
        wheel.schedule(key(1), Tick(1_000_000));
        let mut fired = Vec::new();
        wheel.advance(Tick(999_999), &mut fired);
        assert_eq!(fired, []);
        wheel.advance(Tick(1_000_010), &mut fired);
        assert_eq!(fired, [key(1)]);
        wheel.advance(Tick(2_000_000), &mut fired);
        assert_eq!((fired.len(), wheel.next_due()), (1, None));
    }

    #[test]
    fn a_wheel_that_stood_still_does_not_fire_early() {
        let mut wheel = Wheel::new(Tick(0), Duration::from_millis(10));
        // Nobody advances an empty wheel; it is behind by far more than one turn of itself.
        wheel.schedule(key(1), Tick(1_000_500));
        let mut fired = Vec::new();
        wheel.advance(Tick(1_000_000), &mut fired);
        assert_eq!(fired, []);
        wheel.advance(Tick(1_000_510), &mut fired);
        assert_eq!(fired, [key(1)]);
    }
}
