//! A slab whose keys carry a generation, so that a key outlived by its entry finds nothing.
//!
//! Invariants: an index is reused only under a new generation; entries never move between
//! indices; memory grows in chunks, so that growth never copies what is already there.

/// Names one entry for its whole life and no other entry after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Key {
    /// The place in the slab.
    pub index: u32,
    /// How often the place had been used before, wrapping.
    pub generation: u32,
}

/// A chunked slab of `T`.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Box<[Slot<T>]>>,
    free_head: u32,
    len: usize,
    /// A chunk's length is a power of two: a look-up shifts and masks, it never divides.
    chunk_bits: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Entry<T>,
}

#[derive(Debug)]
enum Entry<T> {
    Free { next: u32 },
    Used(T),
}

const NONE: u32 = u32::MAX;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab::with_chunk_len(256)
    }
}

impl<T> Slab<T> {
    /// An empty slab that grows by `chunk_len` entries at a time, or by the next power of two.
    pub fn with_chunk_len(chunk_len: usize) -> Slab<T> {
        let chunk_bits = chunk_len.next_power_of_two().trailing_zeros();
        Slab { chunks: Vec::new(), free_head: NONE, len: 0, chunk_bits }
    }

    /// Entries in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the table itself, free places included.
    pub fn table_size(&self) -> usize {
        (self.chunks.len() << self.chunk_bits) * size_of::<Slot<T>>()
    }

    /// Whether no entry is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key that the next `insert` will give.
    pub fn next_key(&mut self) -> Key {
        if self.free_head == NONE {
            self.grow();
        }
        let index = self.free_head;
        Key { index, generation: self.slot(index).map_or(0, |s| s.generation) }
    }

    /// Stores `value` and names it.
    ///
    /// # Panics
    /// When 2³²−1 entries are in use, which memory does not allow.
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        let slot = self.slot_mut(key.index).expect("next_key names a slot that exists");
        let Entry::Free { next } = slot.entry else {
            unreachable!("the free list holds free slots")
        };
        slot.entry = Entry::Used(value);
        self.free_head = next;
        self.len += 1;
        key
    }

    /// Takes the entry out, if the key still names it.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let free_head = self.free_head;
        let slot = self.slot_mut(key.index)?;
        if slot.generation != key.generation || matches!(slot.entry, Entry::Free { .. }) {
            return None;
        }
        let entry = std::mem::replace(&mut slot.entry, Entry::Free { next: free_head });
        slot.generation = slot.generation.wrapping_add(1);
        self.free_head = key.index;
        self.len -= 1;
        match entry {
            Entry::Used(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    /// The entry, if the key still names it.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slot(key.index)? {
            Slot { generation, entry: Entry::Used(value) } if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The entry, if the key still names it.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slot_mut(key.index)? {
            Slot { generation, entry: Entry::Used(value) } if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// Whatever entry stands at `index` now.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        match &mut self.slot_mut(index)?.entry {
            Entry::Used(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    /// Whatever entry stands at `index` now.
    pub fn at(&self, index: u32) -> Option<&T> {
        match &self.slot(index)?.entry {
            Entry::Used(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    /// The key of whatever entry stands at `index` now.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slot(index)?;
        matches!(slot.entry, Entry::Used(_)).then_some(Key { index, generation: slot.generation })
    }

    /// Keys of all entries in use, in index order.
    ///
    /// # Panics
    /// Never: indices are 32 bits from `insert` on.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter());
        slots.enumerate().filter(|(_, slot)| matches!(slot.entry, Entry::Used(_))).map(
            |(index, slot)| Key {
                index: u32::try_from(index).expect("indices are 32 bits"),
                generation: slot.generation,
            },
        )
    }

    /// All entries in use with their keys, in index order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> + '_ {
        self.keys().filter_map(|key| self.get(key).map(|value| (key, value)))
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let index = index as usize;
        self.chunks.get(index >> self.chunk_bits)?.get(index & self.mask())
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        let place = index & self.mask();
        self.chunks.get_mut(index >> self.chunk_bits)?.get_mut(place)
    }

    fn mask(&self) -> usize {
        (1 << self.chunk_bits) - 1
    }

    fn grow(&mut self) {
        let first = self.chunks.len() << self.chunk_bits;
        let first = u32::try_from(first).expect("indices are 32 bits");
        let len = 1 << self.chunk_bits;
        let chunk = (first..first + len).map(|index| Slot {
            generation: 0,
            entry: Entry::Free { next: if index + 1 == first + len { NONE } else { index + 1 } },
        });
        self.chunks.push(chunk.collect());
        self.free_head = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlived_by_its_entry_finds_nothing() {
        let mut slab = Slab::with_chunk_len(2);
        let a = slab.insert("a");
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.remove(a), None);
        let b = slab.insert("b");
        assert_eq!(a.index, b.index);
        assert_eq!(slab.get(a), None);
        assert_eq!(slab.get(b), Some(&"b"));
        assert_eq!(slab.key_at(b.index), Some(b));
    }

    #[test]
    fn entries_keep_their_places_while_it_grows() {
        let mut slab = Slab::with_chunk_len(2);
        let keys: Vec<Key> = (0..7).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.len(), 7);
        assert_eq!(slab.keys().collect::<Vec<_>>(), keys);
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(slab.get(*key), Some(&n));
        }
        let next = slab.next_key();
        assert_eq!(slab.insert(9), next);
    }
}
