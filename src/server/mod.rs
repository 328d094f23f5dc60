//! The process: command line, composition, signals.

pub mod args;
