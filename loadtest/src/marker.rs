//! The text of a test message: who it is, when it was meant to go, when it went, and padding.
//!
//! Layout, all fixed width, hexadecimal, ASCII without anything JSON would escape:
//! `fwlt1:` run(8) `:` topic(8) `:` sequence(12) `:` intended ns(16) `:` sent ns(16) `:` check(8) `:`
//! then padding that depends on the sequence number. The check word covers every field and the
//! padding is compared whole, so a changed byte anywhere is seen.

use std::fmt;

/// Bytes before the padding, and so the smallest `--size`.
pub const MARKER_SIZE: usize = 80;

const TAG: &[u8] = b"fwlt1:";
const ALPHABET: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Number of the topic in this run.
    pub topic: u32,
    /// Number of the message in its topic, from 0 without holes.
    pub sequence: u64,
    /// When the schedule wanted it sent, `CLOCK_MONOTONIC` nanoseconds.
    pub intended_ns: u64,
    /// When it was handed to the socket, `CLOCK_MONOTONIC` nanoseconds.
    pub sent_ns: u64,
}

/// Why a text is not one of ours, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Too short, too long or without the tag.
    NotAMarker,
    /// Sent by another run of this tool.
    OtherRun,
    /// A field or the padding was changed.
    Changed,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Defect::NotAMarker => "the payload is not a test message",
            Defect::OtherRun => "the payload belongs to another run",
            Defect::Changed => "the payload was changed on the way",
        })
    }
}

/// Writes and reads the texts of one run.
#[derive(Clone, Debug)]
pub struct Codec {
    run: u32,
    size: usize,
    /// The alphabet repeated, long enough to cut the padding from any of its 64 starts.
    pattern: Vec<u8>,
}

impl Codec {
    /// For run number `run` and texts of `size` bytes.
    ///
    /// # Panics
    /// When `size` is below [`MARKER_SIZE`].
    #[must_use]
    pub fn new(run: u32, size: usize) -> Codec {
        assert!(size >= MARKER_SIZE, "the settings refuse smaller sizes");
        Codec { run, size, pattern: ALPHABET.iter().copied().cycle().take(size + 64).collect() }
    }

    /// Bytes of every text.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether a test message stands somewhere in this text, of whatever run or size.
    #[must_use]
    pub fn has_tag(text: &[u8]) -> bool {
        memchr::memmem::find(text, TAG).is_some()
    }

    /// Appends the text of `marker`.
    pub fn encode(&self, marker: &Marker, out: &mut Vec<u8>) {
        out.extend_from_slice(TAG);
        let fields = [
            (u64::from(self.run), 8),
            (u64::from(marker.topic), 8),
            (marker.sequence, 12),
            (marker.intended_ns, 16),
            (marker.sent_ns, 16),
            (u64::from(self.check(marker)), 8),
        ];
        for (value, digits) in fields {
            for digit in (0..digits).rev() {
                let nibble = (value >> (digit * 4)) & 15;
                out.push(b"0123456789abcdef"[usize::try_from(nibble).unwrap_or(0)]);
            }
            out.push(b':');
        }
        out.extend_from_slice(self.padding(marker.sequence));
    }

    /// Reads a text back, checking every byte of it.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn decode(&self, text: &[u8]) -> Result<Marker, Defect> {
        if text.len() < MARKER_SIZE || !text.starts_with(TAG) {
            return Err(Defect::NotAMarker);
        }
        let field = |from: usize, digits: usize| hexadecimal(&text[from..=from + digits]);
        let run = field(6, 8).ok_or(Defect::Changed)?;
        if run != u64::from(self.run) {
            return Err(Defect::OtherRun);
        }
        let marker = Marker {
            topic: u32::try_from(field(15, 8).ok_or(Defect::Changed)?).unwrap_or(u32::MAX),
            sequence: field(24, 12).ok_or(Defect::Changed)?,
            intended_ns: field(37, 16).ok_or(Defect::Changed)?,
            sent_ns: field(54, 16).ok_or(Defect::Changed)?,
        };
        let check = field(71, 8).ok_or(Defect::Changed)?;
        let whole = text.len() == self.size
            && check == u64::from(self.check(&marker))
            && &text[MARKER_SIZE..] == self.padding(marker.sequence);
        if whole { Ok(marker) } else { Err(Defect::Changed) }
    }

    fn padding(&self, sequence: u64) -> &[u8] {
        let start = (sequence % 64) as usize;
        &self.pattern[start..start + self.size - MARKER_SIZE]
    }

    fn check(&self, marker: &Marker) -> u32 {
        let words = [
            u64::from(self.run),
            u64::from(marker.topic),
            marker.sequence,
            marker.intended_ns,
            marker.sent_ns,
        ];
        let mixed = words.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |sum, word| {
            let sum = (sum ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
            sum ^ (sum >> 32)
        });
        u32::try_from(mixed >> 32).unwrap_or(0)
    }
}

const NOT_A_DIGIT: u8 = 0xff;
const DIGITS: [u8; 256] = digit_table();

const fn digit_table() -> [u8; 256] {
    let mut table = [NOT_A_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    table
}

/// The value of lower-case digits followed by a colon.
fn hexadecimal(field: &[u8]) -> Option<u64> {
    let (&colon, digits) = field.split_last()?;
    let (mut value, mut seen) = (0_u64, 0_u8);
    for &digit in digits {
        let digit = DIGITS[usize::from(digit)];
        seen |= digit;
        value = value << 4 | u64::from(digit & 15);
    }
    (seen < 16 && colon == b':').then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker =
        Marker { topic: 77, sequence: 123_456, intended_ns: 9_876_543_210, sent_ns: 9_876_599_999 };

    fn text(codec: &Codec) -> Vec<u8> {
        let mut out = Vec::new();
        codec.encode(&MARKER, &mut out);
        out
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for size in [MARKER_SIZE, 81, 200, 5_000] {
            let codec = Codec::new(0xdead_beef, size);
            let text = text(&codec);
            assert_eq!(text.len(), size);
            assert_eq!(codec.decode(&text), Ok(MARKER));
        }
    }

    #[test]
    fn every_changed_or_lost_byte_is_seen() {
        let codec = Codec::new(1, 150);
        let good = text(&codec);
        for place in 0..good.len() {
            for change in [1_u8, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[place] ^= change;
                assert!(codec.decode(&bad).is_err(), "byte {place} xor {change}");
            }
            assert!(codec.decode(&good[..place]).is_err(), "cut at {place}");
        }
        let longer = [good.as_slice(), b"x"].concat();
        assert_eq!(codec.decode(&longer), Err(Defect::Changed));
        assert_eq!(Codec::new(2, 150).decode(&good), Err(Defect::OtherRun));
    }
}
