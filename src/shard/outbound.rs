//! What one connection is owed: a bounded queue of references to shared bytes.
//!
//! Invariants: an idle connection's queue owns no memory; control frames go in front of data but
//! never into the middle of a block that has begun to leave; `size` is the sum of what is unsent.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Contiguous bytes that any number of queues refer to.
#[derive(Debug)]
pub(super) enum Block {
    /// A wire form that is kept beside its message, for other shards too.
    Shared(Arc<[u8]>),
    /// Bytes made for one turn: a run of frames, a response.
    Bytes(Vec<u8>),
    /// One connection's control frames, or a stream's head: what stands before the data.
    Control(Vec<u8>),
}

/// Size in bytes from which a block of a connection's own is not appended to. What has left of a
/// block is freed with the whole of it, so that one that grew for ever would never be.
const OWN_BLOCK_SIZE_MAX: usize = 64 * 1024;

/// Room in bytes of a new block of a connection's own: one answer to a publish fits.
const OWN_BLOCK_CAPACITY: usize = 256;

impl Block {
    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Block::Shared(bytes) => bytes,
            Block::Bytes(bytes) | Block::Control(bytes) => bytes,
        }
    }
}

/// One connection's queue.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    queue: Queue,
    /// Bytes of the front block that have left.
    sent: u32,
    /// Unsent bytes in all.
    size: u32,
}

#[derive(Debug, Default)]
enum Queue {
    #[default]
    Empty,
    One(Rc<Block>),
    #[expect(clippy::box_collection, reason = "keeps the idle connection small")]
    Many(Box<VecDeque<Rc<Block>>>),
}

impl Outbound {
    /// Unsent bytes.
    pub(super) fn size(&self) -> usize {
        self.size as usize
    }

    /// Whether nothing is owed.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.queue, Queue::Empty)
    }

    /// Adds a block behind all others.
    pub(super) fn push(&mut self, block: Rc<Block>) {
        self.size += size_of_bytes(block.bytes());
        match &mut self.queue {
            Queue::Empty => self.queue = Queue::One(block),
            Queue::One(_) | Queue::Many(_) => self.many().push_back(block),
        }
    }

    /// Adds a control frame before all data that has not begun to leave, behind the control frames
    /// that wait there already: pongs leave in the order of their pings.
    pub(super) fn push_control(&mut self, bytes: Vec<u8>) {
        self.size += size_of_bytes(&bytes);
        let begun = usize::from(self.sent > 0);
        if let Some(Block::Control(waiting)) = self.own_block_mut(begun) {
            waiting.extend_from_slice(&bytes);
            return;
        }
        let block = Rc::new(Block::Control(bytes));
        if self.is_empty() {
            self.queue = Queue::One(block);
            return;
        }
        let begun = usize::from(self.sent > 0);
        self.many().insert(begun, block);
    }

    /// Appends bytes of the connection's own through `write`, into the last block when that is
    /// this connection's alone, so that answers of one turn leave together.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let last = match &self.queue {
            Queue::Empty | Queue::One(_) => 0,
            Queue::Many(queue) => queue.len() - 1,
        };
        if let Some(Block::Bytes(bytes)) = self.own_block_mut(last)
            && bytes.len() < OWN_BLOCK_SIZE_MAX
        {
            let before = bytes.len();
            write(bytes);
            self.size += size_of_bytes(&bytes[before..]);
            return;
        }
        let mut bytes = Vec::with_capacity(OWN_BLOCK_CAPACITY);
        write(&mut bytes);
        if !bytes.is_empty() {
            self.push(Rc::new(Block::Bytes(bytes)));
        }
    }

    /// Drops everything that has not begun to leave.
    pub(super) fn discard_unsent(&mut self) {
        if self.sent == 0 {
            *self = Outbound::default();
            return;
        }
        let front = match std::mem::take(&mut self.queue) {
            Queue::Empty => None,
            Queue::One(block) => Some(block),
            Queue::Many(mut queue) => queue.pop_front(),
        };
        if let Some(block) = front {
            self.size = size_of_bytes(block.bytes()) - self.sent;
            self.queue = Queue::One(block);
        }
    }

    /// Drops everything, for a peer to whom nothing can be said any more.
    pub(super) fn discard_all(&mut self) {
        *self = Outbound::default();
    }

    /// The unsent parts, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let (one, many) = match &self.queue {
            Queue::Empty => (None, None),
            Queue::One(block) => (Some(block), None),
            Queue::Many(queue) => (None, Some(queue.iter())),
        };
        let sent = self.sent as usize;
        one.into_iter().chain(many.into_iter().flatten()).enumerate().map(move |(index, block)| {
            if index == 0 { &block.bytes()[sent..] } else { block.bytes() }
        })
    }

    /// The one unsent part, when there is just one: the common case of a fan-out.
    pub(super) fn only_part(&self) -> Option<&[u8]> {
        match &self.queue {
            Queue::One(block) => Some(&block.bytes()[self.sent as usize..]),
            _ => None,
        }
    }

    /// Takes note that `count` bytes have left.
    ///
    /// # Panics
    /// When more bytes are said to have left than were owed.
    pub(super) fn consume(&mut self, count: usize) {
        let mut left = u32::try_from(count).expect("a send is below 4 GiB");
        assert!(left <= self.size, "sent more than was owed");
        self.size -= left;
        if self.size == 0 {
            (self.queue, self.sent) = (Queue::Empty, 0);
            return;
        }
        left += self.sent;
        while let Some(front) = self.front_size() {
            if left < front {
                break;
            }
            left -= front;
            self.pop_front();
        }
        self.sent = left;
    }

    /// The block at `index`, if no other queue refers to it.
    fn own_block_mut(&mut self, index: usize) -> Option<&mut Block> {
        match &mut self.queue {
            Queue::One(block) if index == 0 => Rc::get_mut(block),
            Queue::Many(queue) => queue.get_mut(index).and_then(Rc::get_mut),
            Queue::Empty | Queue::One(_) => None,
        }
    }

    fn front_size(&self) -> Option<u32> {
        match &self.queue {
            Queue::Empty => None,
            Queue::One(block) => Some(size_of_bytes(block.bytes())),
            Queue::Many(queue) => queue.front().map(|block| size_of_bytes(block.bytes())),
        }
    }

    fn pop_front(&mut self) {
        match &mut self.queue {
            Queue::Many(queue) if queue.len() > 1 => {
                queue.pop_front();
            }
            _ => self.queue = Queue::Empty,
        }
    }

    /// The queue as a list of several, whatever it was.
    fn many(&mut self) -> &mut VecDeque<Rc<Block>> {
        self.queue = match std::mem::take(&mut self.queue) {
            Queue::Empty => Queue::Many(Box::default()),
            Queue::One(block) => Queue::Many(Box::new(VecDeque::from([block]))),
            many @ Queue::Many(_) => many,
        };
        match &mut self.queue {
            Queue::Many(queue) => queue,
            Queue::Empty | Queue::One(_) => unreachable!("made above"),
        }
    }
}

fn size_of_bytes(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("queues are limited far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Rc<Block> {
        Rc::new(Block::Bytes(text.as_bytes().to_vec()))
    }

    fn unsent(outbound: &Outbound) -> String {
        let bytes: Vec<u8> = outbound.parts().flatten().copied().collect();
        assert_eq!(bytes.len(), outbound.size());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_sends_take() {
        for step in 1..=10 {
            let mut outbound = Outbound::default();
            for text in ["abc", "d", "efgh", "ij"] {
                outbound.push(block(text));
            }
            let mut left = String::new();
            while !outbound.is_empty() {
                let rest = unsent(&outbound);
                let count = step.min(rest.len());
                left.push_str(&rest[..count]);
                outbound.consume(count);
            }
            assert_eq!(left, "abcdefghij");
        }
    }

    #[test]
    fn control_goes_first_but_never_into_a_begun_block() {
        let mut outbound = Outbound::default();
        outbound.push(block("abc"));
        outbound.push(block("def"));
        outbound.push_control(b"!".to_vec());
        assert_eq!(unsent(&outbound), "!abcdef");
        outbound.consume(2);
        outbound.push_control(b"?".to_vec());
        assert_eq!(unsent(&outbound), "bc?def");
    }

    #[test]
    fn control_frames_keep_their_order_and_data_never_joins_their_block() {
        let mut outbound = Outbound::default();
        for pong in ["1", "2"] {
            outbound.push_control(pong.into());
        }
        outbound.append(|bytes| bytes.extend_from_slice(b"data"));
        outbound.push_control(b"3".to_vec());
        assert_eq!(unsent(&outbound), "123data");
        outbound.consume(1);
        for pong in ["4", "5"] {
            outbound.push_control(pong.into());
        }
        assert_eq!(unsent(&outbound), "2345data");
    }

    #[test]
    fn a_queue_that_is_never_empty_still_frees_what_has_left() {
        let mut outbound = Outbound::default();
        let answer = vec![7; 1000];
        outbound.append(|bytes| bytes.extend_from_slice(&answer));
        for _ in 0..10_000 {
            outbound.append(|bytes| bytes.extend_from_slice(&answer));
            outbound.consume(answer.len());
        }
        let sent = outbound.sent as usize;
        assert!(sent < 2 * OWN_BLOCK_SIZE_MAX, "{sent} bytes that have left are still held");
    }

    #[test]
    fn own_bytes_gather_in_one_block_and_shared_ones_stay_untouched() {
        let mut outbound = Outbound::default();
        let shared = block("shared");
        outbound.push(Rc::clone(&shared));
        outbound.append(|bytes| bytes.extend_from_slice(b"a"));
        outbound.append(|bytes| bytes.extend_from_slice(b"b"));
        assert_eq!(unsent(&outbound), "sharedab");
        assert_eq!(outbound.parts().count(), 2);
        assert_eq!(shared.bytes(), b"shared");
    }

    #[test]
    fn discarding_keeps_what_has_begun_to_leave() {
        let mut outbound = Outbound::default();
        outbound.push(block("abc"));
        outbound.push(block("def"));
        outbound.consume(1);
        outbound.discard_unsent();
        assert_eq!(unsent(&outbound), "bc");
        outbound.consume(2);
        assert!(outbound.is_empty());
        outbound.push(block("x"));
        outbound.discard_unsent();
        assert!(outbound.is_empty());
    }
}
