//! The process: the command line, composition, launch, stop; and the doctor, which examines the host.

mod activation;
mod admin;
pub mod cli;
mod doctor;
mod greeting;
mod huge_pages;
mod launch;
mod lifecycle;
mod notify;
mod plan;
mod watchdog;

pub use launch::{LaunchError, serve};
