//! From what an operator wrote to typed options: defaults ← file ← environment ← command line.
//!
//! Flow: `tree` reads TOML (or JSON) with line numbers → `raw` flattens it into paths, checked
//! against `key`'s table → `environment` and flags overwrite paths → `values` reads each by its kind
//! → one file per section turns them into options → `load` checks what spans sections. No stage
//! stops at its first problem. A derived deserializer would, and would lose the lines of what it
//! has read: that is why the table, and not a struct, says which keys there are.
//!
//! Invariants: no layer below sees a string to parse; no secret appears in an error, in `Debug` or
//! in what `show` prints; the default file, the documentation of each key, the environment's names
//! the suggestions, and whether a change needs a restart all come from the one table.

mod admin;
mod api_keys;
mod application_limits;
mod applications;
mod callers;
mod diff;
mod environment;
mod families;
mod key;
mod key_sets;
mod limits;
mod listeners;
mod load;
mod log;
mod poll;
mod problem;
mod proxies;
mod raw;
mod secret;
mod server;
mod sessions;
mod shards;
mod show;
mod store;
mod suggestion;
mod tls;
mod token_keys;
mod tree;
mod value;
mod values;
mod written;

pub use admin::AdminOptions;
pub use diff::{Change, Difference};
pub use environment::{
    CLIENT_KEY_VARIABLE, CLIENT_TOKEN_VARIABLE, CLIENT_URL_VARIABLE, FILE_VARIABLE,
};
pub use key::Effect;
pub use listeners::ListenerOptions;
pub use load::{ConfigFile, Flag, Loaded, ReadFile, Settings, Sources, load};
pub use problem::{ConfigError, Origin, Problem};
pub use server::ServerOptions;
pub use show::default_file;
