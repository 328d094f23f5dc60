//! What behaviour tests share: the real binary on a port of its own, and clients written against
//! the standards, not against the broker's code.
//!
//! Nothing here waits by the clock: every read has an end (`PATIENCE`) after which the test fails.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(unused_imports, reason = "every test file uses its own part of this")]

mod broker;
pub(crate) mod door;
mod exposition;
pub(crate) mod filter;
mod http;
pub(crate) mod past;
mod random;
mod sse;
mod stopped;
pub(crate) mod tls;
pub(crate) mod token;
mod websocket;

pub(crate) use broker::{Broker, ConfigFile, PATIENCE, Setup, Variant, on_each, on_each_with};
pub(crate) use exposition::Metrics;
pub(crate) use http::{Http, Response, post, request_bytes};
pub(crate) use random::Random;
pub(crate) use sse::{EventStream, Parser, SseEvent};
pub(crate) use stopped::StoppedThread;
pub(crate) use websocket::{Frame, WebSocket, frame, upgrade_bytes};

/// A JSON text as a value.
pub(crate) fn json(text: impl AsRef<[u8]>) -> serde_json::Value {
    let text = text.as_ref();
    serde_json::from_slice(text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
}

/// Home and offset of a position as the broker writes it.
pub(crate) fn position(text: &str) -> (u16, u64) {
    let (_, entry) = text.split_once('-').expect("epoch-home.offset");
    let (home, offset) = entry.split_once('.').expect("epoch-home.offset");
    let home = u16::from_str_radix(home, 16).expect("the home in hex");
    (home, u64::from_str_radix(offset, 16).expect("the offset in hex"))
}
