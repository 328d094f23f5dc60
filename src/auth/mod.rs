//! Who is asking: API keys. The outcome is always `model::rights::Rights`.
//!
//! Each kind of credential is one file that ends in `Rights`; no door knows which it was.

pub mod keys;

pub use keys::Authenticator;
