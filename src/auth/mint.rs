//! Makes keys and signs tokens, for the operator's command line and for tests; no door uses it.
//!
//! Private keys are PEM: PKCS #8 (`PRIVATE KEY`), for RSA also PKCS #1 (`RSA PRIVATE KEY`). The older
//! `EC PRIVATE KEY` (RFC 5915) is not read; `openssl pkcs8 -topk8 -nodes` turns it into PKCS #8.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;

use super::json;
use super::jws::TOKEN_SIZE_MAX;
use super::key::named_by_jsonwebtoken;
use super::raw_key::check_key;
use crate::model::token::{Algorithm, KeyText};

/// Characters of a PEM line (RFC 7468 §2).
const PEM_LINE_SIZE: usize = 64;

/// A key that was made.
pub struct Generated {
    /// What signs: a private key in PEM, or for HS* the secret.
    pub private: KeyText,
    /// What verifies, in PEM; `None` for HS*, where the secret does both.
    pub public: Option<String>,
}

/// Makes a key for `algorithm`: RSA of 2048 bits, or a secret of as many random bytes as the hash
/// has, written in base64url.
///
/// # Errors
/// The system has no random bits to give.
pub fn generate(algorithm: Algorithm) -> Result<Generated, String> {
    made(algorithm).ok_or_else(|| "the system gives no random bits".to_owned())
}

fn made(algorithm: Algorithm) -> Option<Generated> {
    match algorithm {
        Algorithm::Hs256 => secret(32),
        Algorithm::Hs384 => secret(48),
        Algorithm::Hs512 => secret(64),
        Algorithm::Es256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::Es512 => ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING),
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().ok()?;
            // Version 1 of PKCS #8: OpenSSL reads no other.
            Some(pems(pair.to_pkcs8v1().ok()?.as_ref(), pair.public_key().as_der().ok()?.as_ref()))
        }
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => {
            let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).ok()?;
            Some(pems(pair.as_der().ok()?.as_ref(), pair.public_key().as_der().ok()?.as_ref()))
        }
    }
}

fn secret(size: usize) -> Option<Generated> {
    let mut bytes = vec![0; size];
    rand::fill(&mut bytes).ok()?;
    let private = KeyText(URL_SAFE_NO_PAD.encode(bytes).into());
    Some(Generated { private, public: None })
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Option<Generated> {
    let pair = EcdsaKeyPair::generate(algorithm).ok()?;
    Some(pems(pair.to_pkcs8v1().ok()?.as_ref(), pair.public_key().as_der().ok()?.as_ref()))
}

fn pems(private: &[u8], public: &[u8]) -> Generated {
    let private = KeyText(pem("PRIVATE KEY", private).into());
    Generated { private, public: Some(pem("PUBLIC KEY", public)) }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut rest = &*STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(PEM_LINE_SIZE));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text + "-----END " + label + "-----\n"
}

/// Signs `claims`, a JSON object that is taken as it is, and makes the token (RFC 7515 §3.1).
///
/// # Errors
/// The claims are not an object, the key is not one for `algorithm` or cannot be read, or the token
/// would be over 8,704 bytes. No part of the key is in the text.
pub fn sign(
    algorithm: Algorithm,
    key_id: Option<&str>,
    claims: &str,
    key: &KeyText,
) -> Result<String, String> {
    if json::object(claims.as_bytes()).is_none() {
        return Err("the claims are not one JSON object without repeated members".to_owned());
    }
    let mut header = serde_json::json!({ "alg": algorithm.name(), "typ": "JWT" });
    if let Some(key_id) = key_id {
        header["kid"] = key_id.into();
    }
    let [header, claims] = [&header.to_string(), claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{claims}");
    let signature = signature(algorithm, signed.as_bytes(), key)?;
    let token = format!("{signed}.{signature}");
    if token.len() > TOKEN_SIZE_MAX {
        return Err(format!("the token would be larger than {TOKEN_SIZE_MAX} bytes"));
    }
    Ok(token)
}

fn signature(algorithm: Algorithm, signed: &[u8], key: &KeyText) -> Result<String, String> {
    let pem = key.0.as_bytes();
    let encoding_key = match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
            check_key(key, &[algorithm])?;
            Ok(EncodingKey::from_secret(pem))
        }
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDsa => EncodingKey::from_ed_pem(pem),
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => EncodingKey::from_rsa_pem(pem),
    };
    let unfit =
        || format!("the key is not a private key in PEM that can sign {}", algorithm.name());
    let encoding_key = encoding_key.map_err(|_unread| unfit())?;
    if let Some(named) = named_by_jsonwebtoken(algorithm) {
        return jsonwebtoken::crypto::sign(signed, &encoding_key, named).map_err(|_unfit| unfit());
    }
    EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, encoding_key.as_bytes())
        .ok()
        .and_then(|pair| pair.sign(&SystemRandom::new(), signed).ok())
        .map(|signature| URL_SAFE_NO_PAD.encode(signature))
        .ok_or_else(unfit)
}
