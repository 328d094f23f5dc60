//! What must hold of tokens, claims and key sets for any bytes: a token made of junk is nobody's,
//! the operator is told what the door does, and rightly signed claims hold exactly when a naive
//! reading of them says so.
//!
//! The input is taken twice: whole as claims, and up to its first line feed as a token, the rest
//! being a key set.

use std::sync::Arc;

use fanwire::auth::{
    Authenticator, Credential, KeyRing, KeySet, KeySets, Request, Verdict, explain, mint,
};
use fanwire::model::application::{AppIndex, Application, Applications};
use fanwire::model::identity::Role;
use fanwire::model::token::{Algorithm, KeySetIndex, KeySource, KeyText, TokenKey};
use serde_json::Value;

const NOW_S: u64 = 1_700_000_000;
/// The same as JSON's readers see numbers.
const NOW: f64 = 1_700_000_000.0;
const SECRET: &str = "the secret of the fuzz target";
const NOT_VALID_HERE: &str = "the token is not valid here: form, algorithm, key or signature; \
                              `fanwire explain token` says why";

/// Panics where one of these does not hold.
pub(crate) fn check(data: &[u8]) {
    if let Ok(claims) = str::from_utf8(data) {
        check_claims(claims);
    }
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let key_set = KeySet::parse(data.get(end + 1..).unwrap_or_default()).ok().map(Arc::new);
    if let Some(key_set) = &key_set {
        assert!(key_set.len() <= 64 && key_set.skipped().len() <= 64);
    }
    if let Ok(token) = str::from_utf8(&data[..end]) {
        check_token(token, key_set);
    }
}

/// One application that takes the secret's tokens and those of a key set.
fn applications() -> Applications {
    let key = |source, algorithms: &[Algorithm]| TokenKey {
        source,
        algorithms: algorithms.to_vec(),
        issuers: Vec::new(),
        audiences: Vec::new(),
    };
    let auth_keys = vec![
        key(KeySource::Raw(KeyText(SECRET.into())), &[Algorithm::Hs256]),
        key(KeySource::Jwks(KeySetIndex(0)), &Algorithm::ALL),
    ];
    Applications::new(vec![Application { auth_keys, ..Application::new("a") }], None)
}

fn check_token(token: &str, key_set: Option<Arc<KeySet>>) {
    let applications = applications();
    let ring = Arc::new(KeyRing::new(&applications).expect("good keys"));
    let request = Request {
        app: AppIndex(0),
        application: applications.get(AppIndex(0)),
        roles: &[Role::Client],
        credential: Credential::Token(token),
        now_s: NOW_S,
    };
    let mut authenticator = Authenticator::new(Arc::clone(&ring));
    authenticator.set_keys(KeySetIndex(0), key_set.clone());
    let known = authenticator.recognize(&request);
    assert!(known.is_none_or(|known| known.is_err() && token.len() > 8192));
    let verdict = authenticator.verify(&request);
    let key_sets: KeySets = key_set.into_iter().map(|set| (KeySetIndex(0), set)).collect();
    let explanation = explain(&request, &ring, &key_sets).expect("a token");
    assert_eq!(explanation.verdict, verdict);
    assert!((1..=300).contains(&explanation.steps.len()));
    let again = authenticator.recognize(&request);
    match verdict {
        Verdict::Known(identity) => {
            assert_eq!(again, Some(Ok(identity)));
            check_alphabet(token);
        }
        Verdict::Refused(refused) => {
            assert!(again.is_none() || token.len() > 8192);
            assert!(refused.detail.starts_with("the token"), "{}", refused.detail);
        }
        Verdict::NeedsKeys(indexes) => {
            assert_eq!(indexes, [KeySetIndex(0)]);
            check_alphabet(token.rsplit_once('.').expect("three parts").0);
        }
    }
}

/// A token that got so far has strict base64url between its dots; the payload and the signature of
/// one whose keys are missing were not looked at.
fn check_alphabet(part: &str) {
    let header = part.split('.').next().expect("one part at least");
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(!header.is_empty() && header.bytes().all(is_legal));
}

fn check_claims(claims: &str) {
    let secret = KeyText(SECRET.into());
    let Ok(token) = mint::sign(Algorithm::Hs256, None, claims, &secret) else { return };
    let applications = applications();
    let ring = KeyRing::new(&applications).expect("good keys");
    let request = Request {
        app: AppIndex(0),
        application: applications.get(AppIndex(0)),
        roles: &[Role::Client],
        credential: Credential::Token(&token),
        now_s: NOW_S,
    };
    let value: Value = serde_json::from_str(claims).expect("what is minted is JSON");
    match Authenticator::new(Arc::new(ring)).verify(&request) {
        Verdict::Known(identity) => {
            assert!(naively_holds(&value));
            assert_eq!(identity.subject.as_deref(), value["sub"].as_str());
            assert_eq!(identity.token_id.as_deref(), value["jti"].as_str());
        }
        Verdict::Refused(refused) => {
            assert_ne!(refused.detail, NOT_VALID_HERE);
            assert!(!naively_holds(&value), "{}", refused.detail);
        }
        Verdict::NeedsKeys(_) => panic!("the secret has signed it"),
    }
}

fn naively_holds(claims: &Value) -> bool {
    let leeway = 5.0;
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().map(f64::floor));
    let is_text = |name: &str| claims.get(name).is_none_or(Value::is_string);
    let are_texts =
        |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    time("exp").is_none_or(|exp| exp.is_some_and(|exp| exp.max(0.0) + leeway > NOW))
        && time("nbf").is_none_or(|nbf| nbf.is_some_and(|nbf| nbf <= NOW + leeway))
        && time("iat").is_none_or(|iat| iat.is_some())
        && is_text("iss")
        && is_text("jti")
        && claims.get("aud").is_none_or(|aud| aud.is_string() || are_texts(aud))
        && claims.get("sub").is_none_or(|sub| {
            sub.as_str().is_some_and(|sub| {
                (1..=250).contains(&sub.len()) && !sub.chars().any(char::is_control)
            })
        })
        && naively_permits(claims)
}

fn naively_permits(claims: &Value) -> bool {
    let count = |value: &Value, may_be_text: bool| match value {
        Value::String(words) if may_be_text => {
            Some(words.split(' ').filter(|word| !word.is_empty()).count())
        }
        Value::Array(list) => list.iter().all(Value::is_string).then_some(list.len()),
        _ => None,
    };
    let names = ["permissions", "scp", "scope"];
    let Some(name) = names.iter().find(|name| claims.get(**name).is_some()) else { return true };
    count(&claims[*name], *name != "permissions").is_some_and(|count| count <= 256)
}
