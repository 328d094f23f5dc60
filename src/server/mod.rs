//! The process: the command line, composition, launch, stop; and the doctor, which examines the host.

pub mod cli;
mod doctor;
mod greeting;
mod huge_pages;
mod launch;
mod plan;

pub use launch::{LaunchError, serve};
