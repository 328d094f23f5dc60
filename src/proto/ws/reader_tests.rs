//! The reader against the vectors and rules of RFC 6455, cut at every byte.

use super::inflate::Inflater;
use super::reader::{Event, Limits, Reader};
use super::testing::{LIMITS, MASK, Seen, check, frames, put, read_all, read_piece};
use crate::model::close::Close;

/// First bytes and payloads.
type Frames<'a> = &'a [(u8, &'a [u8])];

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

fn fail(code: u16, reason: &'static str) -> Seen {
    Seen::Fail(Close::new(code, reason))
}

#[test]
fn masked_vectors_of_rfc_6455_5_7() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check(false, LIMITS, &hello, &[text("Hello")]);
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check(false, LIMITS, &pong, &[Seen::Pong(b"Hello".to_vec())]);
}

#[test]
fn the_other_vectors_of_rfc_6455_5_7_with_a_mask() {
    let fragmented = frames(&[(0x01, b"Hel"), (0x80, b"lo")]);
    check(false, LIMITS, &fragmented, &[text("Hello")]);
    check(false, LIMITS, &frames(&[(0x89, b"Hello")]), &[Seen::Ping(b"Hello".to_vec())]);
    let medium: Vec<u8> = (0..=255).collect();
    check(false, LIMITS, &frames(&[(0x82, &medium)]), &[Seen::Binary(medium)]);
}

#[test]
fn a_64_kib_frame_in_uneven_pieces() {
    let payload: Vec<u8> = (0..65_536_u32).map(|i| i.to_le_bytes()[1]).collect();
    let bytes = frames(&[(0x82, &payload), (0x81, b"after")]);
    let expected = [Seen::Binary(payload), text("after")];
    for size in [1, 3, 13, 14, 15, 1000, 4099, 65_535, 65_550, 65_551, 80_000] {
        assert_eq!(read_all(false, LIMITS, bytes.chunks(size)), expected, "pieces of {size}");
    }
}

#[test]
fn control_frames_come_between_fragments_and_messages_follow_one_another() {
    let bytes = frames(&[
        (0x01, "Gr".as_bytes()),
        (0x89, b"now"),
        (0x00, b""),
        (0x8a, b""),
        (0x8a, b"later"),
        (0x00, "üß".as_bytes()),
        (0x80, b"e"),
        (0x82, b""),
        (0x81, b""),
        (0x02, b""),
        (0x80, b""),
        (0x88, b"\x03\xe8bye"),
        (0x81, b"never read"),
    ]);
    let expected = [
        Seen::Ping(b"now".to_vec()),
        Seen::Pong(Vec::new()),
        Seen::Pong(b"later".to_vec()),
        text("Grüße"),
        Seen::Binary(Vec::new()),
        text(""),
        Seen::Binary(Vec::new()),
        Seen::Close(Some((1000, "bye".to_owned()))),
    ];
    check(false, LIMITS, &bytes, &expected);
}

#[test]
fn frames_that_break_a_rule() {
    let long = [b'x'; 126];
    let reserved_bits = fail(1002, "reserved bits are set");
    let reserved_opcode = fail(1002, "reserved opcode");
    let cases: [(Frames<'_>, Seen); 16] = [
        (&[(0xc1, b"x")], reserved_bits.clone()),
        (&[(0xa1, b"x")], reserved_bits.clone()),
        (&[(0x91, b"x")], reserved_bits.clone()),
        (&[(0xc9, b"x")], reserved_bits.clone()),
        (&[(0x01, b"x"), (0xc0, b"x")], reserved_bits),
        (&[(0x83, b"x")], reserved_opcode.clone()),
        (&[(0x87, b"")], reserved_opcode.clone()),
        (&[(0x8b, b"")], reserved_opcode.clone()),
        (&[(0x8f, b"")], reserved_opcode),
        (&[(0x09, b"x")], fail(1002, "control frame is fragmented")),
        (&[(0x08, b"")], fail(1002, "control frame is fragmented")),
        (&[(0x89, &long)], fail(1002, "control frame is over 125 bytes")),
        (&[(0x88, &long)], fail(1002, "control frame is over 125 bytes")),
        (&[(0x80, b"x")], fail(1002, "continuation without a message")),
        (&[(0x00, b"x")], fail(1002, "continuation without a message")),
        (&[(0x01, b"x"), (0x81, b"y")], fail(1002, "new message inside a fragmented one")),
    ];
    for (list, expected) in cases {
        check(false, LIMITS, &frames(list), &[expected]);
    }
}

#[test]
fn an_unmasked_frame_is_refused_at_its_second_byte() {
    check(false, LIMITS, &[0x81, 0x05], &[fail(1002, "client frames must be masked")]);
    let after = [&frames(&[(0x81, b"fine")])[..], &[0x81, 0x00]].concat();
    let expected = [text("fine"), fail(1002, "client frames must be masked")];
    check(false, LIMITS, &after, &expected);
}

#[test]
fn lengths_not_in_their_shortest_form() {
    for length in [&[0xfe, 0, 125][..], &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]] {
        let bytes = [&[0x82], length, &MASK].concat();
        check(false, LIMITS, &bytes, &[fail(1002, "length is not in its shortest form")]);
    }
    let bytes = [&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &MASK].concat();
    check(false, LIMITS, &bytes, &[fail(1002, "length has its top bit set")]);
}

#[test]
fn close_frames() {
    let reason = "é".repeat(61) + "x";
    let full = [&[0x0f, 0x9f][..], reason.as_bytes()].concat();
    let cases: [(&[u8], Seen); 12] = [
        (b"", Seen::Close(None)),
        (b"\x03", fail(1002, "close frame of 1 byte")),
        (b"\x03\xe8", Seen::Close(Some((1000, String::new())))),
        (b"\x03\xf6gone", Seen::Close(Some((1014, "gone".to_owned())))),
        (&full, Seen::Close(Some((3999, reason)))),
        (b"\x03\xe8\xff", fail(1007, "close reason is not UTF-8")),
        (b"\x03\xe8\xe2\x82", fail(1007, "close reason is not UTF-8")),
        (b"\x03\xe7", fail_code(999)),
        (b"\x03\xec", fail_code(1004)),
        (b"\x03\xed", fail_code(1005)),
        (b"\x03\xf7", fail_code(1015)),
        (b"\x13\x88", fail_code(5000)),
    ];
    for (payload, expected) in cases {
        check(false, LIMITS, &frames(&[(0x88, payload)]), &[expected]);
    }
}

fn fail_code(code: u16) -> Seen {
    let reason = format!("close code {code} is not for the wire");
    Seen::Fail(Close { code: 1002, reason: reason.into() })
}

/// After how many bytes a connection is failed, and with what, given one byte at a time.
fn failed_after(bytes: &[u8]) -> Option<(usize, Seen)> {
    let mut reader = Reader::new(false);
    bytes.iter().enumerate().find_map(|(index, byte)| {
        let seen = read_piece(&mut reader, LIMITS, &[*byte]);
        seen.into_iter().next().map(|seen| (index + 1, seen))
    })
}

#[test]
fn bad_text_fails_with_its_first_wrong_byte() {
    let not_utf8 = fail(1007, "text is not UTF-8");
    // The header of a short frame has 6 bytes.
    let cases: [(Frames<'_>, usize); 7] = [
        (&[(0x81, b"ab\xffcdef")], 6 + 3),
        (&[(0x81, b"\xce\xba\xf4\x90\x80\x80edited")], 6 + 4),
        (&[(0x01, b"\xce\xba\xf4"), (0x80, b"\x90\x80\x80")], 6 + 3 + 6 + 1),
        (&[(0x01, b"\xed"), (0x00, b""), (0x00, b"\xa0\x80"), (0x80, b"")], 7 + 6 + 7),
        (&[(0x01, b"\xf0"), (0x89, b"\xff"), (0x00, b"\x8f")], 0),
        (&[(0x01, b"ok\xe2"), (0x80, b"\x82")], 6 + 3 + 7),
        (&[(0x81, b"\xe2\x82")], 8),
    ];
    for (list, expected) in cases {
        let bytes = frames(list);
        if list.len() == 3 && list[1].0 == 0x89 {
            let ping = Seen::Ping(b"\xff".to_vec());
            check(false, LIMITS, &bytes, &[ping, not_utf8.clone()]);
        } else {
            assert_eq!(failed_after(&bytes), Some((expected, not_utf8.clone())), "{list:02x?}");
        }
    }
}

#[test]
fn binary_needs_no_utf8() {
    check(false, LIMITS, &frames(&[(0x82, b"\xff\xf4")]), &[Seen::Binary(vec![0xff, 0xf4])]);
}

#[test]
fn a_message_over_the_limit_fails_at_the_header_that_shows_it() {
    let limits = Limits { message_size_max: 130 };
    let too_big = |size: u64| {
        let reason = format!("message of {size} bytes is over the limit of 130");
        Seen::Fail(Close { code: 1009, reason: reason.into() })
    };
    let header = |first: u8, size: u64| {
        let mut bytes = frames(&[(first, &vec![0; usize::try_from(size).unwrap()])]);
        bytes.truncate(bytes.len() - usize::try_from(size).unwrap());
        bytes
    };
    let fits = frames(&[(0x82, &[7; 130]), (0x02, &[7; 100]), (0x80, &[7; 30])]);
    check(false, limits, &fits, &[Seen::Binary(vec![7; 130]), Seen::Binary(vec![7; 130])]);
    check(false, limits, &header(0x82, 131), &[too_big(131)]);
    check(false, limits, &header(0x81, 70_000), &[too_big(70_000)]);
    let second = [frames(&[(0x02, &[7; 100])]), header(0x80, 31)].concat();
    check(false, limits, &second, &[too_big(131)]);
    let huge = [&[0x02, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &MASK].concat();
    check(false, limits, &huge, &[too_big(u64::MAX >> 1)]);
    let second_huge = [frames(&[(0x02, &[7; 100])]), {
        let mut bytes = huge.clone();
        bytes[0] = 0x80;
        bytes
    }]
    .concat();
    check(false, limits, &second_huge, &[too_big((u64::MAX >> 1) + 100)]);
}

fn fragmented(size: usize, fragment_size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, 0x02, &[]);
    for start in (0..size).step_by(fragment_size) {
        put(&mut bytes, 0x00, &vec![7; fragment_size.min(size - start)]);
    }
    put(&mut bytes, 0x80, &[]);
    bytes
}

#[test]
fn fragments_are_not_counted_only_bytes_are() {
    for (size, fragment_size) in [(4 << 20, 64), (1 << 20, 1)] {
        let limits = Limits { message_size_max: size };
        let bytes = fragmented(size, fragment_size);
        let seen = read_all(false, limits, bytes.chunks(16 * 1024));
        assert!(seen == [Seen::Binary(vec![7; size])], "{size} in {fragment_size}");
    }
}

#[test]
fn empty_fragments_run_out() {
    let limits = Limits { message_size_max: 100 };
    let with_empty = |count: usize| {
        let mut bytes = frames(&[(0x02, b"ab")]);
        (0..count).for_each(|_| put(&mut bytes, 0x00, &[]));
        put(&mut bytes, 0x80, b"c");
        read_all(false, limits, [&bytes[..]])
    };
    assert_eq!(with_empty(100 - 2 + 1024), [Seen::Binary(b"abc".to_vec())]);
    assert_eq!(with_empty(100 - 2 + 1025), [fail(1008, "too many empty fragments")]);
}

#[test]
fn a_whole_message_is_lent_from_the_input() {
    let mut input = frames(&[(0x81, b"one"), (0x82, b"two"), (0x89, b"three")]);
    let lies = input.as_ptr_range();
    let mut reader = Reader::new(false);
    let mut inflater = Inflater::new();
    let mut at = 0;
    for expected in [&b"one"[..], b"two", b"three"] {
        let (used, event) = reader.read(&mut input[at..], &LIMITS, &mut inflater);
        let (Event::Text(_) | Event::Binary(_) | Event::Ping(_)) = event else {
            panic!("{event:?}");
        };
        let bytes = match event {
            Event::Text(text) => text.as_bytes(),
            Event::Binary(bytes) | Event::Ping(bytes) => bytes,
            _ => &[],
        };
        assert_eq!(bytes, expected);
        assert!(lies.contains(&bytes.as_ptr()), "no copy was made");
        at += used;
        assert_eq!(reader.held_size(), 0);
    }
}

#[test]
fn an_idle_reader_is_16_bytes() {
    assert_eq!(size_of::<Reader>(), 16);
    let mut reader = Reader::new(false);
    let bytes = frames(&[(0x01, &[b'x'; 5000]), (0x89, b"now"), (0x80, b"y")]);
    for piece in bytes.chunks(7) {
        read_piece(&mut reader, LIMITS, piece);
    }
    assert_eq!(reader.held_size(), 0);
    read_piece(&mut reader, LIMITS, &bytes[..5000]);
    assert!(reader.held_size() > 4990);
    assert!(reader.held_size() < 2 * 5000 + 256);
}
