//! permessage-deflate: the vectors of RFC 7692, hostile streams, and flate2 as the other side.

use std::io::Read;

use flate2::{Decompress, FlushDecompress};
use proptest::prelude::*;

use super::deflate::Deflater;
use super::inflate::{InflateError, Inflater, TAIL};
use super::opcode::Opcode;
use super::reader::Limits;
use super::testing::{LIMITS, Seen, check, frames, read_all};
use super::walk::walk;
use crate::model::close::Close;

const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

/// Bytes without repetitions.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

fn does_not_inflate() -> Seen {
    Seen::Fail(Close::new(1007, "compressed message does not inflate"))
}

#[test]
fn vectors_of_rfc_7692_7_2_3() {
    let hello = [Seen::Text("Hello".to_owned())];
    check(true, LIMITS, &frames(&[(0xc1, &HELLO)]), &hello);
    check(true, LIMITS, &frames(&[(0x41, &HELLO[..3]), (0x80, &HELLO[3..])]), &hello);
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    check(true, LIMITS, &frames(&[(0xc1, &stored)]), &hello);
    let finished = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    check(true, LIMITS, &frames(&[(0xc1, &finished)]), &hello);
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    check(true, LIMITS, &frames(&[(0xc1, &two_blocks)]), &hello);
    check(true, LIMITS, &frames(&[(0xc1, &[0x00])]), &[Seen::Text(String::new())]);
}

#[test]
fn a_window_kept_from_the_message_before_is_refused() {
    // RFC 7692 §7.2.3.2, which `client_no_context_takeover` forbids.
    let taken_over = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let bytes = frames(&[(0xc1, &HELLO), (0xc1, &taken_over)]);
    check(true, LIMITS, &bytes, &[Seen::Text("Hello".to_owned()), does_not_inflate()]);
}

#[test]
fn plain_messages_and_control_frames_pass_among_compressed_ones() {
    let bytes = frames(&[
        (0x81, b"plain"),
        (0x42, &HELLO[..4]),
        (0x89, b"now"),
        (0x00, b""),
        (0x80, &HELLO[4..]),
        (0xc2, b""),
        (0x82, &HELLO),
    ]);
    let expected = [
        Seen::Text("plain".to_owned()),
        Seen::Ping(b"now".to_vec()),
        Seen::Binary(b"Hello".to_vec()),
        Seen::Binary(Vec::new()),
        Seen::Binary(HELLO.to_vec()),
    ];
    check(true, LIMITS, &bytes, &expected);
}

#[test]
fn rsv1_is_for_the_first_frame_of_a_message() {
    let expected = [Seen::Fail(Close::new(1002, "reserved bits are set"))];
    check(true, LIMITS, &frames(&[(0x41, &HELLO[..3]), (0xc0, &HELLO[3..])]), &expected);
    check(true, LIMITS, &frames(&[(0xc9, b"")]), &expected);
    check(true, LIMITS, &frames(&[(0xe1, &HELLO)]), &expected);
}

#[test]
fn streams_that_are_none() {
    for payload in [
        &[0xff][..],
        &[0x07],
        &[0x00, 0x05],
        b"not deflate at all",
        &[0x05, 0xe0, 0x81],
        &[0x00, 0x04, 0x00, 0xfb, 0xff],
    ] {
        check(true, LIMITS, &frames(&[(0xc2, payload)]), &[does_not_inflate()]);
    }
}

#[test]
fn a_block_cut_anywhere_is_refused() {
    let letters: Vec<u8> = noise(2000).iter().map(|byte| b'a' + byte % 11).collect();
    let mut dynamic = Vec::new();
    Deflater::default().compress(15, &letters, &mut dynamic);
    assert_eq!(dynamic[0] & 0b110, 0b100, "a block with codes of its own");
    for stream in [&HELLO[..], &dynamic] {
        for cut in 1..stream.len() {
            let inflated = Inflater::new().inflate(&stream[..cut], 10_000).map(<[u8]>::len);
            assert_eq!(inflated, Err(InflateError::Corrupt), "cut at {cut}");
        }
    }
}

#[test]
fn inflated_text_is_checked() {
    let mut deflated = Vec::new();
    Deflater::default().compress(15, b"abc\xff", &mut deflated);
    let expected = [Seen::Fail(Close::new(1007, "text is not UTF-8"))];
    check(true, LIMITS, &frames(&[(0xc1, &deflated)]), &expected);
    check(true, LIMITS, &frames(&[(0xc2, &deflated)]), &[Seen::Binary(b"abc\xff".to_vec())]);
}

#[test]
fn blocks_with_bfinal_may_refer_to_what_came_before() {
    // "Hello" with BFINAL set, then a match of length 5 at distance 5 as in RFC 7692 §7.2.3.2.
    let finished = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let mut inflater = Inflater::new();
    assert_eq!(inflater.inflate(&[&finished[..], &again].concat(), 100), Ok(&b"HelloHello"[..]));
    // Without the byte that should follow the block.
    assert_eq!(inflater.inflate(&finished, 100), Ok(&b"Hello"[..]));
    assert_eq!(inflater.inflate(&finished.repeat(2), 100), Ok(&b"HelloHello"[..]));
}

#[test]
fn blocks_with_bfinal_run_out() {
    let empty_block = [0x03, 0x00];
    let mut inflater = Inflater::new();
    assert_eq!(inflater.inflate(&empty_block.repeat(1025), 100), Ok(&b""[..]));
    assert_eq!(inflater.inflate(&empty_block.repeat(1026), 100), Err(InflateError::Corrupt));
}

#[test]
fn output_stops_at_the_limit() {
    let mut inflater = Inflater::new();
    let mut deflated = Vec::new();
    for size in [1, 100, 4095, 4096, 4097, 100_000] {
        deflated.clear();
        Deflater::default().compress(15, &vec![7; size], &mut deflated);
        assert_eq!(inflater.inflate(&deflated, size).map(<[u8]>::len), Ok(size));
        assert_eq!(inflater.inflate(&deflated, size - 1), Err(InflateError::TooBig), "{size}");
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let mut bomb = Vec::new();
    Deflater::new(9).compress(15, &vec![0; 64 << 20], &mut bomb);
    assert!(bomb.len() < 100_000, "a ratio near 1,000");
    let mut inflater = Inflater::new();
    assert_eq!(inflater.inflate(&bomb, 100_000), Err(InflateError::TooBig));
    assert!(inflater.held_size() <= 100_001, "{}", inflater.held_size());

    let limits = Limits { message_size_max: 100_000 };
    let reason = "message inflates to over the limit of 100000 bytes";
    let seen = read_all(true, limits, frames(&[(0xc1, &bomb)]).chunks(1000));
    assert_eq!(seen, [Seen::Fail(Close::new(1009, reason))]);
}

/// A block with BFINAL set and fixed codes (RFC 1951 §3.2.6): `literals` times "a", then `matches`
/// times 258 bytes from the byte before.
fn run_of_a(literals: usize, matches: usize) -> Vec<u8> {
    let repeated = std::iter::repeat_n("10010001", literals);
    let repeated = repeated.chain(std::iter::repeat_n("1100010100000", matches));
    let bits: String = ["110"].into_iter().chain(repeated).chain(["0000000"]).collect();
    let byte = |bits: &[u8]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
    bits.as_bytes().chunks(8).map(byte).collect()
}

#[test]
fn output_still_owed_when_the_input_is_used_up_is_not_lost() {
    // The last byte holds the last bit of the last match, and that match crosses 4 KiB, where the
    // output room runs out the first time.
    let (literals, matches) = (500, 14);
    assert_eq!((3 + literals * 8 + matches * 13) % 8, 1);
    let size = literals + matches * 258;
    assert!((4097..4096 + 258).contains(&size));
    let mut inflater = Inflater::new();
    let inflated = inflater.inflate(&run_of_a(literals, matches), size);
    assert_eq!(inflated, Ok(&vec![b'a'; size][..]));
}

#[test]
fn the_outcome_does_not_depend_on_the_message_before() {
    // Over the limit first, corrupt later; a roomier output must not see the second.
    let mut bad = Vec::new();
    Deflater::default().compress(15, &noise(500), &mut bad);
    bad.extend([1, 2, 3, 4]);
    let mut used = Inflater::new();
    let mut big = Vec::new();
    Deflater::default().compress(15, &noise(100_000), &mut big);
    assert!(used.inflate(&big, 100_000).is_ok());
    for inflater in [&mut used, &mut Inflater::new()] {
        assert_eq!(inflater.inflate(&bad, 400), Err(InflateError::TooBig));
        assert_eq!(inflater.inflate(&bad, 10_000), Err(InflateError::Corrupt));
    }
}

#[test]
fn what_one_big_message_took_is_given_back() {
    let mut deflated = Vec::new();
    let mut deflater = Deflater::default();
    deflater.compress(15, &vec![7; 4 << 20], &mut deflated);
    let mut inflater = Inflater::new();
    assert_eq!(inflater.inflate(&deflated, 4 << 20).map(<[u8]>::len), Ok(4 << 20));
    assert_eq!(inflater.inflate(&HELLO, 100), Ok(&b"Hello"[..]));
    assert!(inflater.held_size() <= 256 * 1024);
}

#[test]
fn an_incompressible_message_of_the_largest_size_passes() {
    let payload = noise(100_000);
    let mut deflated = Vec::new();
    Deflater::new(0).compress(15, &payload, &mut deflated);
    assert!(deflated.len() > payload.len());
    let limits = Limits { message_size_max: payload.len() };
    let seen = read_all(true, limits, [&frames(&[(0xc2, &deflated)])[..]]);
    assert!(seen == [Seen::Binary(payload)]);
}

#[test]
fn a_compressed_frame_is_whole() {
    let mut out = Vec::new();
    let mut deflater = Deflater::default();
    deflater.append_frame(&mut out, 15, Opcode::Text, b"Hello");
    deflater.append_frame(&mut out, 9, Opcode::Binary, b"");
    assert_eq!(out, [&[0xc1, 0x07][..], &HELLO, &[0xc2, 0x01, 0x00]].concat());
}

/// Inflates with flate2 alone, told the window.
fn inflate_elsewhere(window: u8, deflated: &[u8]) -> Vec<u8> {
    let mut stream = Decompress::new_with_window_bits(false, window);
    let mut inflated = Vec::with_capacity(1 << 20);
    let input = [deflated, &TAIL].concat();
    stream.decompress_vec(&input, &mut inflated, FlushDecompress::Sync).unwrap();
    assert_eq!(stream.total_in(), input.len() as u64);
    inflated
}

#[test]
fn streams_stay_inside_their_window_and_use_it() {
    for window in 9..=15_u8 {
        let size = 1 << window;
        let inside = noise(size - 300).repeat(2);
        let beyond = noise(size + 1).repeat(2);
        for level in 1..=9 {
            let mut deflater = Deflater::new(level);
            let mut deflated = Vec::new();
            deflater.compress(window, &beyond, &mut deflated);
            let walked = walk(&[&deflated[..], &TAIL].concat());
            assert!(walked.distance_max <= size, "{window} bits, level {level}");
            assert!(walked.bytes == beyond);

            deflated.clear();
            deflater.compress(window, &inside, &mut deflated);
            let walked = walk(&[&deflated[..], &TAIL].concat());
            assert_eq!(walked.distance_max, size - 300, "{window} bits, level {level}");
            assert!(walked.bytes == inside);
        }
    }
}

/// Bytes that compress: short runs from a small alphabet, repeated at all distances.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(0_u8..4, 0..300),
        any::<Vec<u8>>(),
        Just(b"{\"topic\":\"main\",\"data\":".to_vec()),
    ];
    (prop::collection::vec(piece, 0..12), prop::collection::vec(0_usize..12, 0..60)).prop_map(
        |(pieces, order)| {
            let picks = order.iter().filter_map(|index| pieces.get(*index));
            picks.flatten().copied().collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_window_and_level_is_understood_elsewhere(
        payloads in prop::collection::vec(payload(), 1..4),
        window in 9_u8..=15,
        level in 0_u32..=9,
    ) {
        let mut deflater = Deflater::new(level);
        let mut inflater = Inflater::new();
        for payload in &payloads {
            let mut deflated = b"before".to_vec();
            deflater.compress(window, payload, &mut deflated);
            let deflated = deflated.strip_prefix(b"before").unwrap();
            prop_assert_eq!(&inflate_elsewhere(window, deflated), payload);
            let walked = walk(&[deflated, &TAIL].concat());
            prop_assert_eq!(&walked.bytes, payload);
            prop_assert!(walked.distance_max <= 1 << window);
            prop_assert_eq!(inflater.inflate(deflated, payload.len()), Ok(&payload[..]));
        }
    }

    #[test]
    fn other_encoders_are_understood(payload in payload(), level in 0_u32..=9) {
        let mut finished = Vec::new();
        flate2::read::DeflateEncoder::new(&payload[..], flate2::Compression::new(level))
            .read_to_end(&mut finished)
            .unwrap();
        let mut inflater = Inflater::new();
        prop_assert_eq!(inflater.inflate(&finished, payload.len()), Ok(&payload[..]));
        finished.push(0x00);
        prop_assert_eq!(inflater.inflate(&finished, payload.len()), Ok(&payload[..]));
    }

    #[test]
    fn a_stream_cut_short_never_passes_for_whole(payload in payload(), at in any::<prop::sample::Index>()) {
        prop_assume!(!payload.is_empty());
        let mut deflated = Vec::new();
        Deflater::default().compress(15, &payload, &mut deflated);
        let cut = 1 + at.index(deflated.len() - 1);
        if let Ok(inflated) = Inflater::new().inflate(&deflated[..cut], payload.len()) {
            // A cut right behind a stored block's three bits leaves a shorter, whole message.
            prop_assert!(payload.starts_with(inflated));
            prop_assert!(!inflated.is_empty() || deflated[..cut] == [0x00]);
        }
    }

    #[test]
    fn noise_never_passes_the_limit(payload in any::<Vec<u8>>(), size_max in 0_usize..2000) {
        if let Ok(inflated) = Inflater::new().inflate(&payload, size_max) {
            prop_assert!(inflated.len() <= size_max);
        }
    }
}
