//! Tokens whose signatures have to be verified: within each turn's budget, in the order of their
//! coming, and waiting for key sets that are being fetched.
//!
//! Invariant: a connection waits here at most once, because nothing more of it is taken in while it
//! waits; so both lists are bounded by the connection table.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::Door;
use super::run::Shard;
use crate::auth::{self, KeySet, Verdict};
use crate::model::identity::Identity;
use crate::model::key_board::{KeyBoard, Requested};
use crate::model::refusal::{Refusal, Refused};
use crate::model::token::KeySetIndex;
use crate::stdx::clock;
use crate::stdx::slab::Key;

/// A version that no board has: its states are still to be looked at.
const NO_VERSION: u64 = u64::MAX;

/// What has become of a credential.
#[derive(Debug)]
pub(super) enum Judged {
    /// Who the caller is.
    Known(Arc<Identity>),
    /// Why it is nobody.
    Refused(Refused),
    /// Not yet: the connection is listed to be tried again.
    Later,
}

/// Connections that wait for their tokens to be judged.
#[derive(Debug)]
pub(super) struct Verifying {
    /// For a turn with budget left, oldest first.
    queue: VecDeque<Key>,
    /// For a key set.
    waiting: Vec<Key>,
    board: Arc<KeyBoard<KeySet>>,
    board_version: u64,
    /// Per key set: fetches that had ended when its state was taken over.
    attempt_counts: Vec<u64>,
    /// Spent in this turn.
    spent: Duration,
}

impl Verifying {
    pub(super) fn new(board: Arc<KeyBoard<KeySet>>) -> Verifying {
        Verifying {
            queue: VecDeque::new(),
            waiting: Vec::new(),
            attempt_counts: vec![0; board.len()],
            board,
            board_version: 0,
            spent: Duration::ZERO,
        }
    }

    /// Takes over the board of other key sets. Who waited for a key set is judged again, and waits again
    /// if it must.
    pub(super) fn set_board(&mut self, board: Arc<KeyBoard<KeySet>>) {
        let waiting = std::mem::take(&mut self.waiting);
        self.queue.extend(waiting);
        self.attempt_counts = vec![0; board.len()];
        self.board_version = NO_VERSION;
        self.board = board;
    }

    /// Where its key sets are posted.
    pub(super) fn board(&self) -> &Arc<KeyBoard<KeySet>> {
        &self.board
    }

    /// Whether something can go on in the next turn.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.board.version() != self.board_version
    }
}

impl Shard {
    /// Judges a credential: at once where that is cheap, else by verifying its signature if this
    /// turn may still spend time on that.
    pub(super) fn identify(&mut self, key: Key, asked: &auth::Request<'_>) -> Judged {
        match self.authenticator.recognize(asked) {
            Some(Ok(identity)) => return Judged::Known(identity),
            Some(Err(refused)) => return Judged::Refused(refused),
            None => {}
        }
        if self.verifying.spent >= self.delivery.options.turn.verify_time_max {
            self.verifying.queue.push_back(key);
            return Judged::Later;
        }
        let began = clock::now();
        let verdict = self.authenticator.verify(asked);
        self.note_verification(began);
        match verdict {
            Verdict::Known(identity) => Judged::Known(identity),
            Verdict::Refused(refused) => Judged::Refused(refused),
            Verdict::NeedsKeys(key_sets) => self.await_keys(key, &key_sets),
        }
    }

    fn note_verification(&mut self, began: Instant) {
        let took = clock::now().duration_since(began);
        self.verifying.spent += took;
        self.delivery.counters().token_verification.observe(took);
    }

    /// The key set lacks the token's key. Strangers can make up key ids, so a fetch is asked for
    /// only as often as the board allows; in between such tokens are refused.
    fn await_keys(&mut self, key: Key, key_sets: &[KeySetIndex]) -> Judged {
        let Verifying { board, attempt_counts, .. } = &self.verifying;
        // All are asked for, not only the first: each may be the one that has the key.
        let pending_count = key_sets
            .iter()
            .map(|index| board.request(*index, attempt_counts[usize::from(index.0)]))
            .filter(|requested| *requested == Requested::Pending)
            .count();
        if pending_count > 0 {
            self.verifying.waiting.push(key);
            return Judged::Later;
        }
        if key_sets.iter().all(|index| board.state(*index).keys.is_some()) {
            return Judged::Refused(auth::not_valid_here());
        }
        let detail = "the provider of this application's keys cannot be reached";
        Judged::Refused(Refused::new(Refusal::KeysUnavailable, detail))
    }

    /// Tries again those who wait, as far as this turn's budget goes.
    pub(super) fn verify_waiting(&mut self) {
        self.verifying.spent = Duration::ZERO;
        self.take_new_keys();
        // Those who have to wait again are put behind the ones counted here.
        for _ in 0..self.verifying.queue.len() {
            if self.verifying.spent >= self.delivery.options.turn.verify_time_max {
                return;
            }
            let Some(key) = self.verifying.queue.pop_front() else { return };
            self.guard(key, Shard::try_again);
        }
    }

    fn take_new_keys(&mut self) {
        let version = self.verifying.board.version();
        if version == self.verifying.board_version {
            return;
        }
        self.verifying.board_version = version;
        for index in (0..self.delivery.applications.key_sets().len()).map(key_set_index) {
            let state = self.verifying.board.state(index);
            self.verifying.attempt_counts[usize::from(index.0)] = state.attempt_count;
            self.authenticator.set_keys(index, state.keys);
        }
        let waiting = std::mem::take(&mut self.verifying.waiting);
        self.verifying.queue.extend(waiting);
    }

    /// Has the authenticator keep what other shards' administration revoked.
    pub(super) fn keep_revocations(&mut self) {
        let now_s = self.time_us / 1_000_000;
        for (app, revocation, until_s) in self.delivery.revocations.drain(..) {
            let kept = self.authenticator.revoke(app, &revocation, until_s, now_s);
            if kept.is_err() {
                // The shard that took the order had room, so this is a difference of a moment.
                tracing::error!("a revocation found no room; its sessions were closed");
            }
        }
    }

    fn try_again(&mut self, key: Key) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        match &mut connection.door {
            Door::Http(door) => {
                if let Some(held) = door.held.take() {
                    self.serve_held(key, &held);
                    self.end_if_last(key);
                }
            }
            Door::WebSocket(door) => {
                if let Some(token) = door.presented.take() {
                    self.authenticate(key, token);
                }
            }
            Door::Stream(_) | Door::Follow => {}
        }
        self.delivery.read_again(key);
    }

    /// A peer that shut its side while its request was held has had its last answer.
    fn end_if_last(&mut self, key: Key) {
        let Some(connection) = self.delivery.connections.get(key) else { return };
        let is_read = connection.unread.is_empty() && !connection.flags.readable;
        if connection.flags.ended && is_read && connection.is_open() {
            self.peer_ended(key);
        }
    }
}

fn key_set_index(index: usize) -> KeySetIndex {
    KeySetIndex(u16::try_from(index).expect("the configuration bounds the count"))
}
