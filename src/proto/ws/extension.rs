//! Negotiating permessage-deflate (RFC 6455 §9.1, RFC 7692 §5, §7.1).
//!
//! The first offer that can be met is taken; one that cannot is passed over in silence. Both
//! `no_context_takeover` parameters are always answered, asked for or not, which RFC 7692 §7.1.1
//! allows: compression state is the shard's. `client_max_window_bits` is never answered: a stream
//! with the full window inflates every smaller one.

use super::deflate::{WINDOW_MAX, WINDOW_MIN};

/// The extension's registered name.
const NAME: &[u8] = b"permessage-deflate";

/// What was agreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deflate {
    /// The window for what we send, in bits: 9–15.
    pub window: u8,
    /// Whether the offer named a window, so that the answer must.
    announced: bool,
}

/// A `Sec-WebSocket-Extensions` value that is not in the grammar of RFC 6455 §9.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

impl Deflate {
    /// Appends the response header's value.
    pub(super) fn append_answer(self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME);
        out.extend_from_slice(b"; server_no_context_takeover; client_no_context_takeover");
        if self.announced {
            out.extend_from_slice(b"; server_max_window_bits=");
            out.extend_from_slice(self.window.to_string().as_bytes());
        }
    }
}

/// The first offer in the header's `values` that can be met with a window of at most `window_max`
/// bits (9–15).
pub(super) fn negotiate<'h>(
    values: impl Iterator<Item = &'h [u8]>,
    window_max: u8,
) -> Result<Option<Deflate>, Malformed> {
    let window_max = window_max.clamp(WINDOW_MIN, WINDOW_MAX);
    let mut agreed = None;
    // All of it is read, so that what is refused does not depend on the order of offers.
    for value in values {
        let mut scanner = Scanner { rest: value };
        while let Some(offer) = scanner.extension()? {
            agreed = agreed.or_else(|| offer.judge(window_max));
        }
    }
    Ok(agreed)
}

/// One extension of the list with its parameters.
struct Offer<'h> {
    name: &'h [u8],
    parameters: Vec<(&'h [u8], Option<Value>)>,
}

/// A parameter's value without its quotes.
type Value = Vec<u8>;

impl Offer<'_> {
    /// What it comes to, if it is permessage-deflate and can be met (RFC 7692 §7.1).
    fn judge(&self, window_max: u8) -> Option<Deflate> {
        if self.name != NAME {
            return None;
        }
        let mut agreed = Deflate { window: window_max, announced: false };
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            if self.parameters[..index].iter().any(|(earlier, _)| earlier == name) {
                return None;
            }
            match (*name, value.as_deref()) {
                (
                    b"server_no_context_takeover"
                    | b"client_no_context_takeover"
                    | b"client_max_window_bits",
                    None,
                ) => {}
                (b"client_max_window_bits", Some(bits)) => {
                    window_bits(bits)?;
                }
                (b"server_max_window_bits", Some(bits)) => {
                    // 8 is legal, and cannot be met: zlib has no raw deflate for it.
                    let bits = window_bits(bits).filter(|bits| *bits >= WINDOW_MIN)?;
                    agreed = Deflate { window: bits.min(window_max), announced: true };
                }
                _ => return None,
            }
        }
        Some(agreed)
    }
}

/// 8–15 without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match *value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Reads `extension-list` of RFC 6455 §9.1, with the empty elements of RFC 9110 §5.6.1.
struct Scanner<'h> {
    rest: &'h [u8],
}

impl<'h> Scanner<'h> {
    fn extension(&mut self) -> Result<Option<Offer<'h>>, Malformed> {
        self.skip_space();
        while self.take(b',') {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.take(b';') {
            parameters.push(self.parameter()?);
        }
        if self.rest.is_empty() || self.rest[0] == b',' {
            return Ok(Some(Offer { name, parameters }));
        }
        Err(Malformed)
    }

    fn parameter(&mut self) -> Result<(&'h [u8], Option<Value>), Malformed> {
        let name = self.token()?;
        if !self.take(b'=') {
            return Ok((name, None));
        }
        let value =
            if self.rest.first() == Some(&b'"') { self.quoted()? } else { self.token()?.to_vec() };
        Ok((name, Some(value)))
    }

    fn token(&mut self) -> Result<&'h [u8], Malformed> {
        let size = self.rest.iter().take_while(|byte| is_token(**byte)).count();
        if size == 0 {
            return Err(Malformed);
        }
        let (token, rest) = self.rest.split_at(size);
        self.rest = rest;
        self.skip_space();
        Ok(token)
    }

    /// RFC 6455 §9.1: what a quoted value says must be a token.
    fn quoted(&mut self) -> Result<Value, Malformed> {
        let mut value = Vec::new();
        let mut bytes = self.rest.iter().enumerate().skip(1);
        while let Some((index, byte)) = bytes.next() {
            match byte {
                b'"' if !value.is_empty() => {
                    self.rest = &self.rest[index + 1..];
                    self.skip_space();
                    return Ok(value);
                }
                b'\\' => value.push(*bytes.next().ok_or(Malformed)?.1),
                byte => value.push(*byte),
            }
            if !value.last().is_some_and(|byte| is_token(*byte)) {
                return Err(Malformed);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
            self.skip_space();
        }
        found
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Result<Option<&str>, Malformed>) {
        let answer = negotiate([value.as_bytes()].into_iter(), 15).map(|agreed| {
            agreed.map(|agreed| {
                let mut answer = Vec::new();
                agreed.append_answer(&mut answer);
                String::from_utf8(answer).unwrap()
            })
        });
        assert_eq!(answer.as_ref().map(Option::as_deref), expected.as_ref().copied(), "{value}");
    }

    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn offers_that_are_met() {
        for value in [
            "permessage-deflate",
            " permessage-deflate ",
            ",, permessage-deflate,",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8",
            "permessage-deflate ; client_max_window_bits = \"10\"",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "other; a=1; b=\"c\\d\"; e, permessage-deflate",
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "permessage-deflate; unknown, permessage-deflate",
        ] {
            check(value, Ok(Some(PLAIN)));
        }
        for (bits, offered) in [(9, "9"), (10, "10"), (15, "15"), (12, "\"12\""), (12, "\"\\12\"")]
        {
            check(
                &format!("permessage-deflate; server_max_window_bits={offered}"),
                Ok(Some(&format!("{PLAIN}; server_max_window_bits={bits}"))),
            );
        }
    }

    #[test]
    fn offers_that_are_passed_over() {
        for value in [
            "",
            " , ",
            "permessage-deflat",
            "permessage-bzip2",
            "permessage-deflate; unknown",
            "permessage-deflate; unknown=1",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=1x",
            "permessage-deflate; server_max_window_bits=150",
        ] {
            check(value, Ok(None));
        }
    }

    #[test]
    fn values_outside_the_grammar() {
        for value in [
            ";",
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"b",
            "permessage-deflate; a=\"b\\",
            "permessage-deflate; a=\"b c\"",
            "permessage-deflate; a b",
            "permessage-deflate x",
            "permessage-deflate, =",
            "\u{e9}",
        ] {
            check(value, Err(Malformed));
        }
    }

    #[test]
    fn offers_go_on_over_header_lines_and_the_first_that_fits_wins() {
        let lines = [
            &b"permessage-deflate; server_max_window_bits=8"[..],
            b"permessage-deflate; server_max_window_bits=11, permessage-deflate",
        ];
        let agreed = negotiate(lines.into_iter(), 15);
        assert_eq!(agreed, Ok(Some(Deflate { window: 11, announced: true })));
    }

    #[test]
    fn a_smaller_window_of_our_own_prevails() {
        for (value, expected) in [
            ("permessage-deflate", Deflate { window: 10, announced: false }),
            (
                "permessage-deflate; server_max_window_bits=12",
                Deflate { window: 10, announced: true },
            ),
            (
                "permessage-deflate; server_max_window_bits=9",
                Deflate { window: 9, announced: true },
            ),
        ] {
            assert_eq!(negotiate([value.as_bytes()].into_iter(), 10), Ok(Some(expected)));
        }
    }
}
