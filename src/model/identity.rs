//! Who a caller is, once their credential has been judged.

use std::sync::Arc;

use super::rights::Rights;

/// For what a credential is presented; a key verifies tokens of one role only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Subscribing, and publishing over a WebSocket.
    Client,
    /// Publishing from a backend, and administration.
    Admin,
}

/// A judged caller. Shared by everything that its connection or request does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The token's `sub`; `None` for API keys and open applications, where a connection is its own
    /// subject. 1–250 bytes without control characters, so that `priv/{subject}` is a topic.
    pub subject: Option<Arc<str>>,
    /// The token's `jti`, by which it can be revoked.
    pub token_id: Option<Box<str>>,
    /// The token's `iat`, Unix seconds.
    pub issued_at: Option<u64>,
    /// The token's `exp`, Unix seconds: from then on it is not valid.
    pub expires_at: Option<u64>,
    /// What the caller may do.
    pub rights: Rights,
}

impl Identity {
    /// A caller without a token: an API key's holder, or anyone at an open application.
    pub fn without_token(rights: Rights) -> Identity {
        Identity { subject: None, token_id: None, issued_at: None, expires_at: None, rights }
    }
}

/// Tokens that are to be refused although they hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// The one of this `jti`.
    TokenId(Box<str>),
    /// All of one subject that were issued before a time.
    Subject {
        /// The tokens' `sub`.
        subject: Box<str>,
        /// Unix seconds: tokens whose `iat` is smaller, or absent, are refused.
        issued_before_s: u64,
    },
}
