//! The store without a thread: append, read, trim, checkpoint.
//!
//! Invariants
//! - Either all of a batch is safe when `append` returns, or all of it has failed; then, and after any
//!   other error of writing, nothing is written any more (see the module above).
//! - Offsets rise by one per message over the whole store, and only a commit moves the last one, so
//!   that a page never tells of an offset that a crash could give again.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;

use super::failure::{OpenError, remedy};
use super::keys::{KEYS_MAX, Keys};
use super::open::{Opened, open};
use super::options::StoreOptions;
use super::row::{self, write_u64};
use super::topics::Topics;
use super::trimming::{AgeWalk, Trimmed, trim_expired, trim_room};
use crate::model::application::Applications;
use crate::model::id::MessageId;
use crate::model::message::{Message, Publication};
use crate::model::store::{Appended, StoreError, StoreIdentity};
use crate::stdx::clock;
use crate::stdx::published::{Published, Seen};
use crate::telemetry::StoreCounters;

/// A message to append.
#[derive(Debug)]
pub struct NewMessage {
    /// What.
    pub publication: Box<Publication>,
    /// When its home took it, Unix time in microseconds.
    pub time_us: u64,
}

/// An open store.
#[derive(Debug)]
pub struct Database {
    pub(super) connection: Connection,
    pub(super) identity: StoreIdentity,
    /// The last offset committed.
    pub(super) last_offset: u64,
    topics: Topics,
    keys: Keys,
    ages: AgeWalk,
    has_failed: bool,
    options: StoreOptions,
    counters: Arc<StoreCounters>,
    reloads: Option<Arc<Published<Applications>>>,
    seen: Seen,
}

impl Database {
    /// Opens the store that `options` name, or makes it.
    ///
    /// # Errors
    /// When another process has it open, when it is not ours, or when its disk refuses.
    pub fn open(
        applications: Arc<Applications>,
        options: StoreOptions,
    ) -> Result<Database, OpenError> {
        let Opened { connection, identity } = open(&options)?;
        let keys = Keys::open(&connection, KEYS_MAX)
            .map_err(|error| OpenError::from_sqlite(options.path.clone(), error))?;
        Ok(Database {
            connection,
            identity,
            last_offset: identity.offset,
            topics: Topics::new(applications),
            keys,
            ages: AgeWalk::default(),
            has_failed: false,
            options,
            counters: Arc::default(),
            reloads: None,
            seen: Seen::default(),
        })
    }

    /// Takes over what is published there from now on; nothing was so far.
    #[must_use]
    pub fn following(self, reloads: Arc<Published<Applications>>) -> Database {
        Database { reloads: Some(reloads), ..self }
    }

    /// Takes over the applications that were published last. Call behind the look at the inbox and
    /// before what came is served: it may name applications that are new.
    pub(super) fn take_reload(&mut self) {
        let newer = self.reloads.as_ref().and_then(|reloads| reloads.take(&mut self.seen));
        if let Some(applications) = newer {
            self.topics.set_applications(applications);
        }
    }

    /// Which store it is, as it was opened.
    pub fn identity(&self) -> StoreIdentity {
        self.identity
    }

    /// What it has done.
    pub fn counters(&self) -> &Arc<StoreCounters> {
        &self.counters
    }

    /// How it was opened.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Appends a batch in one transaction and takes it out of `batch`; one outcome per message, in
    /// order. When it returns, what has a place is on the disk.
    pub fn append(&mut self, batch: &mut Vec<NewMessage>) -> Vec<Result<Appended, StoreError>> {
        let count = batch.len();
        let begun_ns = clock::monotonic_ns();
        let taken = std::mem::take(batch);
        let written = self.write("appending", |database| database.write_batch(taken));
        let Some((outcomes, last_offset)) = written else {
            self.counters.refused.add(count as u64);
            return (0..count).map(|_| Err(StoreError::Failed)).collect();
        };
        let appended_count = last_offset - self.last_offset;
        self.last_offset = last_offset;
        self.counters.commits.increment();
        self.counters.commit_duration.observe_us((clock::monotonic_ns() - begun_ns).div_ceil(1000));
        self.counters.batch_sizes.observe_us(count as u64);
        self.counters.appended.add(appended_count);
        self.counters.repeated.add(count as u64 - appended_count);
        outcomes.into_iter().map(Ok).collect()
    }

    /// Removes some of what is too old or has expired at `now_us` (Unix time in microseconds), and some
    /// idempotency keys that no window covers; whether there was more than one call removes.
    pub fn trim(&mut self, now_us: u64) -> bool {
        let Some(trimmed) = self.write("trimming", |database| database.trim_all(now_us)) else {
            return false;
        };
        // Rows were changed behind the cache.
        self.topics.forget();
        self.counters.trimmed.add(trimmed.count);
        trimmed.has_more
    }

    /// Checks the whole file: its structure, its indexes, its constraints. Takes as long as reading it.
    ///
    /// # Errors
    /// Says what is damaged.
    pub fn verify(&self) -> Result<(), String> {
        let found = self.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0));
        match found {
            Ok(found) if found == "ok" => Ok(()),
            Ok(found) => Err(found),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Copies the log into the file if it has grown long. Nobody waits for it, and it may take longer
    /// than a commit, so it is not part of one.
    pub fn checkpoint_when_due(&mut self) {
        if self.has_failed {
            return;
        }
        let checkpointed = self.log_pages().and_then(|pages| {
            let is_due = pages >= self.options.checkpoint_pages;
            if is_due {
                self.connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE)?;
            }
            Ok(is_due)
        });
        match checkpointed {
            Ok(true) => self.counters.checkpoints.increment(),
            Ok(false) => {}
            Err(error) => self.fail("copying the log into the file", &error),
        }
    }

    /// The configuration.
    pub(super) fn applications(&self) -> &Applications {
        self.topics.applications()
    }

    /// Closes the file, its log copied into it. After an error of writing the log stays, for the next
    /// opening to judge.
    pub fn close(self) {
        let path = self.options.path.clone();
        if let Err((_, error)) = self.connection.close() {
            tracing::error!(path = %path.display(), %error, "the store could not be closed");
        }
    }

    /// Pages in the log that are not in the file yet.
    fn log_pages(&self) -> rusqlite::Result<i32> {
        let (pages, copied) =
            self.connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::NOOP)?;
        Ok(pages - copied)
    }

    /// Runs `work` in a transaction. `None` when that has failed, now or earlier.
    fn write<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut Database) -> rusqlite::Result<T>,
    ) -> Option<T> {
        if self.has_failed {
            return None;
        }
        match self.transact(work) {
            Ok(done) => Some(done),
            Err(error) => {
                self.fail(doing, &error);
                None
            }
        }
    }

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Database) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.execute("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|done| self.execute("COMMIT").map(|()| done));
        if done.is_err() && !self.connection.is_autocommit() {
            // The first error is the one to tell; reading goes on without what was not committed.
            let _ = self.execute("ROLLBACK");
        }
        done
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn fail(&mut self, doing: &str, error: &rusqlite::Error) {
        self.has_failed = true;
        self.counters.failed.set(1);
        // Closing would copy the log; if this cannot be set, that is harmless: the log goes only once
        // the file is synced.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        let path = self.options.path.display();
        let remedy = remedy(error);
        tracing::error!(%path, doing, %error, remedy, "the store has failed and takes nothing more");
    }

    /// What became of each message, and the last offset given.
    fn write_batch(&mut self, batch: Vec<NewMessage>) -> rusqlite::Result<(Vec<Appended>, u64)> {
        let now_us = batch.iter().map(|new| new.time_us).max().unwrap_or(0);
        let mut last_offset = self.last_offset;
        let mut outcomes = Vec::with_capacity(batch.len());
        for new in batch {
            outcomes.push(self.write_message(new, &mut last_offset)?);
        }
        self.finish_topics(now_us)?;
        self.keys.trim_count(&self.connection)?;
        if last_offset > self.last_offset {
            let mut update = self.connection.prepare_cached("UPDATE meta SET last_offset = ?1")?;
            update.execute([write_u64(last_offset)])?;
        }
        Ok((outcomes, last_offset))
    }

    fn write_message(
        &mut self,
        new: NewMessage,
        last_offset: &mut u64,
    ) -> rusqlite::Result<Appended> {
        let NewMessage { publication, time_us } = new;
        let window_ms = self.topics.applications().get(publication.app).idempotency_window_ms;
        let connection = &self.connection;
        let entry = self.topics.change(connection, publication.app, &publication.topic)?;
        if let Some(key) = publication.idempotency_key() {
            let window_us = window_ms.saturating_mul(1000);
            let topic = entry.topic.id;
            if let Some(known) = Keys::find(connection, topic, key, time_us, window_us)? {
                return Ok(Appended::Repeated(self.identity.position(known)));
            }
            self.keys.insert(connection, topic, key, *last_offset + 1, time_us)?;
        }
        *last_offset += 1;
        let place = entry.place(&publication, *last_offset);
        row::insert(connection, place, &publication, time_us)?;
        let position = self.identity.position(place.offset);
        let id = MessageId::new(self.identity.run, position);
        let message = Message::new(*publication, id, position, place.previous, time_us);
        Ok(Appended::New(Arc::new(message)))
    }

    fn finish_topics(&mut self, now_us: u64) -> rusqlite::Result<()> {
        let (connection, counters) = (&self.connection, &self.counters);
        self.topics.write_changed(connection, |entry| {
            entry.write_latest(connection)?;
            let trimmed = trim_room(connection, &mut entry.topic, entry.limits, now_us)?;
            counters.trimmed.add(trimmed.count);
            Ok(())
        })
    }

    fn trim_all(&mut self, now_us: u64) -> rusqlite::Result<Trimmed> {
        let expired = trim_expired(&self.connection, now_us)?;
        let aged = self.ages.trim(&self.connection, self.topics.applications(), now_us)?;
        let has_keys =
            self.keys.trim_age(&self.connection, now_us.saturating_sub(self.window_us()))?;
        let has_more = expired.has_more || aged.has_more || has_keys;
        Ok(Trimmed { count: expired.count + aged.count, has_more })
    }

    /// The longest window in which any application knows a repeated publish.
    fn window_us(&self) -> u64 {
        let windows = self.topics.applications().iter().map(|(_, app)| app.idempotency_window_ms);
        windows.max().unwrap_or(0).saturating_mul(1000)
    }
}
