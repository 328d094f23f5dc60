//! Connections whose sockets take no more: how many there are, and how many bytes wait for them.
//!
//! A connection is listed when a send stops short, and looked at once per interval while it is: so
//! connections that keep up cost nothing, and a gauge is an interval old at most.

use std::collections::HashSet;
use std::time::Duration;

use super::connection::Connection;
use super::run::Shard;
use crate::stdx::clock::Tick;
use crate::stdx::slab::Key;

/// Time between two looks at those listed.
const INTERVAL: Duration = Duration::from_secs(1);

/// The list.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    listed: HashSet<Key, foldhash::fast::RandomState>,
    /// When to look next; `None` with nobody listed.
    due: Option<Tick>,
}

impl Backlog {
    /// Notes that a connection's socket has taken less than was offered.
    pub(super) fn block(&mut self, key: Key, connection: &mut Connection) {
        connection.flags.blocked = true;
        self.listed.insert(key);
    }

    /// How long a shard may park before it is to look.
    pub(super) fn wait(&self, now: Tick) -> Option<Duration> {
        let due = self.due.or((!self.listed.is_empty()).then_some(now))?;
        let left_ms = if due.is_due(now) { 0 } else { due.since_ms(now) };
        Some(Duration::from_millis(u64::from(left_ms)))
    }
}

impl Shard {
    /// Counts what waits, when it is time.
    pub(super) fn count_backlog(&mut self) {
        let now = self.delivery.now;
        let backlog = &mut self.delivery.backlog;
        if backlog.listed.is_empty() || backlog.due.is_some_and(|due| !due.is_due(now)) {
            return;
        }
        let (mut count, mut size) = (0, 0);
        let connections = &mut self.delivery.connections;
        backlog.listed.retain(|key| {
            let Some(connection) = connections.get_mut(*key) else { return false };
            if connection.flags.blocked {
                count += 1;
                size += connection.outbound.size() as u64;
            }
            connection.flags.blocked
        });
        backlog.due = (!backlog.listed.is_empty()).then(|| now.after(INTERVAL));
        let counters = self.delivery.counters();
        counters.connections_blocked.set(count);
        counters.outbound_bytes.set(size);
    }
}
