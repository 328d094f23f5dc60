//! From what a codec found to what the broker does: one file per door.

mod http;
mod pages;
mod publish;
mod route;
mod stream;
mod websocket;
