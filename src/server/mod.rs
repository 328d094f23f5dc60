//! The process: the command line, composition, launch, reload, stop.

pub mod cli;
mod greeting;
mod huge_pages;
mod launch;
mod plan;
mod reload;
mod signals;

pub use launch::{LaunchError, serve};
