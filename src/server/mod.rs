//! The process: the command line, composition, launch, reload, stop; and what examines the host: the
//! doctor, and the measuring of its capacity.

mod activation;
mod admin;
mod capacity;
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
