//! The command line: what can be typed (`args`), and the commands that speak to a running broker
//! (`publish`, `subscribe`, over a `connection`); what makes tokens (`token`) and says why they hold or
//! not (`explain`, `explain_topic`) needs the configuration alone, and `doctor` and
//! `capacity` the host beside it.

mod args;
mod capacity;
mod connection;
mod doctor;
mod explain;
mod explain_topic;
mod publish;
mod subscribe;
mod token;

pub use args::{Action, CommandLine, Options, environment, parse, run};
pub use connection::Streams;
