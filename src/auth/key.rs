//! A key that verifies signatures, and what it can verify.
//!
//! Twelve of the thirteen algorithms are verified by jsonwebtoken, which hands them to aws-lc-rs and
//! reads the encoded signature strictly. ES512 it does not know; that one goes to aws-lc-rs directly.
//! (jsonwebtoken reads the key anew each time. Measured against a key that aws-lc-rs has parsed
//! once: 2.5 of 17 µs with RSA, 1 µs or less with everything else; not worth a second path.)
//!
//! Invariants: a key is read and checked once, when it is made. A secret and a public key are two
//! types, so that neither is ever tried for the other's algorithms (RFC 8725 §3.1, key confusion).
//! Neither is ever printed.

use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self as ecdsa, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

use crate::model::token::Algorithm;

/// Bits an RSA modulus has at least (RFC 7518 §3.3) and at most; longer ones cost too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Public exponents that are taken, if odd. 1 signs nothing, and aws-lc-rs takes none beyond 33 bits.
const RSA_EXPONENTS: std::ops::RangeInclusive<u64> = 3..=u32::MAX as u64;
/// Shortest HMAC secret, in bytes. RFC 7518 §3.2 asks for as many as the hash has (32 to 64), but
/// the platform's users bring secrets of their own; below 16 guessing one offline becomes real.
pub(super) const SECRET_SIZE_MIN: usize = 16;

/// A shared secret, for HS256, HS384 and HS512.
pub(super) struct Secret(DecodingKey);

impl Secret {
    /// The secret of these bytes. `None` when they are fewer than [`SECRET_SIZE_MIN`].
    pub(super) fn new(bytes: &[u8]) -> Option<Secret> {
        (bytes.len() >= SECRET_SIZE_MIN).then(|| Secret(DecodingKey::from_secret(bytes)))
    }

    /// Whether `signature`, in strict base64url, is this secret's over `signed`. Compared in
    /// constant time.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        algorithm.is_symmetric() && jsonwebtoken_verifies(&self.0, algorithm, signed, signature)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What kind a public key is, which says what it can verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl KeyKind {
    /// What verifies signatures of `algorithm`; `None` for those with a secret.
    pub(super) const fn of(algorithm: Algorithm) -> Option<KeyKind> {
        match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => None,
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => Some(KeyKind::Rsa),
            Algorithm::Es256 => Some(KeyKind::P256),
            Algorithm::Es384 => Some(KeyKind::P384),
            Algorithm::Es512 => Some(KeyKind::P521),
            Algorithm::EdDsa => Some(KeyKind::Ed25519),
        }
    }

    /// Its name for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            KeyKind::Rsa => "an RSA key",
            KeyKind::P256 => "a P-256 key",
            KeyKind::P384 => "a P-384 key",
            KeyKind::P521 => "a P-521 key",
            KeyKind::Ed25519 => "an Ed25519 key",
        }
    }
}

/// A public key, for everything but HS*.
pub(super) struct PublicKey {
    kind: KeyKind,
    verifier: Verifier,
}

enum Verifier {
    Jsonwebtoken(DecodingKey),
    P521(ParsedPublicKey),
}

impl PublicKey {
    /// An RSA key of modulus `n` and exponent `e`, big-endian. Leading zeros, which RFC 7518 §6.3.1.1
    /// forbids and some issuers write, are dropped.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, String> {
        let [n, e] = [n, e].map(without_leading_zeros);
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            let (min, max) = (RSA_BITS.start(), RSA_BITS.end());
            return Err(format!("an RSA key of {bits} bits; {min} to {max} are taken"));
        }
        let exponent = e.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if e.len() > 8 || !RSA_EXPONENTS.contains(&exponent) || exponent % 2 == 0 {
            return Err("an RSA key whose exponent is even, 1, or over 32 bits".to_owned());
        }
        let verifier = Verifier::Jsonwebtoken(DecodingKey::from_rsa_raw_components(n, e));
        Ok(PublicKey { kind: KeyKind::Rsa, verifier })
    }

    /// An RSA key from its PKCS #1 form (RFC 8017 §A.1.1).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn rsa_of_der(der: &[u8]) -> Result<PublicKey, String> {
        let key = rsa::PublicKey::from_der(der)
            .map_err(|_rejected| "an RSA key that cannot be read".to_owned())?;
        let components = rsa::PublicKeyComponents::<Vec<u8>>::from(&key);
        PublicKey::rsa(&components.n, &components.e)
    }

    /// An elliptic-curve key from its point (SEC 1 §2.3.3); the curve follows from the length, and
    /// the point must lie on it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn point(point: &[u8]) -> Result<PublicKey, String> {
        let (kind, algorithm) = match point.len() {
            65 => (KeyKind::P256, &ecdsa::ECDSA_P256_SHA256_FIXED),
            97 => (KeyKind::P384, &ecdsa::ECDSA_P384_SHA384_FIXED),
            133 => (KeyKind::P521, &ecdsa::ECDSA_P521_SHA512_FIXED),
            _ => return Err("an elliptic-curve key that is not P-256, P-384 or P-521".to_owned()),
        };
        let parsed = ParsedPublicKey::new(algorithm, point)
            .map_err(|_rejected| format!("{} whose point is not on the curve", kind.name()))?;
        let verifier = match kind {
            KeyKind::P521 => Verifier::P521(parsed),
            _ => Verifier::Jsonwebtoken(DecodingKey::from_ec_der(point)),
        };
        Ok(PublicKey { kind, verifier })
    }

    /// An Ed25519 key from its 32 bytes (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn ed25519(bytes: &[u8]) -> Result<PublicKey, String> {
        let is_read = bytes.len() == 32 && ParsedPublicKey::new(&ecdsa::ED25519, bytes).is_ok();
        if !is_read {
            return Err("an Ed25519 key that cannot be read".to_owned());
        }
        let verifier = Verifier::Jsonwebtoken(DecodingKey::from_ed_der(bytes));
        Ok(PublicKey { kind: KeyKind::Ed25519, verifier })
    }

    /// What kind it is.
    pub(super) fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether it can verify signatures of `algorithm`.
    pub(super) fn serves(&self, algorithm: Algorithm) -> bool {
        KeyKind::of(algorithm) == Some(self.kind)
    }

    /// Whether `signature`, in strict base64url, is this key's over `signed`. ECDSA signatures are
    /// r and s at the curve's full length (RFC 7518 §3.4), never DER.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        if !self.serves(algorithm) {
            return false;
        }
        match &self.verifier {
            Verifier::Jsonwebtoken(key) => jsonwebtoken_verifies(key, algorithm, signed, signature),
            Verifier::P521(key) => URL_SAFE_NO_PAD
                .decode(signature)
                .is_ok_and(|signature| key.verify_sig(signed.as_bytes(), &signature).is_ok()),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn jsonwebtoken_verifies(
    key: &DecodingKey,
    algorithm: Algorithm,
    signed: &str,
    signature: &str,
) -> bool {
    named_by_jsonwebtoken(algorithm).is_some_and(|algorithm| {
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or(false)
    })
}

/// jsonwebtoken's own name; `None` for ES512, which it does not know.
pub(super) const fn named_by_jsonwebtoken(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    Some(match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Hs384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::Es512 => return None,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    })
}
