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
    places: Vec<(String, TokenHash)>,
    hasher: foldhash::fast::RandomState,
}

impl Default for Recent {
    fn default() -> Self {
        Recent {
            places: vec![(String::new(), [0; 32]); PLACES_COUNT],
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
        let (known, hash) = &self.places[self.place(token)];
        (known == token).then_some(*hash)
    }

    /// Notes what the hash of `token` is. Reuses the memory of the token that stood in its place.
    pub(super) fn note(&mut self, token: &str, hash: TokenHash) {
        let place = self.place(token);
        let (known, known_hash) = &mut self.places[place];
        known.clear();
        known.push_str(token);
        *known_hash = hash;
    }

    fn place(&self, token: &str) -> usize {
        let hash = self.hasher.hash_one(token.as_bytes());
        usize::try_from(hash % PLACES_COUNT as u64).expect("less than the count")
    }
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
