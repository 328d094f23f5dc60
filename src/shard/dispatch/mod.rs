//! From what a codec found to what the broker does: one file per door.

mod admin;
mod administration;
mod entry;
mod http;
mod pages;
mod past;
mod publish;
mod resume;
mod route;
mod session;
mod stream;
mod websocket;

pub(super) use session::expires_s;
