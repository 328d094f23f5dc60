//! Idempotency keys: which publishes have been here before.
//!
//! Keys outlive their messages, until they are as old as the longest window, or are the oldest of too
//! many. A key that was dropped for room is new again: a repeat after it gets a second place.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::row::{read_u64, write_u64};

/// Keys remembered over all topics; beyond them the oldest goes.
pub(super) const KEYS_MAX: u64 = 1_000_000;
/// Keys removed by one call for their age.
const REMOVED_MAX: u64 = 10_000;

/// The keys' table, and how many it has.
#[derive(Debug)]
pub(super) struct Keys {
    count: u64,
    count_max: u64,
}

impl Keys {
    /// Counts what is there. At most `count_max` are kept.
    pub(super) fn open(connection: &Connection, count_max: u64) -> rusqlite::Result<Keys> {
        let count =
            connection.query_row("SELECT count(*) FROM idempotency", [], |row| read_u64(row, 0))?;
        Ok(Keys { count, count_max })
    }

    /// The offset that `key` got in `topic` less than `window_us` before `time_us`, if it did.
    pub(super) fn find(
        connection: &Connection,
        topic: i64,
        key: &str,
        time_us: u64,
        window_us: u64,
    ) -> rusqlite::Result<Option<u64>> {
        let mut find = connection.prepare_cached(
            "SELECT offset, time_us FROM idempotency WHERE topic = ?1 AND key = ?2",
        )?;
        let read = |row: &rusqlite::Row<'_>| Ok((read_u64(row, 0)?, read_u64(row, 1)?));
        let known = find.query_row(params![topic, key], read).optional()?;
        let is_within = |at_us: u64| time_us < at_us.saturating_add(window_us);
        Ok(known.filter(|(_, at_us)| is_within(*at_us)).map(|(offset, _)| offset))
    }

    /// Remembers that `key` got `offset` in `topic`.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        topic: i64,
        key: &str,
        offset: u64,
        time_us: u64,
    ) -> rusqlite::Result<()> {
        let mut remove =
            connection.prepare_cached("DELETE FROM idempotency WHERE topic = ?1 AND key = ?2")?;
        let removed_count = remove.execute(params![topic, key])?;
        let mut insert = connection.prepare_cached(
            "INSERT INTO idempotency (topic, key, offset, time_us) VALUES (?1, ?2, ?3, ?4)",
        )?;
        insert.execute(params![topic, key, write_u64(offset), write_u64(time_us)])?;
        self.count += 1 - removed_count as u64;
        Ok(())
    }

    /// Removes the oldest of those that are too many.
    pub(super) fn trim_count(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let excess = self.count.saturating_sub(self.count_max);
        if excess > 0 {
            self.remove_oldest(connection, excess, u64::MAX)?;
        }
        Ok(())
    }

    /// Removes the oldest from before `before_us`; whether there may be more of them.
    pub(super) fn trim_age(
        &mut self,
        connection: &Connection,
        before_us: u64,
    ) -> rusqlite::Result<bool> {
        let mut oldest =
            connection.prepare_cached("SELECT time_us FROM idempotency ORDER BY offset LIMIT 1")?;
        let oldest_us = oldest.query_row([], |row| read_u64(row, 0)).optional()?;
        let is_due = oldest_us.is_some_and(|time_us| time_us < before_us);
        Ok(is_due && self.remove_oldest(connection, REMOVED_MAX, before_us)? == REMOVED_MAX)
    }

    /// Looks at the `count` oldest and removes those from before `before_us`; how many these were.
    fn remove_oldest(
        &mut self,
        connection: &Connection,
        count: u64,
        before_us: u64,
    ) -> rusqlite::Result<u64> {
        let mut remove = connection.prepare_cached(
            "DELETE FROM idempotency WHERE time_us < ?2 AND offset IN
             (SELECT offset FROM idempotency ORDER BY offset LIMIT ?1)",
        )?;
        let removed_count = remove.execute([write_u64(count), write_u64(before_us)])? as u64;
        self.count -= removed_count;
        Ok(removed_count)
    }
}
