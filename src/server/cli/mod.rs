//! The command line: what can be typed (`args`), and the commands that speak to a running broker
//! (`publish`, `subscribe`, over a `connection`); what makes tokens (`token`) and says why they hold or
//! not (`explain`, `explain_topic`), or compares two configurations (`diff`), needs the configuration
//! alone, and `doctor` and `capacity` the host beside it.

mod admin;
mod args;
mod capacity;
mod connection;
mod diff;
mod doctor;
mod explain;
mod explain_topic;
mod generate;
mod help;
mod publish;
mod subscribe;
mod tail;
mod token;
mod top;
mod trace;

pub use args::{Action, CommandLine, Options, Reread, environment, parse, run};
pub use connection::Streams;
