//! What a shard does when the configuration was read again.
//!
//! All that may change under a running shard is one immutable snapshot. A shard compares its
//! generation at the start of each turn, and again before it takes in what another shard sent, which
//! may have the new one already: so no parcel ever names an application that its receiver lacks.
//!
//! Whoever is connected stays, under the new limits, except for
//! - sessions of an application that was removed or disabled,
//! - sessions let in by an API key that is gone, or without one where that was allowed.
//!
//! A session of a token stays until the token expires or is revoked, whatever becomes of the key that
//! verified it. Source addresses and origins are looked at only when somebody comes in.
//!
//! Cost: a change of keys looks at the sessions of that application, one of limits or times at every
//! connection; about 0.1 µs each, in one go.

use std::sync::Arc;

use super::connection::Door;
use super::dispatch::expires_s;
use super::options::Options;
use super::rates::{Buckets, Rates};
use super::run::Shard;
use crate::auth::{KeyRing, KeySet};
use crate::model::application::{AppIndex, Application, Applications};
use crate::model::close::{Close, CloseCause, GOING_AWAY, POLICY, UNAUTHORIZED};
use crate::model::identity::Identity;
use crate::model::key_board::KeyBoard;
use crate::stdx::rate::{LocalGcra, Measure};
use crate::stdx::slab::Key;

/// What the configuration says, as shards need it.
#[derive(Debug)]
pub struct Snapshot {
    /// Plain values; those that need a restart equal the first snapshot's.
    pub options: Arc<Options>,
    /// The applications; each the successors of the snapshot's before.
    pub applications: Arc<Applications>,
    /// Their parsed keys.
    pub key_ring: Arc<KeyRing>,
    /// Where their fetched key sets are posted.
    pub key_board: Arc<KeyBoard<KeySet>>,
    /// Rates that all shards share.
    pub rates: Arc<Rates>,
    /// Bytes that each shard's topics may keep in memory.
    pub history_size_max: usize,
}

/// How fast sockets are accepted, where that is limited.
pub(super) fn accept_pace(options: &Options) -> Option<(Measure, LocalGcra)> {
    options.socket.accept_rate.map(|rate| (rate.measure(), LocalGcra::new()))
}

impl Shard {
    /// Whether there is a newer snapshot than this shard's.
    pub(super) fn is_outdated(&self) -> bool {
        self.control.snapshots.is_newer_than(self.snapshot_seen)
    }

    /// Takes over the newest snapshot, if it is news.
    #[inline]
    pub(super) fn take_reload(&mut self) {
        if let Some(snapshot) = self.control.snapshots.take(&mut self.snapshot_seen) {
            self.adopt(&snapshot);
            self.control.snapshots.acknowledge(self.snapshot_seen);
        }
    }

    #[cold]
    fn adopt(&mut self, snapshot: &Snapshot) {
        let new = &snapshot.applications;
        let former = std::mem::replace(&mut self.delivery.applications, Arc::clone(new));
        let options = std::mem::replace(&mut self.delivery.options, Arc::clone(&snapshot.options));
        if options.socket.accept_rate != snapshot.options.socket.accept_rate {
            self.accept_pace = accept_pace(&snapshot.options);
        }
        self.rates = Arc::clone(&snapshot.rates);
        self.authenticator.set_ring(Arc::clone(&snapshot.key_ring), |app| {
            known(&former, app).is_none_or(|former| verification_differs(former, new.get(app)))
        });
        if !Arc::ptr_eq(self.verifying.board(), &snapshot.key_board) {
            self.authenticator.forget_key_sets();
            self.verifying.set_board(Arc::clone(&snapshot.key_board));
        }
        self.broker.set_applications(new, snapshot.history_size_max, self.time_us);
        for (app, application) in new.iter() {
            if let Some(former) = known(&former, app) {
                self.judge_sessions(app, former, application, new.is_removed(app));
            }
        }
        self.end_hidden_streams();
        let deadlines_differ = options != snapshot.options
            || new.iter().any(|(app, application)| {
                known(&former, app).is_some_and(|former| limits_differ(former, application))
            });
        if deadlines_differ {
            self.apply_limits();
        }
    }

    /// Ends the sessions of an application that may not stay, and tells the others who they are now.
    fn judge_sessions(
        &mut self,
        app: AppIndex,
        former: &Application,
        new: &Application,
        is_removed: bool,
    ) {
        if new.enabled == former.enabled && !entrance_differs(former, new) {
            return;
        }
        let fate = |identity: &Arc<Identity>| {
            if is_removed {
                Fate::Ends(&REMOVED, CloseCause::Administered)
            } else if !new.enabled {
                Fate::Ends(&DISABLED, CloseCause::Administered)
            } else if self.authenticator.is_everyone(identity) {
                if new.open { Fate::Stays } else { Fate::Ends(&CLOSED, CloseCause::Revoked) }
            } else {
                fate_of_key(former, new, identity)
            }
        };
        let sessions = self.broker.identities(app);
        let fates: Vec<(Key, Fate)> =
            sessions.map(|(key, identity)| (key, fate(identity))).collect();
        for (key, fate) in fates {
            match fate {
                Fate::Stays => {}
                Fate::Becomes(identity) => self.become_holder(key, &identity),
                Fate::Ends(close, cause) => {
                    // A poll is answered; the next one meets the door as it is now.
                    self.end_poll(key);
                    if !self.close_after_answers(key) {
                        self.delivery.close_websocket(key, close, cause);
                    }
                }
            }
        }
    }

    /// The session's API key has other rights now.
    fn become_holder(&mut self, key: Key, identity: &Arc<Identity>) {
        if let Some(connection) = self.delivery.connections.get_mut(key)
            && let Door::WebSocket(door) = &mut connection.door
        {
            door.identity = Arc::clone(identity);
        }
        self.broker.set_identity(key, identity, &mut self.delivery);
    }

    /// Puts every connection under the limits and times that hold now.
    fn apply_limits(&mut self) {
        let keys: Vec<Key> = self.delivery.connections.keys().collect();
        for key in keys {
            self.apply_limits_to(key);
            self.reschedule(key);
        }
    }

    fn apply_limits_to(&mut self, key: Key) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        let app = match &connection.door {
            Door::Http(_) | Door::Follow => return,
            Door::WebSocket(door) => door.app,
            Door::Stream(door) => door.app,
        };
        let application = self.delivery.applications.get(app);
        let limits = &application.limits;
        connection.outbound_size_max = u32::try_from(limits.outbound_size_max).unwrap_or(u32::MAX);
        let identity = self.broker.identity_of(key);
        connection.expires_s = identity.and_then(|(_, identity)| expires_s(application, identity));
        if let Door::WebSocket(door) = &mut connection.door
            && door.buckets.is_none()
        {
            door.buckets = Buckets::for_limits(limits);
        }
    }
}

/// What becomes of a session.
enum Fate {
    Stays,
    /// Its API key has other rights.
    Becomes(Arc<Identity>),
    Ends(&'static Close, CloseCause),
}

static REMOVED: Close = Close::new(GOING_AWAY, "The application has been removed!");
static DISABLED: Close = Close::new(POLICY, "The application has been disabled!");
static KEY_GONE: Close = Close::new(UNAUTHORIZED, "The API key has been removed!");
static CLOSED: Close = Close::new(UNAUTHORIZED, "The application is no longer open!");

/// The application as it was, if it was known.
fn known(former: &Applications, app: AppIndex) -> Option<&Application> {
    (usize::from(app.0) < former.iter().len()).then(|| former.get(app))
}

/// By whom it was let in is known by the identity itself, which all sessions of a key share.
fn fate_of_key(former: &Application, new: &Application, identity: &Arc<Identity>) -> Fate {
    let key = former.keys.iter().find(|key| Arc::ptr_eq(&key.identity, identity));
    let Some(key) = key else { return Fate::Stays };
    match new.keys.iter().find(|now| now.secret == key.secret) {
        None => Fate::Ends(&KEY_GONE, CloseCause::Revoked),
        Some(now) if Arc::ptr_eq(&now.identity, identity) => Fate::Stays,
        Some(now) => Fate::Becomes(Arc::clone(&now.identity)),
    }
}

/// Whether who may be inside differs: a key is gone or has other rights, or the door is shut.
fn entrance_differs(former: &Application, new: &Application) -> bool {
    let stays =
        |identity: &Arc<Identity>| matches!(fate_of_key(former, new, identity), Fate::Stays);
    (former.open && !new.open) || !former.keys.iter().all(|key| stays(&key.identity))
}

/// Whether a token that was verified might not be now.
fn verification_differs(former: &Application, new: &Application) -> bool {
    former.auth_keys != new.auth_keys
        || former.admin_keys != new.admin_keys
        || former.token_leeway_s != new.token_leeway_s
}

/// Whether something that is kept with a connection differs.
fn limits_differ(former: &Application, new: &Application) -> bool {
    former.limits != new.limits
        || former.token_expiry != new.token_expiry
        || former.token_leeway_s != new.token_leeway_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::application::ApiKey;
    use crate::model::rights::Rights;

    fn holder() -> Arc<Identity> {
        Arc::new(Identity::without_token(Rights::every_topic()))
    }

    fn application(keys: &[(&str, &Arc<Identity>)]) -> Application {
        let key = |(secret, identity): &(&str, &Arc<Identity>)| ApiKey {
            secret: (*secret).into(),
            identity: Arc::clone(identity),
        };
        Application { keys: keys.iter().map(key).collect(), ..Application::new("a") }
    }

    #[test]
    fn who_stays_follows_the_key_and_not_what_it_allows() {
        let (stays, goes, changes, token) = (holder(), holder(), holder(), holder());
        let former = application(&[("stays", &stays), ("goes", &goes), ("changes", &changes)]);
        let new = application(&[("changes", &holder()), ("stays", &stays), ("new", &holder())]);
        let fate = |identity| match fate_of_key(&former, &new, identity) {
            Fate::Stays => "stays",
            Fate::Becomes(identity) if Arc::ptr_eq(&identity, &new.keys[0].identity) => "changes",
            Fate::Becomes(_) => "becomes someone else",
            Fate::Ends(..) => "goes",
        };
        let fates = [&stays, &goes, &changes, &token].map(fate);
        assert_eq!(fates, ["stays", "goes", "changes", "stays"]);
        assert!(entrance_differs(&former, &new) && !entrance_differs(&former, &former));
    }
}
