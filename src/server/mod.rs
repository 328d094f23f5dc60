//! The process: the command line, composition, launch, stop.

pub mod cli;
mod greeting;
mod huge_pages;
mod launch;
mod listening;
mod plan;

pub use launch::{LaunchError, serve};
