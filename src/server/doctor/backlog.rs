//! The queues in front of accept: who waits there while many come back at once.

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;
use super::tuning;

const ACCEPT: &str = "Handshakes that are done wait here for accept, one queue per shard. When it is full the kernel \
     drops the client's last packet, and the client tries again after a second.";
const SYN: &str = "Handshakes under way. When there are more, SYN cookies take over (connections then start without \
     some TCP options); without cookies new clients are dropped.";
/// The part of the queue that is needed below which a wave does not come in at all.
const FAR_TOO_SHORT: u64 = 16;

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    vec![accept(host, demand), syn(host, demand)]
}

fn accept(host: &Host, demand: &Demand) -> Finding {
    const PATH: &str = "proc/sys/net/core/somaxconn";
    let Some(somaxconn) = host.number(PATH) else {
        return Finding::unknown("accept_queue", ACCEPT, PATH);
    };
    let asked = u64::try_from(demand.socket.backlog).unwrap_or(0);
    let (real, needed) = (asked.min(somaxconn), demand.backlog());
    let severity = match real {
        _ if real >= needed => Severity::Ok,
        _ if real >= needed / FAR_TOO_SHORT => Severity::Warning,
        _ => Severity::WillHurt,
    };
    let fix = if asked < somaxconn {
        "shards.backlog = 0 in fanwire.toml (as long as net.core.somaxconn allows)".to_owned()
    } else {
        tuning::fix("net.core.somaxconn", demand)
    };
    let found = format!("{real} per shard (net.core.somaxconn {somaxconn})");
    Finding::new("accept_queue", ACCEPT, found)
        .needs(format!("{needed}: an eighth of the connections at once"))
        .judged(severity, fix)
}

fn syn(host: &Host, demand: &Demand) -> Finding {
    const PATH: &str = "proc/sys/net/ipv4/tcp_max_syn_backlog";
    let Some(length) = host.number(PATH) else {
        return Finding::unknown("syn_queue", SYN, PATH);
    };
    // Unknown is taken as on: that is the kernel's default.
    let has_cookies = host.number("proc/sys/net/ipv4/tcp_syncookies") != Some(0);
    let severity = match (length >= demand.backlog(), has_cookies) {
        (true, _) => Severity::Ok,
        (false, true) => Severity::Note,
        (false, false) => Severity::Warning,
    };
    let cookies = if has_cookies { "on" } else { "off" };
    Finding::new("syn_queue", SYN, format!("{length}, SYN cookies {cookies}"))
        .needs(demand.backlog().to_string())
        .judged(severity, tuning::fix("net.ipv4.tcp_max_syn_backlog", demand))
}
