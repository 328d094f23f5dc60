//! Which secrets are none: placeholders, short ones, ones that cannot be presented.
//!
//! A problem says what is wrong with a secret, never what it is.

/// Shortest secret, in characters.
pub(super) const SECRET_LENGTH_MIN: usize = 16;

/// Fewest different characters in a secret.
const DISTINCT_MIN: usize = 6;

/// What documentation and habit put where a secret belongs.
const PLACEHOLDERS: [&str; 20] = [
    "changeme",
    "change",
    "replace",
    "password",
    "passwort",
    "secret",
    "token",
    "apikey",
    "api",
    "key",
    "example",
    "placeholder",
    "default",
    "insert",
    "your",
    "here",
    "todo",
    "test",
    "demo",
    "xyz",
];

/// Why `secret` is refused as an API key.
///
/// # Errors
/// The sentence for the operator.
pub(super) fn check(secret: &str) -> Result<(), &'static str> {
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        // Keys travel in header fields and in queries.
        return Err("holds a space, a control character or a character outside of ASCII");
    }
    check_strength(secret)
}

/// Why `secret` is too easily guessed, for an API key or a signing secret.
///
/// # Errors
/// The sentence for the operator.
pub(super) fn check_strength(secret: &str) -> Result<(), &'static str> {
    if secret.len() < SECRET_LENGTH_MIN {
        return Err("is shorter than 16 characters; `openssl rand -hex 32` makes a good one");
    }
    let mut letters = secret.to_ascii_lowercase();
    let mut distinct: Vec<_> = letters.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < DISTINCT_MIN {
        return Err("repeats a few characters; `openssl rand -hex 32` makes a good one");
    }
    // A prefix such as `secret_` does not harm if enough remains beside it.
    letters.retain(|c| c.is_ascii_alphanumeric());
    for word in PLACEHOLDERS {
        letters = letters.replace(word, "");
    }
    if letters.len() < SECRET_LENGTH_MIN / 2 {
        return Err("is a placeholder; `openssl rand -hex 32` makes a good one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_refused_and_random_ones_are_not() {
        let refused = [
            "",
            "changeme",
            "secret",
            "xyz",
            "fifteen-letters",
            "changemechangeme",
            "your-secret-key-here",
            "REPLACE_ME_WITH_YOUR_API_KEY",
            "xxxxxxxxxxxxxxxxxxxx",
            "1212121212121212",
            "a secret with spaces 8f3a91c4",
            "schlüssel-8f3a91c4d2e7",
            "8f3a91c4d2e7b605\n",
        ];
        for secret in refused {
            assert!(check(secret).is_err(), "{secret:?} passes");
        }
        let accepted = [
            "8f3a91c4d2e7b605",
            "secret_8f3a91c4d2e7b605",
            "correct-horse-battery-staple",
            "dGhpcyBpcyBub3QgYSBzZWNyZXQ=",
            "0123456789abcdef",
        ];
        for secret in accepted {
            assert_eq!(check(secret), Ok(()), "{secret:?} is refused");
        }
    }
}
