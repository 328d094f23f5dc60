//! What a reader keeps of frames and messages that have not arrived whole.
//!
//! One box per connection in the middle of something, none otherwise. It holds at most one
//! incomplete header, one control frame's payload and one message; a control frame may come
//! between a message's fragments (RFC 6455 §5.4), so the last two live side by side.

use super::fault::Fault;
use super::header::{self, HEADER_SIZE_MAX, Head};
use super::mask;
use super::opcode::Opcode;
use super::utf8::{NotUtf8, Utf8};

/// The box's contents.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    header: [u8; HEADER_SIZE_MAX],
    header_size: u8,
    frame: Option<Frame>,
    control: Vec<u8>,
    message: Option<Message>,
    lent: Option<Lent>,
}

/// The frame whose payload is arriving.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: Head,
    received: usize,
}

/// The message whose fragments are arriving.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) opcode: Opcode,
    pub(super) compressed: bool,
    /// As on the wire, unmasked.
    pub(super) bytes: Vec<u8>,
    /// Continuation frames without payload so far.
    pub(super) empty_count: usize,
    utf8: Utf8,
}

/// What the last event lent, to be freed by the next read.
#[derive(Clone, Copy, Debug)]
enum Lent {
    Control(Opcode),
    Message,
}

/// How far a frame's payload has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Payload {
    /// More of the frame is to come.
    Partial,
    /// The frame is whole, its message is not.
    Fragment,
    /// A message or control frame is whole: see [`Assembly::lent`].
    Whole,
}

impl Message {
    fn new(head: &Head) -> Message {
        Message {
            opcode: head.opcode,
            compressed: head.compressed,
            bytes: Vec::new(),
            empty_count: 0,
            utf8: Utf8::default(),
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Fault> {
        if self.is_plain_text() {
            self.utf8.push(piece).map_err(|NotUtf8| Fault::Text)?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn is_plain_text(&self) -> bool {
        self.opcode == Opcode::Text && !self.compressed
    }
}

impl Assembly {
    /// Whether a header is done and its payload is not.
    pub(super) fn is_inside_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// The message whose fragments are arriving.
    pub(super) fn message_mut(&mut self) -> Option<&mut Message> {
        self.message.as_mut()
    }

    /// Bytes on the heap, this box among them.
    pub(super) fn held_size(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.bytes.capacity());
        size_of::<Assembly>() + self.control.capacity() + message
    }

    /// Whether a header is incomplete.
    pub(super) fn has_partial_header(&self) -> bool {
        self.header_size > 0
    }

    /// Keeps the start of a header: at most 13 bytes.
    pub(super) fn keep_header(&mut self, start: &[u8]) {
        self.header[..start.len()].copy_from_slice(start);
        self.header_size = u8::try_from(start.len()).expect("14 bytes would be a header");
    }

    /// Continues a header from earlier input; how much of this input it took.
    pub(super) fn complete_header(
        &mut self,
        input: &[u8],
        deflate: bool,
    ) -> Result<Option<(Head, usize)>, Fault> {
        let held = usize::from(self.header_size);
        let joined = (held + input.len()).min(HEADER_SIZE_MAX);
        self.header[held..joined].copy_from_slice(&input[..joined - held]);
        let parsed = header::parse(&self.header[..joined], deflate)?;
        let kept = if parsed.is_some() { 0 } else { joined };
        self.header_size = u8::try_from(kept).expect("14 bytes are a header");
        Ok(parsed.map(|(head, size)| (head, size - held)))
    }

    /// Starts a frame whose payload is to be gathered.
    pub(super) fn begin(&mut self, head: Head) {
        if matches!(head.opcode, Opcode::Text | Opcode::Binary) {
            self.message = Some(Message::new(&head));
        }
        self.frame = Some(Frame { head, received: 0 });
    }

    /// Takes what the input holds of the current frame's payload.
    pub(super) fn take(&mut self, input: &mut [u8]) -> Result<(usize, Payload), Fault> {
        let Frame { head, received } = self.frame.expect("begun before");
        let missing = head.payload_size - received as u64;
        let size = usize::try_from(missing).map_or(input.len(), |size| size.min(input.len()));
        let piece = &mut input[..size];
        mask::apply(head.mask, received, piece);
        if head.opcode.is_control() {
            self.control.extend_from_slice(piece);
        } else {
            self.message.as_mut().expect("admitted with a message").push(piece)?;
        }
        if (size as u64) < missing {
            self.frame = Some(Frame { head, received: received + size });
            return Ok((size, Payload::Partial));
        }
        self.frame = None;
        Ok((size, self.finish(&head)))
    }

    fn finish(&mut self, head: &Head) -> Payload {
        if head.opcode.is_control() {
            self.lent = Some(Lent::Control(head.opcode));
            return Payload::Whole;
        }
        if !head.fin {
            return Payload::Fragment;
        }
        self.lent = Some(Lent::Message);
        Payload::Whole
    }

    /// What is whole: its opcode, whether it is compressed, and its bytes.
    pub(super) fn lent(&self) -> Option<(Opcode, bool, &[u8])> {
        match self.lent? {
            Lent::Control(opcode) => Some((opcode, false, &self.control)),
            Lent::Message => {
                let message = self.message.as_ref()?;
                Some((message.opcode, message.compressed, &message.bytes))
            }
        }
    }

    /// Frees what was lent; whether nothing is left to keep.
    pub(super) fn release(&mut self) -> bool {
        match self.lent.take() {
            Some(Lent::Control(_)) => self.control = Vec::new(),
            Some(Lent::Message) => self.message = None,
            None => {}
        }
        self.header_size == 0 && self.frame.is_none() && self.message.is_none()
    }
}
