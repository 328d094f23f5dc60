//! Bytes ⇄ meaning, sans I/O: the codecs and every dialect.

pub mod attributes;
pub mod buzzpost;
mod digits;
pub mod encode;
pub mod http1;
pub mod json;
pub mod native;
pub mod proxy;
pub mod realtime;
pub mod sse;
pub mod ws;
