//! Reads a page of history: topics merged in the order of their offsets.
//!
//! Each topic gives its offsets from an index in small portions, and only the messages of the page are
//! read whole; so a page costs about its length, however long the history is and wherever it begins.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::database::Database;
use super::row::{self, Whose, read_u64, write_u64};
use super::topics::{Topic, find, find_application};
use crate::model::store::{Page, Span, StoreError, Wanted};
use crate::model::topic::TopicName;

/// Offsets that one topic gives at a time.
const PORTION_MAX: u32 = 256;
/// The least, when many topics share a page.
const PORTION_MIN: u32 = 4;

impl Database {
    /// Reads a page as it stands after the last commit. It takes part in no transaction.
    ///
    /// # Errors
    /// `Unreadable` when the file cannot be read; it is logged.
    pub fn read(&self, wanted: &Wanted) -> Result<Page, StoreError> {
        self.counters().reads.increment();
        self.page(wanted).map_err(|error| {
            let path = self.options().path.display();
            tracing::error!(%path, %error, "the store could not be read");
            self.counters().unreadable.increment();
            StoreError::Unreadable
        })
    }

    fn page(&self, wanted: &Wanted) -> rusqlite::Result<Page> {
        let topics = self.wanted_topics(wanted)?;
        let mut page = Page {
            lost_through: topics.iter().map(|(_, topic)| topic.lost_through).max().unwrap_or(0),
            ..Page::default()
        };
        for (_, topic) in &topics {
            page.count += count(&self.connection, topic, wanted.span, wanted.time_us)?;
        }
        self.fill(&mut page, wanted, &topics)?;
        page.mark_ends(wanted.span, self.last_offset);
        Ok(page)
    }

    fn wanted_topics<'a>(
        &self,
        wanted: &'a Wanted,
    ) -> rusqlite::Result<Vec<(&'a TopicName, Topic)>> {
        let id = &self.applications().get(wanted.app).id;
        let Some(application) = find_application(&self.connection, id)? else {
            return Ok(Vec::new());
        };
        let mut topics = Vec::with_capacity(wanted.topics.len());
        for name in &wanted.topics {
            topics.extend(find(&self.connection, application, name)?.map(|topic| (name, topic)));
        }
        Ok(topics)
    }

    /// Reads the page's messages, in the span's order, then turns them oldest first.
    fn fill(
        &self,
        page: &mut Page,
        wanted: &Wanted,
        topics: &[(&TopicName, Topic)],
    ) -> rusqlite::Result<()> {
        let mut merge = Merge::new(wanted, topics);
        let mut size = 0;
        while let Some((topic, offset)) = merge.next(&self.connection)? {
            let whose = Whose { identity: self.identity, app: wanted.app, topic: topics[topic].0 };
            let message = row::select(&self.connection, whose, offset)?;
            if message.has_expired(wanted.time_us) {
                continue;
            }
            size += message.publication.payload.size();
            let is_full = page.messages.len() >= wanted.count_max as usize;
            if !page.messages.is_empty() && (is_full || size > wanted.size_max) {
                page.has_more = true;
                break;
            }
            page.messages.push(Arc::new(message));
        }
        if matches!(wanted.span, Span::Before(_)) {
            page.messages.reverse();
        }
        Ok(())
    }
}

/// Messages of the topic in the span that have not expired: for [`Span::Before`] those before its
/// offset, else those behind it.
fn count(
    connection: &Connection,
    topic: &Topic,
    span: Span,
    time_us: u64,
) -> rusqlite::Result<u64> {
    match span {
        Span::After(offset) | Span::LatestAfter(offset) => {
            count_after(connection, topic, offset, time_us)
        }
        Span::Before(offset) => {
            let all = count_after(connection, topic, 0, time_us)?;
            let behind = count_after(connection, topic, offset.saturating_sub(1), time_us)?;
            Ok(all.saturating_sub(behind))
        }
    }
}

fn count_after(
    connection: &Connection,
    topic: &Topic,
    offset: u64,
    time_us: u64,
) -> rusqlite::Result<u64> {
    let mut first = connection.prepare_cached(
        "SELECT ordinal, expires_us IS NULL FROM message INDEXED BY message_topic
         WHERE topic = ?1 AND offset > ?2 ORDER BY offset LIMIT 1",
    )?;
    let read = |row: &rusqlite::Row<'_>| Ok((read_u64(row, 0)?, row.get::<_, bool>(1)?));
    let Some((ordinal, is_lasting)) =
        first.query_row([topic.id, write_u64(offset)], read).optional()?
    else {
        return Ok(0);
    };
    let lasting_count = topic.ordinal.saturating_sub(ordinal) + u64::from(is_lasting);
    let mut expiring = connection.prepare_cached(
        "SELECT count(*) FROM message INDEXED BY message_expiring
         WHERE topic = ?1 AND offset > ?2 AND expires_us > ?3",
    )?;
    let bounds = [topic.id, write_u64(offset), write_u64(time_us)];
    let expiring_count = expiring.query_row(bounds, |row| read_u64(row, 0))?;
    Ok(lasting_count + expiring_count)
}

impl Page {
    /// Says from where to where the page tells, once its messages are in.
    fn mark_ends(&mut self, span: Span, last_offset: u64) {
        let Span::Before(before) = span else {
            let last = self.messages.last().filter(|_| self.has_more);
            self.through = last.map_or(last_offset, |message| message.position.offset);
            return;
        };
        let first = self.messages.first().map(|message| message.position.offset);
        self.through = last_offset.min(before.saturating_sub(1));
        self.first = match first {
            Some(first) if self.has_more => first,
            _ => first.unwrap_or(u64::MAX).min(self.lost_through + 1),
        };
    }
}

/// The offsets of several topics in one order.
struct Merge {
    sources: Vec<Source>,
    portion: u32,
    is_descending: bool,
    sql: &'static str,
}

/// One topic's offsets.
struct Source {
    topic: i64,
    /// The last offset it gave, from which the next portion goes on.
    from: u64,
    portion: VecDeque<u64>,
    is_over: bool,
}

impl Merge {
    fn new(wanted: &Wanted, topics: &[(&TopicName, Topic)]) -> Merge {
        let (from, sql) = match wanted.span {
            Span::After(offset) => (
                offset,
                "SELECT offset FROM message INDEXED BY message_topic
                 WHERE topic = ?1 AND offset > ?2 ORDER BY offset LIMIT ?3",
            ),
            Span::Before(offset) => (
                offset,
                "SELECT offset FROM message INDEXED BY message_topic
                 WHERE topic = ?1 AND offset < ?2 ORDER BY offset DESC LIMIT ?3",
            ),
            Span::LatestAfter(offset) => (
                offset,
                "SELECT offset FROM latest INDEXED BY latest_offset
                 WHERE topic = ?1 AND offset > ?2 ORDER BY offset LIMIT ?3",
            ),
        };
        let source = |topic: &Topic| Source {
            topic: topic.id,
            from,
            portion: VecDeque::new(),
            is_over: false,
        };
        let share =
            wanted.count_max.saturating_add(1) / u32::try_from(topics.len().max(1)).unwrap_or(1);
        Merge {
            sources: topics.iter().map(|(_, topic)| source(topic)).collect(),
            portion: share.clamp(PORTION_MIN, PORTION_MAX),
            is_descending: matches!(wanted.span, Span::Before(_)),
            sql,
        }
    }

    /// The next offset, and the place of its topic among those wanted.
    fn next(&mut self, connection: &Connection) -> rusqlite::Result<Option<(usize, u64)>> {
        let mut next: Option<(usize, u64)> = None;
        for (index, source) in self.sources.iter_mut().enumerate() {
            let Some(offset) = source.peek(connection, self.sql, self.portion)? else { continue };
            let is_nearer = |known: u64| (offset < known) != self.is_descending;
            if next.is_none_or(|(_, known)| is_nearer(known)) {
                next = Some((index, offset));
            }
        }
        if let Some((index, _)) = next {
            self.sources[index].portion.pop_front();
        }
        Ok(next)
    }
}

impl Source {
    fn peek(
        &mut self,
        connection: &Connection,
        sql: &str,
        portion: u32,
    ) -> rusqlite::Result<Option<u64>> {
        if self.portion.is_empty() && !self.is_over {
            let mut select = connection.prepare_cached(sql)?;
            let bounds = params![self.topic, write_u64(self.from), portion];
            let mut rows = select.query(bounds)?;
            while let Some(row) = rows.next()? {
                self.from = read_u64(row, 0)?;
                self.portion.push_back(self.from);
            }
            self.is_over = self.portion.len() < portion as usize;
        }
        Ok(self.portion.front().copied())
    }
}
