//! Validates a JSON text and remembers where its structure stands.
//!
//! simd-json unescapes in place, so it is given a scratch copy; its structural indexes then name
//! positions in the original, which stays as it was. The scratch is reused: a text no longer than an
//! earlier one costs no allocation.

use std::fmt;

use simd_json::{Buffers, ErrorType, INPUT_PADDING, Tape, fill_tape_padded};

use super::value::Value;
use crate::model::refusal::{Refusal, Refused};

/// Texts over this size do not leave their scratch behind: the tape alone takes up to 24 bytes per
/// byte of text.
const RETAINED_TEXT_SIZE_MAX: usize = 64 * 1024;
/// Longest text: positions are 32-bit.
const TEXT_SIZE_MAX: usize = u32::MAX as usize - INPUT_PADDING;

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

/// The reusable scratch of one thread.
pub struct Scanner {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    depth_max: usize,
}

impl fmt::Debug for Scanner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Scanner")
            .field("depth_max", &self.depth_max)
            .field("copy_capacity", &self.copy.capacity())
            .finish_non_exhaustive()
    }
}

impl Scanner {
    /// A scanner that accepts up to `depth_max` nested arrays and objects.
    #[must_use]
    pub fn new(depth_max: usize) -> Scanner {
        Scanner {
            copy: Vec::new(),
            buffers: Buffers::with_max_depth(0, depth_max),
            tape: Tape(Vec::new()),
            depth_max,
        }
    }

    /// Validates `text` whole. The document borrows the text and, apart from it, this scanner.
    ///
    /// # Errors
    /// The text is not JSON, or JSON that the broker does not carry.
    pub fn scan<'text>(&mut self, text: &'text [u8]) -> Result<Document<'text, '_>, JsonError> {
        if self.copy.len() > RETAINED_TEXT_SIZE_MAX + INPUT_PADDING {
            *self = Scanner::new(self.depth_max);
        }
        if text.len() > TEXT_SIZE_MAX {
            return Err(JsonError::TooLong);
        }
        let text = str::from_utf8(text)
            .map_err(|error| JsonError::BadUtf8 { position: error.valid_up_to() })?;
        self.copy.clear();
        self.copy.extend_from_slice(text.as_bytes());
        self.copy.resize(text.len() + INPUT_PADDING, b' ');
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let filled = fill_tape_padded(&mut self.copy, text.len(), &mut self.buffers, &mut tape);
        self.tape = tape.reset();
        match filled {
            Ok(()) => Ok(Document { text, structure: self.buffers.structural_indexes() }),
            Err(error) => Err(self.explain(text, &error)),
        }
    }

    fn explain(&self, text: &str, error: &simd_json::Error) -> JsonError {
        let position = error.index();
        match error.error() {
            _ if text.bytes().all(is_blank) => JsonError::Empty,
            ErrorType::DepthLimitExceeded => JsonError::TooDeep { depth_max: self.depth_max },
            ErrorType::TrailingData => JsonError::TrailingData { position },
            // The text was found to be UTF-8 above: what is not is an escape (`\udc00`).
            ErrorType::InvalidUtf8 | ErrorType::InvalidUnicodeCodepoint => JsonError::LoneSurrogate,
            ErrorType::InvalidNumber if is_number(text, position) => {
                JsonError::NumberRange { position }
            }
            _ => JsonError::Syntax { position },
        }
    }
}

/// A validated text.
#[derive(Clone, Copy, Debug)]
pub struct Document<'text, 'scan> {
    text: &'text str,
    structure: &'scan [u32],
}

impl<'text, 'scan> Document<'text, 'scan> {
    /// Its one value.
    #[must_use]
    pub fn root(&self) -> Value<'text, 'scan> {
        Value::root(self.text, self.structure)
    }
}

/// The blanks of RFC 8259 §2.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a number of RFC 8259 §6 starts at `position` and ends where a number may end.
fn is_number(text: &str, position: usize) -> bool {
    let rest = text.as_bytes().get(position..).unwrap_or_default();
    let size = rest
        .iter()
        .position(|byte| is_blank(*byte) || matches!(byte, b',' | b']' | b'}' | b':'))
        .unwrap_or(rest.len());
    let rest = rest[..size].strip_prefix(b"-").unwrap_or(&rest[..size]);
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
