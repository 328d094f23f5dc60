//! A token at an application's door: verified with each kind of key, known from before, and junk.
//!
//! Keys and tokens are those of the test vectors, so that every run does the same.

use std::sync::Arc;

use fanwire::auth::{Authenticator, Credential, KeyRing, KeySet, Request, Verdict};
use fanwire::model::application::{ApiKey, AppIndex, Application, Applications};
use fanwire::model::identity::{Identity, Role};
use fanwire::model::rights::Rights;
use fanwire::model::token::{Algorithm, KeySource, KeyText, TokenKey};
use serde_json::Value;

use super::Op;

/// When the vectors' tokens are valid; Unix seconds.
pub(super) const NOW_S: u64 = 1_700_000_000;

pub(crate) fn hs256() -> Op {
    verify(Algorithm::Hs256)
}

pub(crate) fn rs256() -> Op {
    verify(Algorithm::Rs256)
}

pub(crate) fn ps256() -> Op {
    verify(Algorithm::Ps256)
}

pub(crate) fn es256() -> Op {
    verify(Algorithm::Es256)
}

pub(crate) fn es384() -> Op {
    verify(Algorithm::Es384)
}

pub(crate) fn es512() -> Op {
    verify(Algorithm::Es512)
}

pub(crate) fn eddsa() -> Op {
    verify(Algorithm::EdDsa)
}

/// A token that was verified before.
pub(crate) fn known() -> Op {
    let mut door = Door::known();
    Box::new(move || {
        let known = door.ask(Authenticator::recognize);
        let Some(Ok(identity)) = known else { panic!("it was verified just now") };
        identity.rights.presented.len()
    })
}

/// A token whose signature is not even looked at: its `alg` is nobody's.
pub(crate) fn junk() -> Op {
    let mut door = Door::new(Algorithm::Rs256);
    door.token = String::from("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl");
    Box::new(move || {
        let Verdict::Refused(refused) = door.ask(Authenticator::verify) else {
            panic!("nobody has signed it")
        };
        refused.detail.len()
    })
}

/// A key set of 8 RSA keys, as large issuers have, read.
pub(crate) fn key_set() -> Op {
    let key = &vectors()["keys"]["RS256 jwks"]["jwks"]["keys"][0];
    let document = format!("{{\"keys\":[{}]}}", vec![key.to_string(); 8].join(","));
    Box::new(move || KeySet::parse(document.as_bytes()).expect("a key set").len())
}

fn verify(algorithm: Algorithm) -> Op {
    let mut door = Door::new(algorithm);
    Box::new(move || door.verify())
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/tokens/vectors.json")).expect("JSON")
}

/// An application's door, and a token for it.
pub(super) struct Door {
    pub(super) applications: Applications,
    pub(super) authenticator: Authenticator,
    pub(super) token: String,
}

impl Door {
    /// An API key that the door knows, too.
    pub(super) const API_KEY: &str = "0123456789abcdef";

    /// A door at which the token was verified, for either of a publish's roles.
    pub(super) fn known() -> Door {
        let mut door = Door::new(Algorithm::Rs256);
        door.verify();
        door
    }

    /// A door with the vectors' key for `algorithm`, and the token for it.
    fn new(algorithm: Algorithm) -> Door {
        let vectors = vectors();
        let name = algorithm.name();
        let is_whole = |case: &&Value| case["key"] == name && case["name"] == "whole";
        let cases = vectors["cases"].as_array().expect("a list");
        let token = cases.iter().find(is_whole).expect("one per algorithm")["token"].as_str();
        let text = vectors["keys"][name]["raw"].as_str().expect("a raw key");
        let key = TokenKey {
            source: KeySource::Raw(KeyText(text.into())),
            algorithms: vec![algorithm],
            issuers: Vec::new(),
            audiences: Vec::new(),
        };
        let identity = Arc::new(Identity::without_token(Rights::every_topic()));
        let application = Application {
            auth_keys: vec![key],
            keys: vec![ApiKey { secret: Door::API_KEY.into(), identity }],
            ..Application::new("demo")
        };
        let applications = Applications::new(vec![application], None);
        let ring = KeyRing::new(&applications).expect("a good key");
        let authenticator = Authenticator::new(Arc::new(ring));
        Door { applications, authenticator, token: token.expect("a string").to_owned() }
    }

    fn ask<T>(&mut self, how: impl Fn(&mut Authenticator, &Request<'_>) -> T) -> T {
        let request = Request {
            app: AppIndex(0),
            application: self.applications.get(AppIndex(0)),
            roles: &[Role::Admin, Role::Client],
            credential: Credential::Token(&self.token),
            now_s: NOW_S,
        };
        how(&mut self.authenticator, &request)
    }

    fn verify(&mut self) -> usize {
        let Verdict::Known(identity) = self.ask(Authenticator::verify) else {
            panic!("the token is valid")
        };
        identity.rights.presented.len()
    }
}
