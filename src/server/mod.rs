//! The process: the command line, composition, launch, stop; and what
//! examines the host: the doctor, and the measuring of its capacity.

mod capacity;
pub mod cli;
mod doctor;
mod greeting;
mod huge_pages;
mod launch;
mod plan;

pub use launch::{LaunchError, serve};
