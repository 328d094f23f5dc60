//! Tokens of open connections: their expiry, and new ones presented without reconnecting.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::super::connection::{Connection, Door};
use super::super::run::Shard;
use super::super::verifying::Judged;
use crate::auth::{self, Credential};
use crate::model::application::{AppIndex, Application};
use crate::model::identity::{Identity, Role};
use crate::model::refusal::{Refusal, Refused};
use crate::model::token::TokenExpiry;
use crate::proto::realtime::{self, Expiry};
use crate::proto::ws::{Opcode, frame};
use crate::stdx::slab::Key;

impl Shard {
    /// `{"type":"authenticate"}`: judges a new token for an open WebSocket. A refused one changes
    /// nothing but is told.
    pub(in crate::shard) fn authenticate(&mut self, key: Key, token: Box<str>) {
        let Some(Connection { door: Door::WebSocket(door), .. }) =
            self.delivery.connections.get(key)
        else {
            return;
        };
        let (app, current) = (door.app, Arc::clone(&door.identity));
        let applications = Arc::clone(&self.delivery.applications);
        let asked = auth::Request {
            app,
            application: applications.get(app),
            roles: &[Role::Client],
            credential: Credential::Token(&token),
            now_s: self.time_us / 1_000_000,
        };
        match self.identify(key, &asked) {
            Judged::Known(identity) if identity.subject == current.subject => {
                self.renew(key, app, &identity);
            }
            Judged::Known(_) => {
                let detail = "the token has another subject than the connection; reconnect";
                self.refuse_token(key, &Refused::new(Refusal::Forbidden, detail));
            }
            Judged::Refused(refused) => self.refuse_token(key, &refused),
            Judged::Later => {
                if let Some(Connection { door: Door::WebSocket(door), .. }) =
                    self.delivery.connections.get_mut(key)
                {
                    door.presented = Some(token);
                }
            }
        }
    }

    fn renew(&mut self, key: Key, app: AppIndex, identity: &Arc<Identity>) {
        let expires_s = expires_s(self.delivery.applications.get(app), identity);
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        connection.expires_s = expires_s;
        connection.flags.expiry_told = false;
        if let Door::WebSocket(door) = &mut connection.door {
            door.identity = Arc::clone(identity);
        }
        self.tell(key, |out| realtime::authenticated(out, identity));
        self.broker.set_identity(key, identity, &mut self.delivery);
        self.reschedule(key);
    }

    fn refuse_token(&mut self, key: Key, refused: &Refused) {
        self.count_refusal(key, refused);
        self.tell(key, |out| realtime::refused(out, refused));
    }

    /// The token has expired: a WebSocket is told how long it has; a stream just ends then.
    pub(in crate::shard) fn tell_expired(&mut self, key: Key) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        connection.flags.expiry_told = true;
        let (Door::WebSocket(door), Some(expires_s)) = (&connection.door, connection.expires_s)
        else {
            return;
        };
        let policy = self.delivery.applications.get(door.app).token_expiry;
        let TokenExpiry::Close { grace_ms } = policy else { return };
        let expires_at = u64::from(expires_s.get());
        let expiry =
            Expiry { expires_at, closes_at: expires_at + u64::from(grace_ms.div_ceil(1000)) };
        self.tell(key, |out| realtime::expired(out, expiry));
    }

    /// Sends an envelope of the connection's own.
    fn tell(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        let mut envelope = Vec::new();
        write(&mut envelope);
        self.delivery.append(key, |out| frame::append(out, Opcode::Text, true, false, &envelope));
    }
}

/// When a connection's token expires, Unix seconds, leeway included; `None` where that ends nothing.
pub(in crate::shard) fn expires_s(
    application: &Application,
    identity: &Identity,
) -> Option<NonZeroU32> {
    if application.token_expiry == TokenExpiry::Keep {
        return None;
    }
    let expires_at = identity.expires_at?.saturating_add(u64::from(application.token_leeway_s));
    // Beyond the year 2106 it never does.
    u32::try_from(expires_at).ok().and_then(NonZeroU32::new)
}
