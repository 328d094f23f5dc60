//! The command line: what can be typed (`args`), and the commands that speak to a running broker
//! (`publish`, `subscribe`, over a `connection`).

mod args;
mod connection;
mod publish;
mod subscribe;

pub use args::{Action, CommandLine, Options, environment, parse, run};
pub use connection::Streams;
