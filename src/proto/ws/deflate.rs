//! Deflating messages for permessage-deflate (RFC 7692 §7.2.1); one stream per window size and shard,
//! and one for small messages of any window.
//!
//! `server_no_context_takeover` is always negotiated, so one compressed message serves every
//! subscriber of the same window size.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::frame;
use super::inflate::TAIL;
use super::opcode::Opcode;

/// Smallest window that is compressed for, in bits: zlib cannot write raw deflate for 8.
pub const WINDOW_MIN: u8 = 9;

/// Largest window in bits, and the one in use where nothing else was negotiated.
pub const WINDOW_MAX: u8 = 15;

/// zlib's own middle between speed and size.
pub const DEFLATE_LEVEL_DEFAULT: u32 = 6;

/// Largest payload for the quick stream, in bytes. It uses fixed codes only, which takes half the time
/// (4.4 against 7.8 µs for 200 bytes, 3.2 of it zlib's clearing of its table) and at most a quarter
/// more bytes; made-to-measure codes win back their own size only in longer payloads.
const QUICK_SIZE_MAX: usize = 256;

/// zlib's level that has only fixed codes.
const QUICK_LEVEL: u32 = 1;

/// Room kept for the flush marker, so that it is written in one piece and only once.
const FLUSH_ROOM: usize = 64;

/// Output room kept from message to message.
const SCRATCH_SIZE_KEPT: usize = 256 * 1024;

/// A shard's deflate streams, each made when its window size is first needed (about 300 KiB each).
#[derive(Debug)]
pub struct Deflater {
    level: Compression,
    streams: [Option<Compress>; (WINDOW_MAX - WINDOW_MIN + 1) as usize],
    /// Its window is the smallest, in which a small payload lies whole, so all can read it.
    quick: Option<Compress>,
    scratch: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Deflater::new(DEFLATE_LEVEL_DEFAULT)
    }
}

impl Deflater {
    /// Streams of `level` 0 (stored) to 9 (smallest); more counts as 9.
    pub fn new(level: u32) -> Deflater {
        let level = Compression::new(level.min(9));
        Deflater { level, streams: Default::default(), quick: None, scratch: Vec::new() }
    }

    /// Appends `payload`, compressed for a window of `window` bits, as a message's payload.
    ///
    /// # Panics
    /// On a window outside 9–15: a bug of the caller, since none is negotiated.
    pub fn compress(&mut self, window: u8, payload: &[u8], out: &mut Vec<u8>) {
        // RFC 7692 §7.2.3.6
        if payload.is_empty() {
            out.push(0x00);
            return;
        }
        let start = out.len();
        flush(self.stream(window, payload.len()), payload, out);
        assert!(out[start..].ends_with(&TAIL), "a sync flush ends with an empty block");
        out.truncate(out.len() - TAIL.len());
    }

    /// Appends a whole message as one compressed frame (RFC 7692 §6).
    ///
    /// # Panics
    /// On a window outside 9–15, or an opcode other than text and binary.
    pub fn append_frame(&mut self, out: &mut Vec<u8>, window: u8, opcode: Opcode, payload: &[u8]) {
        assert!(matches!(opcode, Opcode::Text | Opcode::Binary), "only messages are compressed");
        let mut scratch = std::mem::take(&mut self.scratch);
        self.compress(window, payload, &mut scratch);
        frame::append(out, opcode, true, true, &scratch);
        scratch.clear();
        scratch.shrink_to(SCRATCH_SIZE_KEPT);
        self.scratch = scratch;
    }

    fn stream(&mut self, window: u8, payload_size: usize) -> &mut Compress {
        assert!((WINDOW_MIN..=WINDOW_MAX).contains(&window), "a window of {window} bits");
        let (place, level, window) = if payload_size <= QUICK_SIZE_MAX {
            let level = Compression::new(self.level.level().min(QUICK_LEVEL));
            (&mut self.quick, level, WINDOW_MIN)
        } else {
            (&mut self.streams[usize::from(window - WINDOW_MIN)], self.level, window)
        };
        let stream =
            place.get_or_insert_with(|| Compress::new_with_window_bits(level, false, window));
        stream.reset();
        stream
    }
}

/// Runs a whole payload through the stream and flushes it to a byte boundary.
fn flush(stream: &mut Compress, payload: &[u8], out: &mut Vec<u8>) {
    let mut rest = payload;
    // Enough for stored blocks, so that one call nearly always does it.
    out.reserve(payload.len() + payload.len() / 1024 + FLUSH_ROOM);
    loop {
        let read = stream.total_in();
        let status = stream
            .compress_vec(rest, out, FlushCompress::Sync)
            .expect("a stream in its own order of calls does not fail");
        let taken = usize::try_from(stream.total_in() - read).expect("part of the payload");
        rest = &rest[taken..];
        if (rest.is_empty() && out.len() < out.capacity()) || status == Status::BufError {
            return;
        }
        out.reserve(FLUSH_ROOM);
    }
}
