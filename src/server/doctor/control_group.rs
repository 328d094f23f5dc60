//! The control group (v2): memory and CPU limits of the process and of every group above it.

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;
use super::report::show_size;

const MEMORY: &str = "Above memory.high the kernel slows every allocation, which stalls shards; at memory.max it kills \
     the broker. Sockets' kernel memory counts too.";
const QUOTA: &str = "A group that has used its share of a period stands still until the next: all shards at once, for \
     up to a tenth of a second.";
/// Groups above one another that are looked at.
const DEPTH_MAX: usize = 32;

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    let Some(groups) = groups(host) else {
        let found =
            "no control group of version 2 for this process; limits of version 1 are not read";
        return ["cgroup_memory", "cgroup_cpu"]
            .into_iter()
            .zip([MEMORY, QUOTA])
            .map(|(id, what)| Finding::new(id, what, found).judged(Severity::Note, ""))
            .collect();
    };
    vec![memory(host, demand, &groups), quota(host, demand, &groups)]
}

/// Folders of the process's group and of those above it.
fn groups(host: &Host) -> Option<Vec<String>> {
    const ROOT: &str = "sys/fs/cgroup";
    if !host.exists(&format!("{ROOT}/cgroup.controllers")) {
        return None;
    }
    let lines = host.process_text("cgroup")?;
    let mut path = lines.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/');
    let mut groups = Vec::new();
    while !path.is_empty() && groups.len() < DEPTH_MAX {
        groups.push(format!("{ROOT}{path}"));
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
    Some(groups)
}

/// The lowest value of `name` in all groups; `max` is none.
fn lowest(host: &Host, groups: &[String], name: &str) -> Option<u64> {
    groups.iter().filter_map(|group| host.number(&format!("{group}/{name}"))).min()
}

fn memory(host: &Host, demand: &Demand, groups: &[String]) -> Finding {
    let needed = demand.memory_size(host.page_size);
    let [high, max] = ["memory.high", "memory.max"].map(|name| lowest(host, groups, name));
    let limit = [high, max].into_iter().flatten().min();
    let severity = match limit {
        Some(limit) if limit < needed => Severity::WillHurt,
        Some(limit) if limit < needed + needed / 4 => Severity::Warning,
        _ => Severity::Ok,
    };
    let show = |limit: Option<u64>| limit.map_or("none".to_owned(), show_size);
    let (high_size, max_size) = ((needed + needed / 4) >> 20, (needed + needed / 2) >> 20);
    let fix = format!(
        "MemoryHigh={high_size}M and MemoryMax={max_size}M below [Service] (systemctl edit fanwire)"
    );
    let found = format!("memory.high {}, memory.max {}", show(high), show(max));
    Finding::new("cgroup_memory", MEMORY, found)
        .needs(format!("{} and queues of slow readers", show_size(needed)))
        .judged(severity, fix)
}

impl Host {
    /// The lowest memory limit of the process's groups, in bytes.
    pub(in crate::server) fn memory_limit(&self) -> Option<u64> {
        let groups = groups(self)?;
        ["memory.high", "memory.max"].iter().filter_map(|name| lowest(self, &groups, name)).min()
    }
}

/// Hundredths of a CPU that `cpu.max` allows: `200000 100000` is 200.
fn hundredths(text: &str) -> Option<u64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    quota.checked_mul(100)?.checked_div(period)
}

fn quota(host: &Host, demand: &Demand, groups: &[String]) -> Finding {
    let of = |group: &String| hundredths(&host.text(&format!("{group}/cpu.max"))?);
    let lowest = groups.iter().filter_map(of).min();
    let severity = match lowest {
        Some(quota) if quota < demand.shard_count * 100 => Severity::WillHurt,
        Some(_) => Severity::Note,
        None => Severity::Ok,
    };
    let found = match lowest {
        Some(quota) => format!("{}.{:02} CPUs", quota / 100, quota % 100),
        None => "no quota".to_owned(),
    };
    let shards = demand.shard_count;
    let fix = format!(
        "CPUQuota= (none) below [Service], and CPUs instead: AllowedCPUs=; or shards.count = {} in \
         fanwire.toml",
        lowest.map_or(shards, |quota| (quota / 100).clamp(1, shards))
    );
    Finding::new("cgroup_cpu", QUOTA, found)
        .needs(format!("no quota, or at least {shards} CPUs for {shards} shards"))
        .judged(severity, fix)
}
