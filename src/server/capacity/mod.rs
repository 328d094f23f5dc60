//! `fanwire capacity`: measures what a connection costs on this host, and says how many it holds.
//!
//! Flow: per kind of connection a `child` broker is started, a `crowd` of clients is opened against it
//! in steps, and the `host`'s memory is read after each (`measure`); the slope is the cost of one.
//! `bounds` divides what the host has by that. `report` prints.
//!
//! Both ends of a connection are on this host: what a client's end takes of the kernel is measured by
//! pairs of plain sockets, and taken off. Other programs' memory moves too, so the kernel's figure is
//! the median of the steps.
//!
//! Limits: [`measure::TIME_MAX`], [`measure::CONNECTIONS_MAX`]. Whatever was started is ended, also by
//! SIGINT and SIGTERM; only a SIGKILL leaves the broker running.

mod bounds;
mod child;
mod crowd;
mod measure;
mod report;
mod sample;

pub(super) use bounds::bounds;
pub(super) use measure::{CONNECTIONS_MAX, measure};
pub(super) use report::{json, text};
