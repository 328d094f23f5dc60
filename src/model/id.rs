//! Ids: of connections (they name their owner shard) and of messages.

use std::fmt;
use std::ops::Deref;

use super::position::{Lane, Position};
use super::shard::{SHARDS_MAX, ShardIndex};
use crate::stdx::slab::Key;

/// Names a connection for its whole life: 32 hex digits, no dot (client libraries dispatch on dots).
///
/// Owner shard (2 bytes), place (4), generation (4) and a keyed tag (6), so that any shard can
/// route to the owner and nobody can guess another connection's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId {
    /// The shard that owns the socket.
    pub shard: ShardIndex,
    /// The place in the owner's connection table.
    pub key: Key,
    tag: [u8; 6],
}

/// Makes and checks the ids of this process.
///
/// The tag is SipHash under keys that are random per process, which nobody can compute without
/// them; clones share the keys.
#[derive(Clone, Debug, Default)]
pub struct ConnectionIds {
    hasher: std::hash::RandomState,
}

impl ConnectionIds {
    /// With keys of its own; give every shard a clone.
    pub fn random() -> ConnectionIds {
        ConnectionIds::default()
    }

    /// The id of the connection at `key` on `shard`.
    pub fn id(&self, shard: ShardIndex, key: Key) -> ConnectionId {
        use std::hash::BuildHasher as _;
        let hash = self.hasher.hash_one((shard, key)).to_be_bytes();
        let mut tag = [0; 6];
        tag.copy_from_slice(&hash[..6]);
        ConnectionId { shard, key, tag }
    }

    /// Reads an id that this process made; `None` for any other text.
    pub fn parse(&self, text: &str) -> Option<ConnectionId> {
        if text.len() != TEXT_SIZE || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return None;
        }
        let shard = u16::from_str_radix(&text[..4], 16).ok().filter(|s| *s < SHARDS_MAX)?;
        let index = u32::from_str_radix(&text[4..12], 16).ok()?;
        let generation = u32::from_str_radix(&text[12..20], 16).ok()?;
        let id = self.id(ShardIndex(shard), Key { index, generation });
        (*id.text() == *text).then_some(id)
    }
}

impl ConnectionId {
    /// Its 32 hex digits.
    pub fn text(self) -> IdText {
        IdText::of(self.to_bytes())
    }

    /// Its 16 bytes, for keeping it where it only has to read the same later.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&self.shard.0.to_be_bytes());
        bytes[2..6].copy_from_slice(&self.key.index.to_be_bytes());
        bytes[6..10].copy_from_slice(&self.key.generation.to_be_bytes());
        bytes[10..].copy_from_slice(&self.tag);
        bytes
    }

    /// The id of which `to_bytes` gave these. Nothing says that it is of this process.
    ///
    /// # Panics
    /// Never: the parts have fixed places.
    pub fn from_bytes(bytes: [u8; 16]) -> ConnectionId {
        let part = |from: usize| -> u32 {
            u32::from_be_bytes(bytes[from..from + 4].try_into().expect("four bytes"))
        };
        let mut tag = [0; 6];
        tag.copy_from_slice(&bytes[10..]);
        ConnectionId {
            shard: ShardIndex(u16::from_be_bytes([bytes[0], bytes[1]])),
            key: Key { index: part(2), generation: part(6) },
            tag,
        }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Characters of an id.
const TEXT_SIZE: usize = 32;

/// An id as everybody sees it, on the stack: 32 hex digits. Formatting them digit by digit through
/// `core::fmt` was a sixth of what a WebSocket handshake cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdText([u8; TEXT_SIZE]);

impl IdText {
    fn of(bytes: [u8; TEXT_SIZE / 2]) -> IdText {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = [0; TEXT_SIZE];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        IdText(text)
    }
}

impl Deref for IdText {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }
}

/// Stands for the store in a message's id, where a home's index would stand.
const STORE_LANE: u16 = 0xffff;

/// A message's id: 32 hex digits, unique over restarts.
///
/// The upper half is random, per process or, for durable messages, per store; the lower names the
/// lane and the offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageId(pub u128);

impl MessageId {
    /// The id of the message at `position` in the run `run` of its lane.
    pub fn new(run: u64, position: Position) -> MessageId {
        let lane = match position.lane {
            Lane::Home(home) => home.0,
            Lane::Store => STORE_LANE,
        };
        let low = u64::from(lane) << 48 | (position.offset & 0xffff_ffff_ffff);
        MessageId(u128::from(run) << 64 | u128::from(low))
    }

    /// Its 32 hex digits.
    pub fn text(self) -> IdText {
        IdText::of(self.0.to_be_bytes())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_as_their_parts_in_hex() {
        let key = Key { index: 0x0123_4567, generation: 0x89ab_cdef };
        let id = ConnectionId { shard: ShardIndex(0xfa), key, tag: [0, 1, 0x20, 0xc0, 0xff, 0x9a] };
        assert_eq!(id.to_string(), "00fa0123456789abcdef000120c0ff9a");
        for number in [0, u128::MAX, 0x0fed_cba9_8765_4321 << 64 | 0x10] {
            assert_eq!(MessageId(number).to_string(), format!("{number:032x}"));
        }
    }

    #[test]
    fn only_ids_of_this_process_are_read_back() {
        let ids = ConnectionIds::random();
        let id = ids.id(ShardIndex(2), Key { index: 77, generation: 3 });
        let text = id.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(ids.parse(&text), Some(id));
        assert_eq!(ConnectionId::from_bytes(id.to_bytes()), id);
        assert_eq!(ConnectionIds::random().parse(&text), None);
        assert_eq!(ids.parse(&text.to_uppercase()), None);
        assert_eq!(ids.parse(&text[1..]), None);
        let forged = text.replacen("0002", "0001", 1);
        assert_eq!(ids.parse(&forged), None);
    }
}
