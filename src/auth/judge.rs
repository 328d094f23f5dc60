//! Judges one token: finds the key that signed it, verifies, and only then looks at its claims.
//!
//! The keys of the roles asked for are tried in the order of the configuration, those alone that are
//! configured for the header's `alg`; of a key set the one the token names, or all that fit. Where
//! two configured keys share key material, issuer and audience decide between them. A [`Witness`] is
//! told each step: the operator's `explain` sees what a door sees, because it is the same code.
//!
//! Knows neither cache nor revocations; those are the authenticator's.

use std::collections::HashMap;
use std::sync::Arc;

use super::authenticator::Request;
use super::claims::Claims;
use super::jws::Jws;
use super::key_ring::KeyRing;
use super::key_set::KeySet;
use super::raw_key::RawKey;
use crate::model::identity::{Identity, Role};
use crate::model::token::{KeySetIndex, KeySource, TokenKey};

/// Signatures checked for one token; it is refused when none of so many keys has signed it. Bounds
/// what a token without `kid` costs: at most 8 × 0.3 ms, with ES512.
pub(super) const CHECKS_COUNT_MAX: usize = 8;

/// The key sets that there are, by their place.
pub type KeySets = HashMap<KeySetIndex, Arc<KeySet>>;

/// Is told each step in words; they are only made for who wants them.
pub(super) trait Witness {
    fn note(&mut self, step: impl FnOnce() -> String);
}

/// Wants none.
pub(super) struct Silent;

impl Witness for Silent {
    fn note(&mut self, _step: impl FnOnce() -> String) {}
}

impl Witness for Vec<String> {
    fn note(&mut self, step: impl FnOnce() -> String) {
        self.push(step());
    }
}

/// A token that holds.
pub(super) struct Judged {
    /// Who bears it.
    pub(super) identity: Identity,
    /// The key set it was verified with, if it was one.
    pub(super) key_set: Option<KeySetIndex>,
}

/// Why a token does not hold.
pub(super) enum Fault {
    /// Before a signature was verified: the reason is for the operator alone.
    NotHere(&'static str),
    /// No key that is here has signed it; these sets could hold one that has.
    NeedsKeys(Vec<KeySetIndex>),
    /// The signature is verified; the reason is for its bearer.
    Claims(String),
}

/// Judges `token`, which `request` presents, at the request's time.
pub(super) fn judge(
    request: &Request<'_>,
    token: &str,
    ring: &KeyRing,
    key_sets: &KeySets,
    witness: &mut impl Witness,
) -> Result<Judged, Fault> {
    let jws = Jws::parse(token).map_err(Fault::NotHere)?;
    witness.note(|| {
        let named =
            jws.header.key_id.as_ref().map_or(String::new(), |kid| format!(", kid {kid:?}"));
        format!("the header says alg {}{named}", jws.header.algorithm.name())
    });
    let mut trial =
        Trial { request, jws, checks_count: 0, parties_problem: None, wanted: Vec::new(), witness };
    for role in request.roles {
        let token_keys = request.application.token_keys(*role);
        for (index, (token_key, raw)) in
            token_keys.iter().zip(ring.keys(request.app, *role)).enumerate()
        {
            let judged =
                trial.with(Offer { role: *role, index, token_key }, raw.as_ref(), key_sets)?;
            if let Some(judged) = judged {
                return Ok(judged);
            }
        }
    }
    Err(trial.fault())
}

/// One configured key, and where it stands.
#[derive(Clone, Copy)]
struct Offer<'a> {
    role: Role,
    index: usize,
    token_key: &'a TokenKey,
}

impl Offer<'_> {
    fn place(&self) -> String {
        let list = match self.role {
            Role::Client => "authKey",
            Role::Admin => "adminKey",
        };
        format!("key {} of {list}", self.index + 1)
    }
}

/// One token before one key after the other.
struct Trial<'a, W> {
    request: &'a Request<'a>,
    jws: Jws<'a>,
    checks_count: usize,
    /// Why a key that did sign the token does not accept it.
    parties_problem: Option<&'static str>,
    /// Sets that might hold the key that is missing.
    wanted: Vec<KeySetIndex>,
    witness: &'a mut W,
}

impl<W: Witness> Trial<'_, W> {
    fn with(
        &mut self,
        offer: Offer<'_>,
        raw: Option<&RawKey>,
        key_sets: &KeySets,
    ) -> Result<Option<Judged>, Fault> {
        let algorithm = self.jws.header.algorithm;
        if !offer.token_key.algorithms.contains(&algorithm) {
            self.witness.note(|| format!("{} is not for {}", offer.place(), algorithm.name()));
            return Ok(None);
        }
        match (&offer.token_key.source, raw) {
            (KeySource::Jwks(index), _) => {
                self.with_set(offer, *index, key_sets.get(index).map(Arc::as_ref))
            }
            (KeySource::Raw(_), Some(key)) => {
                let verifies = |jws: &Jws<'_>| key.verifies(algorithm, jws.signed, jws.signature);
                if self.check(|| offer.place(), verifies)? {
                    return self.accept(offer, None);
                }
                Ok(None)
            }
            (KeySource::Raw(_), None) => Ok(None),
        }
    }

    fn with_set(
        &mut self,
        offer: Offer<'_>,
        index: KeySetIndex,
        key_set: Option<&KeySet>,
    ) -> Result<Option<Judged>, Fault> {
        let algorithm = self.jws.header.algorithm;
        let key_id = self.jws.header.key_id.clone();
        let is_known = |set: &KeySet| key_id.as_deref().is_none_or(|key_id| set.names(key_id));
        let Some(key_set) = key_set.filter(|set| is_known(set)) else {
            let state = if key_set.is_some() { "has no key of that kid" } else { "is not here" };
            self.witness.note(|| format!("{}: its key set {state}", offer.place()));
            // A key set never holds a secret, so that fetching it could not help.
            if !algorithm.is_symmetric() && !self.wanted.contains(&index) {
                self.wanted.push(index);
            }
            return Ok(None);
        };
        for candidate in key_set.candidates(algorithm, key_id.as_deref()) {
            let place = || match &candidate.key_id {
                Some(key_id) => format!("{}, kid {key_id:?}", offer.place()),
                None => format!("{}, a key without kid", offer.place()),
            };
            let verifies =
                |jws: &Jws<'_>| candidate.key.verifies(algorithm, jws.signed, jws.signature);
            if self.check(place, verifies)?
                && let Some(judged) = self.accept(offer, Some(index))?
            {
                return Ok(Some(judged));
            }
        }
        Ok(None)
    }

    /// Whether a key has signed the token.
    fn check(
        &mut self,
        place: impl FnOnce() -> String,
        verifies: impl FnOnce(&Jws<'_>) -> bool,
    ) -> Result<bool, Fault> {
        if self.checks_count == CHECKS_COUNT_MAX {
            return Err(Fault::NotHere("more than 8 keys could have signed it; none of 8 has"));
        }
        self.checks_count += 1;
        let is_verified = verifies(&self.jws);
        let outcome = if is_verified { "has signed it" } else { "has not signed it" };
        self.witness.note(|| format!("{} {outcome}", place()));
        Ok(is_verified)
    }

    /// Judges the claims of a token whose signature is verified. `None` when another configured key
    /// may accept it.
    fn accept(
        &mut self,
        offer: Offer<'_>,
        key_set: Option<KeySetIndex>,
    ) -> Result<Option<Judged>, Fault> {
        let members = self.jws.claims().ok_or_else(|| {
            Fault::Claims("the token's claims are not a JSON object in strict base64url".to_owned())
        })?;
        let claims = Claims::read(members).map_err(|problem| Fault::Claims(problem.to_owned()))?;
        if let Err(problem) = claims.judge_parties(offer.token_key) {
            self.witness.note(|| format!("{} does not accept it: {problem}", offer.place()));
            self.parties_problem.get_or_insert(problem);
            return Ok(None);
        }
        claims
            .judge_times(self.request.now_s, self.request.application.token_leeway_s)
            .map_err(Fault::Claims)?;
        Ok(Some(Judged { identity: claims.into_identity(), key_set }))
    }

    /// Why no key accepted the token.
    fn fault(self) -> Fault {
        if let Some(problem) = self.parties_problem {
            Fault::Claims(problem.to_owned())
        } else if !self.wanted.is_empty() {
            Fault::NeedsKeys(self.wanted)
        } else if self.checks_count > 0 {
            Fault::NotHere("no key that fits has signed it")
        } else {
            Fault::NotHere("no key of this application fits its alg and kid")
        }
    }
}
