//! What the review tests share.

mod client;

pub(crate) use client::{Broker, WebSocket, command, frame};
