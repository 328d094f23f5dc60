//! Validates a JSON text and remembers where its structure stands.
//!
//! simd-json unescapes in place, so it is given a scratch copy; its structural indexes then name
//! positions in the original, which stays as it was. The scratch is reused: a text no longer than an
//! earlier one costs no allocation.

use std::fmt;

use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};

use super::error::{JsonError, explain};
use super::value::Value;

/// Longest text whose scratch is kept. The tape takes up to 24 bytes per byte of text, so that of a
/// longer text is freed at once and the rest, up to 6 bytes per byte, with the next text.
const RETAINED_TEXT_SIZE_MAX: usize = 64 * 1024;
/// Longest text: positions are 32-bit.
const TEXT_SIZE_MAX: usize = u32::MAX as usize - INPUT_PADDING;

/// The reusable scratch of one thread.
pub struct Scanner {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    depth_max: usize,
    is_oversize: bool,
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
            is_oversize: false,
        }
    }

    /// Validates `text` whole. The document borrows the text and, apart from it, this scanner.
    ///
    /// # Errors
    /// The text is not JSON, or JSON that the broker does not carry.
    pub fn scan<'text>(&mut self, text: &'text [u8]) -> Result<Document<'text, '_>, JsonError> {
        if self.is_oversize {
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
        self.is_oversize = text.len() > RETAINED_TEXT_SIZE_MAX;
        if self.is_oversize {
            self.copy = Vec::new();
        } else {
            self.tape = tape.reset();
        }
        match filled {
            Ok(()) => Ok(Document { text, structure: self.buffers.structural_indexes() }),
            Err(error) => Err(explain(text, &error, self.depth_max)),
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
        Value::first(self.text, self.structure)
    }
}
