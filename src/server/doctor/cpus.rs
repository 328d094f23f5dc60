//! CPUs against shards, and memory nodes.

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;

const CPUS: &str = "One shard per CPU that the process may run on. More shards than CPUs make pinned threads take turns \
     on one CPU, and each waits for the other's work.";
const NODES: &str = "Memory of another node costs about half as much time again. Shards should run where the network \
     card and their memory are.";

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    vec![cpus(host, demand), nodes(host)]
}

fn cpus(host: &Host, demand: &Demand) -> Finding {
    let Some(allowed) = host.cpus_allowed() else {
        return Finding::unknown("cpus", CPUS, &host.process_path("status"));
    };
    let online = host.cpu_list("sys/devices/system/cpu/online").unwrap_or_default();
    let (cpu_count, shards) = (allowed.len() as u64, demand.shard_count);
    let severity = if shards > cpu_count && demand.is_pinned {
        Severity::WillHurt
    } else if shards > cpu_count {
        Severity::Warning
    } else if shards < cpu_count {
        Severity::Note
    } else {
        Severity::Ok
    };
    let fix = if shards > cpu_count {
        "shards.count = 0 in fanwire.toml (one per CPU), or more CPUs: AllowedCPUs=, CPUAffinity="
    } else {
        "nothing, if the other CPUs have other work; else shards.count = 0 in fanwire.toml"
    };
    let found =
        format!("{cpu_count} CPUs of {} for {shards} shards", online.len().max(allowed.len()));
    Finding::new("cpus", CPUS, found).needs("a CPU per shard").judged(severity, fix)
}

fn nodes(host: &Host) -> Finding {
    const FOLDER: &str = "sys/devices/system/node";
    // A kernel without NUMA has no such file, and then one node.
    let nodes = host.cpu_list(&format!("{FOLDER}/online")).unwrap_or_else(|| vec![0]);
    let allowed = host.cpus_allowed().unwrap_or_default();
    let home = nodes.iter().find(|node| {
        let cpus = host.cpu_list(&format!("{FOLDER}/node{node}/cpulist")).unwrap_or_default();
        allowed.iter().all(|cpu| cpus.contains(cpu))
    });
    let is_one = nodes.len() == 1 || home.is_some();
    let severity = if is_one { Severity::Ok } else { Severity::Warning };
    let fix = "CPUAffinity= the CPUs of the card's node (/sys/devices/system/node/nodeN/cpulist) and \
               NUMAPolicy=local below [Service] (systemctl edit fanwire)";
    let cards: String =
        host.entries("sys/class/net").iter().filter_map(|name| card(host, name)).collect();
    let place = home.map_or("CPUs of several".to_owned(), |node| format!("CPUs of node {node}"));
    Finding::new("numa_nodes", NODES, format!("{} nodes, {place}{cards}", nodes.len()))
        .needs("CPUs of one node, the network card's")
        .judged(severity, fix)
}

/// On which node a network card is, where the host says so.
fn card(host: &Host, name: &str) -> Option<String> {
    let node = host.text(&format!("sys/class/net/{name}/device/numa_node"))?;
    (node != "-1").then(|| format!("; {name} is on node {node}"))
}
