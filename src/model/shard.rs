//! Which shard: its index among the shards of this process.

/// A shard's index, `0..shard_count`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub struct ShardIndex(pub u16);

impl ShardIndex {
    /// As a subscript.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Most shards one process may run; a set of shards fits one machine word.
pub const SHARDS_MAX: u16 = 64;

/// A set of shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardSet(u64);

impl ShardSet {
    /// Adds a shard; whether it was absent.
    pub fn insert(&mut self, shard: ShardIndex) -> bool {
        let absent = !self.contains(shard);
        self.0 |= 1 << shard.0;
        absent
    }

    /// Removes a shard.
    pub fn remove(&mut self, shard: ShardIndex) {
        self.0 &= !(1 << shard.0);
    }

    /// Whether the shard is in the set.
    pub fn contains(self, shard: ShardIndex) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// How many shards are in it.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether no shard is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The shards, lowest first.
    ///
    /// # Panics
    /// Never: a word has 64 bits.
    pub fn iter(self) -> impl Iterator<Item = ShardIndex> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let lowest = rest.trailing_zeros();
                rest &= rest - 1;
                ShardIndex(u16::try_from(lowest).expect("below 64"))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lists_what_was_put_in() {
        let mut set = ShardSet::default();
        for shard in [63, 0, 5] {
            assert!(set.insert(ShardIndex(shard)));
        }
        assert!(!set.insert(ShardIndex(5)));
        set.remove(ShardIndex(0));
        assert_eq!(set.iter().collect::<Vec<_>>(), [ShardIndex(5), ShardIndex(63)]);
    }
}
