//! Positions and cursors: where in a topic's or a stream's order a subscriber stands.
//!
//! A *lane* is whatever counts offsets: each home shard for the topics that live on it, and the
//! store for durable topics. A position is a lane's epoch, the lane and the offset; a cursor is a
//! position per lane. Clients see both as one opaque string in hex:
//! `epoch-home.offset[-home.offset…][-sepoch.offset]`, or `sepoch.offset` alone.

use std::fmt;

use smallvec::SmallVec;

use super::shard::{SHARDS_MAX, ShardIndex};

/// Marks one life of a lane's counter: a new one when history was lost. All homes of a process
/// share one, which ends with the process; the store's is as old as the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// Who counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Lane {
    /// A home shard of this process.
    Home(ShardIndex),
    /// The store, for all durable topics.
    Store,
}

/// A message's place in its lane's order. Offsets start at 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Position {
    /// The life of the counter.
    pub epoch: Epoch,
    /// Who counts.
    pub lane: Lane,
    /// The count; strictly increasing.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lane {
            Lane::Home(home) => write!(f, "{:x}-{:x}.{:x}", self.epoch.0, home.0, self.offset),
            Lane::Store => write!(f, "s{:x}.{:x}", self.epoch.0, self.offset),
        }
    }
}

/// The last offset received per lane that a stream's topics are counted by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// At most one per lane; those of homes share one epoch and come first.
    entries: SmallVec<[Position; 2]>,
}

impl Cursor {
    /// Moves the entry of the position's lane forward; never back within an epoch.
    pub fn advance(&mut self, position: Position) {
        let Some(known) = self.entries.iter_mut().find(|known| known.lane == position.lane) else {
            let at = match position.lane {
                Lane::Home(_) => self.entries.partition_point(|known| known.lane != Lane::Store),
                Lane::Store => self.entries.len(),
            };
            return self.entries.insert(at, position);
        };
        if known.epoch != position.epoch || known.offset < position.offset {
            *known = position;
        }
    }

    /// The last position received from `lane`.
    pub fn at(&self, lane: Lane) -> Option<Position> {
        self.entries.iter().find(|known| known.lane == lane).copied()
    }

    /// Its positions, one per lane.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        self.entries.iter().copied()
    }

    /// Whether it has no position.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads the opaque string; `None` for anything this broker never wrote.
    pub fn parse(text: &str) -> Option<Cursor> {
        let mut cursor = Cursor::default();
        let mut homes = None;
        let mut has_homes = false;
        for (index, part) in text.split('-').enumerate() {
            let position = match (part.split_once('.'), part.strip_prefix('s')) {
                (None, None) if index == 0 => {
                    homes = Some(Epoch(hex(part)?));
                    continue;
                }
                (Some(_), Some(rest)) => {
                    let (epoch, offset) = rest.split_once('.')?;
                    let epoch = Epoch(hex(epoch)?);
                    Position { epoch, lane: Lane::Store, offset: hex64(offset)? }
                }
                (Some((home, offset)), None) => {
                    let home = u16::try_from(hex(home)?).ok().filter(|h| *h < SHARDS_MAX)?;
                    has_homes = true;
                    let lane = Lane::Home(ShardIndex(home));
                    Position { epoch: homes?, lane, offset: hex64(offset)? }
                }
                _ => return None,
            };
            // The store's stands last, and no lane twice.
            let is_behind_store = cursor.at(Lane::Store).is_some();
            if is_behind_store || cursor.at(position.lane).is_some() {
                return None;
            }
            cursor.entries.push(position);
        }
        (!cursor.is_empty() && has_homes == homes.is_some()).then_some(cursor)
    }
}

impl From<Position> for Cursor {
    fn from(position: Position) -> Cursor {
        Cursor { entries: SmallVec::from_iter([position]) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, position) in self.entries.iter().enumerate() {
            match position.lane {
                Lane::Home(home) if index > 0 => write!(f, "-{:x}.{:x}", home.0, position.offset)?,
                Lane::Store if index > 0 => write!(f, "-{position}")?,
                Lane::Home(_) | Lane::Store => write!(f, "{position}")?,
            }
        }
        Ok(())
    }
}

fn hex(text: &str) -> Option<u32> {
    u32::try_from(hex64(text)?).ok()
}

fn hex64(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(home: u16, offset: u64) -> Position {
        Position { epoch: Epoch(1), lane: Lane::Home(ShardIndex(home)), offset }
    }

    fn store(offset: u64) -> Position {
        Position { epoch: Epoch(0xcafe), lane: Lane::Store, offset }
    }

    #[test]
    fn a_position_reads_back_as_a_cursor_of_one_entry() {
        for (position, text) in [(home(3, 0x1f), "1-3.1f"), (store(7), "scafe.7")] {
            assert_eq!(position.to_string(), text);
            let cursor = Cursor::parse(text).unwrap();
            assert_eq!(cursor.at(position.lane), Some(position));
            assert_eq!(cursor, Cursor::from(position));
            assert_eq!(cursor.to_string(), text);
        }
    }

    #[test]
    fn a_cursor_only_moves_forward() {
        let mut cursor = Cursor::default();
        for position in [home(0, 5), store(9), home(1, 7), home(0, 4), store(8)] {
            cursor.advance(position);
        }
        assert_eq!(cursor.to_string(), "1-0.5-1.7-scafe.9");
        assert_eq!(Cursor::parse("1-0.5-1.7-scafe.9"), Some(cursor));
    }

    #[test]
    fn a_position_of_another_life_replaces_the_entry() {
        let mut cursor = Cursor::from(home(0, 5));
        cursor.advance(Position { epoch: Epoch(2), ..home(0, 1) });
        assert_eq!(cursor.to_string(), "2-0.1");
    }

    #[test]
    fn what_we_never_wrote_is_refused() {
        for text in [
            "",
            "1",
            "1-",
            "1-0",
            "1-0.",
            "x-0.1",
            "1-0.1-0.2",
            "1-40.1",
            "+1-0.1",
            "1-0.1-",
            "s1",
            "s1.",
            "s.1",
            "sx.1",
            "s1.1-s2.1",
            "s1.1-0.1",
            "1-s1.1",
            "0.1",
            "1-0.1-2-0.1",
            "s1.1-",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
