//! The last step of a turn: bytes to sockets, one send per connection.
//!
//! Two back ends behind [`Sender`]: a private io_uring used for nothing else, and plain system
//! calls. Both send with `MSG_DONTWAIT`, so a whole batch is over when `send` returns and nothing
//! stays in flight: buffers are borrowed for the call only.

mod direct;
mod ring;
mod sender;

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use smallvec::SmallVec;

pub(super) use direct::DirectSender;
pub(super) use ring::RingSender;
pub(super) use sender::Sender;

/// Sends handed over at once; bounds the ring's size and the batch's stack space.
pub(super) const BATCH_LEN_MAX: usize = 256;

/// Parts of one connection's queue that one send takes; more wait for the next send.
pub(super) const PARTS_MAX: usize = 64;

/// One connection's send.
#[derive(Debug)]
pub(super) struct Job<'a> {
    /// The socket.
    pub(super) fd: BorrowedFd<'a>,
    /// What it is owed, in order.
    pub(super) parts: Parts<'a>,
}

/// The bytes of one send.
#[derive(Debug)]
pub(super) enum Parts<'a> {
    /// One block.
    One(&'a [u8]),
    /// Several, at most [`PARTS_MAX`].
    Many(SmallVec<[IoSlice<'a>; 4]>),
}

/// What became of one send: bytes taken by the kernel, or its error.
pub(super) type SendResult = Result<usize, rustix::io::Errno>;
