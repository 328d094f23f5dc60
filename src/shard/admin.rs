//! The admin door, as the shard sees it that serves it: a listener with room of its own.
//!
//! Its connections are HTTP connections like others, marked by a flag that opens other routes
//! (`dispatch/admin`). They count towards no limit of the main door, are served while that is full,
//! and stay while the broker drains.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::connection::{Connection, Entrance};
use super::follow::FollowStream;
use super::lifecycle::EXHAUSTED_PAUSE;
use super::listener::{Accepted, Listener};
use super::run::Shard;
use super::transport::Peer;
use crate::auth::AdminToken;
use crate::model::application::Application;
use crate::model::refusal::{Refusal, Refused};
use crate::stdx::slab::Key;

/// Connections of the admin door; a further one is closed at the accept. Their descriptors are among
/// those kept free of clients.
const CONNECTIONS_MAX: usize = 16;

/// Sockets accepted per wake. The accept queue ([`AdminDoor::BACKLOG`]) holds fewer, so an edge never
/// leaves one behind.
const ACCEPTS_MAX: usize = 64;

/// The admin door of one shard.
#[derive(Debug)]
pub struct AdminDoor {
    listener: Listener,
    token: Option<AdminToken>,
    connection_count: usize,
    /// Those of its connections that follow something.
    pub(super) streams: Vec<FollowStream>,
}

impl AdminDoor {
    /// Length of the listener's accept queue.
    pub const BACKLOG: u32 = 32;

    /// A door behind this listener. Without a token, whoever reaches it comes in.
    pub fn new(listener: Listener, token: Option<AdminToken>) -> AdminDoor {
        AdminDoor { listener, token, connection_count: 0, streams: Vec::new() }
    }

    /// Judges a caller by its `Authorization` and `Host`.
    ///
    /// # Errors
    /// The token is absent or wrong. Without one configured: the host is a name other than
    /// `localhost`, as in a browser that a foreign page has led here (DNS rebinding).
    pub(super) fn admit(
        &self,
        authorization: Option<&str>,
        host: Option<&str>,
    ) -> Result<(), Refused> {
        let Some(token) = &self.token else {
            if host.is_none_or(is_local_name) {
                return Ok(());
            }
            let detail = "without admin.token, the host must be an IP address or localhost";
            return Err(Refused::new(Refusal::OriginForbidden, detail));
        };
        let presented = authorization.and_then(|value| value.split_once(' '));
        let is_admitted = presented.is_some_and(|(scheme, presented)| {
            scheme.eq_ignore_ascii_case("bearer") && token.admits(presented.trim_start())
        });
        if is_admitted {
            return Ok(());
        }
        let detail = "present admin.token as Authorization: Bearer";
        Err(Refused::new(Refusal::Unauthorized, detail))
    }
}

impl AdminDoor {
    /// Whether callers may see an application's topics and users. Where no token tells an operator
    /// from any other user of the machine, only what is open to everyone anyway is shown.
    pub(super) fn shows(&self, application: &Application) -> bool {
        self.token.is_some() || application.open
    }
}

impl AsFd for AdminDoor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Whether a Host field is one that no name server answered for.
fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}

impl Shard {
    /// Accepts whoever waits at the admin door.
    pub(super) fn accept_admin(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let Some(door) = &self.admin else { return };
            match door.listener.accept() {
                Accepted::Connection(fd, peer) => self.begin_admin(fd, peer),
                Accepted::Gone => {}
                Accepted::Nobody => return,
                Accepted::Exhausted(error) => {
                    if let Some(suppressed) = self.accept_log.ask(self.delivery.now) {
                        tracing::warn!(%error, suppressed, "cannot accept at the admin door");
                    }
                    // Its edge has gone by: the end of the pause looks here again.
                    return self.pause_accepting(EXHAUSTED_PAUSE);
                }
            }
        }
    }

    fn begin_admin(&mut self, fd: OwnedFd, peer: Peer) {
        let Some(door) = &mut self.admin else { return };
        if door.connection_count >= CONNECTIONS_MAX {
            if let Some(suppressed) = self.accept_log.ask(self.delivery.now) {
                tracing::warn!(suppressed, "the admin door is full: connection closed");
            }
            return;
        }
        door.connection_count += 1;
        let mut connection = Connection::new(fd, peer, self.delivery.now);
        connection.entrance = Entrance::Admin;
        self.admit(connection);
    }

    /// A connection of the admin door has ended.
    pub(super) fn admin_left(&mut self, key: Key) {
        self.end_following(key);
        if let Some(door) = &mut self.admin {
            door.connection_count -= 1;
        }
    }

    /// Connections of the main door.
    pub(super) fn public_connection_count(&self) -> usize {
        let admin_count = self.admin.as_ref().map_or(0, |door| door.connection_count);
        self.delivery.connections.len() - admin_count
    }

    /// The same, each.
    pub(super) fn public_connections(&self) -> impl Iterator<Item = Key> + '_ {
        let all = self.delivery.connections.iter();
        all.filter(|(_, connection)| !connection.is_admin()).map(|(key, _)| key)
    }

    /// Whether nobody is left whom a stop has to wait for.
    pub(super) fn is_deserted(&self) -> bool {
        self.public_connection_count() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_stranger_could_own_are_told_apart() {
        for local in
            ["127.0.0.1", "127.0.0.1:8481", "[::1]:8481", "[::1]", "LocalHost:1", "10.0.0.1"]
        {
            assert!(is_local_name(local), "{local}");
        }
        for foreign in
            ["example.com", "example.com:8481", "localhost.example.com", "", "127.0.0.1.nip.io"]
        {
            assert!(!is_local_name(foreign), "{foreign}");
        }
    }
}
