//! Says in words what the broker makes of a token, for the operator's command line.
//!
//! It is the judge that a door has, with a witness; there is no second implementation. Revocations
//! are not known here: they live in the running broker. What it says names the token's key id and
//! times, and the rights that it grants; it is not for the token's bearer, nor for a log.

use std::sync::Arc;

use super::authenticator::{Credential, Request, Verdict};
use super::judge::{Fault, KeySets, Witness as _, judge};
use super::key_ring::KeyRing;
use crate::model::identity::Identity;
use crate::model::rights::Rights;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// What was looked at, in order, one sentence each, and why the verdict is what it is.
    pub steps: Vec<String>,
    /// What a door would say; revocations aside.
    pub verdict: Verdict,
}

/// Judges the token of `request` with the keys of `ring` and `key_sets`. `None` when the request
/// presents no token.
pub fn explain(request: &Request<'_>, ring: &KeyRing, key_sets: &KeySets) -> Option<Explanation> {
    let Credential::Token(token) = request.credential else { return None };
    let mut steps = Vec::new();
    let verdict = match judge(request, token, ring, key_sets, &mut steps) {
        Ok(judged) => {
            note_identity(&mut steps, &judged.identity);
            Verdict::Known(Arc::new(judged.identity))
        }
        Err(fault) => {
            steps.note(|| match &fault {
                Fault::NotHere(reason) => format!("refused: {reason}"),
                Fault::Claims(reason) => format!("refused: {reason}"),
                Fault::NeedsKeys(_) => "undecided: a key set has to be fetched first".to_owned(),
            });
            fault.into_verdict()
        }
    };
    Some(Explanation { steps, verdict })
}

fn note_identity(steps: &mut Vec<String>, identity: &Identity) {
    steps.push("accepted".to_owned());
    steps.push(match &identity.subject {
        Some(subject) => format!("its subject is {subject:?}"),
        None => "it has no subject: each connection is its own".to_owned(),
    });
    steps.push(match identity.expires_at {
        Some(expires_at) => format!("it expires at {expires_at} (Unix seconds)"),
        None => "it never expires".to_owned(),
    });
    if identity.token_id.is_none() {
        steps.push("it has no jti: it can be revoked by its subject only".to_owned());
    }
    let presented = &identity.rights.presented;
    if presented.is_empty() {
        steps.push("it has no permissions: it may subscribe to public topics".to_owned());
    }
    steps.extend(presented.iter().map(|permission| {
        let object = if grants(permission) { "" } else { "nothing by " };
        format!("it grants {object}{permission:?}")
    }));
}

/// Whether a permission means anything to this broker.
fn grants(permission: &str) -> bool {
    let rights =
        |permissions| Rights { presented: Arc::from([]), ..Rights::of_permissions(permissions) };
    rights(vec![permission.to_owned()]) != rights(Vec::new())
}
