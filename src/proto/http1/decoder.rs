//! Bytes of one connection → requests.
//!
//! A request that lies whole in one read is handed out as it lies there: no copy, no allocation.
//! Anything else is kept by the decoder, head and body in one buffer, until it is whole; then the
//! buffer moves to the shard's `Scratch`, so that a decoder without a partial request holds nothing.
//!
//! Invariants: every byte given is consumed or stands behind a whole request; the requests found do
//! not depend on how reads divided the bytes; after a refusal, and after a request that does not
//! keep the connection, everything that follows is discarded unread (RFC 9112 §9.6).

use super::chunked::Chunked;
use super::framing::{Framing, is_token_byte};
use super::head::{Head, Index, Terms};
use super::held::Held;
use super::limits::{Limits, SizeLimit};
use super::partial::{PartialBody, PartialHead, Transfer};
use super::scan;
use crate::model::refusal::{Refusal, Refused};

/// Empty lines before a request line that are skipped (RFC 9112 §2.2); the next one is refused.
const BLANK_LINES_COUNT_MAX: u8 = 2;

/// A whole request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Request line and headers.
    pub head: Head<'a>,
    /// The content, without its transfer coding.
    pub body: &'a [u8],
    head_bytes: &'a [u8],
    index: &'a Index,
}

impl<'a> Request<'a> {
    pub(super) fn new(head_bytes: &'a [u8], index: &'a Index, body: &'a [u8]) -> Request<'a> {
        Request { head: index.head(head_bytes), body, head_bytes, index }
    }

    /// A copy that can be served later.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held::new(self.head_bytes, self.index, self.body)
    }
}

/// What a call found.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// Everything was consumed; the request is not whole yet.
    NeedMore,
    /// The peer waits for [`CONTINUE`](super::CONTINUE) before it sends the body. Write it, go on.
    Continue,
    /// A request. More may stand behind it in the input.
    Request(Request<'a>),
    /// No request. Answer on these terms, then close the connection.
    Refused(Refused, Terms),
}

/// Where a connection stands, for its timeouts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Between requests: nothing is held.
    Idle,
    /// A head has begun and has not ended.
    Head,
    /// The head is whole, the body is not.
    Body,
    /// No further request will be read.
    Ended,
}

/// What decoders of one thread share: the last request's index and, if it came in pieces, its bytes.
/// Holds at most one request, until the next call or [`Scratch::release`].
#[derive(Debug, Default)]
pub struct Scratch {
    index: Index,
    whole: Option<Box<PartialBody>>,
}

impl Scratch {
    /// Frees the last request's bytes.
    pub fn release(&mut self) {
        self.whole = None;
    }
}

/// One connection's decoder: 16 bytes, and a buffer only while a request is incomplete.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Idle { blank_lines_count: u8 },
    Head(Box<PartialHead>),
    Body(Box<PartialBody>),
    Ended,
}

impl Default for State {
    fn default() -> State {
        State::Idle { blank_lines_count: 0 }
    }
}

/// A refusal on its way out, with the terms as far as they are known.
struct Failure {
    refused: Refused,
    terms: Terms,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        Failure { refused, terms: Terms::CLOSING }
    }
}

type Step<'a> = Result<(usize, Decoded<'a>), Failure>;

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub const fn new() -> Decoder {
        Decoder { state: State::Idle { blank_lines_count: 0 } }
    }

    /// Where the connection stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.state {
            State::Idle { .. } => Progress::Idle,
            State::Head(_) => Progress::Head,
            State::Body(_) => Progress::Body,
            State::Ended => Progress::Ended,
        }
    }

    /// Whether no partial request is held.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.progress() == Progress::Idle
    }

    /// Bytes of memory held for a partial request.
    #[must_use]
    pub fn buffered_size(&self) -> usize {
        match &self.state {
            State::Idle { .. } | State::Ended => 0,
            State::Head(head) => size_of::<PartialHead>() + head.bytes.capacity(),
            State::Body(body) => size_of::<PartialBody>() + body.bytes.capacity(),
        }
    }

    /// Takes the next bytes of the connection; says how many it consumed and what they make.
    ///
    /// Returns after one request: call again with the rest while there is one. `admit` is called
    /// once per request, as soon as its head is whole and before any of its body is taken; it says
    /// how large a body may be, or refuses the request, upon which the connection must close.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
        scratch: &'a mut Scratch,
        limits: &Limits,
        admit: impl FnOnce(&Head<'_>) -> Result<SizeLimit, Refused>,
    ) -> (usize, Decoded<'a>) {
        scratch.release();
        // Every path that does not say otherwise, thus every refusal, ends the connection.
        let step = match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle { blank_lines_count } => {
                self.start(blank_lines_count, input, scratch, limits, admit)
            }
            State::Head(head) => self.resume_head(head, input, scratch, limits, admit),
            State::Body(body) => self.resume_body(body, input, scratch),
            State::Ended => Ok((input.len(), Decoded::NeedMore)),
        };
        step.unwrap_or_else(|failure| {
            (input.len(), Decoded::Refused(failure.refused, failure.terms.closing()))
        })
    }

    /// At the start of a request, or of an empty line before one.
    fn start<'a>(
        &mut self,
        mut blank_lines_count: u8,
        input: &'a [u8],
        scratch: &'a mut Scratch,
        limits: &Limits,
        admit: impl FnOnce(&Head<'_>) -> Result<SizeLimit, Refused>,
    ) -> Step<'a> {
        let mut rest = input;
        while let Some(after) = rest.strip_prefix(b"\r\n") {
            blank_lines_count = one_more_blank_line(blank_lines_count)?;
            rest = after;
        }
        match rest {
            [] => {
                self.state = State::Idle { blank_lines_count };
                return Ok((input.len(), Decoded::NeedMore));
            }
            [first, ..] if !is_token_byte(*first) && rest != b"\r" => {
                return Err(no_method().into());
            }
            _ => {}
        }
        let Some((head_size, target)) = read_head(&mut scratch.index, rest, limits)? else {
            let bytes = rest.to_vec();
            self.state = State::Head(Box::new(PartialHead { bytes, blank_lines_count }));
            return Ok((input.len(), Decoded::NeedMore));
        };
        let (head, rest) = rest.split_at(head_size);
        let body_size = match scratch.index.framing() {
            Framing::None => Some(0),
            Framing::Length(size) => usize::try_from(size).ok().filter(|size| *size <= rest.len()),
            Framing::Chunked => None,
        };
        let before_body = input.len() - rest.len();
        let Some(body_size) = body_size else {
            let limit = check_in(&scratch.index.head_of(head, target), admit)?;
            return self.await_body(head.to_vec(), limit, rest, before_body, scratch);
        };
        let (index, body) = (&scratch.index, &rest[..body_size]);
        let request = Request { head: index.head_of(head, target), body, head_bytes: head, index };
        check_in(&request.head, admit)?;
        Ok(self.finish(before_body + body_size, request))
    }

    fn resume_head<'a>(
        &mut self,
        mut head: Box<PartialHead>,
        input: &'a [u8],
        scratch: &'a mut Scratch,
        limits: &Limits,
        admit: impl FnOnce(&Head<'_>) -> Result<SizeLimit, Refused>,
    ) -> Step<'a> {
        if head.bytes == b"\r" && !input.is_empty() {
            let after = input.strip_prefix(b"\n").ok_or_else(no_method)?;
            let blank_lines_count = one_more_blank_line(head.blank_lines_count)?;
            let (consumed, decoded) =
                self.start(blank_lines_count, after, scratch, limits, admit)?;
            return Ok((consumed + 1, decoded));
        }
        let held_size = head.bytes.len();
        let room = limits.head_size_max().saturating_sub(held_size);
        head.bytes.extend_from_slice(&input[..input.len().min(room)]);
        let Some(head_size) = scan::head_size(&head.bytes, held_size, limits)? else {
            self.state = State::Head(head);
            return Ok((input.len(), Decoded::NeedMore));
        };
        head.bytes.truncate(head_size);
        scratch.index.read(&head.bytes, limits)?;
        let limit = check_in(&scratch.index.head(&head.bytes), admit)?;
        let (end_of_head, rest) = input.split_at(head_size - held_size);
        self.await_body(head.bytes, limit, rest, end_of_head.len(), scratch)
    }

    /// Goes on with a head that the decoder keeps, `consumed` bytes of the input being taken.
    fn await_body<'a>(
        &mut self,
        head: Vec<u8>,
        limit: SizeLimit,
        rest: &'a [u8],
        consumed: usize,
        scratch: &'a mut Scratch,
    ) -> Step<'a> {
        let index = std::mem::take(&mut scratch.index);
        // RFC 9110 §10.1.1: no interim response once some of the content is here.
        let wants_continue = rest.is_empty() && index.head(&head).expects_continue;
        let transfer = match index.framing() {
            Framing::None => Transfer::Length(0),
            Framing::Length(size) => {
                Transfer::Length(usize::try_from(size).expect("the limit, a usize, admitted it"))
            }
            Framing::Chunked => Transfer::Chunked(Chunked::default()),
        };
        let body = Box::new(PartialBody { bytes: head, index, limit, transfer });
        let (taken, decoded) = self.resume_body(body, rest, scratch)?;
        match decoded {
            Decoded::NeedMore if wants_continue => Ok((consumed + taken, Decoded::Continue)),
            decoded => Ok((consumed + taken, decoded)),
        }
    }

    fn resume_body<'a>(
        &mut self,
        mut body: Box<PartialBody>,
        input: &'a [u8],
        scratch: &'a mut Scratch,
    ) -> Step<'a> {
        let (taken, is_whole) = body.take(input)?;
        if !is_whole {
            self.state = State::Body(body);
            return Ok((taken, Decoded::NeedMore));
        }
        let body = &*scratch.whole.insert(body);
        let (head, content) = body.bytes.split_at(body.index.head_size());
        Ok(self.finish(taken, Request::new(head, &body.index, content)))
    }

    #[inline]
    fn finish<'a>(&mut self, consumed: usize, request: Request<'a>) -> (usize, Decoded<'a>) {
        if request.head.keep_alive {
            self.state = State::default();
        }
        (consumed, Decoded::Request(request))
    }
}

/// Reads the head that `bytes` begin with into `index`; its size and its target, `None` while it is
/// not whole.
fn read_head<'a>(
    index: &mut Index,
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<Option<(usize, &'a str)>, Refused> {
    if let Some(sound) = index.read_sound(bytes, limits) {
        return Ok(Some(sound));
    }
    if bytes == b"\r" {
        return Ok(None);
    }
    let Some(size) = scan::head_size(bytes, 0, limits)? else { return Ok(None) };
    index.read(&bytes[..size], limits)?;
    Ok(Some((size, index.target(bytes))))
}

/// Has a request admitted whose head is whole.
fn check_in(
    head: &Head<'_>,
    admit: impl FnOnce(&Head<'_>) -> Result<SizeLimit, Refused>,
) -> Result<SizeLimit, Failure> {
    let admitted = admit(head).and_then(|limit| match head.framing {
        Framing::Length(size) => limit.check(size).map(|()| limit),
        Framing::None | Framing::Chunked => Ok(limit),
    });
    admitted.map_err(|refused| Failure { refused, terms: head.terms() })
}

fn no_method() -> Refused {
    bad("a request does not start with a method")
}

fn one_more_blank_line(count: u8) -> Result<u8, Refused> {
    if count == BLANK_LINES_COUNT_MAX {
        return Err(bad("empty lines stand before the request line"));
    }
    Ok(count + 1)
}

fn bad(detail: &str) -> Refused {
    Refused::new(Refusal::BadRequest, detail)
}
