//! Memory of the machine: what is there, swap, huge pages.

use super::demand::{Demand, KERNEL_SIZE_EACH, USER_SIZE_EACH};
use super::finding::{Finding, Severity};
use super::host::Host;
use super::report::show_size;

const MEMORY: &str = "Memory that could be had without swapping, against the process, its history and every connection's \
     share in user space and kernel.";
const SWAP: &str = "A page of the connection table that was swapped out stops its shard until the disk has answered.";
const HUGE: &str = "Huge pages make memory count and be zeroed in steps of 2 MiB. The broker turns them off for itself \
     (shards.huge_pages), so the system's setting does not matter.";

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    vec![available(host, demand), swap(host), huge_pages(host)]
}

fn available(host: &Host, demand: &Demand) -> Finding {
    let Some(kibibytes) = host.field("proc/meminfo", "MemAvailable") else {
        return Finding::unknown("memory", MEMORY, "proc/meminfo");
    };
    let (available, needed) = (kibibytes * 1024, demand.memory_size(host.page_size));
    let severity = if available < needed {
        Severity::WillHurt
    } else if available < needed + needed / 4 {
        Severity::Warning
    } else {
        Severity::Ok
    };
    let each = USER_SIZE_EACH + KERNEL_SIZE_EACH + host.page_size;
    Finding::new("memory", MEMORY, format!("{} available", show_size(available)))
        .needs(format!("{} ({each} bytes per connection)", show_size(needed)))
        .judged(severity, "more memory, a lower history.memory_max, or fewer connections (shards.connections_max)")
}

fn swap(host: &Host) -> Finding {
    const PATH: &str = "proc/swaps";
    let Some(table) = host.text(PATH) else {
        return Finding::unknown("swap", SWAP, PATH);
    };
    let areas = table.lines().skip(1).count();
    let severity = if areas > 0 { Severity::Warning } else { Severity::Ok };
    let found = if areas > 0 { format!("{areas} swap areas in use") } else { "none".to_owned() };
    Finding::new("swap", SWAP, found)
        .needs("none for the broker")
        .judged(severity, "MemorySwapMax=0 below [Service] (systemctl edit fanwire)")
}

fn huge_pages(host: &Host) -> Finding {
    let setting = host.text("sys/kernel/mm/transparent_hugepage/enabled");
    let chosen = setting.as_deref().and_then(|words| {
        let (_, rest) = words.split_once('[')?;
        rest.split_once(']').map(|(chosen, _)| chosen)
    });
    Finding::new("huge_pages", HUGE, chosen.unwrap_or("this kernel has none"))
}
