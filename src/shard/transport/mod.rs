//! What may stand between a socket and its door: a PROXY protocol header, TLS, and a trusted proxy that
//! speaks for its clients.
//!
//! A plain connection from a client has none of it: its `transport` is empty, and the only thing it
//! pays for is one test of `Flags::seam` per read and per flush. Where the flag is set, bytes go
//! inward through `opening` and outward through `sealing`; once nothing but the proxy's address is
//! left to remember, it is taken down.
//!
//! Invariants
//! - An idle TLS connection holds its keys and no buffer: records are opened in the shard's scratch
//!   buffer and sealed at the flush, and what is left of either is freed when it is whole or has left.
//! - Whatever a peer does, a connection holds at most one record that is not whole and
//!   `SEALED_SIZE_MAX` bytes that are sealed and have not left.
//! - Handshakes cost a turn at most `shards.turn.verify_time_max` and one handshake.
//!
//! It deliberately takes no early data (a replay would publish twice), asks for no client
//! certificates, and keeps no sessions: tickets hold what a client needs to resume.

mod certificates;
mod opening;
mod peer;
mod sealing;
mod session;
#[cfg(test)]
mod session_tests;
mod tls;
mod way;

pub use tls::{CertificateText, Part, TlsAcceptor, TlsFault, TlsVersion};

pub(super) use opening::HandshakeTime;
pub(super) use peer::Peer;
pub(super) use way::{Transport, Untrusted};
