//! The signatures of the RFCs' examples (RFC 7515 §A, RFC 7520 §4, RFC 8037 §A.4); most of their
//! payloads are no claims, so that they are verified below the claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::jws::Jws;
use super::key::Secret;
use super::key_set::KeySet;

/// Whether the key that `jwk` describes has signed `token`; a symmetric one, too.
fn verifies(jwk: &Value, token: &str) -> bool {
    let Ok(jws) = Jws::parse(token) else { return false };
    let algorithm = jws.header.algorithm;
    if jwk["kty"] == "oct" {
        let bytes = URL_SAFE_NO_PAD.decode(jwk["k"].as_str().unwrap()).unwrap();
        return Secret::new(&bytes).unwrap().verifies(algorithm, jws.signed, jws.signature);
    }
    let set = KeySet::parse(format!("{{\"keys\":[{jwk}]}}").as_bytes()).unwrap();
    let mut candidates = set.candidates(algorithm, None);
    candidates.any(|candidate| candidate.key.verifies(algorithm, jws.signed, jws.signature))
}

#[test]
fn they_verify_and_do_not_when_anything_is_changed() {
    let vectors: Value = serde_json::from_str(include_str!("../../tests/tokens/rfc.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 9);
    for vector in vectors {
        let (source, token) =
            (vector["source"].as_str().unwrap(), vector["token"].as_str().unwrap());
        assert!(verifies(&vector["jwk"], token), "{source}");
        let of_payload = token.find('.').unwrap() + 1;
        for at in [of_payload, token.rfind('.').unwrap() + 7, token.len() - 4] {
            let other = if &token[at..=at] == "A" { "B" } else { "A" };
            let changed = [&token[..at], other, &token[at + 1..]].concat();
            assert!(!verifies(&vector["jwk"], &changed), "{source}, changed at {at}");
        }
    }
}
