//! Tokens that are refused although they hold: by their `jti`, or all of a subject from before a time.
//!
//! Bounded, and each entry ends at the time it was given. When full of entries that have not ended, a
//! further revocation is refused, aloud: dropping another would make a revoked token valid again.

use std::collections::HashMap;

use crate::model::application::AppIndex;
use crate::model::identity::{Identity, Revocation};

/// Entries of all applications together.
pub(super) const ENTRIES_COUNT_MAX: usize = 100_000;

/// There are 100,000 revocations in force already; this one is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyRevocations;

/// What is revoked.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    by_application: HashMap<AppIndex, OfApplication>,
    count: usize,
}

#[derive(Debug, Default)]
struct OfApplication {
    token_ids: HashMap<Box<str>, Until>,
    subjects: HashMap<Box<str>, (IssuedBefore, Until)>,
}

/// Unix seconds from when on the entry is over.
type Until = u64;
/// Unix seconds; tokens issued earlier are revoked.
type IssuedBefore = u64;

impl Revocations {
    /// Adds `revocation` until `until_s`. One that is there already is only ever widened.
    ///
    /// # Errors
    /// The table is full and nothing in it is over at `now_s`.
    pub(super) fn add(
        &mut self,
        app: AppIndex,
        revocation: &Revocation,
        until_s: u64,
        now_s: u64,
    ) -> Result<(), TooManyRevocations> {
        if self.count >= ENTRIES_COUNT_MAX {
            self.drop_ended(now_s);
        }
        let is_full = self.count >= ENTRIES_COUNT_MAX;
        let of_application = self.by_application.entry(app).or_default();
        if is_full && !of_application.has(revocation) {
            return Err(TooManyRevocations);
        }
        self.count -= of_application.len();
        match revocation {
            Revocation::TokenId(token_id) => {
                let until = of_application.token_ids.entry(token_id.clone()).or_default();
                *until = until_s.max(*until);
            }
            Revocation::Subject { subject, issued_before_s } => {
                let entry = of_application.subjects.entry(subject.clone()).or_default();
                *entry = ((*issued_before_s).max(entry.0), until_s.max(entry.1));
            }
        }
        self.count += of_application.len();
        Ok(())
    }

    /// Whether a further one finds room at `now_s`.
    pub(super) fn has_room(&mut self, now_s: u64) -> bool {
        if self.count >= ENTRIES_COUNT_MAX {
            self.drop_ended(now_s);
        }
        self.count < ENTRIES_COUNT_MAX
    }

    /// Whether `identity`'s token is revoked at `now_s`.
    pub(super) fn covers(&self, app: AppIndex, identity: &Identity, now_s: u64) -> bool {
        let Some(of_application) = self.by_application.get(&app) else { return false };
        let token_id = identity.token_id.as_deref();
        let by_id = token_id.and_then(|token_id| of_application.token_ids.get(token_id));
        let subject = identity.subject.as_deref();
        let by_subject = subject.and_then(|subject| of_application.subjects.get(subject));
        by_id.is_some_and(|until_s| now_s < *until_s)
            || by_subject.is_some_and(|(issued_before_s, until_s)| {
                now_s < *until_s && was_issued_before(identity, *issued_before_s)
            })
    }

    fn drop_ended(&mut self, now_s: u64) {
        self.by_application.retain(|_, of_application| {
            of_application.token_ids.retain(|_, until_s| now_s < *until_s);
            of_application.subjects.retain(|_, (_, until_s)| now_s < *until_s);
            of_application.len() > 0
        });
        self.count = self.by_application.values().map(OfApplication::len).sum();
    }
}

impl OfApplication {
    fn len(&self) -> usize {
        self.token_ids.len() + self.subjects.len()
    }

    fn has(&self, revocation: &Revocation) -> bool {
        match revocation {
            Revocation::TokenId(token_id) => self.token_ids.contains_key(token_id),
            Revocation::Subject { subject, .. } => self.subjects.contains_key(subject),
        }
    }
}

/// Whether `revocation` is about `identity`'s token.
pub(super) fn names(revocation: &Revocation, identity: &Identity) -> bool {
    match revocation {
        Revocation::TokenId(token_id) => identity.token_id.as_deref() == Some(token_id),
        Revocation::Subject { subject, issued_before_s } => {
            identity.subject.as_deref() == Some(subject)
                && was_issued_before(identity, *issued_before_s)
        }
    }
}

/// A token that does not say when it was issued counts as issued before.
fn was_issued_before(identity: &Identity, time_s: u64) -> bool {
    identity.issued_at.is_none_or(|issued_at| issued_at < time_s)
}
