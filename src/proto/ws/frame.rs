//! Server frames (RFC 6455 §5): never masked, appended to the caller's buffer.

use tungstenite::protocol::frame::FrameHeader;

use super::closing::is_wire_code;
use super::header::CONTROL_SIZE_MAX;
use super::opcode::Opcode;
use crate::model::close::Close;

/// The longest header of a server frame: 2 bytes and a 64-bit length.
pub const SERVER_HEADER_SIZE_MAX: usize = 10;

/// Most bytes of UTF-8 in a close reason: a control frame's 125 less the code.
pub const REASON_SIZE_MAX: usize = CONTROL_SIZE_MAX - 2;

/// Appends one whole frame. `rsv1` marks the first frame of a compressed message (RFC 7692 §6).
///
/// # Panics
/// On a control frame that is fragmented or over 125 bytes: a bug of the caller.
pub fn append(out: &mut Vec<u8>, opcode: Opcode, fin: bool, rsv1: bool, payload: &[u8]) {
    out.reserve(SERVER_HEADER_SIZE_MAX + payload.len());
    append_header(out, opcode, fin, rsv1, payload.len());
    out.extend_from_slice(payload);
}

/// Appends the header of a frame whose `payload_size` bytes the caller appends itself.
///
/// # Panics
/// As [`append`].
pub fn append_header(
    out: &mut Vec<u8>,
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    payload_size: usize,
) {
    assert!(!opcode.is_control() || (fin && !rsv1 && payload_size <= CONTROL_SIZE_MAX));
    let header = FrameHeader {
        is_final: fin,
        rsv1,
        rsv2: false,
        rsv3: false,
        opcode: opcode.into(),
        mask: None,
    };
    header.format(payload_size as u64, out).expect("writing to memory cannot fail");
}

/// Appends a ping; the peer answers with the same bytes.
///
/// # Panics
/// Over 125 bytes.
pub fn append_ping(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, Opcode::Ping, true, false, payload);
}

/// Appends the pong that answers a ping of `payload`.
///
/// # Panics
/// Over 125 bytes, which no ping that the reader delivers has.
pub fn append_pong(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, Opcode::Pong, true, false, payload);
}

/// Appends a close frame; a reason over 123 bytes is cut at a character's boundary.
///
/// # Panics
/// On a code that may not travel (RFC 6455 §7.4.1): a bug of the caller.
pub fn append_close(out: &mut Vec<u8>, close: &Close) {
    assert!(is_wire_code(close.code), "close code {} may not be sent", close.code);
    let reason = &close.reason[..close.reason.floor_char_boundary(REASON_SIZE_MAX)];
    append_header(out, Opcode::Close, true, false, 2 + reason.len());
    out.extend_from_slice(&close.code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends the close frame that answers the peer's: its code again, or none for none
/// (RFC 6455 §5.5.1). The peer's reason is not repeated.
///
/// # Panics
/// On a code that may not travel, which no close that the reader delivers has.
pub fn append_close_answer(out: &mut Vec<u8>, received: Option<(u16, &str)>) {
    match received {
        Some((code, _)) => append_close(out, &Close::new(code, "")),
        None => append(out, Opcode::Close, true, false, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_rfc_6455_5_7() {
        let mut out = Vec::new();
        append(&mut out, Opcode::Text, true, false, b"Hello");
        append(&mut out, Opcode::Text, false, false, b"Hel");
        append(&mut out, Opcode::Continuation, true, false, b"lo");
        append_ping(&mut out, b"Hello");
        append_pong(&mut out, b"Hello");
        let expected = b"\x81\x05Hello\x01\x03Hel\x80\x02lo\x89\x05Hello\x8a\x05Hello";
        assert_eq!(out, expected);
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        for (size, expected) in [
            (125, &[0x82, 125][..]),
            (126, &[0x82, 126, 0, 126]),
            (256, &[0x82, 126, 1, 0]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            append(&mut out, Opcode::Binary, true, false, &vec![7; size]);
            assert_eq!(out.len(), expected.len() + size);
            assert_eq!(&out[..expected.len()], expected);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        let reason = format!("x{}", "é".repeat(80));
        append_close(&mut out, &Close { code: 1008, reason: reason.clone().into() });
        let expected = [&[0x88, 125, 0x03, 0xf0][..], &reason.as_bytes()[..123]].concat();
        assert_eq!(out, expected);

        out.clear();
        let reason = format!("xy{}", "é".repeat(80));
        append_close(&mut out, &Close { code: 1008, reason: reason.clone().into() });
        let expected = [&[0x88, 124, 0x03, 0xf0][..], &reason.as_bytes()[..122]].concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn a_close_is_answered_with_its_code() {
        let mut out = Vec::new();
        append_close_answer(&mut out, Some((4000, "why")));
        append_close_answer(&mut out, None);
        assert_eq!(out, b"\x88\x02\x0f\xa0\x88\x00");
    }

    #[test]
    #[should_panic(expected = "close code 1006")]
    fn a_code_that_may_not_travel_is_a_bug() {
        append_close(&mut Vec::new(), &Close::new(1006, ""));
    }
}
