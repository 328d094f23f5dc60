//! UTF-8 that arrives in pieces: invalid text is found with the first byte that makes it so.
//!
//! RFC 6455 §8.1 lets an endpoint fail at once; waiting for the message's end would let a peer
//! stream megabytes of what is already known to be refused. Whether a text also *ends* with a whole
//! character is not asked here: the whole message is checked again when it becomes a `str`.

/// What is known of the text so far: at most 3 bytes of a character that is still incomplete.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    pending: [u8; 4],
    pending_size: u8,
}

/// The text cannot become UTF-8 any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotUtf8;

impl Utf8 {
    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), NotUtf8> {
        let rest = self.complete(piece)?;
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(NotUtf8),
            Err(error) => {
                self.hold(&rest[error.valid_up_to()..]);
                Ok(())
            }
        }
    }

    /// Finishes the incomplete character, byte by byte; what follows it.
    fn complete<'a>(&mut self, mut piece: &'a [u8]) -> Result<&'a [u8], NotUtf8> {
        while self.pending_size > 0 {
            let Some((&byte, rest)) = piece.split_first() else { break };
            piece = rest;
            let size = usize::from(self.pending_size);
            self.pending[size] = byte;
            match std::str::from_utf8(&self.pending[..=size]) {
                Ok(_) => self.pending_size = 0,
                Err(error) if error.error_len().is_some() => return Err(NotUtf8),
                Err(_) => self.pending_size += 1,
            }
        }
        Ok(piece)
    }

    fn hold(&mut self, tail: &[u8]) {
        self.pending[..tail.len()].copy_from_slice(tail);
        self.pending_size =
            u8::try_from(tail.len()).expect("an incomplete character has 1–3 bytes");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// After how many bytes, fed one by one, the text is refused.
    fn refused_after(bytes: &[u8]) -> Option<usize> {
        let mut utf8 = Utf8::default();
        bytes.iter().position(|byte| utf8.push(&[*byte]).is_err()).map(|index| index + 1)
    }

    #[test]
    fn invalid_text_is_refused_at_its_first_wrong_byte() {
        let cases: [(&[u8], Option<usize>); 14] = [
            (b"plain", None),
            ("κόσμε€😀\u{10ffff}".as_bytes(), None),
            (b"a\x80", Some(2)),
            (b"\xc0\xaf", Some(1)),
            (b"\xc1", Some(1)),
            (b"\xe0\x9f", Some(2)),
            (b"\xed\xa0", Some(2)),
            (b"\xf0\x8f", Some(2)),
            (b"\xf4\x90", Some(2)),
            (b"\xf5", Some(1)),
            (b"\xff", Some(1)),
            (b"\xe2\x82\x28", Some(3)),
            (b"\xf0\x9f\x98\x28", Some(4)),
            (b"\xce\xbaA\xf4\x90\x80", Some(5)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(refused_after(bytes), expected, "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                any::<String>().prop_map(String::into_bytes),
                prop::collection::vec(
                    prop::sample::select(&b"a\x80\x9f\xa0\xbf\xc2\xe0\xed\xef\xf0\xf4"[..]), 0..12),
            ],
            sizes in prop::collection::vec(0_usize..5, 1..8),
        ) {
            let mut utf8 = Utf8::default();
            let mut rest = &bytes[..];
            let mut fine = true;
            for size in sizes.iter().chain(std::iter::repeat(&3)) {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                fine = fine && utf8.push(piece).is_ok();
                rest = after;
            }
            let may_go_on = std::str::from_utf8(&bytes).map_or_else(|e| e.error_len().is_none(), |_| true);
            prop_assert_eq!(fine, may_go_on);
        }
    }
}
