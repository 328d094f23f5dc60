//! What the tests of this module share: a client's frames, and reading them in pieces.

use super::inflate::Inflater;
use super::mask;
use super::reader::{Event, Limits, Reader};
use crate::model::close::Close;

/// The mask of RFC 6455 §5.7.
pub(super) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Roomy limits for tests that are not about limits.
pub(super) const LIMITS: Limits = Limits { message_size_max: 1 << 20 };

/// An event that owns its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Fail(Close),
}

/// Appends a client's frame with the given first byte.
pub(super) fn put(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    match payload.len() {
        size @ 0..126 => out.extend([first, 0x80 | u8::try_from(size).unwrap()]),
        size @ 126..65_536 => {
            out.extend([first, 0xfe]);
            out.extend(u16::try_from(size).unwrap().to_be_bytes());
        }
        size => {
            out.extend([first, 0xff]);
            out.extend((size as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    let start = out.len();
    out.extend(payload);
    mask::apply(MASK, 0, &mut out[start..]);
}

/// A client's frames, each as its first byte and payload.
pub(super) fn frames(list: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (first, payload) in list {
        put(&mut out, *first, payload);
    }
    out
}

/// Reads one piece to its end; checks what `read` promises about how much it takes.
pub(super) fn read_piece(reader: &mut Reader, limits: Limits, piece: &[u8]) -> Vec<Seen> {
    let mut inflater = Inflater::new();
    let mut input = piece.to_vec();
    let mut seen = Vec::new();
    let mut at = 0;
    loop {
        let (used, event) = reader.read(&mut input[at..], &limits, &mut inflater);
        at += used;
        seen.push(match event {
            Event::NeedMore => break,
            Event::Text(text) => Seen::Text(text.to_owned()),
            Event::Binary(bytes) => Seen::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Seen::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Seen::Pong(bytes.to_vec()),
            Event::Close(close) => Seen::Close(close.map(|(code, why)| (code, why.to_owned()))),
            Event::Fail(close) => Seen::Fail(close),
        });
    }
    assert_eq!(at, input.len(), "`NeedMore` takes all");
    seen
}

/// Reads `pieces` one after the other with a fresh reader.
pub(super) fn read_all<'a>(
    deflate: bool,
    limits: Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Seen> {
    let mut reader = Reader::new(deflate);
    let pieces = pieces.into_iter();
    let seen = pieces.flat_map(|piece| read_piece(&mut reader, limits, piece)).collect();
    if reader.is_ended() {
        assert_eq!(read_piece(&mut reader, limits, b"\x81\x80more"), [], "an ended reader is mute");
        assert_eq!(reader.held_size(), 0, "an ended reader holds nothing");
    }
    seen
}

/// The one door: `bytes` give `expected` whole, byte by byte, and cut in two at every place.
pub(super) fn check(deflate: bool, limits: Limits, bytes: &[u8], expected: &[Seen]) {
    assert_eq!(read_all(deflate, limits, [bytes]), expected, "whole: {bytes:02x?}");
    assert_eq!(read_all(deflate, limits, bytes.chunks(1)), expected, "bytewise: {bytes:02x?}");
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(read_all(deflate, limits, [left, right]), expected, "{cut}: {bytes:02x?}");
    }
}
