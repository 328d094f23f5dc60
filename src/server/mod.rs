//! The process: the command line, composition, launch, stop.

pub mod args;
mod greeting;
mod launch;
mod plan;

pub use launch::{LaunchError, serve};
