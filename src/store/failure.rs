//! Why a store cannot be opened, and what to do when writing fails.

use std::fmt;
use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why a store cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    InUse(PathBuf),
    /// A file that is not a store of this broker.
    Foreign(PathBuf),
    /// Written by a newer broker.
    Newer {
        /// Which.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file or its folder cannot be made or synced.
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database cannot be read or written.
    Sqlite {
        /// Which.
        path: PathBuf,
        /// What SQLite said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// Sorts what SQLite said about the file at `path`.
    pub(super) fn from_sqlite(path: PathBuf, error: rusqlite::Error) -> OpenError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse(path),
            Some(ErrorCode::NotADatabase) => OpenError::Foreign(path),
            _ => OpenError::Sqlite { path, source: Box::new(error) },
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse(path) => {
                write!(f, "the store {} is in use by another process", path.display())
            }
            OpenError::Foreign(path) => {
                write!(f, "{} is not a store of this broker; it is left alone", path.display())
            }
            OpenError::Newer { path, found, known } => write!(
                f,
                "the store {} has version {found}, written by a newer broker; this one knows up to \
                 version {known}",
                path.display()
            ),
            OpenError::File { path, source } => {
                write!(f, "opening the store {}: {source}", path.display())
            }
            OpenError::Sqlite { path, source } => {
                write!(f, "opening the store {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::File { source, .. } => Some(source),
            OpenError::Sqlite { source, .. } => Some(&**source),
            OpenError::InUse(_) | OpenError::Foreign(_) | OpenError::Newer { .. } => None,
        }
    }
}

/// What an operator should do about an error of writing.
pub(super) fn remedy(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "free space on its disk, then restart",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the file is damaged: restore it from a backup, or move it away, then restart"
        }
        _ => "check its disk, then restart",
    }
}
