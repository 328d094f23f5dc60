//! `fanwire doctor`: what of this host will hurt a broker of so many connections, and how to mend it.
//!
//! Flow: `demand` says what is planned → each theme's file reads the `host` and judges it against the
//! demand → `examine` collects their findings → `report` prints them, as text or JSON. `tuning` is the
//! one table of kernel settings: the fixes quote it, and `files` writes it as a sysctl.d file and a
//! unit drop-in.
//!
//! Invariants: everything is read below one root folder, so that a host can be made up or copied from
//! elsewhere; a finding is data; nothing of the host is ever changed but the files that `--write`
//! names. What cannot be read is told as not known, never guessed.

mod backlog;
mod clock_source;
mod conntrack;
mod control_group;
mod cpus;
mod demand;
mod descriptors;
mod drop_in;
mod examine;
mod files;
mod finding;
mod folklore;
mod host;
mod kernel;
mod memory;
mod network_cards;
mod report;
mod tcp_memory;
mod tuning;

pub(super) use demand::Demand;
pub(super) use examine::examine;
pub(super) use files::write;
pub(super) use finding::Severity;
pub(super) use host::{Host, RingProbe};
pub(super) use report::{json, show_size, text};
