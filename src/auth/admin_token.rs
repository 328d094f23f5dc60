//! The admin door's token: one shared secret, compared in a time that tells nothing.
//!
//! Invariant: it is never printed. It grants everything that door has, and nothing at any other.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// The token of `admin.token`.
#[derive(Clone)]
pub struct AdminToken(Box<str>);

impl AdminToken {
    /// The token of these characters, which the configuration has found strong enough.
    pub fn new(secret: impl Into<Box<str>>) -> AdminToken {
        AdminToken(secret.into())
    }

    /// Whether `presented` is the token. Only its length, not its bytes, influences the time.
    pub fn admits(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl PartialEq for AdminToken {
    fn eq(&self, other: &AdminToken) -> bool {
        self.admits(&other.0)
    }
}

impl Eq for AdminToken {}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_admitted_and_it_is_not_shown() {
        let token = AdminToken::new("8f3a91c4d2e7b605");
        assert!(token.admits("8f3a91c4d2e7b605"));
        for wrong in ["", "8f3a91c4d2e7b60", "8f3a91c4d2e7b6055", "8f3a91c4d2e7b604"] {
            assert!(!token.admits(wrong), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken");
    }
}
