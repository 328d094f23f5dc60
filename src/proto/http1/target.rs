//! The request line: method, target and version (RFC 9112 §3).
//!
//! Targets are taken in origin form, in absolute form, and `*` with OPTIONS. A target holds visible
//! ASCII only, without `#`, `"`, `<`, `>` and `\`: proxies differ in what they make of those.

use http::{Method, Version};

use super::framing::is_host;
use super::limits::Limits;
use super::percent::split_at_byte;
use crate::model::refusal::{Refusal, Refused};

/// Longest method name; every registered one is shorter (RFC 9110 §16.1).
const METHOD_SIZE_MAX: usize = 15;

/// A request line that this server can serve.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: Method,
    pub(super) version: Version,
    /// As sent.
    pub(super) target: &'a str,
    /// Starts with `/`, or is `*`, or is empty where an absolute form has no path.
    pub(super) path: &'a str,
    /// Without `?`; empty when there is none.
    pub(super) query: &'a str,
    /// Host and port of an absolute form.
    pub(super) authority: Option<&'a str>,
}

/// Checks a complete first line before the rest of the head has arrived.
pub(super) fn check_line(line: &[u8], limits: &Limits) -> Result<(), Refused> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse(line) {
        Ok(_) => request_line(&request, limits).map(drop),
        Err(error) => Err(line_fault(&request, error, line, limits)),
    }
}

/// What httparse read of a request line, checked and divided.
///
/// # Errors
/// A target over its limit or in no form that is served, a method that is not implemented.
pub(super) fn request_line<'a>(
    request: &httparse::Request<'_, 'a>,
    limits: &Limits,
) -> Result<RequestLine<'a>, Refused> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(bad("the request line is not method, target and version"));
    };
    if target.len() > limits.target.size_max {
        return Err(too_long(limits));
    }
    let method = known_method(method)?;
    let (authority, path_and_query) = divide(&method, target)?;
    let (path, query) = split_at_byte(path_and_query, b'?').unwrap_or((path_and_query, ""));
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    Ok(RequestLine { method, version, target, path, query, authority })
}

/// Why httparse refused a request line, as far as it got.
pub(super) fn line_fault(
    request: &httparse::Request<'_, '_>,
    error: httparse::Error,
    line: &[u8],
    limits: &Limits,
) -> Refused {
    if request.path.is_some_and(|target| target.len() > limits.target.size_max) {
        return too_long(limits);
    }
    if request.version.is_some()
        && let Err(refused) = request_line(request, limits)
    {
        return refused;
    }
    match error {
        httparse::Error::Version if ends_in_version(line) => {
            Refused::new(Refusal::BadVersion, "the version is not HTTP/1.0 or HTTP/1.1")
        }
        httparse::Error::Version => bad("the request line does not end in an HTTP version"),
        httparse::Error::Token if request.method.is_none() => bad("the method is not a token"),
        httparse::Error::Token => bad("the request target holds a byte that none may hold"),
        _ => bad("the request line does not end in CRLF"),
    }
}

pub(super) fn too_long(limits: &Limits) -> Refused {
    let size_max = limits.target.size_max;
    Refused::new(
        Refusal::TargetTooLong,
        format!("the request target takes more than {size_max} bytes ({})", limits.target.key),
    )
}

/// Whether the third of a line's three parts is an `HTTP-version` (RFC 9112 §2.3) of any digits.
fn ends_in_version(line: &[u8]) -> bool {
    let mut parts = line.trim_ascii_end().splitn(3, |byte| *byte == b' ').skip(2);
    parts.next().and_then(|version| version.strip_prefix(b"HTTP/")).is_some_and(|digits| {
        matches!(digits, [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
    })
}

fn known_method(method: &str) -> Result<Method, Refused> {
    if method.len() > METHOD_SIZE_MAX || method == "CONNECT" {
        return Err(Refused::new(Refusal::NotImplemented, "the method is not implemented"));
    }
    // A short extension method is kept inline: no allocation.
    Method::from_bytes(method.as_bytes()).map_err(|_refused| bad("the method is not a token"))
}

/// The authority, if the target names one, and what follows it.
fn divide<'a>(method: &Method, target: &'a str) -> Result<(Option<&'a str>, &'a str), Refused> {
    if target.bytes().any(|byte| AMBIGUOUS[usize::from(byte)]) {
        return Err(bad("the request target holds a byte that must be percent-encoded"));
    }
    if target.starts_with('/') {
        return Ok((None, target));
    }
    if target == "*" {
        return if *method == Method::OPTIONS {
            Ok((None, target))
        } else {
            Err(bad("the target * goes with OPTIONS only"))
        };
    }
    absolute_form(target)
}

/// RFC 9112 §3.2.2, for `http` and `https` without user information (RFC 9110 §4.2.4).
fn absolute_form(target: &str) -> Result<(Option<&str>, &str), Refused> {
    let after_scheme = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let Some(rest) = after_scheme else {
        return Err(bad("the request target is neither a path nor an http URI"));
    };
    let authority_size = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(authority_size);
    if !is_host(authority.as_bytes()) {
        return Err(bad("the request target's authority is not host and port"));
    }
    Ok((Some(authority), path_and_query))
}

/// Bytes that a target does not hold as they are.
const AMBIGUOUS: [bool; 256] = {
    let mut ambiguous = [true; 256];
    let mut byte = 0x21_u8;
    while byte <= 0x7e {
        ambiguous[byte as usize] = matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\');
        byte += 1;
    }
    ambiguous
};

fn bad(detail: &str) -> Refused {
    Refused::new(Refusal::BadRequest, detail)
}
