//! A key set as an issuer publishes it (JWKS, RFC 7517 §5): the keys in it that can verify tokens.
//!
//! Keys are read one by one; one that is bad, unknown or for another use is left out and named in
//! [`KeySet::skipped`], since issuers add kinds of keys at any time. `use`, `key_ops` and `alg` are
//! honoured. Symmetric keys are never taken: what is published is no secret. Private members are not
//! looked at; nor are `x5c`, `x5t` and `x5u`.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::key::PublicKey;
use crate::model::token::Algorithm;

/// Keys of one set that are used; further ones are skipped.
const KEYS_COUNT_MAX: usize = 64;
/// Reasons that are kept; further keys are skipped without one.
const REASONS_COUNT_MAX: usize = 64;
/// Largest document, in bytes; 64 of the largest RSA keys with a certificate each fit.
const DOCUMENT_SIZE_MAX: usize = 512 * 1024;

/// The usable keys of one set, immutable.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<SetKey>,
    skipped: Vec<String>,
    document_hash: [u8; 32],
}

/// A key and what its set says of it.
#[derive(Debug)]
pub(super) struct SetKey {
    /// Its `kid`.
    pub(super) key_id: Option<Box<str>>,
    /// Its `alg`, the only one it may serve; `None` where it may serve all that its kind can.
    algorithm: Option<Algorithm>,
    /// The key.
    pub(super) key: PublicKey,
}

impl KeySet {
    /// Reads a key set.
    ///
    /// # Errors
    /// The document is over 512 KiB, not JSON, or not an object with an array `keys`. A set without
    /// any usable key is none: the issuer has withdrawn them.
    pub fn parse(document: &[u8]) -> Result<KeySet, String> {
        if document.len() > DOCUMENT_SIZE_MAX {
            return Err(format!("the key set is larger than {DOCUMENT_SIZE_MAX} bytes"));
        }
        let value: Value = serde_json::from_slice(document)
            .map_err(|error| format!("the key set is not JSON: line {}", error.line()))?;
        let Some(Value::Array(list)) = value.get("keys") else {
            return Err("the key set is not an object with an array `keys`".to_owned());
        };
        let mut document_hash = [0; 32];
        document_hash.copy_from_slice(digest::digest(&digest::SHA256, document).as_ref());
        let mut set = KeySet { keys: Vec::new(), skipped: Vec::new(), document_hash };
        for (index, value) in list.iter().enumerate() {
            let key = if set.keys.len() < KEYS_COUNT_MAX {
                SetKey::read(value)
            } else {
                Err(format!("beyond the {KEYS_COUNT_MAX} keys that are used of a set"))
            };
            match key {
                Ok(key) => set.keys.push(key),
                Err(_) if set.skipped.len() >= REASONS_COUNT_MAX => {}
                Err(reason) => set.skipped.push(format!("key {}: {reason}", index + 1)),
            }
        }
        Ok(set)
    }

    /// How many keys can be used: 0–64.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why keys were left out, one sentence each, at most 64; for the log. No part of a key.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Whether both were read from the same bytes.
    pub(super) fn is_same(&self, other: &KeySet) -> bool {
        self.document_hash == other.document_hash
    }

    /// Whether a key is named `key_id`, byte for byte.
    pub(super) fn names(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.key_id.as_deref() == Some(key_id))
    }

    /// The keys that may have signed a token of these header members: of that name, if one is
    /// given, and fit for that algorithm.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
    ) -> impl Iterator<Item = &SetKey> {
        self.keys.iter().filter(move |key| {
            let is_named = key_id.is_none() || key.key_id.as_deref() == key_id;
            let is_meant = key.algorithm.is_none_or(|only| only == algorithm);
            is_named && is_meant && key.key.serves(algorithm)
        })
    }
}

impl SetKey {
    fn read(value: &Value) -> Result<SetKey, String> {
        let Value::Object(members) = value else { return Err("not an object".to_owned()) };
        if let Some(purpose) = members.get("use")
            && purpose != "sig"
        {
            return Err("its use is not sig".to_owned());
        }
        if let Some(operations) = members.get("key_ops") {
            let verifies = |list: &Vec<Value>| list.iter().any(|operation| operation == "verify");
            if !operations.as_array().is_some_and(verifies) {
                return Err("its key_ops do not contain verify".to_owned());
            }
        }
        let key = public_key(members)?;
        let algorithm = match members.get("alg") {
            None => None,
            Some(name) => {
                let named = name.as_str().and_then(Algorithm::named);
                let fitting = named.filter(|algorithm| key.serves(*algorithm));
                Some(fitting.ok_or("its alg is unknown here or not for this kind of key")?)
            }
        };
        let key_id = match members.get("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(Box::from(key_id.as_str())),
            Some(_) => return Err("its kid is not a string".to_owned()),
        };
        Ok(SetKey { key_id, algorithm, key })
    }
}

/// The key itself (RFC 7518 §6, RFC 8037 §2).
fn public_key(members: &Map<String, Value>) -> Result<PublicKey, String> {
    let number = |name: &str| {
        let text = members.get(name).and_then(Value::as_str);
        text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or_else(|| format!("its {name} is absent or not strict base64url"))
    };
    let curve = members.get("crv").and_then(Value::as_str).unwrap_or_default();
    match (members.get("kty").and_then(Value::as_str).unwrap_or_default(), curve) {
        ("RSA", _) => PublicKey::rsa(&number("n")?, &number("e")?),
        ("EC", "P-256") => point(&number("x")?, &number("y")?, 32),
        ("EC", "P-384") => point(&number("x")?, &number("y")?, 48),
        ("EC", "P-521") => point(&number("x")?, &number("y")?, 66),
        ("OKP", "Ed25519") => PublicKey::ed25519(&number("x")?),
        ("oct", _) => Err("a symmetric key is not taken from a key set".to_owned()),
        _ => Err("its kty and crv are not RSA, P-256, P-384, P-521 or Ed25519".to_owned()),
    }
}

/// The point of these coordinates, each exactly `size` bytes (RFC 7518 §6.2.1.2).
fn point(x: &[u8], y: &[u8], size: usize) -> Result<PublicKey, String> {
    if x.len() != size || y.len() != size {
        return Err(format!("its x or y is not {size} bytes"));
    }
    // SEC 1 §2.3.3: 4 announces an uncompressed point.
    PublicKey::point(&[&[4], x, y].concat())
}
