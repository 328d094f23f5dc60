//! Writes responses: appends to a buffer that the caller reuses, allocating nothing of its own
//! (unless a value has to be cleaned of control characters).
//!
//! The status line, Date, and what frames the message (Content-Length, Connection,
//! Transfer-Encoding) are written here and nowhere else; all other fields are the caller's.

use http::StatusCode;

use super::date::Date;
use super::head::Terms;

/// The interim response to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How a response without a known length is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamFraming {
    /// By the end of the connection.
    UntilClose,
    /// By chunks: send content through [`chunk`] and end with [`last_chunk`].
    Chunked,
}

/// A response whose head is being written. Ends with one of `finish`, `finish_empty`, `stream` and
/// `switch_protocols`; dropped before, it leaves an unfinished head in the buffer.
#[must_use = "the head is not complete"]
#[derive(Debug)]
pub struct Response<'o> {
    out: &'o mut Vec<u8>,
    status: StatusCode,
    terms: Terms,
}

impl<'o> Response<'o> {
    /// Writes the status line and Date.
    pub fn start(
        out: &'o mut Vec<u8>,
        status: StatusCode,
        terms: Terms,
        date: &Date,
    ) -> Response<'o> {
        // The version is the server's own, whatever the request's was (RFC 9110 §6.2).
        if status == StatusCode::OK {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\nDate: ");
        } else {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.push(b' ');
            out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
            out.extend_from_slice(b"\r\nDate: ");
        }
        out.extend_from_slice(date.as_bytes());
        out.extend_from_slice(b"\r\n");
        Response { out, status, terms }
    }

    /// Writes one field. Control characters in the value become spaces (RFC 9110 §5.5), so that no
    /// value can add a line; the name is the program's own.
    pub fn header(self, name: &str, value: &str) -> Response<'o> {
        debug_assert!(super::framing::is_token(name.as_bytes()), "a field name is a token");
        let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
        if value.bytes().fold(false, |any, byte| any | is_control(byte)) {
            let cleaned = value.replace(|c: char| c.is_ascii() && is_control(c as u8), " ");
            return self.field(name, &cleaned);
        }
        self.field(name, value)
    }

    /// Writes one field with a decimal value.
    pub fn header_number(self, name: &str, value: u64) -> Response<'o> {
        let mut buffer = itoa::Buffer::new();
        self.field(name, buffer.format(value))
    }

    #[inline]
    fn field(self, name: &str, value: &str) -> Response<'o> {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Ends the head and writes the content; after a HEAD request its length only.
    #[inline]
    pub fn finish(self, content_type: &'static str, body: &[u8]) {
        let head_only = self.terms.head_only;
        let out = self.finish_apart(content_type, body.len());
        if !head_only {
            out.extend_from_slice(body);
        }
    }

    /// Ends the head of a response whose content, of `body_size` bytes, the caller adds.
    #[inline]
    pub(super) fn finish_apart(
        self,
        content_type: &'static str,
        body_size: usize,
    ) -> &'o mut Vec<u8> {
        self.field("Content-Type", content_type)
            .header_number("Content-Length", body_size as u64)
            .end_head()
    }

    /// Ends a response without content: `Content-Length: 0`, or none where the status allows none
    /// (RFC 9110 §8.6).
    pub fn finish_empty(self) {
        let has_length = !self.status.is_informational()
            && self.status != StatusCode::NO_CONTENT
            && self.status != StatusCode::NOT_MODIFIED;
        if has_length { self.header_number("Content-Length", 0) } else { self }.end_head();
    }

    /// Ends the head of a response of unknown length; says how it is delimited. Chunks need an
    /// HTTP/1.1 peer (RFC 9112 §7.1): an older one gets a stream until close. After
    /// [`StreamFraming::UntilClose`], and after a HEAD request, the caller closes or goes on
    /// without content respectively.
    pub fn stream(mut self, content_type: &'static str, wanted: StreamFraming) -> StreamFraming {
        let framing = if self.terms.is_11 { wanted } else { StreamFraming::UntilClose };
        match framing {
            StreamFraming::UntilClose => {
                self.terms = self.terms.closing();
                self.header("Content-Type", content_type).end_head();
            }
            StreamFraming::Chunked => {
                self.header("Content-Type", content_type)
                    .header("Transfer-Encoding", "chunked")
                    .end_head();
            }
        }
        framing
    }

    /// Ends the head of a 101 response (RFC 9110 §15.2.2): Connection names the upgrade.
    pub fn switch_protocols(self, protocol: &str) {
        let response = self.header("Upgrade", protocol).header("Connection", "Upgrade");
        response.out.extend_from_slice(b"\r\n");
    }

    fn end_head(self) -> &'o mut Vec<u8> {
        let Terms { keep_alive, is_11, .. } = self.terms;
        // Only what differs from the peer's default is said (RFC 9112 §9.3).
        let connection: &[u8] = match (keep_alive, is_11) {
            (false, _) => b"Connection: close\r\n\r\n",
            (true, false) => b"Connection: keep-alive\r\n\r\n",
            (true, true) => b"\r\n",
        };
        self.out.extend_from_slice(connection);
        self.out
    }
}

/// Appends one chunk; nothing for empty content, which would end the body (RFC 9112 §7.1).
pub fn chunk(out: &mut Vec<u8>, content: &[u8]) {
    if content.is_empty() {
        return;
    }
    let digits_count = (usize::BITS - content.len().leading_zeros()).div_ceil(4);
    for digit in (0..digits_count).rev() {
        out.push(b"0123456789abcdef"[content.len() >> (4 * digit) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Terms = Terms { keep_alive: true, head_only: false, is_11: true };

    fn check(write: impl FnOnce(&mut Vec<u8>, &Date), expected: &str) {
        let mut out = b"before|".to_vec();
        write(&mut out, &Date::new(0));
        let expected = expected.replace("DATE", "Date: Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(String::from_utf8(out), Ok(format!("before|{expected}")));
    }

    #[test]
    fn content_has_its_length() {
        check(
            |out, date| {
                Response::start(out, StatusCode::OK, KEEP, date)
                    .header("Cache-Control", "no-store")
                    .finish("text/plain", b"hello");
            },
            "HTTP/1.1 200 OK\r\nDATE\r\nCache-Control: no-store\r\nContent-Type: text/plain\r\n\
             Content-Length: 5\r\n\r\nhello",
        );
    }

    #[test]
    fn a_head_request_gets_the_length_alone_and_an_old_client_is_told_to_stay() {
        let terms = Terms { head_only: true, is_11: false, ..KEEP };
        check(
            |out, date| {
                Response::start(out, StatusCode::CREATED, terms, date).finish("a/b", b"hello");
            },
            "HTTP/1.1 201 Created\r\nDATE\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\
             Connection: keep-alive\r\n\r\n",
        );
    }

    #[test]
    fn empty_responses_have_a_length_unless_their_status_forbids_it() {
        check(
            |out, date| Response::start(out, StatusCode::NO_CONTENT, KEEP, date).finish_empty(),
            "HTTP/1.1 204 No Content\r\nDATE\r\n\r\n",
        );
        check(
            |out, date| {
                Response::start(out, StatusCode::ACCEPTED, KEEP.closing(), date).finish_empty();
            },
            "HTTP/1.1 202 Accepted\r\nDATE\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }

    #[test]
    fn streams_are_chunked_only_for_those_who_can() {
        for (is_11, wanted, framing, end) in [
            (true, StreamFraming::Chunked, StreamFraming::Chunked, "Transfer-Encoding: chunked"),
            (true, StreamFraming::UntilClose, StreamFraming::UntilClose, "Connection: close"),
            (false, StreamFraming::Chunked, StreamFraming::UntilClose, "Connection: close"),
        ] {
            check(
                |out, date| {
                    let response =
                        Response::start(out, StatusCode::OK, Terms { is_11, ..KEEP }, date);
                    assert_eq!(response.stream("text/event-stream", wanted), framing);
                },
                &format!(
                    "HTTP/1.1 200 OK\r\nDATE\r\nContent-Type: text/event-stream\r\n{end}\r\n\r\n"
                ),
            );
        }
    }

    #[test]
    fn switching_protocols_says_so_once() {
        check(
            |out, date| {
                Response::start(out, StatusCode::SWITCHING_PROTOCOLS, KEEP, date)
                    .header("Sec-WebSocket-Accept", "x")
                    .switch_protocols("websocket");
            },
            "HTTP/1.1 101 Switching Protocols\r\nDATE\r\nSec-WebSocket-Accept: x\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        );
    }

    #[test]
    fn a_value_cannot_add_a_line() {
        check(
            |out, date| {
                Response::start(out, StatusCode::OK, KEEP, date)
                    .header("X", "a\r\nSet-Cookie: b\0\x7f\tc é")
                    .finish_empty();
            },
            "HTTP/1.1 200 OK\r\nDATE\r\nX: a  Set-Cookie: b  \tc é\r\nContent-Length: 0\r\n\r\n",
        );
    }

    #[test]
    fn chunks_carry_their_size_in_hexadecimal() {
        let mut out = Vec::new();
        chunk(&mut out, b"");
        chunk(&mut out, b"a");
        chunk(&mut out, &[b'x'; 0x1a0]);
        last_chunk(&mut out);
        let expected = format!("1\r\na\r\n1a0\r\n{}\r\n0\r\n\r\n", "x".repeat(0x1a0));
        assert_eq!(String::from_utf8(out), Ok(expected));
    }
}
