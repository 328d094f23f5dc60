//! Frames in, messages out: the incremental decoder of one connection.
//!
//! Data flow: fresh bytes → header → unmask in place → a message that is whole and alone in the
//! input is lent as a slice of it; anything else is gathered in [`Assembly`] → inflate → UTF-8 →
//! [`Event`].
//!
//! Invariants: between messages a reader is 16 bytes and holds no buffer; nothing is copied or
//! allocated for a message that lies whole in the input; after a close or a failure every further
//! byte is swallowed.

use std::ops::Range;

use super::assembly::{Assembly, Payload};
use super::closing::is_wire_code;
use super::fault::Fault;
use super::header::{self, Head};
use super::inflate::{InflateError, Inflater};
use super::mask;
use super::opcode::Opcode;
use crate::model::close::Close;

/// What one message may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest message in bytes, after inflating; over it the connection is failed with 1009, at
    /// the header that announces it. In any number of fragments, an empty one counting as 1 byte.
    pub message_size_max: usize,
}

/// How many empty fragments one message may have that count for nothing (see [`Limits`]).
const EMPTY_FRAGMENTS_FREE: usize = 1024;

impl Limits {
    /// Most bytes that a message may have on the wire.
    ///
    /// A compressed message may be larger than what it inflates to; the margin is zlib's bound for
    /// its least favourable parameters, so that no honest encoder meets it.
    fn wire_size_max(self, compressed: bool) -> usize {
        let max = self.message_size_max;
        if compressed { max.saturating_add(max / 8 + max / 64 + 64) } else { max }
    }
}

/// What came of the bytes read so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// All input is used up and nothing is complete.
    NeedMore,
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping of at most 125 bytes; a pong with the same bytes is owed.
    Ping(&'a [u8]),
    /// A pong of at most 125 bytes.
    Pong(&'a [u8]),
    /// The peer closes, with a code that may travel and a reason, or with neither.
    Close(Option<(u16, &'a str)>),
    /// The peer broke a rule: send this and close the connection (RFC 6455 §7.1.7).
    Fail(Close),
}

/// The decoder of one connection; see the module's header.
#[derive(Debug)]
pub struct Reader {
    assembly: Option<Box<Assembly>>,
    deflate: bool,
    ended: bool,
}

/// What a pass over the input found; where its payload lies, if it found a whole one.
enum Found {
    Nothing,
    InInput { head: Head, payload: Range<usize> },
    Assembled,
}

impl Reader {
    /// A reader for a connection just upgraded; `deflate` is whether permessage-deflate was
    /// negotiated.
    pub const fn new(deflate: bool) -> Reader {
        Reader { assembly: None, deflate, ended: false }
    }

    /// Reads `input` up to the end of the next event; how many bytes that took.
    ///
    /// Call it with the rest until [`Event::NeedMore`], which always takes all and is also what
    /// frees the memory of the message before. The input is unmasked in place: its contents are
    /// unspecified afterwards. The message lent lives in the input, the reader or the inflater.
    pub fn read<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> (usize, Event<'a>) {
        let limits = *limits;
        if self.ended {
            self.assembly = None;
            return (input.len(), Event::NeedMore);
        }
        self.release();
        let (used, event) = match self.advance(input, limits) {
            Ok((used, found)) => {
                let assembly = self.assembly.as_deref();
                (used, event(found, input, assembly, limits, inflater))
            }
            Err(fault) => (input.len(), Err(fault)),
        };
        let event = event.unwrap_or_else(|fault| Event::Fail(fault.close()));
        self.ended = matches!(event, Event::Close(_) | Event::Fail(_));
        (used, event)
    }

    /// Whether the peer closed or was failed, so that nothing more will come out.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Bytes held on the heap for this connection now; 0 between messages.
    pub fn held_size(&self) -> usize {
        self.assembly.as_deref().map_or(0, Assembly::held_size)
    }

    /// Frees what the last event lent.
    fn release(&mut self) {
        if let Some(assembly) = &mut self.assembly
            && assembly.release()
        {
            self.assembly = None;
        }
    }

    /// Works through the input up to the first whole message or control frame.
    fn advance(&mut self, input: &mut [u8], limits: Limits) -> Result<(usize, Found), Fault> {
        let mut used = 0;
        loop {
            if !self.inside_frame() {
                let Some((head, taken)) = self.take_head(&input[used..])? else {
                    return Ok((input.len(), Found::Nothing));
                };
                used += taken;
                self.admit(&head, limits)?;
                if let Some(payload) = Self::whole(&head, used, input.len()) {
                    mask::apply(head.mask, 0, &mut input[payload.clone()]);
                    return Ok((payload.end, Found::InInput { head, payload }));
                }
                self.assembly_mut().begin(head);
            }
            let (taken, state) = self.assembly_mut().take(&mut input[used..])?;
            used += taken;
            match state {
                Payload::Partial => return Ok((used, Found::Nothing)),
                Payload::Fragment => {}
                Payload::Whole => return Ok((used, Found::Assembled)),
            }
        }
    }

    fn inside_frame(&self) -> bool {
        self.assembly.as_deref().is_some_and(Assembly::is_inside_frame)
    }

    fn assembly_mut(&mut self) -> &mut Assembly {
        self.assembly.get_or_insert_default()
    }

    /// Reads a header that may have begun in earlier input; how much of this input it took. An
    /// incomplete one is kept, and has then taken all.
    fn take_head(&mut self, input: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
        if let Some(assembly) = &mut self.assembly
            && assembly.has_partial_header()
        {
            return assembly.complete_header(input, self.deflate);
        }
        let parsed = header::parse(input, self.deflate)?;
        if parsed.is_none() && !input.is_empty() {
            self.assembly_mut().keep_header(input);
        }
        Ok(parsed)
    }

    /// Checks a header against the message under way and the limits.
    fn admit(&mut self, head: &Head, limits: Limits) -> Result<(), Fault> {
        if head.opcode.is_control() {
            return Ok(());
        }
        let message = self.assembly.as_deref_mut().and_then(Assembly::message_mut);
        match (head.opcode, message) {
            (Opcode::Continuation, None) => Err(Fault::NothingToContinue),
            (Opcode::Continuation, Some(message)) => {
                let wire_size_max = limits.wire_size_max(message.compressed);
                check_size(message.bytes.len(), head, wire_size_max, limits)?;
                message.empty_count += usize::from(head.payload_size == 0);
                if message.empty_count + message.bytes.len() > wire_size_max + EMPTY_FRAGMENTS_FREE
                {
                    return Err(Fault::EmptyFragments);
                }
                Ok(())
            }
            (_, Some(_)) => Err(Fault::MessageInterrupted),
            (_, None) => check_size(0, head, limits.wire_size_max(head.compressed), limits),
        }
    }

    /// Where the frame's payload lies in the input, if all of it does and it stands alone.
    fn whole(head: &Head, start: usize, input_size: usize) -> Option<Range<usize>> {
        let alone = head.opcode.is_control() || (head.fin && head.opcode != Opcode::Continuation);
        let size = usize::try_from(head.payload_size).ok()?;
        let end = start.checked_add(size)?;
        (alone && end <= input_size).then_some(start..end)
    }
}

fn check_size(held: usize, head: &Head, wire_size_max: usize, limits: Limits) -> Result<(), Fault> {
    let size = head.payload_size.saturating_add(held as u64);
    if size > wire_size_max as u64 {
        return Err(Fault::TooBig { size, size_max: limits.message_size_max });
    }
    Ok(())
}

/// Turns what was found into what the caller sees.
fn event<'a>(
    found: Found,
    input: &'a [u8],
    assembly: Option<&'a Assembly>,
    limits: Limits,
    inflater: &'a mut Inflater,
) -> Result<Event<'a>, Fault> {
    let (opcode, compressed, payload) = match found {
        Found::Nothing => return Ok(Event::NeedMore),
        Found::InInput { head, payload } => (head.opcode, head.compressed, &input[payload]),
        Found::Assembled => assembly.and_then(Assembly::lent).expect("it was just assembled"),
    };
    let payload = if compressed { inflate(payload, limits, inflater)? } else { payload };
    match opcode {
        Opcode::Text => text(payload).ok_or(Fault::Text).map(Event::Text),
        Opcode::Binary => Ok(Event::Binary(payload)),
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        Opcode::Close => close(payload).map(Event::Close),
        Opcode::Continuation => unreachable!("a message is named by its first frame"),
    }
}

fn inflate<'a>(
    payload: &[u8],
    limits: Limits,
    inflater: &'a mut Inflater,
) -> Result<&'a [u8], Fault> {
    inflater.inflate(payload, limits.message_size_max).map_err(|error| match error {
        InflateError::TooBig => Fault::InflatesTooBig { size_max: limits.message_size_max },
        InflateError::Corrupt => Fault::Deflate,
    })
}

fn text(payload: &[u8]) -> Option<&str> {
    std::str::from_utf8(payload).ok()
}

/// A close frame's payload (RFC 6455 §5.5.1).
fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, Fault> {
    match *payload {
        [] => Ok(None),
        [_] => Err(Fault::CloseTooShort),
        [high, low, ref reason @ ..] => {
            let code = u16::from_be_bytes([high, low]);
            if !is_wire_code(code) {
                return Err(Fault::CloseCode(code));
            }
            Ok(Some((code, text(reason).ok_or(Fault::CloseReason)?)))
        }
    }
}
