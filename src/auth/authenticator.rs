//! Tells who a caller is: by API key, by token, or as anyone at an open application.
//!
//! One per shard, synchronous, without a clock: time comes with each request. What is cheap is
//! [`recognize`](Authenticator::recognize); what takes a signature check (0.001 to 0.3 ms) is
//! [`verify`](Authenticator::verify), a call of its own, so that the shard can bound how many it does
//! per turn.
//!
//! Invariants: no credential and no key is printed, logged or named in a refusal. Before a token's
//! signature is verified every refusal reads the same. Whether an application is enabled, and from
//! which addresses its callers may come, is not asked here.

use std::fmt;
use std::sync::Arc;

use super::api_keys;
use super::cache::{Cache, Fingerprint, hash};
use super::judge::{Fault, Judged, KeySets, Silent, judge};
use super::jws::TOKEN_SIZE_MAX;
use super::key_ring::KeyRing;
use super::key_set::KeySet;
use super::recent::Recent;
use super::revocations::{Revocations, TooManyRevocations, names};
use crate::model::application::{AppIndex, Application};
use crate::model::identity::{Identity, Revocation, Role};
use crate::model::refusal::{Refusal, Refused};
use crate::model::rights::Rights;
use crate::model::token::KeySetIndex;

/// What is said of every token whose signature was not verified: it helps the owner, not a guesser.
const NOT_VALID_HERE: &str = "the token is not valid here: form, algorithm, key or signature; \
                              `fanwire explain token` says why";

/// What a caller presents.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// Nothing.
    Absent,
    /// An API key.
    ApiKey(&'a str),
    /// A signed token in compact form (RFC 7515 §3.1).
    Token(&'a str),
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Absent => "Absent",
            Credential::ApiKey(_) => "ApiKey",
            Credential::Token(_) => "Token",
        })
    }
}

/// One caller's wish to be known.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The application's place in the snapshot that the [`KeyRing`] was made from.
    pub app: AppIndex,
    /// The application there.
    pub application: &'a Application,
    /// For what the credential is presented; keys of these roles are tried, in this order.
    pub roles: &'a [Role],
    /// The credential.
    pub credential: Credential<'a>,
    /// Now, in Unix seconds.
    pub now_s: u64,
}

/// What became of a credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It holds.
    Known(Arc<Identity>),
    /// It does not.
    Refused(Refused),
    /// No key that is here has signed the token, and one of these key sets may hold the one that
    /// has: they were never given, or have no key of the token's `kid`. Never empty. The caller
    /// decides whether to fetch and ask again, or to refuse.
    NeedsKeys(Vec<KeySetIndex>),
}

/// Knows callers. One per shard: identities are shared within the shard, and nothing is locked.
#[derive(Debug, Default)]
pub struct Authenticator {
    ring: Arc<KeyRing>,
    key_sets: KeySets,
    recent: Recent,
    cache: Cache,
    revocations: Revocations,
    everyone: Everyone,
}

/// What an open application grants to a caller without a credential.
#[derive(Debug)]
struct Everyone(Arc<Identity>);

impl Default for Everyone {
    fn default() -> Self {
        Everyone(Arc::new(Identity::without_token(Rights::every_topic())))
    }
}

impl Authenticator {
    /// An authenticator that has the keys of `ring` and no key set yet.
    pub fn new(ring: Arc<KeyRing>) -> Authenticator {
        Authenticator { ring, ..Authenticator::default() }
    }

    /// Who presents the API key `key`, or nothing, to `application`.
    ///
    /// # Errors
    /// `Unauthorized` for an absent key unless the application is open, and for a wrong key always:
    /// who presents one believes to be someone.
    pub fn authenticate<'a>(
        &'a self,
        application: &'a Application,
        key: Option<&str>,
    ) -> Result<&'a Arc<Identity>, Refusal> {
        match key {
            Some(key) => api_keys::find(&application.keys, key).ok_or(Refusal::Unauthorized),
            None if application.open => Ok(&self.everyone.0),
            None => Err(Refusal::Unauthorized),
        }
    }

    /// The cheap part: open applications, API keys, tokens that were verified before. `None` when a
    /// signature must be checked. Allocates nothing when it knows the caller, unless a longer token
    /// than before takes a place among those that came last.
    ///
    /// # Errors
    /// As [`authenticate`](Authenticator::authenticate); and `Unauthorized` for a token over 8,704
    /// bytes.
    pub fn recognize(&mut self, request: &Request<'_>) -> Option<Result<Arc<Identity>, Refused>> {
        match request.credential {
            Credential::Absent => {
                let identity = self.authenticate(request.application, None).map(Arc::clone);
                Some(identity.map_err(|refusal| Refused::new(refusal, "present a key or a token")))
            }
            Credential::ApiKey(key) => {
                let identity = self.authenticate(request.application, Some(key)).map(Arc::clone);
                Some(identity.map_err(|refusal| Refused::new(refusal, "no such API key here")))
            }
            Credential::Token(token) if token.len() > TOKEN_SIZE_MAX => Some(Err(not_valid_here())),
            Credential::Token(token) => self.find(request, token).map(Ok),
        }
    }

    /// The whole: checks the token's signature and claims, and remembers one that holds. Does not
    /// look for a remembered one; [`recognize`](Authenticator::recognize) comes first. Costs at most
    /// eight signature checks.
    pub fn verify(&mut self, request: &Request<'_>) -> Verdict {
        let Credential::Token(token) = request.credential else {
            return match self.recognize(request) {
                Some(Ok(identity)) => Verdict::Known(identity),
                Some(Err(refused)) => Verdict::Refused(refused),
                None => unreachable!("only tokens need more"),
            };
        };
        match judge(request, token, &self.ring, &self.key_sets, &mut Silent) {
            Ok(judged) => self.admit(request, token, judged),
            Err(fault) => fault.into_verdict(),
        }
    }

    /// A key set was fetched, or is gone (`None`: too old to be trusted). Tokens that the former one
    /// verified are forgotten, unless both are the same document.
    pub fn set_keys(&mut self, index: KeySetIndex, key_set: Option<Arc<KeySet>>) {
        let former = match key_set {
            Some(new) => {
                let former = self.key_sets.insert(index, Arc::clone(&new));
                former.filter(|former| !former.is_same(&new))
            }
            None => self.key_sets.remove(&index),
        };
        if former.is_some() {
            self.cache.forget(|_, _, of| of == Some(index));
        }
    }

    /// Takes over the keys of other applications: tokens that were verified before are forgotten where
    /// `is_changed`, and are judged again when they come again.
    pub fn set_ring(&mut self, ring: Arc<KeyRing>, is_changed: impl Fn(AppIndex) -> bool) {
        self.ring = ring;
        self.cache.forget(|app, _, _| is_changed(app));
    }

    /// Forgets every key set, and the tokens that were verified with one: their places mean others now.
    pub fn forget_key_sets(&mut self) {
        self.key_sets.clear();
        self.cache.forget(|_, _, key_set| key_set.is_some());
    }

    /// Whether this is whom an open application lets in without a credential.
    pub fn is_everyone(&self, identity: &Arc<Identity>) -> bool {
        Arc::ptr_eq(&self.everyone.0, identity)
    }

    /// Refuses, until `until_s` (Unix seconds, not included), tokens of `app` that `revocation`
    /// names, at the next [`recognize`](Authenticator::recognize) already. Connections that stand are
    /// the shard's to end.
    ///
    /// # Errors
    /// 100,000 revocations are in force already: this one is not, and the caller must be told.
    pub fn revoke(
        &mut self,
        app: AppIndex,
        revocation: &Revocation,
        until_s: u64,
        now_s: u64,
    ) -> Result<(), TooManyRevocations> {
        self.revocations.add(app, revocation, until_s, now_s)?;
        self.cache.forget(|of, identity, _| of == app && names(revocation, identity));
        Ok(())
    }

    /// Whether [`revoke`](Authenticator::revoke) would find room at `now_s`.
    pub fn may_revoke(&mut self, now_s: u64) -> bool {
        self.revocations.has_room(now_s)
    }

    fn find(&mut self, request: &Request<'_>, token: &str) -> Option<Arc<Identity>> {
        if let Some(hash) = self.recent.find(token) {
            return self.cache.find(&Fingerprint::new(request, hash), request.now_s);
        }
        let hash = hash(token);
        let identity = self.cache.find(&Fingerprint::new(request, hash), request.now_s)?;
        self.recent.note(token, hash);
        Some(identity)
    }

    fn admit(&mut self, request: &Request<'_>, token: &str, judged: Judged) -> Verdict {
        if self.revocations.covers(request.app, &judged.identity, request.now_s) {
            return Verdict::Refused(unauthorized("the token has been revoked"));
        }
        let identity = Arc::new(judged.identity);
        let hash = hash(token);
        let fingerprint = Fingerprint::new(request, hash);
        self.recent.note(token, hash);
        self.cache.insert(fingerprint, request, Arc::clone(&identity), judged.key_set);
        Verdict::Known(identity)
    }
}

impl Fault {
    /// What a caller is told of it.
    pub(super) fn into_verdict(self) -> Verdict {
        match self {
            Fault::NotHere(_) => Verdict::Refused(not_valid_here()),
            Fault::NeedsKeys(key_sets) => Verdict::NeedsKeys(key_sets),
            Fault::Claims(problem) => Verdict::Refused(unauthorized(problem)),
        }
    }
}

/// The one refusal of every token of which no signature has been verified.
pub fn not_valid_here() -> Refused {
    unauthorized(NOT_VALID_HERE)
}

fn unauthorized(detail: impl Into<String>) -> Refused {
    Refused::new(Refusal::Unauthorized, detail)
}
