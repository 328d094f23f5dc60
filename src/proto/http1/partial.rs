//! What a decoder keeps of a request that has not arrived whole.

use super::chunked::Chunked;
use super::head::Index;
use super::limits::SizeLimit;
use crate::model::refusal::Refused;

/// What is reserved at once for a body, whatever Content-Length promises.
const RESERVE_SIZE_MAX: usize = 64 * 1024;

/// What has arrived of a head. A lone carriage return is the first half of an empty line before it.
#[derive(Debug)]
pub(super) struct PartialHead {
    pub(super) bytes: Vec<u8>,
    pub(super) blank_lines_count: u8,
}

/// A whole head and what has arrived of its body.
#[derive(Debug)]
pub(super) struct PartialBody {
    /// The head, then the body's content.
    pub(super) bytes: Vec<u8>,
    pub(super) index: Index,
    pub(super) limit: SizeLimit,
    pub(super) transfer: Transfer,
}

#[derive(Debug)]
pub(super) enum Transfer {
    /// Bytes that have not arrived.
    Length(usize),
    Chunked(Chunked),
}

impl PartialBody {
    /// Takes what belongs to the body: how much that was, and whether it was the last.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, bool), Refused> {
        match &mut self.transfer {
            Transfer::Length(missing) => {
                let taken = input.len().min(*missing);
                if self.bytes.capacity() - self.bytes.len() < taken {
                    self.bytes.reserve_exact(
                        taken.max((*missing).min(RESERVE_SIZE_MAX.max(self.bytes.len()))),
                    );
                }
                self.bytes.extend_from_slice(&input[..taken]);
                *missing -= taken;
                Ok((taken, *missing == 0))
            }
            Transfer::Chunked(chunked) => {
                let head_size = self.index.head_size();
                let taken = chunked.take(input, &mut self.bytes, head_size, &self.limit)?;
                Ok((taken, chunked.is_done()))
            }
        }
    }
}
