//! TCP's buffers: the machine's budget (in pages) and what one socket starts with.

use super::demand::{Demand, TCP_PAGES_EACH};
use super::finding::{Finding, Severity};
use super::host::Host;
use super::report::show_size;
use super::tuning;

const TCP_MEM: &str = "Pages (not bytes) that all TCP buffers together may take: low, pressure, maximum. Above pressure \
     every socket's window shrinks; at the maximum segments are dropped.";
const RECEIVE: &str = "The middle value is what each connection may hold unread from its start: it bounds what clients that \
     send while their reading is paused can pin. The kernel lets one that is read quickly grow to the \
     maximum.";
const SEND: &str = "A send buffer grows to the maximum for a client that does not read, whatever the middle value: so much \
     of its backlog is out of reach of slow_consumer policies.";
/// Send buffer of a client that does not read that needs no remark, in bytes.
const SEND_MAX: u64 = 256 << 10;
/// Start size of a buffer that needs no remark, in bytes.
const MIDDLE_MAX: u64 = 32_768;

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    vec![tcp_mem(host, demand), receive(host, demand), send(host, demand)]
}

/// Pages of low, pressure and maximum.
fn limits(host: &Host) -> Option<[u64; 3]> {
    three(host, "proc/sys/net/ipv4/tcp_mem")
}

fn three(host: &Host, path: &str) -> Option<[u64; 3]> {
    host.numbers(path)?.try_into().ok()
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

fn receive(host: &Host, demand: &Demand) -> Finding {
    const ID: &str = "tcp_rmem";
    const PATH: &str = "proc/sys/net/ipv4/tcp_rmem";
    let Some([_, middle, _]) = three(host, PATH) else {
        return Finding::unknown(ID, RECEIVE, PATH);
    };
    if let Some(size) = demand.socket.receive_size {
        return Finding::new(
            ID,
            RECEIVE,
            format!("shards.socket.receive_size = {size} instead of it"),
        );
    }
    let all = middle.saturating_mul(demand.connections);
    let budget = limits(host).map_or(u64::MAX, |[.., max]| max.saturating_mul(host.page_size));
    let severity = match middle {
        ..=MIDDLE_MAX => Severity::Ok,
        _ if all <= budget => Severity::Note,
        _ => Severity::Warning,
    };
    let found = format!("{middle} bytes, {} if every connection fills its own", show_size(all));
    Finding::new(ID, RECEIVE, found)
        .needs(format!("at most {MIDDLE_MAX} bytes"))
        .judged(severity, tuning::fix("net.ipv4.tcp_rmem", demand))
}

fn send(host: &Host, demand: &Demand) -> Finding {
    const ID: &str = "tcp_wmem";
    const PATH: &str = "proc/sys/net/ipv4/tcp_wmem";
    let Some([_, _, maximum]) = three(host, PATH) else {
        return Finding::unknown(ID, SEND, PATH);
    };
    if let Some(size) = demand.socket.send_size {
        return Finding::new(ID, SEND, format!("shards.socket.send_size = {size} instead of it"));
    }
    if let Some(size) = demand.socket.notsent_lowat {
        return Finding::new(ID, SEND, format!("shards.socket.notsent_lowat = {size} bounds it"));
    }
    let severity = if maximum <= SEND_MAX { Severity::Ok } else { Severity::Note };
    Finding::new(ID, SEND, format!("up to {} per client", show_size(maximum)))
        .needs(format!("at most {}, or a bound of the broker's own", show_size(SEND_MAX)))
        .judged(
            severity,
            "shards.socket.notsent_lowat = \"128KiB\" in fanwire.toml, with limits.outbound_size_max above \
             what a healthy client may be behind in a burst",
        )
}
