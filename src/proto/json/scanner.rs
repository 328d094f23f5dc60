//! Validates a JSON text and remembers where its structure stands.
//!
//! simd-json unescapes in place, so it is given a scratch copy; its structural indexes then name
//! positions in the original, which stays as it was. Where each value ends is noted in one pass over
//! them, so that a walk of any depth looks at each of them once. The scratch is reused: a text no
//! longer than an earlier one costs no allocation.

use std::fmt;

use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};

use super::error::{JsonError, explain};
use super::value::{Mark, Value, mark};

/// Longest text whose scratch is kept. The tape takes up to 24 bytes per byte of text, so that of a
/// longer text is freed at once and the rest, up to 14 bytes per byte, with the next text.
const RETAINED_TEXT_SIZE_MAX: usize = 64 * 1024;
/// Longest text: positions are 32-bit.
const TEXT_SIZE_MAX: usize = u32::MAX as usize - INPUT_PADDING;

/// The reusable scratch of one thread.
pub struct Scanner {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    marks: Vec<Mark>,
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
            marks: Vec::new(),
            depth_max,
            is_oversize: false,
        }
    }

    /// Validates `text` whole. The document borrows the text and, apart from it, this scanner.
    ///
    /// # Errors
    /// The text is not JSON, or JSON that the broker does not carry.
    pub fn scan<'text>(&mut self, text: &'text [u8]) -> Result<Document<'text, '_>, JsonError> {
        self.scan_text(utf8(text)?)
    }

    /// The same for a text that is known to be UTF-8.
    ///
    /// # Errors
    /// As [`Scanner::scan`].
    pub fn scan_text<'text>(&mut self, text: &'text str) -> Result<Document<'text, '_>, JsonError> {
        self.check(text)?;
        mark(&mut self.marks, text.as_bytes(), self.buffers.structural_indexes());
        Ok(Document { text, marks: &self.marks })
    }

    /// Validates `text` whole, for those who want no part of it.
    ///
    /// # Errors
    /// As [`Scanner::scan`].
    pub fn validate<'text>(&mut self, text: &'text [u8]) -> Result<&'text str, JsonError> {
        let text = utf8(text)?;
        self.check(text)?;
        Ok(text)
    }

    fn check(&mut self, text: &str) -> Result<(), JsonError> {
        if self.is_oversize {
            *self = Scanner::new(self.depth_max);
        }
        if text.len() > TEXT_SIZE_MAX {
            return Err(JsonError::TooLong);
        }
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
        filled.map_err(|error| explain(text, &error, self.depth_max))
    }
}

fn utf8(text: &[u8]) -> Result<&str, JsonError> {
    if text.len() > TEXT_SIZE_MAX {
        return Err(JsonError::TooLong);
    }
    simdutf8::basic::from_utf8(text).map_err(|_unplaced| {
        // Only the slower check says where the fault is.
        let position = str::from_utf8(text).map_or_else(|error| error.valid_up_to(), str::len);
        JsonError::BadUtf8 { position }
    })
}

/// A validated text.
#[derive(Clone, Copy, Debug)]
pub struct Document<'text, 'scan> {
    text: &'text str,
    marks: &'scan [Mark],
}

impl<'text, 'scan> Document<'text, 'scan> {
    /// Its one value.
    #[must_use]
    pub fn root(&self) -> Value<'text, 'scan> {
        Value::first(self.text, self.marks)
    }
}
