//! Which secrets are none: placeholders, short ones, ones that cannot be presented.
//!
//! A problem says what is wrong with a secret, never what it is.

/// Shortest secret, in characters.
pub(super) const SECRET_LENGTH_MIN: usize = 16;

/// Fewest different characters in a secret.
const DISTINCT_MIN: usize = 6;

/// Secrets that stand in documentation and tutorials, ours first; in lower case, letters and digits only.
const PUBLISHED: [&str; 8] = [
    "atleastsixteencharactersofyourown",
    "anotheronethatbrowsersmayknow",
    "correcthorsebatterystaple",
    "astringsecretatleast256bitslong",
    "asecuresecretkeyforjwtsigning",
    "supersecretjwtkeychangethis",
    "thequickbrownfoxjumpsoverthelazydog",
    "loremipsumdolorsitamet",
];

/// A secret of fewer runs, in each of which every character follows on the one before, is a sequence.
const SEQUENCE_PARTS: usize = 4;

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
    letters.retain(|c| c.is_ascii_alphanumeric());
    if PUBLISHED.contains(&letters.as_str()) {
        return Err("stands in public documentation; `openssl rand -hex 32` makes a good one");
    }
    if is_sequence(&letters) {
        return Err("runs along the alphabet or digits; `openssl rand -hex 32` makes a good one");
    }
    // A prefix such as `secret_` does not harm if enough remains beside it.
    for word in PLACEHOLDERS {
        letters = letters.replace(word, "");
    }
    if letters.len() < SECRET_LENGTH_MIN / 2 {
        return Err("is a placeholder; `openssl rand -hex 32` makes a good one");
    }
    Ok(())
}

/// Whether almost every character follows on the one before it, as in `0123456789abcdef`.
fn is_sequence(letters: &str) -> bool {
    let pairs = letters.as_bytes().windows(2);
    let run_count = 1 + pairs.filter(|pair| pair[0].abs_diff(pair[1]) != 1).count();
    run_count < SEQUENCE_PARTS
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
            "at-least-sixteen-characters-of-your-own",
            "another-one-that-browsers-may-know",
            "Correct-Horse-Battery-Staple",
            "0123456789abcdef",
            "abcdefghijklmnopqrstuvwxyz",
            "9876543210fedcba",
            "1234567890123456",
        ];
        for secret in refused {
            assert!(check(secret).is_err(), "{secret:?} passes");
        }
        let accepted = [
            "8f3a91c4d2e7b605",
            "secret_8f3a91c4d2e7b605",
            "correct-goose-lantern-gravel",
            "dGhpcyBpcyBub3QgYSBzZWNyZXQ=",
            "0a1b2c3d4e5f6071",
        ];
        for secret in accepted {
            assert_eq!(check(secret), Ok(()), "{secret:?} is refused");
        }
    }
}
