//! HTTP/1.1 for a server, sans I/O (RFC 9110, RFC 9112): bytes → requests, responses → bytes.
//!
//! Inward: `decoder` keeps what has arrived (`partial`) within `limits`, and calls `scan` (where the head ends), `target` (the
//! request line), `head` (the header section), `framing` (how long the body is) and `chunked`.
//! `forwarded` reads whom a trusted proxy names. Outward: `response`, `problem` and `date` append to a buffer that the caller owns.
//!
//! Invariant: bytes that another HTTP parser in front of this one could divide into requests
//! differently are refused, never repaired, and nothing behind them is read.

mod chunked;
mod date;
mod decoder;
mod forwarded;
mod framing;
mod head;
mod held;
mod limits;
mod partial;
mod percent;
mod problem;
mod response;
mod scan;
mod target;

pub use date::Date;
pub use decoder::{Decoded, Decoder, Progress, Request, Scratch};
pub use forwarded::client_address;
pub use framing::Framing;
pub use head::{HEADERS_COUNT_MAX, Head, Headers, Terms};
pub use held::Held;
pub use limits::{Limits, SizeLimit};
pub use percent::{BadEncoding, Query, decode_query, decode_segment, segments, split_at_byte};
pub use problem::problem;
pub use response::{CONTINUE, Response, StreamFraming, chunk, last_chunk};
