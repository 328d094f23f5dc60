//! Ids, positions and times as bytes: what `Display` writes, without its machinery, for what is
//! written once per message.

use crate::model::id::MessageId;
use crate::model::position::{Lane, Position};
use crate::stdx::clock::{Timestamp, civil_date};

/// Appends 32 hex digits.
pub(super) fn append_id(out: &mut Vec<u8>, id: MessageId) {
    let bytes = id.0.to_be_bytes();
    let mut text = [0; 32];
    for (part, word) in text.as_chunks_mut::<8>().0.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *part = eight_digits(u64::from(u32::from_be_bytes(*word)));
    }
    out.extend_from_slice(&text);
}

/// Appends a position: `epoch-home.offset` or `sepoch.offset`, in hex.
pub(super) fn append_position(out: &mut Vec<u8>, position: Position) {
    let mut text = HexText { bytes: [0; HexText::SIZE_MAX], size: 0 };
    let epoch = u64::from(position.epoch.0);
    match position.lane {
        Lane::Home(home) => {
            text.hex(epoch);
            text.byte(b'-');
            text.hex(u64::from(home.0));
        }
        Lane::Store => {
            text.byte(b's');
            text.hex(epoch);
        }
    }
    text.byte(b'.');
    text.hex(position.offset);
    out.extend_from_slice(&text.bytes[..text.size]);
}

/// Appends a time in RFC 3339 with milliseconds. Years have four digits up to 9999.
pub(super) fn append_time(out: &mut Vec<u8>, time: Timestamp) {
    let seconds = time.0 / 1000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let second = seconds % 86_400;
    if year > 9999 {
        // Only a broken clock says so.
        return out.extend_from_slice(time.to_string().as_bytes());
    }
    let mut text = *b"0000-00-00T00:00:00.000Z";
    fill(&mut text[..4], year);
    fill(&mut text[5..7], month);
    fill(&mut text[8..10], day);
    fill(&mut text[11..13], second / 3600);
    fill(&mut text[14..16], second / 60 % 60);
    fill(&mut text[17..19], second % 60);
    fill(&mut text[20..23], time.0 % 1000);
    out.extend_from_slice(&text);
}

/// A short text in the making. Digits are stored eight at a time, also where fewer count.
struct HexText {
    bytes: [u8; HexText::SIZE_MAX],
    size: usize,
}

impl HexText {
    /// An epoch, a home and an offset with what stands between them, and the overhang of the last.
    const SIZE_MAX: usize = 8 + 1 + 4 + 1 + 16 + 8;

    fn byte(&mut self, byte: u8) {
        self.bytes[self.size] = byte;
        self.size += 1;
    }

    /// Without leading zeros.
    fn hex(&mut self, number: u64) {
        let (high, low) = (number >> 32, number & 0xffff_ffff);
        if high > 0 {
            self.hex(high);
            return self.digits(low, 0);
        }
        // The last digit stays, also of 0.
        self.digits(low, ((low | 1).leading_zeros() - 32) / 4);
    }

    /// The digits of a number below 2^32 but for the first `skipped_count`, at most 7.
    fn digits(&mut self, number: u64, skipped_count: u32) {
        let digits = u64::from_be_bytes(eight_digits(number)) << (8 * skipped_count);
        self.bytes[self.size..][..8].copy_from_slice(&digits.to_be_bytes());
        self.size += 8 - skipped_count as usize;
    }
}

/// The hex digits of a number below 2^32, made side by side in one word.
fn eight_digits(number: u64) -> [u8; 8] {
    // Each four bits into a byte of their own, the highest staying highest.
    let halves = (number | number << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    let values = (bytes | bytes << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte that holds 10 or more.
    let letters = (values + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    let to_letter = u64::from(b'a' - b'0' - 10);
    (values + 0x3030_3030_3030_3030 + letters * to_letter).to_be_bytes()
}

/// Fills a place with the last digits of a number.
pub(super) fn fill(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::position::Epoch;
    use crate::model::shard::ShardIndex;

    fn written(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"|".to_vec();
        append(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn check(id: u128, epoch: u32, home: Option<u16>, offset: u64, time_ms: u64) {
        let id = MessageId(id);
        let lane = home.map_or(Lane::Store, |home| Lane::Home(ShardIndex(home)));
        let position = Position { epoch: Epoch(epoch), lane, offset };
        let time = Timestamp(time_ms);
        assert_eq!(written(|out| append_id(out, id)), format!("|{id}"));
        assert_eq!(written(|out| append_position(out, position)), format!("|{position}"));
        assert_eq!(written(|out| append_time(out, time)), format!("|{time}"));
    }

    #[test]
    fn the_edges_read_as_display_writes_them() {
        // The last and the first millisecond of years with four and five digits.
        for time_ms in [0, 253_402_300_799_999, 253_402_300_800_000, u64::MAX / 1000] {
            check(0, 0, None, 0, time_ms);
            check(u128::MAX, u32::MAX, Some(u16::MAX), u64::MAX, time_ms);
            check(1, 0x10, Some(0), 0x10, time_ms);
        }
    }

    proptest! {
        #[test]
        fn anything_reads_as_display_writes_it(
            id: u128, epoch: u32, home: Option<u16>, offset: u64, time_ms in 0..1_u64 << 50
        ) {
            check(id, epoch, home, offset, time_ms);
        }
    }
}
