//! Percent-encoding of paths and queries (RFC 3986 §2.1; the query as WHATWG URL §5.1 forms it).
//!
//! Strict: a `%` without two hexadecimal digits, or bytes that are not UTF-8 once decoded, are an
//! error and not passed on as they are.

use std::borrow::Cow;

use memchr::memchr;

use crate::model::refusal::{Refusal, Refused};

/// A `%` without two hexadecimal digits, or decoded bytes that are not UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadEncoding;

impl From<BadEncoding> for Refused {
    fn from(_: BadEncoding) -> Refused {
        Refused::new(
            Refusal::BadRequest,
            "the request target's percent-encoding is not valid UTF-8",
        )
    }
}

/// The segments of a path that starts with `/`, still encoded: `/a//b` has `a`, an empty one, `b`.
pub fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// Decodes one path segment. `+` stands for itself. Borrows where nothing is encoded.
///
/// # Errors
/// The encoding is not valid.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, BadEncoding> {
    decode(segment, false)
}

/// Decodes one name or value of a query: `+` is a space. Borrows where nothing is encoded.
///
/// # Errors
/// The encoding is not valid.
pub fn decode_query(part: &str) -> Result<Cow<'_, str>, BadEncoding> {
    decode(part, true)
}

/// The `name=value` pairs of a query in their order, repeated names included. A pair without `=`
/// has an empty value; empty pairs are skipped.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    rest: &'a str,
}

impl<'a> Query<'a> {
    /// The pairs of a query without its `?`.
    #[must_use]
    pub fn new(query: &'a str) -> Query<'a> {
        Query { rest: query }
    }
}

impl<'a> Iterator for Query<'a> {
    type Item = Result<(Cow<'a, str>, Cow<'a, str>), BadEncoding>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (pair, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if !pair.is_empty() {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                return Some(decode_query(name).and_then(|name| Ok((name, decode_query(value)?))));
            }
        }
        None
    }
}

/// What stands before and behind the first such byte, which is ASCII.
#[must_use]
pub fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let place = memchr(byte, text.as_bytes())?;
    Some((&text[..place], &text[place + 1..]))
}

fn decode(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, BadEncoding> {
    let is_encoded = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    let Some(plain_size) = text.as_bytes().iter().position(is_encoded) else {
        return Ok(Cow::Borrowed(text));
    };
    let (plain, mut rest) = text.as_bytes().split_at(plain_size);
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        decoded.push(match first {
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>().ok_or(BadEncoding)?;
                rest = after;
                hexadecimal(digits[0])? << 4 | hexadecimal(digits[1])?
            }
            b'+' if plus_is_space => b' ',
            byte => *byte,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_not_utf8| BadEncoding)
}

fn hexadecimal(digit: u8) -> Result<u8, BadEncoding> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(BadEncoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_divided_before_they_are_decoded() {
        let decoded: Vec<_> = segments("/a%2Fb//c+d/%C3%A9").map(decode_segment).collect();
        assert_eq!(decoded, ["a/b", "", "c+d", "é"].map(|text| Ok(Cow::Borrowed(text))));
        assert!(matches!(decode_segment("plain"), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn bad_encodings_are_errors() {
        for text in ["%", "%4", "%4g", "%g4", "a%", "%ff", "%C3", "%C3%28", "%ED%A0%80", "%+1"] {
            assert_eq!(decode_segment(text), Err(BadEncoding), "{text}");
            assert_eq!(decode_query(text), Err(BadEncoding), "{text}");
        }
    }

    #[test]
    fn a_query_gives_its_pairs_in_order() {
        let pairs: Result<Vec<_>, _> = Query::new("a=1&&b&a=x+y%2b%26&=v&c=d=e&").collect();
        let expected = [("a", "1"), ("b", ""), ("a", "x y+&"), ("", "v"), ("c", "d=e")]
            .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
        assert_eq!(pairs, Ok(expected.to_vec()));
        assert_eq!(Query::new("").next(), None);
        assert_eq!(Query::new("a=%zz&b=1").collect::<Vec<_>>()[0], Err(BadEncoding));
    }
}
