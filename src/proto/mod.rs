//! Bytes ⇄ events of every protocol, sans I/O: knows no socket, no clock and no broker.

pub mod http1;
pub mod json;
