//! Inflating permessage-deflate messages (RFC 7692 §7.2.2); one stream per shard.
//!
//! `client_no_context_takeover` is always negotiated, so the stream starts afresh with each message
//! and no connection owns a window. Output never grows past the limit, whatever the ratio.

use flate2::{Decompress, FlushDecompress, Status};

/// What a sender removed from the message's end (RFC 7692 §7.2.1).
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A last, empty block. It ends a stream that stands at a block's boundary, and no other.
const PROBE: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// How far back a block may refer.
const WINDOW_SIZE: usize = 32 * 1024;

/// Output room for a first try.
const ROOM_MIN: usize = 4 * 1024;

/// Output room kept from message to message.
const ROOM_KEPT: usize = 256 * 1024;

/// Most blocks with BFINAL set in one message. Each costs a copy of the window, so that a message
/// of nothing else would cost 16,000 times its size.
const FINAL_BLOCKS_MAX: usize = 1024;

/// Why a message does not inflate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InflateError {
    /// Not a deflate stream, cut short, or over 1,024 blocks with BFINAL set.
    Corrupt,
    /// Larger than allowed.
    TooBig,
}

/// A shard's inflate stream and its output; about 50 KiB once used.
#[derive(Debug, Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    /// Output room, written from its start for each message.
    room: Vec<u8>,
}

impl Inflater {
    /// A stream that takes its memory with the first message.
    pub fn new() -> Inflater {
        Inflater::default()
    }

    /// Inflates one message; what it says stays until the next call.
    ///
    /// An empty payload is an empty message: RFC 7692 §7.2.3.6 has senders write one byte, but
    /// senders exist that write none.
    ///
    /// # Errors
    /// As [`InflateError`] says; it stops with the first byte over `size_max`, or at the first
    /// fault, whichever comes first, and whatever came before this message.
    pub fn inflate(&mut self, payload: &[u8], size_max: usize) -> Result<&[u8], InflateError> {
        if payload.is_empty() {
            return Ok(&[]);
        }
        self.room.truncate(ROOM_KEPT);
        self.room.shrink_to(ROOM_KEPT);
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        let room = &mut self.room;
        let mut run = Run { stream, room, size: 0, size_max, ended: false, final_count: 0 };
        run.message(payload)?;
        let size = run.size;
        Ok(&self.room[..size])
    }

    /// Bytes of output room held now; at most 256 KiB more than the next message needs.
    pub fn held_size(&self) -> usize {
        self.room.capacity()
    }
}

/// One message on its way through the stream.
struct Run<'a> {
    stream: &'a mut Decompress,
    room: &'a mut Vec<u8>,
    /// How much of the room is written.
    size: usize,
    size_max: usize,
    /// Whether a block with BFINAL set was the last thing read.
    ended: bool,
    final_count: usize,
}

impl Run<'_> {
    fn message(&mut self, payload: &[u8]) -> Result<(), InflateError> {
        self.feed(payload)?;
        // RFC 7692 §7.2.3.4 wants a further byte after a block with BFINAL set; a sender that
        // stops at the block is understood all the same.
        if self.ended {
            return Ok(());
        }
        let size = self.size;
        self.feed(&TAIL)?;
        self.feed(&PROBE)?;
        // A whole message has said everything before the tail; one cut inside a block has not.
        if self.ended && self.size == size { Ok(()) } else { Err(InflateError::Corrupt) }
    }

    /// Takes all of `input`, and all output that it gives.
    fn feed(&mut self, mut input: &[u8]) -> Result<(), InflateError> {
        loop {
            if self.ended {
                if input.is_empty() {
                    return Ok(());
                }
                self.restart()?;
            }
            let (taken, room_is_full) = self.step(input)?;
            input = &input[taken..];
            // With room left, everything that the input gives has been said.
            if input.is_empty() && !room_is_full {
                return Ok(());
            }
        }
    }

    /// One call of the stream: how much input it took, and whether it ran out of room.
    fn step(&mut self, input: &[u8]) -> Result<(usize, bool), InflateError> {
        self.make_room();
        // The room may be larger than this message is allowed to be.
        let end = self.room.len().min(self.size_max.saturating_add(1));
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let status = self
            .stream
            .decompress(input, &mut self.room[self.size..end], FlushDecompress::None)
            .map_err(|_why| InflateError::Corrupt)?;
        let taken = usize::try_from(self.stream.total_in() - read).expect("part of the input");
        let given = usize::try_from(self.stream.total_out() - written).expect("part of the room");
        self.size += given;
        if self.size > self.size_max {
            return Err(InflateError::TooBig);
        }
        self.ended = status == Status::StreamEnd;
        let room_is_full = self.size == end;
        if taken == 0 && !input.is_empty() && !room_is_full && !self.ended {
            return Err(InflateError::Corrupt);
        }
        Ok((taken, room_is_full))
    }

    /// Goes on after a block with BFINAL set, which may be followed by others (RFC 7692 §7.2.3.4)
    /// that refer to what came before it.
    fn restart(&mut self) -> Result<(), InflateError> {
        self.final_count += 1;
        if self.final_count > FINAL_BLOCKS_MAX {
            return Err(InflateError::Corrupt);
        }
        self.stream.reset(false);
        let window = &self.room[self.size.saturating_sub(WINDOW_SIZE)..self.size];
        if !window.is_empty() {
            self.stream.set_dictionary(window).map_err(|_why| InflateError::Corrupt)?;
        }
        Ok(())
    }

    /// Doubles a full room, up to one byte past the limit: the byte that tells.
    fn make_room(&mut self) {
        if self.size == self.room.len() {
            let most = self.size_max.saturating_add(1) - self.size;
            let more = self.size.max(ROOM_MIN).min(most);
            self.room.reserve_exact(more);
            self.room.resize(self.size + more, 0);
        }
    }
}
