//! The topics' rows: what the store remembers of each topic beside its messages.
//!
//! A transaction takes the topics it touches from a cache, changes them there, and writes those that
//! have changed before it commits. Reading goes to the table, never to the cache, which holds what is
//! not committed yet.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::row::{Place, read_u64, write_u64};
use crate::model::application::{AppIndex, Applications};
use crate::model::family::HistoryLimits;
use crate::model::message::Publication;
use crate::model::topic::TopicName;

/// Topics kept in memory between transactions; when there are more, all are forgotten and read again.
const CACHED_MAX: usize = 100_000;

/// What [`Topic::read`] reads, in this order.
pub(super) const COLUMNS: &str = "id, last_offset, lost_through, ordinal, count, size";

/// A topic's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) id: i64,
    /// The offset of its last message, kept or not; 0 before the first.
    pub(super) last_offset: u64,
    /// The highest offset removed for age or room.
    pub(super) lost_through: u64,
    /// Messages without expiry that it ever had.
    pub(super) ordinal: u64,
    /// Messages kept.
    pub(super) count: u64,
    /// Bytes of their payloads.
    pub(super) size: u64,
}

/// A topic in the cache, with what the transaction under way has changed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) topic: Topic,
    pub(super) limits: HistoryLimits,
    /// The newest offset per key of this transaction; `None` are the messages without one.
    pub(super) latest: HashMap<Option<Box<str>>, u64>,
    is_changed: bool,
}

/// The topics that transactions touch.
#[derive(Debug)]
pub(super) struct Topics {
    applications: Arc<Applications>,
    application_ids: HashMap<AppIndex, i64>,
    cached: HashMap<(AppIndex, TopicName), Entry>,
    changed: Vec<(AppIndex, TopicName)>,
}

impl Topics {
    /// None yet; `applications` name them and limit their histories.
    pub(super) fn new(applications: Arc<Applications>) -> Topics {
        Topics {
            applications,
            application_ids: HashMap::new(),
            cached: HashMap::new(),
            changed: Vec::new(),
        }
    }

    /// The configuration.
    pub(super) fn applications(&self) -> &Applications {
        &self.applications
    }

    /// Takes over other applications, whose limits hold from the next transaction on.
    pub(super) fn set_applications(&mut self, applications: Arc<Applications>) {
        self.applications = applications;
        self.forget();
    }

    /// The topic, made if it is new, for a transaction that will change it.
    pub(super) fn change(
        &mut self,
        connection: &Connection,
        app: AppIndex,
        name: &TopicName,
    ) -> rusqlite::Result<&mut Entry> {
        let place = (app, name.clone());
        if !self.cached.contains_key(&place) {
            let entry = self.load(connection, app, name)?;
            self.cached.insert(place.clone(), entry);
        }
        let entry = self.cached.get_mut(&place).expect("it was there or has been put there");
        if !entry.is_changed {
            entry.is_changed = true;
            self.changed.push(place);
        }
        Ok(entry)
    }

    /// Calls `finish` for each topic that this transaction has changed, then writes its row.
    pub(super) fn write_changed(
        &mut self,
        connection: &Connection,
        mut finish: impl FnMut(&mut Entry) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        for place in self.changed.drain(..) {
            let entry = self.cached.get_mut(&place).expect("nothing is forgotten meanwhile");
            finish(entry)?;
            entry.is_changed = false;
            entry.topic.write(connection)?;
        }
        if self.cached.len() > CACHED_MAX {
            self.cached.clear();
        }
        Ok(())
    }

    /// Forgets what is cached, because rows were changed elsewhere.
    pub(super) fn forget(&mut self) {
        debug_assert!(self.changed.is_empty(), "between transactions only");
        self.cached.clear();
    }

    fn load(
        &mut self,
        connection: &Connection,
        app: AppIndex,
        name: &TopicName,
    ) -> rusqlite::Result<Entry> {
        let application = self.application(connection, app)?;
        let topic = match find(connection, application, name)? {
            Some(topic) => topic,
            None => create(connection, application, name)?,
        };
        let owner = self.applications.get(app);
        let limits = owner.family(owner.family_of(name)).history;
        Ok(Entry { topic, limits, latest: HashMap::new(), is_changed: false })
    }

    fn application(&mut self, connection: &Connection, app: AppIndex) -> rusqlite::Result<i64> {
        if let Some(id) = self.application_ids.get(&app) {
            return Ok(*id);
        }
        let name = &*self.applications.get(app).id;
        let known = find_application(connection, name)?;
        let id = if let Some(id) = known {
            id
        } else {
            connection.execute("INSERT INTO application (name) VALUES (?1)", [name])?;
            connection.last_insert_rowid()
        };
        self.application_ids.insert(app, id);
        Ok(id)
    }
}

impl Entry {
    /// The place of the next message, which gets `offset`.
    pub(super) fn place(&mut self, publication: &Publication, offset: u64) -> Place {
        let topic = &mut self.topic;
        let previous = std::mem::replace(&mut topic.last_offset, offset);
        topic.ordinal += u64::from(publication.expires_us().is_none());
        topic.count += 1;
        topic.size += publication.payload.size() as u64;
        self.latest.insert(publication.key().map(Box::from), offset);
        Place { topic: topic.id, offset, previous, ordinal: topic.ordinal }
    }

    /// Writes the newest offset per key.
    pub(super) fn write_latest(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut replace = connection
            .prepare_cached("REPLACE INTO latest (topic, key, offset) VALUES (?1, ?2, ?3)")?;
        for (key, offset) in self.latest.drain() {
            // An empty blob, which equals no text, stands for messages without a key.
            let key = key.map_or(Value::Blob(Vec::new()), |key| Value::Text(key.into()));
            replace.execute(params![self.topic.id, key, write_u64(offset)])?;
        }
        Ok(())
    }
}

impl Topic {
    /// Writes its row.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut update = connection.prepare_cached(
            "UPDATE topic SET last_offset = ?2, lost_through = ?3, ordinal = ?4, count = ?5, size = ?6
             WHERE id = ?1",
        )?;
        let numbers = [self.last_offset, self.lost_through, self.ordinal, self.count, self.size]
            .map(write_u64);
        let [last_offset, lost_through, ordinal, count, size] = numbers;
        update.execute(params![self.id, last_offset, lost_through, ordinal, count, size])?;
        Ok(())
    }

    /// Reads the columns of [`COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Topic> {
        Ok(Topic {
            id: row.get(0)?,
            last_offset: read_u64(row, 1)?,
            lost_through: read_u64(row, 2)?,
            ordinal: read_u64(row, 3)?,
            count: read_u64(row, 4)?,
            size: read_u64(row, 5)?,
        })
    }
}

/// The row of the application of this id.
pub(super) fn find_application(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<i64>> {
    let mut find = connection.prepare_cached("SELECT id FROM application WHERE name = ?1")?;
    find.query_row([name], |row| row.get(0)).optional()
}

/// The topic of this name, as it was committed.
pub(super) fn find(
    connection: &Connection,
    application: i64,
    name: &TopicName,
) -> rusqlite::Result<Option<Topic>> {
    let select = format!("SELECT {COLUMNS} FROM topic WHERE application = ?1 AND name = ?2");
    let mut find = connection.prepare_cached(&select)?;
    find.query_row(params![application, name.as_str()], Topic::read).optional()
}

fn create(connection: &Connection, application: i64, name: &TopicName) -> rusqlite::Result<Topic> {
    let mut create = connection.prepare_cached(
        "INSERT INTO topic (application, name, last_offset, lost_through, ordinal, count, size)
         VALUES (?1, ?2, 0, 0, 0, 0, 0)",
    )?;
    let id = create.insert(params![application, name.as_str()])?;
    Ok(Topic { id, last_offset: 0, lost_through: 0, ordinal: 0, count: 0, size: 0 })
}
