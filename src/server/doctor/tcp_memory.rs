//! TCP's buffers: the machine's budget (in pages) and what one socket starts with.

use super::demand::{Demand, TCP_PAGES_EACH};
use super::finding::{Finding, Severity};
use super::host::Host;
use super::report::show_size;
use super::tuning;

const TCP_MEM: &str = "Pages (not bytes) that all TCP buffers together may take: low, pressure, maximum. Above pressure \
     every socket's window shrinks; at the maximum segments are dropped.";
const MIDDLE: &str = "The middle value is what each connection's buffer may hold from its start, so it bounds what \
     clients that do not read can pin; the kernel lets a busy one grow to the maximum.";
/// Start size of a buffer that needs no remark, in bytes.
const MIDDLE_MAX: u64 = 32_768;

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    let mut found = vec![tcp_mem(host, demand)];
    let socket = &demand.socket;
    found.push(middle(host, demand, "tcp_rmem", "receive_size", socket.receive_size));
    found.push(middle(host, demand, "tcp_wmem", "send_size", socket.send_size));
    found
}

/// Pages of low, pressure and maximum.
fn limits(host: &Host) -> Option<[u64; 3]> {
    host.numbers("proc/sys/net/ipv4/tcp_mem")?.try_into().ok()
}

fn tcp_mem(host: &Host, demand: &Demand) -> Finding {
    let Some([_, pressure, maximum]) = limits(host) else {
        return Finding::unknown("tcp_mem", TCP_MEM, "proc/sys/net/ipv4/tcp_mem");
    };
    let needed = demand.tcp_pages();
    let severity = if maximum < needed / TCP_PAGES_EACH {
        Severity::WillHurt
    } else if pressure < needed {
        Severity::Warning
    } else {
        Severity::Ok
    };
    let size = |pages: u64| show_size(pages.saturating_mul(host.page_size));
    let found = format!(
        "pressure {pressure} pages ({}), maximum {maximum} pages ({})",
        size(pressure),
        size(maximum)
    );
    Finding::new("tcp_mem", TCP_MEM, found)
        .needs(format!(
            "pressure {needed} pages ({}): {TCP_PAGES_EACH} per connection with a message each way",
            size(needed)
        ))
        .judged(severity, tuning::fix("net.ipv4.tcp_mem", demand))
}

fn middle(
    host: &Host,
    demand: &Demand,
    id: &'static str,
    key: &str,
    set: Option<usize>,
) -> Finding {
    let path = format!("proc/sys/net/ipv4/{id}");
    let numbers = host.numbers(&path);
    let Some([_, middle, _]) = numbers.as_deref() else {
        return Finding::unknown(id, MIDDLE, &path);
    };
    if let Some(size) = set {
        let found = format!("shards.socket.{key} = {size} stands instead of it");
        return Finding::new(id, MIDDLE, found);
    }
    let all = middle.saturating_mul(demand.connections);
    let budget = limits(host).map_or(u64::MAX, |[.., max]| max.saturating_mul(host.page_size));
    let severity = match *middle {
        ..=MIDDLE_MAX => Severity::Ok,
        _ if all <= budget => Severity::Note,
        _ => Severity::Warning,
    };
    let found = format!("{middle} bytes, {} if every connection fills its own", show_size(all));
    Finding::new(id, MIDDLE, found)
        .needs(format!("at most {MIDDLE_MAX} bytes"))
        .judged(severity, tuning::fix(&format!("net.ipv4.{id}"), demand))
}
