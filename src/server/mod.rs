//! The process: the command line, composition, launch, stop.

mod admin;
pub mod cli;
mod greeting;
mod huge_pages;
mod launch;
mod plan;

pub use launch::{LaunchError, serve};
