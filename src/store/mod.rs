//! The durable store: messages that outlive the process, in one SQLite file, written by one thread.
//!
//! Data flow: home shards stage [`StoreRequest`](crate::model::store::StoreRequest)s through the mesh;
//! the thread gathers what has arrived, appends it in one transaction that is synced before anyone is
//! answered, reads pages, and stages the replies. [`Database`] is all of that without a thread.
//!
//! Invariants
//! - An append is answered only behind the commit that keeps it; an offset is never given twice.
//! - After any error of writing nothing more is written: what the system still holds in memory of a
//!   file whose sync has failed may differ from the disk, so that a retry could report a success that
//!   is none.
//! - Applications are kept by their ids and topics by their names, so that the configuration may be
//!   reordered between two starts.
//!
//! It knows no home, no connection and no wire form, and is the only layer that names rusqlite.

mod database;
mod failure;
mod keys;
mod open;
mod options;
mod paging;
mod publisher;
mod row;
mod schema;
mod serving;
mod thread;
mod topics;
mod trimming;

pub use database::{Database, NewMessage};
pub use failure::OpenError;
pub use options::StoreOptions;
pub use thread::{StoreThread, start};
