//! The process: the command line, composition, launch, reload, stop; and the doctor, which examines
//! the host.

mod activation;
mod admin;
pub mod cli;
mod doctor;
mod greeting;
mod huge_pages;
mod launch;
mod lifecycle;
mod listening;
mod notify;
mod plan;
mod reload;
mod signals;
mod watchdog;

pub use launch::{LaunchError, serve};
