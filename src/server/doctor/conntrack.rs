//! Connection tracking: a table that a firewall fills with every connection.

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;
use super::tuning;

const WHAT: &str = "A firewall that tracks connections keeps an entry for each; when its table is full, new clients \
     are dropped without an answer. About 320 bytes of kernel memory per entry.";

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    const ID: &str = "conntrack";
    let Some(table) = Table::of(host) else {
        return vec![Finding::new(ID, WHAT, "not loaded")];
    };
    let needed = demand.connections + demand.connections / 4;
    let severity = match table.max.saturating_sub(table.count) {
        free if free >= needed => Severity::Ok,
        // Loaded, but no rule makes it track anything yet.
        _ if table.count == 0 => Severity::Warning,
        _ => Severity::WillHurt,
    };
    let fix = format!(
        "{}\nor leave the broker's port out of tracking (8480 here): nft add table inet fanwire && \
         nft add chain inet fanwire in '{{ type filter hook prerouting priority raw; }}' && nft add \
         rule inet fanwire in tcp dport 8480 notrack, and the same with `output` and `sport`",
        tuning::fix("net.netfilter.nf_conntrack_max", demand)
    );
    let found = format!("{} entries at most, {} in use", table.max, table.count);
    vec![Finding::new(ID, WHAT, found).needs(format!("{needed} free")).judged(severity, fix)]
}

struct Table {
    max: u64,
    count: u64,
}

impl Table {
    fn of(host: &Host) -> Option<Table> {
        let max = host.number("proc/sys/net/netfilter/nf_conntrack_max")?;
        let count = host.number("proc/sys/net/netfilter/nf_conntrack_count").unwrap_or(0);
        Some(Table { max, count })
    }
}
