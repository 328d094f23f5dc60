//! Opens the file: how SQLite is to treat it, whose it is, and the tables of a new one.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags, params};

use super::failure::OpenError;
use super::options::StoreOptions;
use super::row::{read_u64, write_u64};
use super::schema::{APPLICATION_ID, CREATE, VERSION};
use crate::model::position::Epoch;
use crate::model::store::StoreIdentity;
use crate::stdx::random;

/// Prepared statements kept; more than there are.
const STATEMENTS_MAX: usize = 64;
/// Pages that SQLite may keep in memory, in KiB: the indexes' upper levels and recent messages.
const CACHE_KIB: i64 = 32 * 1024;
/// What the log's file is cut back to after it had to grow for a burst, in bytes.
const LOG_SIZE_MAX: i64 = 64 << 20;

/// An open store file.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) identity: StoreIdentity,
}

/// Opens or makes the store that `options` name.
///
/// # Errors
/// Says whose the file is, if not ours, or what went wrong with it.
pub(super) fn open(options: &StoreOptions) -> Result<Opened, OpenError> {
    if options.vfs.is_none() {
        make_private(&options.path)?;
    }
    let mut connection = connect(options).map_err(|error| sqlite(options, error))?;
    // Before anything is written: what is not ours stays as it is.
    let is_new = match versions(&connection).map_err(|error| sqlite(options, error))? {
        (APPLICATION_ID, VERSION) => false,
        (APPLICATION_ID, found) if found > VERSION => {
            let path = options.path.clone();
            return Err(OpenError::Newer { path, found, known: VERSION });
        }
        (0, 0) if is_empty(&connection).map_err(|error| sqlite(options, error))? => true,
        _ => return Err(OpenError::Foreign(options.path.clone())),
    };
    set_up(&connection, options.sync).map_err(|error| sqlite(options, error))?;
    if is_new {
        create(&mut connection).map_err(|error| sqlite(options, error))?;
    }
    if options.vfs.is_none() {
        sync_folder(&options.path)?;
    }
    let identity = identity(&connection).map_err(|error| sqlite(options, error))?;
    Ok(Opened { connection, identity })
}

fn sqlite(options: &StoreOptions, error: rusqlite::Error) -> OpenError {
    OpenError::from_sqlite(options.path.clone(), error)
}

/// Makes a new file readable for its owner only: it holds what people wrote to each other. SQLite gives
/// the log the same mode. One that is there is not touched: closing it would give up the locks that
/// another store of this process has on it.
fn make_private(path: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => {
            Err(OpenError::File { path: path.to_owned(), source })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A new file's name is on the disk only when its folder is.
fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| OpenError::File { path: folder.to_owned(), source })
}

fn connect(options: &StoreOptions) -> rusqlite::Result<Connection> {
    // One thread at a time uses it, so SQLite's own mutexes are left out.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = match options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(&options.path, flags, vfs)?,
        None => Connection::open_with_flags(&options.path, flags)?,
    };
    // Whoever has it open keeps it until it ends: waiting would not help.
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Before the log is chosen: an exclusive store needs no memory shared between processes, hence no
    // third file, and nobody else can open it meanwhile.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    Ok(connection)
}

fn set_up(connection: &Connection, sync: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL syncs the log with each commit; NORMAL would lose the last commits to a power cut.
    connection.pragma_update(None, "synchronous", if sync { "FULL" } else { "OFF" })?;
    // Ours to do, behind the replies: a checkpoint inside of COMMIT would delay them, and its errors
    // are told to nobody.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE_MAX)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // No table refers to another by a foreign key; a check per row would find none.
    connection.pragma_update(None, "foreign_keys", false)?;
    // No spill to a second file on whatever disk holds temporary ones.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The lock is taken by the first write, which must not be the first publish.
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
    // What an earlier life wrote to the log and could not sync may be in memory only, in front of what
    // is appended and synced now. Copied into the file, it is written anew.
    connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::TRUNCATE).map(drop)
}

/// The file's `application_id` and `user_version`.
fn versions(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let value = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok((value("application_id")?, value("user_version")?))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(CREATE)?;
    // 0 is no epoch of a store, so that a forgotten initialisation shows.
    let epoch = (random::word() >> 32).max(1);
    transaction.execute(
        "INSERT INTO meta (id, epoch, run, last_offset) VALUES (1, ?1, ?2, 0)",
        params![write_u64(epoch), random::word().cast_signed()],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn identity(connection: &Connection) -> rusqlite::Result<StoreIdentity> {
    connection.query_row("SELECT epoch, run, last_offset FROM meta", [], |row| {
        Ok(StoreIdentity {
            epoch: Epoch(row.get(0)?),
            run: row.get::<_, i64>(1)?.cast_unsigned(),
            offset: read_u64(row, 2)?,
        })
    })
}
