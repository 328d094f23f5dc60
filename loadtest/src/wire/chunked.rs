//! Chunked transfer coding, RFC 9112 §7.1, as a resumable state machine of 16 bytes.

/// Where in the coding the stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    Bytes,
    AfterBytes,
    /// At the beginning of a trailer line; a blank one ends the body.
    TrailerStart,
    Trailer,
    Done,
}

/// Decodes one body, fed in pieces of any size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunked {
    state: State,
    remaining: u64,
}

impl Chunked {
    /// Whether the last chunk and its trailers have been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Appends the decoded bytes of `input` to `out` and answers how many bytes of `input` were
    /// used: all of them unless the body ended.
    ///
    /// # Errors
    /// When a chunk size is not hexadecimal or a chunk does not end where it must.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Bytes {
                let room = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                let take = room.min(input.len() - at);
                out.extend_from_slice(&input[at..at + take]);
                at += take;
                self.remaining -= take as u64;
                if self.remaining == 0 {
                    self.state = State::AfterBytes;
                }
            } else {
                self.byte(input[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn byte(&mut self, byte: u8) -> Result<(), &'static str> {
        self.state = match (self.state, byte) {
            (State::Size | State::Extension, b'\n') => self.after_size(),
            (State::Size, b'\r' | b';' | b' ') | (State::Extension, _) => State::Extension,
            (State::Size, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or("bad chunk size")?;
                if self.remaining >> 56 != 0 {
                    return Err("chunk size too large");
                }
                self.remaining = self.remaining << 4 | u64::from(digit);
                State::Size
            }
            (State::AfterBytes, b'\r') => State::AfterBytes,
            (State::AfterBytes, b'\n') => State::Size,
            (State::AfterBytes, _) => return Err("a chunk is longer than it says"),
            (State::TrailerStart, b'\n') => State::Done,
            (State::TrailerStart, b'\r') | (State::Trailer, b'\n') => State::TrailerStart,
            (State::TrailerStart | State::Trailer, _) => State::Trailer,
            (state @ (State::Bytes | State::Done), _) => state,
        };
        Ok(())
    }

    fn after_size(&self) -> State {
        if self.remaining == 0 { State::TrailerStart } else { State::Bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        b"4\r\nWiki\r\n6;x=y\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nT: 1\r\n\r\n";

    #[test]
    fn every_split_decodes_the_same() {
        for split in 0..=BODY.len() {
            let (mut chunked, mut out) = (Chunked::default(), Vec::new());
            for part in [&BODY[..split], &BODY[split..]] {
                assert_eq!(chunked.decode(part, &mut out), Ok(part.len()), "split {split}");
            }
            assert_eq!(out, b"Wikipedia in \r\n\r\nchunks.");
            assert!(chunked.is_done());
        }
    }

    #[test]
    fn bytes_after_the_end_are_left() {
        let (mut chunked, mut out) = (Chunked::default(), Vec::new());
        assert_eq!(chunked.decode(b"0\r\n\r\nHTTP/1.1", &mut out), Ok(5));
        assert!(chunked.is_done() && out.is_empty());
    }

    #[test]
    fn wrong_sizes_are_refused() {
        let refused = |bytes: &[u8]| Chunked::default().decode(bytes, &mut Vec::new()).is_err();
        assert!(refused(b"xyz\r\n"));
        assert!(refused(b"1\r\nab\r\n"));
        assert!(refused(b"fffffffffffffffff\r\n"));
    }
}
