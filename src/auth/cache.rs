//! Tokens that were verified, so that a client that returns costs a hash and not a signature.
//!
//! A token is known by the SHA-256 of itself, the application and the roles it was judged for; the
//! token is not kept here. Bounded: when full, the next insertion takes the place of one that was not
//! asked for since the hand last passed (second chance), which is at most one round of the table. Losing an entry costs a verification, nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::authenticator::Request;
use super::recent::TokenHash;
use crate::model::application::AppIndex;
use crate::model::identity::{Identity, Role};
use crate::model::token::KeySetIndex;

/// Entries; about 150 bytes each and the identity they share.
const ENTRIES_COUNT_MAX: usize = 16_384;
/// How long a token without `exp` is remembered, in seconds; then it is verified again.
const UNLIMITED_DURATION_S: u64 = 3600;

/// By what a token is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Fingerprint {
    app: AppIndex,
    /// Which of client and admin it was judged for.
    roles: [bool; 2],
    hash: TokenHash,
}

impl Fingerprint {
    /// That of a token as `request` presents it.
    pub(super) fn new(request: &Request<'_>, hash: TokenHash) -> Fingerprint {
        let roles = [Role::Client, Role::Admin].map(|role| request.roles.contains(&role));
        Fingerprint { app: request.app, roles, hash }
    }
}

/// Allocates nothing.
pub(super) fn hash(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// The verified tokens of one shard.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Vec<Entry>,
    by_fingerprint: HashMap<Fingerprint, usize, foldhash::fast::RandomState>,
    /// Where the search for a place goes on.
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Fingerprint,
    identity: Arc<Identity>,
    key_set: Option<KeySetIndex>,
    /// Unix seconds from when on it must be verified again.
    until_s: u64,
    was_asked_for: bool,
}

impl Cache {
    /// The bearer of a token that is still valid at `now_s`. Allocates nothing.
    pub(super) fn find(&mut self, fingerprint: &Fingerprint, now_s: u64) -> Option<Arc<Identity>> {
        let entry = &mut self.entries[*self.by_fingerprint.get(fingerprint)?];
        entry.was_asked_for = true;
        (now_s < entry.until_s).then(|| Arc::clone(&entry.identity))
    }

    /// Remembers a token that `request` has presented, until it expires, leeway included.
    pub(super) fn insert(
        &mut self,
        fingerprint: Fingerprint,
        request: &Request<'_>,
        identity: Arc<Identity>,
        key_set: Option<KeySetIndex>,
    ) {
        let leeway_s = u64::from(request.application.token_leeway_s);
        let until_s = match identity.expires_at {
            Some(expires_at) => expires_at.saturating_add(leeway_s),
            None => request.now_s.saturating_add(UNLIMITED_DURATION_S),
        };
        let entry = Entry { fingerprint, identity, key_set, until_s, was_asked_for: false };
        if let Some(index) = self.by_fingerprint.get(&fingerprint) {
            self.entries[*index] = entry;
            return;
        }
        let index = if self.entries.len() < ENTRIES_COUNT_MAX {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let index = self.free_place();
            let replaced = std::mem::replace(&mut self.entries[index], entry);
            self.by_fingerprint.remove(&replaced.fingerprint);
            index
        };
        self.by_fingerprint.insert(fingerprint, index);
    }

    /// Forgets the tokens for which `is_doomed`. Looks at each entry.
    pub(super) fn forget(
        &mut self,
        is_doomed: impl Fn(AppIndex, &Identity, Option<KeySetIndex>) -> bool,
    ) {
        self.entries
            .retain(|entry| !is_doomed(entry.fingerprint.app, &entry.identity, entry.key_set));
        self.by_fingerprint.clear();
        let places = self.entries.iter().enumerate();
        self.by_fingerprint.extend(places.map(|(index, entry)| (entry.fingerprint, index)));
    }

    /// The place of an entry that may go; ends within one round, since a round takes every chance.
    fn free_place(&mut self) -> usize {
        loop {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if !std::mem::take(&mut entry.was_asked_for) {
                return self.hand;
            }
        }
    }
}
