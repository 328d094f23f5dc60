//! What the header fields say of the message: its body's length, its host, its connection.
//!
//! RFC 9112 §6 lets a server repair some contradictions (equal Content-Lengths, a Transfer-Encoding
//! beside one). Every repair is a guess that a proxy may make differently, so all are refused.

use http::Version;
use httparse::Header;

use super::target::RequestLine;
use crate::model::refusal::{Refusal, Refused};

/// How a request's body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// Neither Content-Length nor Transfer-Encoding: there is no body.
    #[default]
    None,
    /// Content-Length, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The facts of a head that decide how it is handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Facts {
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) wants_upgrade: bool,
}

/// The fields that matter here, each at most once where only one makes sense.
#[derive(Default)]
struct Collected<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    connection: ConnectionOptions,
    has_upgrade: bool,
    expects_continue: bool,
}

/// The connection options that count here (RFC 9110 §7.6.1).
#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// Reads the facts.
///
/// # Errors
/// Anything that is ambiguous or not served; see the functions below.
pub(super) fn facts(line: &RequestLine<'_>, headers: &[Header<'_>]) -> Result<Facts, Refused> {
    let mut collected = Collected::default();
    for header in headers {
        collected.take(header)?;
    }
    check_host(line, collected.host)?;
    let is_11 = line.version == Version::HTTP_11;
    let framing = framing(is_11, collected.content_length, collected.transfer_encoding)?;
    let connection = &collected.connection;
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    Ok(Facts {
        framing,
        // RFC 9112 §9.3: the default of each version, `close` before all else.
        keep_alive: !connection.close && (is_11 || connection.keep_alive),
        // RFC 9110 §10.1.1: an HTTP/1.0 client does not know the interim response.
        expects_continue: collected.expects_continue && is_11 && has_body,
        // RFC 9110 §7.8: Upgrade counts when Connection names it, and never on HTTP/1.0.
        wants_upgrade: collected.has_upgrade && connection.upgrade && is_11,
    })
}

impl<'a> Collected<'a> {
    fn take(&mut self, header: &Header<'a>) -> Result<(), Refused> {
        let is = |name: &str| is_name(header.name.as_bytes(), name.as_bytes());
        // The length decides first: most fields are none of these and cost one comparison.
        match header.name.len() {
            4 if is("host") => once(&mut self.host, header),
            6 if is("expect") => self.take_expect(header.value),
            7 if is("upgrade") => {
                self.has_upgrade = true;
                Ok(())
            }
            10 if is("connection") => {
                self.take_connection(header.value);
                Ok(())
            }
            14 if is("content-length") => once(&mut self.content_length, header),
            17 if is("transfer-encoding") => once(&mut self.transfer_encoding, header),
            _ => Ok(()),
        }
    }

    fn take_expect(&mut self, value: &[u8]) -> Result<(), Refused> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refused::new(
                Refusal::ExpectationFailed,
                "Expect holds something else than 100-continue",
            ));
        }
        self.expects_continue = true;
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.connection.close |= option.eq_ignore_ascii_case(b"close");
            self.connection.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.connection.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

/// Whether a field's name, a token (RFC 9110 §5.6.2), is `name` without regard to case. `name` has
/// letters, digits and hyphens: of all that a token may hold only these become them by one bit.
#[inline]
pub(super) fn is_name(token: &[u8], name: &[u8]) -> bool {
    const CASE: u64 = 0x2020_2020_2020_2020;
    debug_assert!(name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-'));
    if token.len() != name.len() {
        return false;
    }
    let is_word =
        |a: &[u8; 8], b: &[u8; 8]| u64::from_ne_bytes(*a) | CASE == u64::from_ne_bytes(*b) | CASE;
    // The last word may overlap the one before it, so that no rest is left.
    match (token.last_chunk(), name.last_chunk()) {
        (Some(last), Some(name_last)) => {
            let words = token.as_chunks().0.iter().zip(name.as_chunks().0);
            is_word(last, name_last) && { words }.all(|(a, b)| is_word(a, b))
        }
        _ => token.iter().zip(name).all(|(a, b)| a | 0x20 == b | 0x20),
    }
}

/// Keeps a field of which a second one, even an equal one, makes the message ambiguous.
fn once<'a>(place: &mut Option<&'a [u8]>, header: &Header<'a>) -> Result<(), Refused> {
    if place.replace(header.value).is_some() {
        return Err(bad(format!("{} stands more than once", header.name)));
    }
    Ok(())
}

fn framing(
    is_11: bool,
    content_length: Option<&[u8]>,
    transfer_encoding: Option<&[u8]>,
) -> Result<Framing, Refused> {
    match (content_length, transfer_encoding) {
        (None, None) => Ok(Framing::None),
        (Some(length), None) => length_of(length).map(Framing::Length),
        (Some(_), Some(_)) => Err(bad("Content-Length stands beside Transfer-Encoding")),
        // RFC 9112 §6.1: such a message's framing is faulty.
        (None, Some(_)) if !is_11 => Err(bad("Transfer-Encoding stands in an HTTP/1.0 request")),
        (None, Some(coding)) => chunked_only(coding).map(|()| Framing::Chunked),
    }
}

/// As many decimal digits fit 64 bits whatever they are.
const DIGITS_SAFE: usize = 19;

/// `1*DIGIT` (RFC 9110 §8.6): no sign, no list, no blanks.
fn length_of(value: &[u8]) -> Result<u64, Refused> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad("Content-Length is not a decimal number"));
    }
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    if value.len() < DIGITS_SAFE {
        return Ok(digits.fold(0, |sum, digit| sum * 10 + digit));
    }
    { digits }
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(digit))
        .ok_or_else(|| bad("Content-Length is over 64 bits"))
}

fn chunked_only(value: &[u8]) -> Result<(), Refused> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_list_of_tokens =
        value.split(|byte| *byte == b',').all(|coding| is_token(coding.trim_ascii()));
    let ends_chunked = value
        .rsplit(|byte| *byte == b',')
        .next()
        .is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if is_list_of_tokens && ends_chunked {
        // RFC 9112 §6.1: a coding that is understood as one but not spoken.
        return Err(Refused::new(
            Refusal::NotImplemented,
            "only the transfer coding chunked is spoken",
        ));
    }
    // RFC 9112 §6.3 point 4: without chunked at the end the length cannot be known.
    Err(bad("Transfer-Encoding is not chunked"))
}

/// RFC 9112 §3.2: exactly one valid Host on HTTP/1.1. With a target in absolute form it must name
/// the same authority (§3.2.2 lets a server ignore it; a proxy may route by it).
fn check_host(line: &RequestLine<'_>, host: Option<&[u8]>) -> Result<(), Refused> {
    let Some(host) = host else {
        return if line.version == Version::HTTP_11 { Err(bad("Host is missing")) } else { Ok(()) };
    };
    if !is_host(host) {
        return Err(bad("Host is not host and port"));
    }
    match line.authority {
        Some(authority) if !authority.as_bytes().eq_ignore_ascii_case(host) => {
            Err(bad("Host differs from the request target's authority"))
        }
        _ => Ok(()),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2), not empty.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, rest) = if value.starts_with(b"[") {
        let Some(close) = value.iter().position(|byte| *byte == b']') else { return false };
        let (literal, rest) = value.split_at(close + 1);
        let address = &literal[1..close];
        let is_literal =
            address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        (if is_literal { address } else { b"" }, rest)
    } else {
        // A byte that no name has must be the colon before the port, which is looked at below.
        let is_end = |byte: &u8| !NAME_BYTES[usize::from(*byte)];
        value.split_at(value.iter().position(is_end).unwrap_or(value.len()))
    };
    let is_port = match rest {
        [] => true,
        [b':', port @ ..] => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && is_port
}

/// `unreserved`, `pct-encoded` and `sub-delims` of RFC 3986.
const NAME_BYTES: [bool; 256] = letters_digits_and(b"-._~%!$&'()*+,;=");

/// `tchar` (RFC 9110 §5.6.2).
const TOKEN_BYTES: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");

const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut members = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        members[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        members[others[index] as usize] = true;
        index += 1;
    }
    members
}

/// `token` (RFC 9110 §5.6.2).
pub(super) fn is_token(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().copied().all(is_token_byte)
}

/// `tchar` (RFC 9110 §5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

fn bad(detail: impl Into<String>) -> Refused {
    Refused::new(Refusal::BadRequest, detail)
}
