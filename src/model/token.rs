//! How an application judges tokens: algorithms, keys and where they come from, as configured.
//!
//! Plain values; parsing keys and verifying signatures is `auth`'s.

use std::fmt;

/// Signature algorithms of JSON Web Signatures (RFC 7518 §3.1, RFC 8037 §3.1). `none` is not one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the registry's own names")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 13] = [
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
    ];

    /// Its name in the `alg` header.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Es512 => "ES512",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this exact name.
    pub fn named(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Whether signer and verifier share one secret.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
    }
}

/// One configured key or key set: whose tokens it verifies (protocols.md §1.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenKey {
    /// Where the key comes from.
    pub source: KeySource,
    /// Algorithms it is used for; never empty, all symmetric or none. A token's header only chooses
    /// among these.
    pub algorithms: Vec<Algorithm>,
    /// Acceptable `iss`; empty = any, also none.
    pub issuers: Vec<Box<str>>,
    /// Acceptable `aud`, of which a token must name one; empty = any, also none.
    pub audiences: Vec<Box<str>>,
}

/// Where a key comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// The configuration: a PEM public key or certificate, or for HS* the secret itself, whose UTF-8
    /// bytes are the key (protocols.md §1.4).
    Raw(KeyText),
    /// A key set (RFC 7517 §5), by its place in [`Applications::key_sets`].
    ///
    /// [`Applications::key_sets`]: super::application::Applications::key_sets
    Jwks(KeySetIndex),
}

/// A key as configured; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(pub Box<str>);

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText")
    }
}

/// A key set's place among all that the configuration names; equal URIs share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct KeySetIndex(pub u16);

/// Where a key set is fetched from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySetSource {
    /// An absolute `https:` URI, or `http:` where private addresses are allowed.
    pub uri: Box<str>,
    /// Whether it may be at a loopback, private or link-local address, and be fetched without TLS.
    pub allow_private: bool,
}

/// What happens when the token of an open connection expires.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TokenExpiry {
    /// Nothing: tokens are judged at the door only, as the platform does.
    #[default]
    Keep,
    /// The connection is told, and closed (3000) unless it presents a new token within the time.
    Close {
        /// Milliseconds between the expiry and the close.
        grace_ms: u32,
    },
}
