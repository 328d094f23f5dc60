//! Why a text is refused: simd-json's verdict, told apart where a peer can act on the difference.

use std::fmt;

use memchr::memchr_iter;
use simd_json::ErrorType;

use super::string::is_blank;
use crate::model::refusal::{Refusal, Refused};

/// Why a text is not JSON that the broker can carry. Positions are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonError {
    /// No text, or blanks only.
    Empty,
    /// Not UTF-8 from this position on.
    BadUtf8 {
        /// The first bad byte.
        position: usize,
    },
    /// Not in the grammar of RFC 8259.
    Syntax {
        /// About where; 0 where nothing nearer is known.
        position: usize,
    },
    /// Something follows the value.
    TrailingData {
        /// About where.
        position: usize,
    },
    /// Arrays and objects are nested deeper than allowed.
    TooDeep {
        /// The deepest nesting allowed.
        depth_max: usize,
    },
    /// A string holds half of a surrogate pair: valid by RFC 8259 §8.2, but no characters.
    LoneSurrogate,
    /// A number whose magnitude no 64-bit float holds, such as `1e400` (RFC 8259 §6).
    NumberRange {
        /// Where the number starts.
        position: usize,
    },
    /// Over 4 GiB.
    TooLong,
}

impl fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonError::Empty => formatter.write_str("the JSON text is empty"),
            JsonError::BadUtf8 { position } => write!(formatter, "no UTF-8 at byte {position}"),
            JsonError::Syntax { position: 0 } => formatter.write_str("the text is not JSON"),
            JsonError::Syntax { position } => {
                write!(formatter, "the text is not JSON, near byte {position}")
            }
            JsonError::TrailingData { position } => {
                write!(formatter, "something follows the JSON value, near byte {position}")
            }
            JsonError::TooDeep { depth_max } => {
                write!(formatter, "the JSON is nested deeper than {depth_max} levels")
            }
            JsonError::LoneSurrogate => {
                formatter.write_str("a JSON string holds half of a surrogate pair")
            }
            JsonError::NumberRange { position } => {
                write!(formatter, "the number at byte {position} is out of a 64-bit float's range")
            }
            JsonError::TooLong => formatter.write_str("the JSON text is over 4 GiB"),
        }
    }
}

impl std::error::Error for JsonError {}

impl From<JsonError> for Refused {
    fn from(error: JsonError) -> Refused {
        let refusal = match error {
            JsonError::BadUtf8 { .. } => Refusal::BadUtf8,
            _ => Refusal::BadJson,
        };
        Refused::new(refusal, error.to_string())
    }
}

/// What simd-json's verdict on `text`, which is UTF-8, says to a peer.
pub(super) fn explain(text: &str, error: &simd_json::Error, depth_max: usize) -> JsonError {
    let position = error.index();
    match error.error() {
        _ if text.bytes().all(is_blank) => JsonError::Empty,
        ErrorType::DepthLimitExceeded => JsonError::TooDeep { depth_max },
        ErrorType::TrailingData => JsonError::TrailingData { position },
        // The text is UTF-8: what is not is an escape (`\udc00`).
        ErrorType::InvalidUtf8 | ErrorType::InvalidUnicodeCodepoint => short_escape(text)
            .map_or(JsonError::LoneSurrogate, |position| JsonError::Syntax { position }),
        ErrorType::InvalidNumber => match number_around(text, position) {
            Some(position) => JsonError::NumberRange { position },
            None => JsonError::Syntax { position },
        },
        _ => JsonError::Syntax { position },
    }
}

/// Where the first `\u` without four digits stands: simd-json reports it as it does a lone surrogate.
fn short_escape(text: &str) -> Option<usize> {
    let mut escaped_position = None;
    memchr_iter(b'\\', text.as_bytes()).find(|position| {
        if escaped_position == Some(*position) {
            return false;
        }
        escaped_position = Some(position + 1);
        let digits = text.as_bytes()[*position..].strip_prefix(b"\\u");
        digits.is_some_and(|digits| {
            digits.iter().take(4).take_while(|digit| digit.is_ascii_hexdigit()).count() < 4
        })
    })
}

/// Where the number that `position` lies in starts, if it is one by RFC 8259 §6: then its magnitude
/// was what simd-json refused.
fn number_around(text: &str, position: usize) -> Option<usize> {
    let (before, after) = text.as_bytes().split_at_checked(position)?;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let before_size = before.iter().rev().take_while(|byte| is_part(byte)).count();
    let is_end = |byte: &u8| is_blank(*byte) || b",]}:".contains(byte);
    let after_size = after.iter().position(is_end).unwrap_or(after.len());
    let start = position - before_size;
    is_number(&text.as_bytes()[start..position + after_size]).then_some(start)
}

fn is_number(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(rest);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return false;
    }
    let rest = match rest.strip_prefix(b".").map(digits) {
        Some(([], _)) => return false,
        Some((_, rest)) => rest,
        None => rest,
    };
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && exponent.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let size = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    bytes.split_at(size)
}
