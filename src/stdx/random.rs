//! Random words from the operating system.

/// 64 random bits.
///
/// The standard library seeds its hasher from the system's generator once per thread and steps it
/// per instance; hashing nothing with a fresh one yields an unpredictable word without `unsafe`.
pub fn word() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_differ() {
        let words: std::collections::HashSet<u64> = (0..1000).map(|_| super::word()).collect();
        assert_eq!(words.len(), 1000);
    }
}
