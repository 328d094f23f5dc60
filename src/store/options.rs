//! What an operator may choose of the store.

use std::path::PathBuf;

/// Rarely enough that a page changed by many commits is copied once, and often enough that opening
/// after a crash reads 16 MiB at most.
const CHECKPOINT_PAGES: i32 = 4096;

/// Where the store is and how it commits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreOptions {
    /// The database file; its log stands beside it, with `-wal` behind the name.
    pub path: PathBuf,
    /// Appends that one commit takes at most, at least 1. What is left waits for the next.
    pub commit_count_max: usize,
    /// Whether a commit waits for the disk. Without it a power cut loses what was acknowledged: for
    /// measuring only.
    pub sync: bool,
    /// Pages of log (4 KiB each) at which it is copied into the file; tests choose few.
    #[doc(hidden)]
    pub checkpoint_pages: i32,
    /// The SQLite file system to go through, for tests of what a disk may do.
    #[doc(hidden)]
    pub vfs: Option<&'static str>,
}

impl StoreOptions {
    /// The defaults, with the database at `path`.
    pub fn new(path: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            path: path.into(),
            commit_count_max: 1024,
            sync: true,
            checkpoint_pages: CHECKPOINT_PAGES,
            vfs: None,
        }
    }
}
