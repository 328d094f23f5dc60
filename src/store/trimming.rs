//! Removes messages: those beyond a topic's limits, oldest first, and those that have expired.
//!
//! Invariants: a topic's `lost_through` rises over each message removed that had not expired, and
//! never falls; work per call is bounded, what is left over goes with a later one.

use rusqlite::{Connection, params};

use super::row::{read_u64, write_u64};
use super::topics::{COLUMNS, Topic};
use crate::model::application::Applications;
use crate::model::family::HistoryLimits;
use crate::model::topic::TopicName;

/// Messages that one trimming of a topic removes.
const REMOVED_PER_TOPIC_MAX: u64 = 4096;
/// Expired messages that one call removes.
const EXPIRED_MAX: u64 = 4096;
/// Topics that one call looks at for the age of their messages.
const TOPICS_MAX: u64 = 1024;
/// A history may be longer than its limit by this part of it before it is cut, so that cutting is done
/// for many messages at once.
const SLACK_DIVISOR: u64 = 8;

/// What a trimming did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Trimmed {
    /// Messages removed.
    pub(super) count: u64,
    /// Whether there was more than one call may remove.
    pub(super) has_more: bool,
}

/// Cuts a topic to its limits once it is over them by more than the slack.
pub(super) fn trim_room(
    connection: &Connection,
    topic: &mut Topic,
    limits: HistoryLimits,
    now_us: u64,
) -> rusqlite::Result<Trimmed> {
    let (count_max, size_max) = (u64::from(limits.count_max), limits.size_max as u64);
    let is_over = topic.count > count_max + count_max / SLACK_DIVISOR
        || topic.size > size_max.saturating_add(size_max / SLACK_DIVISOR);
    if !is_over {
        return Ok(Trimmed::default());
    }
    let limits = HistoryLimits { age_max_ms: None, ..limits };
    trim_oldest(connection, topic, limits, now_us)
}

/// Removes from the front what is beyond the limits.
fn trim_oldest(
    connection: &Connection,
    topic: &mut Topic,
    limits: HistoryLimits,
    now_us: u64,
) -> rusqlite::Result<Trimmed> {
    let cut_us = limits.age_max_ms.map_or(0, |ms| now_us.saturating_sub(ms.saturating_mul(1000)));
    let mut oldest = connection.prepare_cached(
        "SELECT offset, time_us, octet_length(payload), expires_us FROM message
         INDEXED BY message_topic WHERE topic = ?1 ORDER BY offset LIMIT ?2",
    )?;
    let mut rows = oldest.query(params![topic.id, write_u64(REMOVED_PER_TOPIC_MAX)])?;
    let (mut through, mut removed_count) = (0, 0);
    while let Some(row) = rows.next()? {
        let is_over = topic.count > u64::from(limits.count_max)
            || topic.size > limits.size_max as u64
            || read_u64(row, 1)? < cut_us;
        if !is_over {
            break;
        }
        through = read_u64(row, 0)?;
        topic.count = topic.count.saturating_sub(1);
        topic.size = topic.size.saturating_sub(read_u64(row, 2)?);
        removed_count += 1;
        let expires_us: Option<i64> = row.get(3)?;
        if expires_us.is_none_or(|at_us| at_us > write_u64(now_us)) {
            topic.lost_through = topic.lost_through.max(through);
        }
    }
    drop(rows);
    if removed_count > 0 {
        remove_through(connection, topic.id, through)?;
    }
    Ok(Trimmed { count: removed_count, has_more: removed_count == REMOVED_PER_TOPIC_MAX })
}

fn remove_through(connection: &Connection, topic: i64, through: u64) -> rusqlite::Result<()> {
    for table in ["message", "latest"] {
        let delete = format!("DELETE FROM {table} WHERE topic = ?1 AND offset <= ?2");
        connection.prepare_cached(&delete)?.execute([topic, write_u64(through)])?;
    }
    Ok(())
}

/// Removes messages that have expired by `now_us`, of all topics.
pub(super) fn trim_expired(connection: &Connection, now_us: u64) -> rusqlite::Result<Trimmed> {
    let mut expired = connection.prepare_cached(
        "SELECT offset, topic, octet_length(payload) FROM message INDEXED BY message_expiry
         WHERE expires_us <= ?1 ORDER BY expires_us LIMIT ?2",
    )?;
    let found: Vec<(i64, i64, i64)> = expired
        .query_map([now_us, EXPIRED_MAX].map(write_u64), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut message = connection.prepare_cached("DELETE FROM message WHERE offset = ?1")?;
    let mut latest =
        connection.prepare_cached("DELETE FROM latest WHERE topic = ?1 AND offset = ?2")?;
    let mut shrink = connection
        .prepare_cached("UPDATE topic SET count = count - 1, size = size - ?2 WHERE id = ?1")?;
    for (offset, topic, size) in &found {
        message.execute([offset])?;
        latest.execute([topic, offset])?;
        shrink.execute([topic, size])?;
    }
    let count = found.len() as u64;
    Ok(Trimmed { count, has_more: count == EXPIRED_MAX })
}

/// Removes what is too old, walking over the topics, some with each call.
#[derive(Debug, Default)]
pub(super) struct AgeWalk {
    /// The last topic looked at.
    after: i64,
}

impl AgeWalk {
    /// Looks at the next topics. Those of applications that are not configured stay as they are:
    /// nobody has said how long to keep them.
    pub(super) fn trim(
        &mut self,
        connection: &Connection,
        applications: &Applications,
        now_us: u64,
    ) -> rusqlite::Result<Trimmed> {
        let topics = next_topics(connection, self.after)?;
        let is_last = (topics.len() as u64) < TOPICS_MAX;
        self.after = if is_last { 0 } else { topics.last().map_or(0, |found| found.topic.id) };
        let mut trimmed = Trimmed::default();
        for mut found in topics {
            let Some(limits) = found.limits(applications) else { continue };
            let one = trim_oldest(connection, &mut found.topic, limits, now_us)?;
            if one.count > 0 {
                found.topic.write(connection)?;
            }
            trimmed.count += one.count;
            if one.has_more {
                // This topic again, with the next call.
                self.after = found.topic.id - 1;
                trimmed.has_more = true;
                break;
            }
        }
        Ok(trimmed)
    }
}

struct Found {
    topic: Topic,
    application: String,
    name: String,
}

impl Found {
    fn limits(&self, applications: &Applications) -> Option<HistoryLimits> {
        let application = applications.get(applications.find(&self.application)?);
        let name = TopicName::new(&self.name).ok()?;
        Some(application.family(application.family_of(&name)).history)
    }
}

fn next_topics(connection: &Connection, after: i64) -> rusqlite::Result<Vec<Found>> {
    let columns = COLUMNS.replace("id, last_offset", "topic.id, last_offset");
    let mut select = connection.prepare_cached(&format!(
        "SELECT {columns}, application.name, topic.name FROM topic
         JOIN application ON application.id = topic.application
         WHERE topic.id > ?1 ORDER BY topic.id LIMIT ?2"
    ))?;
    let read = |row: &rusqlite::Row<'_>| {
        let topic = Topic::read(row)?;
        Ok(Found { topic, application: row.get(6)?, name: row.get(7)? })
    };
    select.query_map(params![after, write_u64(TOPICS_MAX)], read)?.collect()
}
