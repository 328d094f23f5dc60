//! Keys of where history lives: in memory, and for durable topics in the store's file.

use super::key::{Key, Kind};
use super::values::Values;
use crate::shard::options::HistoryOptions;
use crate::store::StoreOptions;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "history.memory_max",
        Kind::Size { min: 1 << 20, max: 1 << 40 },
        "256MiB",
        "Bytes of messages that all shards together keep in memory for history; each has an equal \
         share. At the limit the oldest go, whatever their topic's own limits, and who asks for \
         them is told that they are gone.",
    )
    .live(),
    Key::new(
        "store.path",
        Kind::Text,
        "",
        "The file (SQLite) in which messages of durable topics are kept. Empty = none, and no topic \
         may be durable. Its folder must exist.",
    ),
    Key::new(
        "store.commit_count_max",
        Kind::Count { min: 1, max: 65_536 },
        "1024",
        "Most messages written by one commit. Further ones wait for the next.",
    ),
    Key::new(
        "store.sync",
        Kind::Flag,
        "true",
        "Whether a commit waits until the disk has it. false loses acknowledged messages at a power \
         cut; for measuring only.",
    ),
];

pub(super) fn history(values: &Values) -> HistoryOptions {
    HistoryOptions { memory_max: values.number("history.memory_max") }
}

/// The store; `None` where no file is named.
pub(super) fn store(values: &mut Values) -> Option<StoreOptions> {
    let path = values.text("store.path").filter(|path| !path.is_empty())?;
    if !is_file(&path) {
        values.problem(
            "store.path",
            "must be the plain path of a file: SQLite takes `:memory:` and `file:` for something \
             else, and would keep nothing",
        );
    }
    Some(StoreOptions {
        commit_count_max: values.number("store.commit_count_max"),
        sync: values.flag("store.sync"),
        ..StoreOptions::new(path)
    })
}

/// Whether `SQLite` takes the text for a file's path (sqlite.org, "In-Memory Databases", "URI
/// Filenames").
fn is_file(path: &str) -> bool {
    !path.starts_with(':') && !path.starts_with("file:") && !path.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlite_takes_for_something_else_is_no_file() {
        for path in ["a", "/var/lib/fanwire/store.db", "./:memory:", "file.db", "profile:x"] {
            assert!(is_file(path), "{path}");
        }
        for path in [":memory:", ":x", "file::memory:", "file:/a?mode=memory", "a\0b"] {
            assert!(!is_file(path), "{path}");
        }
    }
}
