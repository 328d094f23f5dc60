//! Bytes on the wire, without sockets: requests out, response heads, frames and events in.

pub mod chunked;
pub mod envelope;
pub mod notice;
pub mod request;
pub mod response;
pub mod sse;
pub mod ws;
