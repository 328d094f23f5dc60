//! The process: the command line, composition, launch, stop.

pub mod cli;
mod greeting;
mod launch;
mod plan;

pub use launch::{LaunchError, serve};
