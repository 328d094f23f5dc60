//! Finds where a request's head ends, line by line, while its bytes are still arriving.
//!
//! Invariant: the verdict depends on the bytes alone, never on how reads divided them. For that the
//! order of faults is fixed: the request line first, then line ends and sizes in byte order, then
//! (elsewhere, on a whole head) the header fields.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};

use super::limits::Limits;
use super::target;
use crate::model::refusal::{Refusal, Refused};

/// What a request line may hold beside its target: method, two spaces, version, line end.
const REQUEST_LINE_REST_SIZE: usize = 32;

/// The size of the head that `bytes` starts with, `None` while its end has not arrived.
///
/// `scanned` bytes were given to an earlier call that answered `None`; they are not scanned again.
///
/// # Errors
/// A line that does not end in CRLF (RFC 9112 §2.2), a request line that cannot be one, a target
/// or a head over its limit.
pub(super) fn head_size(
    bytes: &[u8],
    scanned: usize,
    limits: &Limits,
) -> Result<Option<usize>, Refused> {
    let head_size_max = limits.head_size_max();
    let window = &bytes[..bytes.len().min(head_size_max)];
    if scanned == 0
        && let Some(size) = sound_head_size(window)
        && size <= line_size_max(limits)
    {
        return Ok(Some(size));
    }
    let line_size = first_line_size(window, scanned, limits)?;
    for line_end in memchr_iter(b'\n', &window[scanned.min(window.len())..]) {
        let line_end = scanned + line_end;
        if line_end == 0 || window[line_end - 1] != b'\r' {
            check_first_line(bytes, line_size, limits)?;
            return Err(bare_line_feed());
        }
        if line_end >= 3 && window[line_end - 2] == b'\n' {
            return Ok(Some(line_end + 1));
        }
    }
    check_first_line(bytes, line_size, limits)?;
    if bytes.len() >= head_size_max { Err(head_too_large(limits)) } else { Ok(None) }
}

/// The size of a whole head in which every line ends in CRLF: nearly every head, found in two steps
/// whatever the number of its lines.
fn sound_head_size(window: &[u8]) -> Option<usize> {
    static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
    let size = END.find(window)? + 4;
    (!has_bare_line_feed(&window[..size])).then_some(size)
}

/// Whether some line of a head ends without a carriage return.
pub(super) fn has_bare_line_feed(head: &[u8]) -> bool {
    let is_bare = |before: u8, byte: u8| byte == b'\n' && before != b'\r';
    let pairs = head.iter().zip(head.iter().skip(1));
    // Without a way out, so that several bytes are looked at in one step.
    pairs.fold(head.starts_with(b"\n"), |any, (before, byte)| any | is_bare(*before, *byte))
}

/// Most bytes among which the request line must end.
pub(super) fn line_size_max(limits: &Limits) -> usize {
    limits.target.size_max.saturating_add(REQUEST_LINE_REST_SIZE).min(limits.head_size_max())
}

/// The request line's size with its line end; `None` if it is not complete or was checked before.
fn first_line_size(
    window: &[u8],
    scanned: usize,
    limits: &Limits,
) -> Result<Option<usize>, Refused> {
    let line_size_max = line_size_max(limits);
    if memchr(b'\n', &window[..scanned.min(window.len())]).is_some() {
        return Ok(None);
    }
    match memchr(b'\n', &window[..window.len().min(line_size_max)]) {
        Some(line_end) => Ok(Some(line_end + 1)),
        None if window.len() >= line_size_max => Err(target::too_long(limits)),
        None => Ok(None),
    }
}

fn check_first_line(
    bytes: &[u8],
    line_size: Option<usize>,
    limits: &Limits,
) -> Result<(), Refused> {
    line_size.map_or(Ok(()), |size| target::check_line(&bytes[..size], limits))
}

fn bare_line_feed() -> Refused {
    Refused::new(Refusal::BadRequest, "a line of the head ends without a carriage return")
}

fn head_too_large(limits: &Limits) -> Refused {
    Refused::new(
        Refusal::HeadersTooLarge,
        format!(
            "the request line and headers take more than {} bytes ({})",
            limits.head_size_max(),
            limits.head.key
        ),
    )
}
