//! Tokens that were verified, so that a client that returns costs a hash and not a signature.
//!
//! A token is known by the SHA-256 of itself, the application and the roles it was judged for; the
//! token is not kept. Bounded: when full, the next insertion takes the place of one that has expired
//! or was not asked for since the hand last passed (second chance), which is at most one round of the
//! table. Losing an entry costs a verification, nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::authenticator::Request;
use crate::model::application::AppIndex;
use crate::model::identity::{Identity, Role};
use crate::model::token::KeySetIndex;

/// Entries; about 150 bytes each and the identity they share.
const ENTRIES_COUNT_MAX: usize = 16_384;
/// How long a token without `exp` is remembered, in seconds; then it is verified again.
const UNLIMITED_DURATION_S: u64 = 3600;

/// By what a token is known.
pub(super) type Fingerprint = [u8; 32];

/// The fingerprint of `token` as `request` presents it.
pub(super) fn fingerprint(request: &Request<'_>, token: &str) -> Fingerprint {
    let asks = |role| u8::from(request.roles.contains(&role));
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&request.app.0.to_le_bytes());
    context.update(&[asks(Role::Client), asks(Role::Admin)]);
    context.update(token.as_bytes());
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
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
    app: AppIndex,
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

    /// Remembers a token verified at `now_s` until it expires, `leeway_s` included.
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
        let app = request.app;
        let entry = Entry { fingerprint, app, identity, key_set, until_s, was_asked_for: false };
        if let Some(index) = self.by_fingerprint.get(&fingerprint) {
            self.entries[*index] = entry;
            return;
        }
        let index = if self.entries.len() < ENTRIES_COUNT_MAX {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let index = self.free_place(request.now_s);
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
        self.entries.retain(|entry| !is_doomed(entry.app, &entry.identity, entry.key_set));
        self.by_fingerprint.clear();
        let places = self.entries.iter().enumerate();
        self.by_fingerprint.extend(places.map(|(index, entry)| (entry.fingerprint, index)));
    }

    /// The place of an entry that may go; ends within one round, since a round takes every chance.
    fn free_place(&mut self, now_s: u64) -> usize {
        loop {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if !std::mem::take(&mut entry.was_asked_for) || entry.until_s <= now_s {
                return self.hand;
            }
        }
    }
}
