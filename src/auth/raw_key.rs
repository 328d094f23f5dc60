//! A key written into the configuration: read, and judged before the broker starts.
//!
//! For HS* it is the secret itself, whose UTF-8 bytes are the key (protocols.md §1.4); for all
//! others PEM: a public key (`PUBLIC KEY`, `RSA PUBLIC KEY`) or a certificate, of which only the key
//! is used; its dates, names and issuer are not judged. Of several PEM blocks the first counts.
//!
//! No problem text names any part of a key.

use jsonwebtoken::DecodingKey;

use super::json;
use super::key::{PublicKey, SECRET_SIZE_MIN, Secret};
use crate::model::token::{Algorithm, KeyText};

/// What is wrong with a key of the configuration, if anything is.
///
/// # Errors
/// One sentence: it is not PEM, a private key, of another kind than an algorithm needs, an RSA key
/// under 2048 bits, a secret under 16 bytes; or what is given as a secret is a PEM text or a JWK,
/// which others know. RFC 7518 §3.2 wants secrets as long as the hash (32, 48, 64 bytes); shorter
/// ones down to 16 are taken since the platform's users have them.
pub fn check_key(text: &KeyText, algorithms: &[Algorithm]) -> Result<(), String> {
    RawKey::parse(text, algorithms).map(drop)
}

/// A configured key, read.
#[derive(Debug)]
pub(super) enum RawKey {
    Secret(Secret),
    Public(PublicKey),
}

impl RawKey {
    /// Reads the key that is to serve all of `algorithms`.
    ///
    /// # Errors
    /// As [`check_key`].
    pub(super) fn parse(text: &KeyText, algorithms: &[Algorithm]) -> Result<RawKey, String> {
        let symmetric_count = algorithms.iter().filter(|each| each.is_symmetric()).count();
        if algorithms.is_empty() {
            return Err("it names no algorithm".to_owned());
        }
        if symmetric_count == algorithms.len() {
            return secret(&text.0).map(RawKey::Secret);
        }
        if symmetric_count > 0 {
            return Err("one key cannot serve HS* and public-key algorithms".to_owned());
        }
        let key = public_key(&text.0)?;
        match algorithms.iter().find(|algorithm| !key.serves(**algorithm)) {
            Some(algorithm) => {
                Err(format!("{} cannot verify {}", key.kind().name(), algorithm.name()))
            }
            None => Ok(RawKey::Public(key)),
        }
    }

    /// Whether `signature`, in strict base64url, is this key's over `signed`.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        match self {
            RawKey::Secret(secret) => secret.verifies(algorithm, signed, signature),
            RawKey::Public(key) => key.verifies(algorithm, signed, signature),
        }
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.contains("-----BEGIN ") {
        return Err("a PEM text is no secret: others have it, or it signs".to_owned());
    }
    let is_jwk = |object: json::Object| object.contains_key("kty") || object.contains_key("keys");
    if json::object(text.as_bytes()).is_some_and(is_jwk) {
        return Err("a JWK is no secret; its k, decoded, would be one".to_owned());
    }
    Secret::new(text.as_bytes())
        .ok_or_else(|| format!("a secret needs at least {SECRET_SIZE_MIN} bytes"))
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let label = text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----"));
    let Some((label, _)) = label else {
        return Err("it is not PEM: -----BEGIN PUBLIC KEY----- and so on".to_owned());
    };
    if label.contains("PRIVATE KEY") {
        return Err("it is a private key; give the public one".to_owned());
    }
    let pem = text.as_bytes();
    let bytes = |key: DecodingKey| key.try_get_as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        PublicKey::rsa_of_der(&bytes(key))
    } else if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        PublicKey::point(&bytes(key))
    } else if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        PublicKey::ed25519(&bytes(key))
    } else {
        Err("its PEM holds no RSA, elliptic-curve or Ed25519 public key".to_owned())
    }
}
