//! Frame headers from a client: tungstenite reads the fields, the rules are checked here
//! (RFC 6455 §5.1, §5.2, §5.5; RFC 7692 §6).

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;

use super::fault::Fault;
use super::opcode::Opcode;

/// The longest header: 2 bytes, a 64-bit length and the mask.
pub(super) const HEADER_SIZE_MAX: usize = 14;

/// The most bytes a control frame carries (RFC 6455 §5.5).
pub(super) const CONTROL_SIZE_MAX: usize = 125;

/// A client frame's header that broke no rule that can be checked on its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) fin: bool,
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// Bytes of payload; below 2^63.
    pub(super) payload_size: u64,
}

/// Reads the header at the start of `bytes`; its size too. `None`: not all of it is there.
///
/// `deflate` is whether permessage-deflate was negotiated. What the first two bytes already show to
/// be wrong is refused before the rest arrives.
pub(super) fn parse(bytes: &[u8], deflate: bool) -> Result<Option<(Head, usize)>, Fault> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let opcode = check_first(first, deflate)?;
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    check_second(second, opcode)?;

    let mut cursor = Cursor::new(bytes);
    // The opcode was checked, and reading from memory cannot fail.
    let parsed = FrameHeader::parse(&mut cursor).map_err(|_impossible| Fault::ReservedOpcode)?;
    let Some((header, payload_size)) = parsed else { return Ok(None) };
    check_length(second, payload_size)?;
    let mask = header.mask.ok_or(Fault::Unmasked)?;
    let size = usize::try_from(cursor.position()).expect("a header has at most 14 bytes");
    let head = Head { fin: header.is_final, compressed: header.rsv1, opcode, mask, payload_size };
    Ok(Some((head, size)))
}

fn check_first(first: u8, deflate: bool) -> Result<Opcode, Fault> {
    let opcode = Opcode::of_first_byte(first).ok_or(Fault::ReservedOpcode)?;
    // RFC 7692 §6: RSV1 marks a compressed message on its first frame, nowhere else.
    let rsv1_allowed = deflate && matches!(opcode, Opcode::Text | Opcode::Binary);
    let allowed = if rsv1_allowed { 0x40 } else { 0 };
    if first & 0x70 & !allowed != 0 {
        return Err(Fault::ReservedBits);
    }
    if opcode.is_control() && first & 0x80 == 0 {
        return Err(Fault::ControlFragmented);
    }
    Ok(opcode)
}

fn check_second(second: u8, opcode: Opcode) -> Result<(), Fault> {
    // RFC 6455 §5.1: a server closes on a frame that is not masked.
    if second & 0x80 == 0 {
        return Err(Fault::Unmasked);
    }
    if opcode.is_control() && usize::from(second & 0x7f) > CONTROL_SIZE_MAX {
        return Err(Fault::ControlTooLong);
    }
    Ok(())
}

fn check_length(second: u8, size: u64) -> Result<(), Fault> {
    match second & 0x7f {
        126 if size < 126 => Err(Fault::LengthNotMinimal),
        127 if u16::try_from(size).is_ok() => Err(Fault::LengthNotMinimal),
        127 if i64::try_from(size).is_err() => Err(Fault::LengthTopBit),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn header(first: u8, second: u8, length: &[u8]) -> Vec<u8> {
        [&[first, second], length, &MASK].concat()
    }

    #[test]
    fn lengths_at_the_edges_of_their_encodings() {
        let cases: [(u8, &[u8], Result<u64, Fault>); 10] = [
            (0, &[], Ok(0)),
            (125, &[], Ok(125)),
            (126, &[0, 0], Err(Fault::LengthNotMinimal)),
            (126, &[0, 125], Err(Fault::LengthNotMinimal)),
            (126, &[0, 126], Ok(126)),
            (126, &[0xff, 0xff], Ok(65_535)),
            (127, &[0, 0, 0, 0, 0, 0, 0xff, 0xff], Err(Fault::LengthNotMinimal)),
            (127, &[0, 0, 0, 0, 0, 1, 0, 0], Ok(65_536)),
            (127, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Ok(u64::MAX >> 1)),
            (127, &[0x80, 0, 0, 0, 0, 0, 0, 0], Err(Fault::LengthTopBit)),
        ];
        for (length7, length, expected) in cases {
            let bytes = header(0x82, 0x80 | length7, length);
            let expected = expected.map(|payload_size| {
                let opcode = Opcode::Binary;
                let head = Head { fin: true, compressed: false, opcode, mask: MASK, payload_size };
                Some((head, bytes.len()))
            });
            assert_eq!(parse(&bytes, false), expected, "{length7} {length:02x?}");
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut], false), Ok(None), "{length7} cut at {cut}");
            }
        }
    }

    #[test]
    fn every_first_byte_is_judged_alone() {
        for first in 0..=u8::MAX {
            let (rsv, opcode) = (first & 0x70, first & 0x0f);
            let known = matches!(opcode, 0..=2 | 8..=10);
            for deflate in [false, true] {
                let rsv1 = deflate && matches!(opcode, 1 | 2);
                let expected = if !known {
                    Err(Fault::ReservedOpcode)
                } else if rsv != 0 && !(rsv1 && rsv == 0x40) {
                    Err(Fault::ReservedBits)
                } else if opcode >= 8 && first & 0x80 == 0 {
                    Err(Fault::ControlFragmented)
                } else {
                    Ok(None)
                };
                assert_eq!(parse(&[first], deflate), expected, "{first:02x} deflate {deflate}");
            }
        }
    }

    #[test]
    fn the_second_byte_fails_before_the_rest() {
        assert_eq!(parse(&[0x81, 0x05], false), Err(Fault::Unmasked));
        for opcode in [0x88, 0x89, 0x8a] {
            assert_eq!(parse(&[opcode, 0x80 | 0x7d], false), Ok(None));
            assert_eq!(parse(&[opcode, 0x80 | 0x7e], false), Err(Fault::ControlTooLong));
            assert_eq!(parse(&[opcode, 0x80 | 0x7f], false), Err(Fault::ControlTooLong));
        }
    }
}
