//! A request's head: what the request line and the header section say, borrowed from the bytes.
//!
//! `Index` remembers where things stand by 16-bit offsets, so that it survives a move of the bytes
//! (a head waiting for its body) and costs no allocation; `Head` is the view of both together.

use std::mem::MaybeUninit;

use http::{Method, Version};

use super::framing::{self, Facts, Framing, is_name};
use super::limits::Limits;
use super::scan;
use super::target::{self, RequestLine};
use crate::model::refusal::{Refusal, Refused};

/// Most header fields of one request; the next one is a 431.
pub const HEADERS_COUNT_MAX: usize = 64;

/// Bytes `start..start + size` of a head.
#[derive(Clone, Copy, Default, Debug)]
struct Span {
    start: u16,
    size: u16,
}

#[derive(Clone, Copy, Default, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// Which sizes the names of a head's fields have, modulo 64. Most fields that are asked for are
/// absent, and no name of their size is there: then no field has to be looked at.
#[derive(Clone, Copy, Default, Debug)]
struct NameSizes(u64);

impl NameSizes {
    fn note(&mut self, size: usize) {
        self.0 |= 1 << (size % 64);
    }

    fn may_have(self, size: usize) -> bool {
        self.0 >> (size % 64) & 1 == 1
    }
}

/// Where a valid head's parts stand in its bytes, and what follows from them.
#[derive(Clone, Debug)]
pub(super) struct Index {
    method: Method,
    version: Version,
    target: Span,
    path: Span,
    query: Span,
    facts: Facts,
    head_size: u16,
    fields_count: u8,
    name_sizes: NameSizes,
    fields: [Field; HEADERS_COUNT_MAX],
}

impl Default for Index {
    fn default() -> Index {
        Index {
            method: Method::GET,
            version: Version::HTTP_11,
            target: Span::default(),
            path: Span::default(),
            query: Span::default(),
            facts: Facts::default(),
            head_size: 0,
            fields_count: 0,
            name_sizes: NameSizes::default(),
            fields: [Field::default(); HEADERS_COUNT_MAX],
        }
    }
}

impl Index {
    /// Reads the head that `bytes` begin with, if it is there whole and nothing is wrong with it;
    /// its size and its target. In all other cases `scan` and `read` say what is the matter.
    pub(super) fn read_sound<'a>(
        &mut self,
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Option<(usize, &'a str)> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_COUNT_MAX];
        let mut request = httparse::Request::new(&mut []);
        let window = &bytes[..bytes.len().min(scan::line_size_max(limits))];
        let Ok(httparse::Status::Complete(size)) =
            request.parse_with_uninit_headers(window, &mut headers)
        else {
            return None;
        };
        let head = &bytes[..size];
        // httparse takes a bare LF for a line's end.
        if scan::has_bare_line_feed(head) {
            return None;
        }
        let line = target::request_line(&request, limits).ok()?;
        let facts = framing::facts(&line, request.headers).ok()?;
        let target = line.target;
        self.keep(head, line, facts, request.headers);
        Some((size, target))
    }

    /// Reads a whole head, through its empty line. On an error the index is as before.
    ///
    /// # Errors
    /// The first fault, in the order that `scan` describes.
    pub(super) fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Refused> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_COUNT_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
            // An empty line inside the head that only one of the two scanners sees.
            Ok(_) => return Err(bad("the head's end is ambiguous")),
            Err(error) => return Err(fault(bytes, error, limits)),
        }
        let line = target::request_line(&request, limits)?;
        let facts = framing::facts(&line, request.headers)?;
        self.keep(bytes, line, facts, request.headers);
        Ok(())
    }

    fn keep(
        &mut self,
        bytes: &[u8],
        line: RequestLine<'_>,
        facts: Facts,
        headers: &[httparse::Header<'_>],
    ) {
        self.target = span_of(bytes, line.target.as_bytes());
        self.path = span_of(bytes, line.path.as_bytes());
        self.query = span_of(bytes, line.query.as_bytes());
        self.method = line.method;
        self.version = line.version;
        self.facts = facts;
        // From here on every offset into the head is known to fit.
        self.head_size = offset(bytes.len());
        self.fields_count = 0;
        self.name_sizes = NameSizes::default();
        for (place, header) in self.fields.iter_mut().zip(headers) {
            place.name = span_of(bytes, header.name.as_bytes());
            place.value = span_of(bytes, header.value);
            self.name_sizes.note(header.name.len());
            self.fields_count += 1;
        }
    }

    /// Size of the head, through its empty line.
    pub(super) fn head_size(&self) -> usize {
        usize::from(self.head_size)
    }

    /// How the body is delimited.
    pub(super) fn framing(&self) -> Framing {
        self.facts.framing
    }

    /// The head that `bytes`, which it was read from, start with.
    pub(super) fn head<'a>(&'a self, bytes: &'a [u8]) -> Head<'a> {
        self.head_of(bytes, self.target(bytes))
    }

    /// The request target in the bytes that the head was read from.
    pub(super) fn target<'a>(&self, bytes: &'a [u8]) -> &'a str {
        text(bytes, self.target)
    }

    /// The head where its target is at hand, which spares checking that it is ASCII.
    pub(super) fn head_of<'a>(&'a self, bytes: &'a [u8], target: &'a str) -> Head<'a> {
        // Both are parts of the target, so they need no check of their own.
        let part = |span: Span| {
            let start = usize::from(span.start).saturating_sub(usize::from(self.target.start));
            &target[start..start + usize::from(span.size)]
        };
        let path = part(self.path);
        Head {
            method: &self.method,
            target,
            // RFC 9110 §4.2.3: an empty path is `/`.
            path: if path.is_empty() { "/" } else { path },
            query: part(self.query),
            version: self.version,
            headers: Headers {
                bytes,
                fields: &self.fields[..usize::from(self.fields_count)],
                name_sizes: self.name_sizes,
            },
            framing: self.facts.framing,
            keep_alive: self.facts.keep_alive,
            expects_continue: self.facts.expects_continue,
            wants_upgrade: self.facts.wants_upgrade,
        }
    }
}

/// A request's head.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// As sent; names are case-sensitive.
    pub method: &'a Method,
    /// The request target as sent: visible ASCII.
    pub target: &'a str,
    /// Its path, still percent-encoded; `*` for `OPTIONS *`, else it starts with `/`.
    pub path: &'a str,
    /// What follows `?`, still encoded; empty when there is none.
    pub query: &'a str,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The header fields in the order in which they were sent.
    pub headers: Headers<'a>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether another request may follow on this connection (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// `Expect: 100-continue` on a request that has a body.
    pub expects_continue: bool,
    /// `Connection: upgrade` with an Upgrade field, on HTTP/1.1.
    pub wants_upgrade: bool,
}

impl Head<'_> {
    /// What the response to this request must respect.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            keep_alive: self.keep_alive,
            head_only: *self.method == Method::HEAD,
            is_11: self.version == Version::HTTP_11,
        }
    }
}

/// What a response must respect of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The connection stays open after the response.
    pub keep_alive: bool,
    /// The request was HEAD: the response has headers only (RFC 9110 §9.3.2).
    pub head_only: bool,
    /// The peer speaks HTTP/1.1, else 1.0.
    pub is_11: bool,
}

impl Terms {
    /// The terms after which the connection closes, for a request that could not be read.
    pub const CLOSING: Terms = Terms { keep_alive: false, head_only: false, is_11: true };

    /// The same, with the connection closed after the response.
    #[must_use]
    pub const fn closing(self) -> Terms {
        Terms { keep_alive: false, ..self }
    }
}

/// The header fields of a request. Names are compared without regard to case; values have no
/// blanks around them and hold no control characters but tab.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
    name_sizes: NameSizes,
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.fields.len()
    }

    /// All of them as (name as sent, value).
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.fields.iter().map(move |field| (text(bytes, field.name), slice(bytes, field.value)))
    }

    /// The values of every field of this name, which has letters, digits and hyphens, in order.
    #[inline]
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        let is_named = move |field: &&Field| {
            usize::from(field.name.size) == name.len()
                && is_name(slice(bytes, field.name), name.as_bytes())
        };
        let fields = if self.name_sizes.may_have(name.len()) { self.fields } else { &[] };
        fields.iter().filter(is_named).map(move |field| slice(bytes, field.value))
    }

    /// The value of the first field of this name.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        if self.name_sizes.may_have(name.len()) { self.find(name) } else { None }
    }

    fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The first field of this name as text; `None` also where the value is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.get(name)?).ok()
    }

    /// The one field of this name as text, for fields of which two would be ambiguous.
    ///
    /// # Errors
    /// The field stands more than once, or its value is not UTF-8.
    #[inline]
    pub fn single(&self, name: &str) -> Result<Option<&'a str>, Refused> {
        if self.name_sizes.may_have(name.len()) { self.find_single(name) } else { Ok(None) }
    }

    fn find_single(&self, name: &str) -> Result<Option<&'a str>, Refused> {
        let mut values = self.get_all(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(bad(format!("{name} stands more than once")));
        }
        match str::from_utf8(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(bad(format!("{name} is not UTF-8"))),
        }
    }
}

/// Why httparse refused a head of which the line ends are right.
fn fault(bytes: &[u8], error: httparse::Error, limits: &Limits) -> Refused {
    let line_size = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    if let Err(refused) = target::check_line(&bytes[..line_size], limits) {
        return refused;
    }
    match error {
        httparse::Error::TooManyHeaders => Refused::new(
            Refusal::HeadersTooLarge,
            format!("the request has more than {HEADERS_COUNT_MAX} header fields"),
        ),
        httparse::Error::HeaderName => {
            bad("a header line does not start with a name and a colon (folded lines are refused)")
        }
        httparse::Error::HeaderValue => bad("a header value holds a control character"),
        _ => bad("the header section is malformed"),
    }
}

/// Where `part`, a piece of `bytes`, stands in them; the empty span for an empty part.
fn span_of(bytes: &[u8], part: &[u8]) -> Span {
    if part.is_empty() {
        return Span::default();
    }
    let start = part.as_ptr().addr() - bytes.as_ptr().addr();
    debug_assert!(start + part.len() <= bytes.len() && u16::try_from(bytes.len()).is_ok());
    #[expect(clippy::cast_possible_truncation, reason = "parts of what `offset` has taken")]
    Span { start: start as u16, size: part.len() as u16 }
}

fn offset(size: usize) -> u16 {
    u16::try_from(size).expect("Limits::head_size_max keeps heads under 64 KiB")
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    &bytes[usize::from(span.start)..][..usize::from(span.size)]
}

/// Names and targets were checked to be ASCII when the head was read.
fn text(bytes: &[u8], span: Span) -> &str {
    str::from_utf8(slice(bytes, span)).expect("checked to be ASCII when the head was read")
}

fn bad(detail: impl Into<String>) -> Refused {
    Refused::new(Refusal::BadRequest, detail)
}
