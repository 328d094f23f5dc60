//! WebSocket, server side, sans I/O: RFC 6455 whole and permessage-deflate (RFC 7692).
//!
//! Inward: a request head → [`handshake::decide`] → the 101 response; then bytes → [`Reader`] →
//! [`Event`]s. Outward: payload → [`Deflater`], [`frame`] → bytes.
//!
//! Invariants: a connection between two messages holds no buffer; compression state belongs to the
//! shard, which both `no_context_takeover` parameters make possible; nothing here reads a clock or
//! a socket, so timeouts and the order of writes are the caller's.

mod assembly;
pub mod closing;
mod deflate;
mod extension;
mod fault;
pub mod frame;
pub mod handshake;
mod header;
mod inflate;
mod mask;
mod opcode;
mod reader;
mod utf8;

#[cfg(test)]
mod deflate_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod walk;

pub use closing::Closing;
pub use deflate::{DEFLATE_LEVEL_DEFAULT, Deflater, WINDOW_MAX, WINDOW_MIN};
pub use extension::Deflate;
pub use inflate::{InflateError, Inflater};
pub use opcode::Opcode;
pub use reader::{Event, Limits, Reader};
