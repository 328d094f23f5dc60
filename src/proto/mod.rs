//! Bytes ⇄ events, sans I/O: one module per protocol. Knows no socket, no clock, no broker.

pub mod ws;
