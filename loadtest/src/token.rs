//! Tokens of this run's own subjects: a compact JWS (RFC 7515 §3.1) per connection, signed here.
//!
//! Written on the primitives alone, so that a broker's token library is tested against something
//! other than itself. Only signing: what a broker says about a token is the broker's business.
//!
//! Invariant: every subject and every token id of a run is used by one connection, and differs from
//! those of any other run.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
};
use aws_lc_rs::{error::Unspecified, hmac};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::sys;

/// Seconds for which a token is valid: longer than any run.
const LIFE_S: u64 = 24 * 3600;
/// Lets a subscriber take any topic.
const SUBSCRIBE_ALL: &str = "realtime:subscriber:read:topic:*";
/// Lets a publisher publish to any topic.
const PUBLISH_ALL: &str = "realtime:publisher:write:topic:*";

/// How tokens are signed, RFC 7518 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "UPPERCASE")]
#[value(rename_all = "UPPER")]
pub enum Algorithm {
    /// ECDSA over P-256; the key file is PKCS#8 in PEM.
    Es256,
    /// ECDSA over P-384; the key file is PKCS#8 in PEM.
    Es384,
    /// ECDSA over P-521; the key file is PKCS#8 in PEM.
    Es512,
    /// HMAC; the key file is the secret, less one line end.
    Hs256,
}

/// What tokens are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSettings {
    /// Where the private key is; each process reads it itself.
    pub key_file: PathBuf,
    /// How it signs.
    pub algorithm: Algorithm,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// `kid` in the header.
    pub key_id: Option<String>,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Hmac(Box<hmac::Key>),
}

/// Signs the tokens of one run. It has no `Debug`, because it holds the key.
pub struct Signer {
    key: Key,
    random: SystemRandom,
    settings: TokenSettings,
    /// The encoded header and its dot.
    header: String,
    run: u32,
}

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// When the file cannot be read or holds no key of the algorithm; the text names the file and
    /// never its contents.
    pub fn load(settings: &TokenSettings, run: u32) -> Result<Signer, String> {
        let path = settings.key_file.display();
        let text = fs::read_to_string(&settings.key_file)
            .map_err(|error| format!("--key-file {path}: {error}"))?;
        let curve = match settings.algorithm {
            Algorithm::Es256 => Some(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::Es384 => Some(&ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::Es512 => Some(&ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::Hs256 => None,
        };
        let key = if let Some(curve) = curve {
            let document = pkcs8(&text).ok_or_else(|| {
                format!("--key-file {path}: no PRIVATE KEY block in PEM (PKCS#8) is in it")
            })?;
            let pair = EcdsaKeyPair::from_pkcs8(curve, &document)
                .map_err(|error| format!("--key-file {path}: not a key of that curve: {error}"))?;
            Key::Ecdsa(pair)
        } else {
            let secret = text.strip_suffix('\n').unwrap_or(&text);
            Key::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
        };
        let mut header = json!({ "typ": "JWT", "alg": settings.algorithm });
        if let Some(key_id) = &settings.key_id {
            header["kid"] = key_id.as_str().into();
        }
        let header = format!("{}.", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()));
        let random = SystemRandom::new();
        let signer = Signer { key, random, settings: settings.clone(), header, run };
        // The first signature seeds the random source, which takes some 80 ms: not in a handshake.
        signer.publisher().map_err(|error| format!("--key-file {path}: cannot sign: {error}"))?;
        Ok(signer)
    }

    /// The token of a subscriber; another `generation` is another token of the same subject.
    ///
    /// # Errors
    /// When the signature fails, which the library does not explain.
    pub fn subscriber(&self, number: u32, generation: u32) -> Result<String, Unspecified> {
        self.sign(&format!("s{number}"), generation, SUBSCRIBE_ALL)
    }

    /// The token of the publisher.
    ///
    /// # Errors
    /// As above.
    pub fn publisher(&self) -> Result<String, Unspecified> {
        self.sign("publisher", 0, PUBLISH_ALL)
    }

    fn sign(&self, name: &str, generation: u32, permission: &str) -> Result<String, Unspecified> {
        let subject = format!("load-{:08x}-{name}", self.run);
        let now = sys::unix_ms() / 1000;
        let mut claims = json!({
            "sub": subject,
            "jti": format!("{subject}-{generation}"),
            "iat": now,
            "exp": now + LIFE_S,
            "permissions": [permission],
        });
        for (name, value) in [("iss", &self.settings.issuer), ("aud", &self.settings.audience)] {
            if let Some(value) = value {
                claims[name] = value.as_str().into();
            }
        }
        let mut token = self.header.clone();
        BASE64_URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match &self.key {
            Key::Ecdsa(pair) => Ok(pair.sign(&self.random, message)?.as_ref().to_vec()),
            Key::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}

/// The first PKCS#8 document of a PEM text, RFC 7468 §10.
fn pkcs8(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: String = body.split_whitespace().collect();
    BASE64_STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, KeyPair as _,
        UnparsedPublicKey,
    };
    use serde_json::Value;
    use std::collections::HashSet;

    /// Writes `contents` beside the other temporary files; the caller removes it.
    fn settings(name: &str, algorithm: Algorithm, contents: &str) -> TokenSettings {
        let name = format!("loadtest-token-{}-{name}", std::process::id());
        let key_file = std::env::temp_dir().join(name);
        fs::write(&key_file, contents).unwrap();
        TokenSettings {
            key_file,
            algorithm,
            issuer: Some("https://idp.example.com".into()),
            audience: Some("fanwire".into()),
            key_id: Some("k1".into()),
        }
    }

    fn parts(token: &str) -> [Vec<u8>; 3] {
        let parts: Vec<_> =
            token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        parts.try_into().unwrap()
    }

    #[test]
    fn signatures_of_every_curve_verify_and_cover_header_and_claims() {
        let curves = [
            (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED, 64),
            (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED, 96),
            (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED, 132),
        ];
        for (algorithm, signing, verifying, length) in curves {
            let pair = EcdsaKeyPair::generate(signing).unwrap();
            let document = BASE64_STANDARD.encode(pair.to_pkcs8v1().unwrap());
            let pem =
                format!("-----BEGIN PRIVATE KEY-----\n{document}\n-----END PRIVATE KEY-----\n");
            let settings = settings(&format!("{algorithm:?}"), algorithm, &pem);
            let token = Signer::load(&settings, 0xabc).unwrap().subscriber(7, 2).unwrap();
            fs::remove_file(&settings.key_file).unwrap();
            let (message, _) = token.rsplit_once('.').unwrap();
            let [header, claims, signature] = parts(&token);
            assert_eq!(signature.len(), length, "RFC 7518 §3.4: R and S at full width");
            let public = UnparsedPublicKey::new(verifying, pair.public_key().as_ref());
            public.verify(message.as_bytes(), &signature).unwrap();
            public.verify(&message.as_bytes()[1..], &signature).unwrap_err();
            let header: Value = serde_json::from_slice(&header).unwrap();
            let name = format!("{algorithm:?}").to_uppercase();
            assert_eq!(header, json!({ "typ": "JWT", "alg": name, "kid": "k1" }));
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!(claims["sub"], "load-00000abc-s7");
            assert_eq!(claims["jti"], "load-00000abc-s7-2");
            assert_eq!(claims["permissions"], json!([SUBSCRIBE_ALL]));
            assert_eq!(
                (&claims["iss"], &claims["aud"]),
                (&"https://idp.example.com".into(), &"fanwire".into())
            );
            assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), LIFE_S);
        }
    }

    #[test]
    fn secrets_sign_as_they_stand_in_the_file() {
        // RFC 4231 §4.3, test case 2, with the line end that editors add.
        let settings = settings("hmac", Algorithm::Hs256, "Jefe\n");
        let signer = Signer::load(&settings, 1).unwrap();
        fs::remove_file(&settings.key_file).unwrap();
        let signature = signer.signature(b"what do ya want for nothing?").unwrap();
        assert_eq!(signature[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }

    #[test]
    fn no_two_tokens_of_a_run_are_alike() {
        let settings = settings("distinct", Algorithm::Hs256, "secret");
        let signer = Signer::load(&settings, 1).unwrap();
        fs::remove_file(&settings.key_file).unwrap();
        let claim = |token: &str, name: &str| {
            let claims: Value = serde_json::from_slice(&parts(token)[1]).unwrap();
            claims[name].as_str().unwrap().to_owned()
        };
        let tokens: Vec<String> = (0..20)
            .flat_map(|number| [0, 1].map(|generation| signer.subscriber(number, generation)))
            .chain([signer.publisher()])
            .collect::<Result<_, _>>()
            .unwrap();
        let distinct =
            |name| tokens.iter().map(|token| claim(token, name)).collect::<HashSet<_>>().len();
        assert_eq!((distinct("jti"), distinct("sub")), (41, 21));
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused_without_being_shown() {
        let problem = |algorithm, contents: &str| {
            let settings = settings("bad", algorithm, contents);
            let problem = Signer::load(&settings, 1).err().unwrap();
            fs::remove_file(&settings.key_file).unwrap();
            assert!(problem.contains("--key-file") && !problem.contains("c2VjcmV0"), "{problem}");
            problem
        };
        assert!(problem(Algorithm::Es256, "c2VjcmV0").contains("PEM"));
        let wrapped = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        assert!(problem(Algorithm::Es384, wrapped).contains("not a key"));
        let absent = TokenSettings {
            key_file: "/nowhere/key.pem".into(),
            algorithm: Algorithm::Es256,
            issuer: None,
            audience: None,
            key_id: None,
        };
        assert!(Signer::load(&absent, 1).err().unwrap().contains("/nowhere/key.pem"));
    }
}
