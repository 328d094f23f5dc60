//! What the review tests share.

mod client;

pub use client::{Broker, WebSocket, command, frame};
