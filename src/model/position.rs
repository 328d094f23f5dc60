//! Positions and cursors: where in a topic's or a stream's order a subscriber stands.
//!
//! A home shard keeps one offset counter for all its topics. A position is the epoch of the home's
//! counter, the home and the offset; a cursor is a position per home. Clients see both as one
//! opaque string, `epoch-home.offset[-home.offset…]` in hex; a position is a cursor of one entry.

use std::fmt;

use smallvec::SmallVec;

use super::shard::{SHARDS_MAX, ShardIndex};

/// Marks one life of the offset counters; a new one when history was lost (restart).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// A message's place in its home's order. Offsets start at 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Position {
    /// The life of the counter.
    pub epoch: Epoch,
    /// The shard that counts.
    pub home: ShardIndex,
    /// The count; strictly increasing.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}.{:x}", self.epoch.0, self.home.0, self.offset)
    }
}

/// The last offset received per home that a stream's topics live on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The life of all counters in it.
    pub epoch: Epoch,
    entries: SmallVec<[(ShardIndex, u64); 2]>,
}

impl Cursor {
    /// A cursor that has seen nothing.
    pub fn new(epoch: Epoch) -> Cursor {
        Cursor { epoch, entries: SmallVec::new() }
    }

    /// Moves the entry of the position's home forward; never back.
    pub fn advance(&mut self, home: ShardIndex, offset: u64) {
        match self.entries.iter_mut().find(|(known, _)| *known == home) {
            Some((_, known)) => *known = (*known).max(offset),
            None => self.entries.push((home, offset)),
        }
    }

    /// The last offset received from `home`.
    pub fn offset(&self, home: ShardIndex) -> Option<u64> {
        self.entries.iter().find(|(known, _)| *known == home).map(|(_, offset)| *offset)
    }

    /// Reads the opaque string; `None` for anything this broker never wrote.
    pub fn parse(text: &str) -> Option<Cursor> {
        let mut parts = text.split('-');
        let epoch = Epoch(hex(parts.next()?)?);
        let mut entries = SmallVec::new();
        for part in parts {
            let (home, offset) = part.split_once('.')?;
            let home: u32 = hex(home)?;
            let home = ShardIndex(u16::try_from(home).ok().filter(|h| *h < SHARDS_MAX)?);
            if entries.iter().any(|(known, _)| *known == home) {
                return None;
            }
            entries.push((home, hex64(offset)?));
        }
        (!entries.is_empty()).then_some(Cursor { epoch, entries })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.epoch.0)?;
        for (home, offset) in &self.entries {
            write!(f, "-{:x}.{:x}", home.0, offset)?;
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

    #[test]
    fn a_position_reads_back_as_a_cursor_of_one_entry() {
        let position = Position { epoch: Epoch(0xbeef), home: ShardIndex(3), offset: 0x1f };
        let text = position.to_string();
        assert_eq!(text, "beef-3.1f");
        let cursor = Cursor::parse(&text).unwrap();
        assert_eq!(cursor.offset(ShardIndex(3)), Some(0x1f));
        assert_eq!(cursor.to_string(), text);
    }

    #[test]
    fn a_cursor_only_moves_forward() {
        let mut cursor = Cursor::new(Epoch(1));
        cursor.advance(ShardIndex(0), 5);
        cursor.advance(ShardIndex(1), 7);
        cursor.advance(ShardIndex(0), 4);
        assert_eq!(cursor.to_string(), "1-0.5-1.7");
        assert_eq!(Cursor::parse("1-0.5-1.7"), Some(cursor));
    }

    #[test]
    fn what_we_never_wrote_is_refused() {
        for text in
            ["", "1", "1-", "1-0", "1-0.", "x-0.1", "1-0.1-0.2", "1-40.1", "+1-0.1", "1-0.1-"]
        {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
