//! The SHA-256 of tokens that came a moment ago: a backend presents one token with every publish,
//! and hashing it is dearer than the rest of recognizing it.
//!
//! Answers by the whole token, byte for byte, so what it says is what hashing would say; knows
//! nothing of who may do what. Only verified tokens are noted, so nobody else can fill it. These few
//! are kept in memory as they are, and never shown.

use std::fmt;
use std::hash::BuildHasher as _;

/// Tokens that are kept, each in the one place that is its own; at most 8.5 KiB each. A token takes
/// the place of another one, which then is hashed again.
const PLACES_COUNT: usize = 256;

/// A token's SHA-256.
pub(super) type TokenHash = [u8; 32];

/// What the last tokens' hashes were.
pub(super) struct Recent {
    places: Vec<Known>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Clone, Default)]
struct Known {
    /// Seeded per process, so nobody outside can aim at it.
    short_hash: u64,
    token: String,
    hash: TokenHash,
}

impl Default for Recent {
    fn default() -> Self {
        Recent {
            places: vec![Known::default(); PLACES_COUNT],
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

impl Recent {
    /// The hash of `token`, which is not empty, if it is known.
    pub(super) fn find(&self, token: &str) -> Option<TokenHash> {
        let short_hash = self.short_hash(token);
        let known = &self.places[place(short_hash)];
        // The bytes are compared only once all 64 bits agree: how long that takes tells nothing to
        // who does not have the token already.
        (known.short_hash == short_hash && known.token == token).then_some(known.hash)
    }

    /// Notes what the hash of `token` is. Reuses the memory of the token that stood in its place.
    pub(super) fn note(&mut self, token: &str, hash: TokenHash) {
        let short_hash = self.short_hash(token);
        let known = &mut self.places[place(short_hash)];
        known.token.clear();
        known.token.push_str(token);
        (known.short_hash, known.hash) = (short_hash, hash);
    }

    fn short_hash(&self, token: &str) -> u64 {
        self.hasher.hash_one(token.as_bytes())
    }
}

fn place(short_hash: u64) -> usize {
    usize::try_from(short_hash % PLACES_COUNT as u64).expect("less than the count")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_every_byte_until_another_takes_its_place() {
        let mut recent = Recent::default();
        recent.note("header.claims.signature", [7; 32]);
        assert_eq!(recent.find("header.claims.signature"), Some([7; 32]));
        for other in ["header.claims.signaturf", "header.claims.signature ", "header.claims.sig"] {
            assert_eq!(recent.find(other), None, "{other}");
        }
        let tokens = (0..10 * PLACES_COUNT).map(|number| format!("h.{number}.s"));
        for token in tokens.clone() {
            recent.note(&token, [8; 32]);
            assert_eq!(recent.find(&token), Some([8; 32]));
        }
        let known_count = tokens.filter(|token| recent.find(token).is_some()).count();
        assert!((1..=PLACES_COUNT).contains(&known_count), "{known_count}");
        assert_eq!(recent.find("header.claims.signature"), None);
    }

    #[test]
    fn debug_output_shows_no_token() {
        let mut recent = Recent::default();
        recent.note("secret", [0; 32]);
        assert!(!format!("{recent:?}").contains("secret"));
    }
}
