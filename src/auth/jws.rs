//! The compact form of a signed token, taken apart (RFC 7515 §3.1): header, payload, signature.
//!
//! Nothing of a token is trusted here, and nothing in its header is acted on: `alg` and `kid` only
//! choose among configured keys; `jwk`, `jku`, `x5u`, `x5c` and `x5t` are not looked at (RFC 8725
//! §3.5, §3.10). A `crit` refuses the token (RFC 7515 §4.1.11: no extension is understood here), and
//! so does a `typ` that declares another kind of token than one for access (RFC 8725 §3.11).
//! Does not verify: that is `signature`'s.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::json::{self, Object};
use crate::model::token::Algorithm;

/// Largest token, in bytes; a larger one is refused unread. 8 KiB, which is what web servers take in
/// one header line, and a little for a generous signature.
pub(super) const TOKEN_SIZE_MAX: usize = 8 * 1024 + 512;

/// The kinds of token that are taken, in lower case and without `application/` (RFC 7519 §5.1,
/// RFC 9068 §2.1). An absent `typ` is taken too.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// A token in its parts, nothing of it verified.
pub(super) struct Jws<'a> {
    /// What the header says.
    pub(super) header: Header,
    /// What was signed: encoded header, dot, encoded payload.
    pub(super) signed: &'a str,
    /// The encoded payload.
    payload: &'a str,
    /// The encoded signature; never empty.
    pub(super) signature: &'a str,
}

/// The part of a header that matters here.
pub(super) struct Header {
    /// With what it claims to be signed.
    pub(super) algorithm: Algorithm,
    /// Names a key of a key set, byte for byte.
    pub(super) key_id: Option<String>,
}

impl<'a> Jws<'a> {
    /// Takes `token` apart.
    ///
    /// # Errors
    /// What is wrong with its form, for the operator's eyes; no part of the token.
    pub(super) fn parse(token: &'a str) -> Result<Jws<'a>, &'static str> {
        if token.len() > TOKEN_SIZE_MAX {
            return Err("the token is larger than 8,704 bytes");
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("the token is not three parts with dots between them");
        };
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err("a part of the token is empty");
        }
        let header = object(header).ok_or("the header is not a JSON object in strict base64url")?;
        let header = Header::read(&header)?;
        let signed = &token[..token.len() - signature.len() - 1];
        Ok(Jws { header, signed, payload, signature })
    }

    /// The claims; asked for only once the signature is verified.
    pub(super) fn claims(&self) -> Option<Object> {
        object(self.payload)
    }
}

impl Header {
    fn read(members: &Object) -> Result<Header, &'static str> {
        let Some(Value::String(name)) = members.get("alg") else {
            return Err("the header's alg is absent or not a string");
        };
        let algorithm = Algorithm::named(name)
            .ok_or("the header's alg is none, or none of the thirteen known ones")?;
        let key_id = match members.get("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(key_id.clone()),
            Some(_) => return Err("the header's kid is not a string"),
        };
        if members.contains_key("crit") {
            return Err("the header's crit asks for an extension that is not understood here");
        }
        match members.get("typ") {
            None => {}
            Some(Value::String(name)) if is_access_token(name) => {}
            Some(_) => return Err("the header's typ is neither JWT nor at+jwt"),
        }
        Ok(Header { algorithm, key_id })
    }
}

fn is_access_token(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TYPES.contains(&name.strip_prefix("application/").unwrap_or(&name))
}

fn object(encoded: &str) -> Option<Object> {
    json::object(&URL_SAFE_NO_PAD.decode(encoded).ok()?)
}
