//! Kernel settings that advice on the web names: one that matters, and those that do not.

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;
use super::tuning;

const SLOW_START: &str = "With it, a connection that was quiet for a moment starts again with ten packets per round trip: \
     a broker's connections are quiet most of the time.";
const RECYCLE: &str = "Advice to set tcp_tw_recycle is folklore: it drops clients behind one NAT address, and Linux 4.12 \
     removed it.";
const PORTS: &str = "It says which ports outgoing connections get and does nothing for inbound capacity: a server's \
     connections all use its own port, and each client address has 64,511 of its own.";

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    vec![slow_start(host, demand), recycle(host), ports(host)]
}

fn slow_start(host: &Host, demand: &Demand) -> Finding {
    const ID: &str = "slow_start_after_idle";
    const PATH: &str = "proc/sys/net/ipv4/tcp_slow_start_after_idle";
    let Some(value) = host.number(PATH) else {
        return Finding::unknown(ID, SLOW_START, PATH);
    };
    let severity = if value == 0 { Severity::Ok } else { Severity::Warning };
    Finding::new(ID, SLOW_START, value.to_string())
        .needs("0")
        .judged(severity, tuning::fix("net.ipv4.tcp_slow_start_after_idle", demand))
}

fn recycle(host: &Host) -> Finding {
    let value = host.number("proc/sys/net/ipv4/tcp_tw_recycle");
    let severity =
        if value.is_some_and(|value| value > 0) { Severity::WillHurt } else { Severity::Ok };
    let found = value.map_or("this kernel has none".to_owned(), |value| value.to_string());
    Finding::new("tw_recycle", RECYCLE, found).needs("0, or none").judged(
        severity,
        "sysctl -w net.ipv4.tcp_tw_recycle=0, and out of /etc/sysctl.conf and /etc/sysctl.d",
    )
}

fn ports(host: &Host) -> Finding {
    let range = host.text("proc/sys/net/ipv4/ip_local_port_range");
    let found = range.map(|range| range.split_whitespace().collect::<Vec<_>>().join("–"));
    Finding::new("local_ports", PORTS, found.unwrap_or_else(|| "not known".to_owned()))
}
