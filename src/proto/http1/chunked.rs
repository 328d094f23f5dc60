//! The chunked transfer coding, byte by byte (RFC 9112 §7.1).
//!
//! Chunk extensions and trailer fields are checked for their form, bounded, and ignored. A line
//! that does not end in exactly CRLF is refused everywhere: parsers differ in where such a line ends.

use super::framing::is_token_byte;
use super::limits::SizeLimit;
use crate::model::refusal::{Refusal, Refused};

/// Most bytes of chunk extensions in one body.
const EXTENSIONS_SIZE_MAX: usize = 4096;
/// Most bytes of trailer fields in one body.
const TRAILERS_SIZE_MAX: usize = 4096;
/// Hexadecimal digits of a chunk size: what 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// A body being decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunked {
    state: State,
    /// The size read so far, then the bytes of the chunk that have not arrived.
    chunk_size: u64,
    size_digits: u8,
    extensions_size: usize,
    trailers_size: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// Blanks before an extension's semicolon (RFC 9110 §5.6.3 has them parsed and removed).
    Blank,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

impl Chunked {
    /// Takes from `input` what belongs to the body, appends its content to `body` (of which
    /// `body[..head_size]` is not content), and says how much it took.
    ///
    /// # Errors
    /// A form that is not chunked, and content over `limit`.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        head_size: usize,
        limit: &SizeLimit,
    ) -> Result<usize, Refused> {
        let mut taken = 0;
        while taken < input.len() && !self.is_done() {
            if self.state == State::Data {
                taken += self.take_data(&input[taken..], body);
            } else {
                let content_size = body.len() - head_size;
                self.state = self.step(input[taken], content_size, limit)?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// Whether the last byte of the body has been taken.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn take_data(&mut self, input: &[u8], body: &mut Vec<u8>) -> usize {
        let size = usize::try_from(self.chunk_size).unwrap_or(usize::MAX).min(input.len());
        body.extend_from_slice(&input[..size]);
        self.chunk_size -= size as u64;
        if self.chunk_size == 0 {
            self.state = State::DataReturn;
        }
        size
    }

    fn step(&mut self, byte: u8, content_size: usize, limit: &SizeLimit) -> Result<State, Refused> {
        match (self.state, byte) {
            (State::Size, _) => self.step_size(byte, content_size, limit),
            (State::Blank, b' ' | b'\t') | (State::Blank | State::Extension, b';') => {
                self.count_extension()?;
                Ok(if byte == b';' { State::Extension } else { State::Blank })
            }
            (State::Extension, b'\r') => Ok(State::SizeLineFeed),
            (State::Extension, _) if is_text(byte) => {
                self.count_extension()?;
                Ok(State::Extension)
            }
            (State::SizeLineFeed, b'\n') => Ok(self.after_size_line()),
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size),
            (State::Blank | State::Extension | State::SizeLineFeed, _) => {
                Err(bad("a chunk's size line is malformed"))
            }
            (State::DataReturn | State::DataLineFeed, _) => {
                Err(bad("a chunk is not followed by CRLF"))
            }
            _ => self.step_trailer(byte),
        }
    }

    fn step_size(
        &mut self,
        byte: u8,
        content_size: usize,
        limit: &SizeLimit,
    ) -> Result<State, Refused> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.size_digits == SIZE_DIGITS_MAX {
                return Err(bad("a chunk's size has more than 16 digits"));
            }
            self.size_digits += 1;
            self.chunk_size = self.chunk_size << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        if self.size_digits == 0 {
            return Err(bad("a chunk does not start with its size"));
        }
        limit.check(self.chunk_size.saturating_add(content_size as u64))?;
        self.size_digits = 0;
        match byte {
            b'\r' => Ok(State::SizeLineFeed),
            b';' | b' ' | b'\t' => {
                self.count_extension()?;
                Ok(if byte == b';' { State::Extension } else { State::Blank })
            }
            _ => Err(bad("a chunk's size is not hexadecimal")),
        }
    }

    fn after_size_line(&self) -> State {
        if self.chunk_size == 0 { State::TrailerStart } else { State::Data }
    }

    fn step_trailer(&mut self, byte: u8) -> Result<State, Refused> {
        if self.trailers_size == TRAILERS_SIZE_MAX {
            return Err(Refused::new(
                Refusal::HeadersTooLarge,
                format!("the trailer section takes more than {TRAILERS_SIZE_MAX} bytes"),
            ));
        }
        self.trailers_size += 1;
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::LastLineFeed),
            (State::LastLineFeed, b'\n') => Ok(State::Done),
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => {
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerValue, _) if is_text(byte) => Ok(State::TrailerValue),
            (State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
            _ => Err(bad("the trailer section is malformed")),
        }
    }

    fn count_extension(&mut self) -> Result<(), Refused> {
        self.extensions_size += 1;
        if self.extensions_size > EXTENSIONS_SIZE_MAX {
            return Err(bad(format!(
                "chunk extensions take more than {EXTENSIONS_SIZE_MAX} bytes"
            )));
        }
        Ok(())
    }
}

/// What a field value or an extension may hold: no control character but tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn bad(detail: impl Into<String>) -> Refused {
    Refused::new(Refusal::BadRequest, detail)
}
