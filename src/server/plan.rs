//! How many shards, on which CPUs, with how many descriptors each.

use std::collections::BTreeSet;

use core_affinity::CoreId;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::ServerOptions;
use crate::model::shard::SHARDS_MAX;
use crate::shard::Options;

/// What the machine and the settings come to.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shard_count: u16,
    /// One CPU per shard; empty when threads are not pinned.
    pub(super) cpus: Vec<CoreId>,
    /// Whether a connection goes to the shard on whose CPU it comes in.
    steer_by_cpu: bool,
    /// Most connections per shard.
    pub(super) connections_max: usize,
    backlog: u32,
}

impl Plan {
    pub(super) fn make(server: &ServerOptions, options: &Options) -> Plan {
        // The CPUs this process may run on, not all there are.
        let allowed = core_affinity::get_core_ids().unwrap_or_default();
        let wanted = server.shards_on(allowed.len());
        let shard_count = u16::try_from(wanted).unwrap_or(SHARDS_MAX).clamp(1, SHARDS_MAX);
        let cpus = if server.pin && !allowed.is_empty() {
            allowed.iter().cycle().take(usize::from(shard_count)).copied().collect()
        } else {
            Vec::new()
        };
        let descriptors = raised_descriptor_limit();
        let connections_max =
            options.socket.connections_max_for(descriptors, usize::from(shard_count));
        let backlog = u32::try_from(options.socket.backlog).unwrap_or(0);
        let steer_by_cpu = server.steer_by_cpu;
        Plan { shard_count, cpus, steer_by_cpu, connections_max, backlog }
    }

    /// The CPU of each shard, if connections are to be steered by them. `None` also where shards share
    /// CPUs: then a CPU does not tell the shard.
    pub(super) fn steered_cpus(&self) -> Option<Vec<usize>> {
        if !self.steer_by_cpu {
            return None;
        }
        let cpus: Vec<usize> = self.cpus.iter().map(|cpu| cpu.id).collect();
        let distinct: BTreeSet<_> = cpus.iter().collect();
        if cpus.is_empty() || distinct.len() < cpus.len() {
            tracing::warn!(
                ?cpus,
                "shards.steer_by_cpu has no effect: not every shard has its own CPU"
            );
            return None;
        }
        Some(cpus)
    }

    /// The accept queue's length: what is asked for, at most what the kernel gives.
    pub(super) fn backlog(&self, somaxconn: u32) -> u32 {
        self.backlog.min(somaxconn).max(1)
    }
}

/// The soft limit that `raise_descriptor_limit` will set.
fn raised_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    limit.maximum.or(limit.current).unwrap_or(u64::MAX)
}

/// Raises the soft descriptor limit to the hard one.
pub(super) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the descriptor limit could not be raised");
    }
    grow_descriptor_table();
}

/// Has the kernel make the descriptor table as large as it can become, by using its last place once.
/// Grown later, while threads share it, it would stop a shard for milliseconds, in the middle of the
/// first wave of connections. 8 bytes per place; beyond a million of them it grows when it has to.
fn grow_descriptor_table() {
    const PLACES_MAX: u64 = 1 << 20;
    let last = raised_descriptor_limit().min(PLACES_MAX) - 1;
    if let Ok(last) = i32::try_from(last) {
        // A table that cannot be had now is no reason not to serve.
        let _ = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), last);
    }
}
