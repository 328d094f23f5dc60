//! How many connections each resource of the host allows, and which ends first.

use super::measure::Measured;
use crate::server::doctor::{Demand, Host};

/// One resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::server) struct Bound {
    /// Its name.
    pub(in crate::server) name: &'static str,
    /// Connections it allows.
    pub(in crate::server) connections: u64,
    /// Where it comes from.
    pub(in crate::server) because: String,
}

/// All resources that bind, the scarcest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::server) struct Bounds(pub(in crate::server) Vec<Bound>);

/// What `host` allows where a connection costs what was `measured`. The dearest kind counts.
pub(in crate::server) fn bounds(host: &Host, demand: &Demand, measured: &Measured) -> Bounds {
    let mut bounds = vec![memory(host, demand, measured)];
    bounds.extend(descriptors(host, demand));
    bounds.extend(tcp_mem(host, measured));
    bounds.extend(conntrack(host));
    bounds.sort_by_key(|bound| bound.connections);
    Bounds(bounds)
}

/// Bytes per connection of the dearest kind, with a page of buffers under way.
pub(in crate::server) fn size_each(host: &Host, measured: &Measured) -> u64 {
    let each = measured.costs.iter().map(|cost| cost.user.max(0.0) + cost.kernel.max(0.0));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousands of bytes"
    )]
    let each = each.fold(0.0, f64::max).ceil() as u64;
    each.max(1) + host.page_size
}

fn memory(host: &Host, demand: &Demand, measured: &Measured) -> Bound {
    let limit = host.memory_limit().unwrap_or(u64::MAX);
    let (available, of) = if limit < measured.available {
        (limit, "the control group's limit")
    } else {
        (measured.available, "memory available")
    };
    let each = size_each(host, measured);
    let left = available.saturating_sub(demand.fixed_size());
    Bound {
        name: "memory",
        connections: left / each,
        because: format!("{of}, less the process and its history, by {each} bytes"),
    }
}

fn descriptors(host: &Host, demand: &Demand) -> Option<Bound> {
    let (_, hard) = host.descriptor_limits()?;
    let file_max = host.number("proc/sys/fs/file-max").unwrap_or(u64::MAX);
    let connections = hard.min(file_max).saturating_sub(demand.descriptors_reserved());
    let because =
        format!("hard limit {hard} of this process (LimitNOFILE, fs.nr_open, fs.file-max)");
    Some(Bound { name: "descriptors", connections, because })
}

fn tcp_mem(host: &Host, measured: &Measured) -> Option<Bound> {
    let [_, pressure, _]: [u64; 3] = host.numbers("proc/sys/net/ipv4/tcp_mem")?.try_into().ok()?;
    // A message each way; less than a page cannot be taken.
    let pages = (2.0 * measured.tcp_pages).max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an estimate"
    )]
    let connections = (pressure as f64 / pages) as u64;
    let because =
        format!("pressure at {pressure} pages, {pages:.1} while all have a message each way");
    Some(Bound { name: "tcp_mem", connections, because })
}

fn conntrack(host: &Host) -> Option<Bound> {
    let max = host.number("proc/sys/net/netfilter/nf_conntrack_max")?;
    let count = host.number("proc/sys/net/netfilter/nf_conntrack_count").unwrap_or(0);
    let because = format!("net.netfilter.nf_conntrack_max {max}, if the broker's port is tracked");
    Some(Bound { name: "conntrack", connections: max.saturating_sub(count), because })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::crowd::Kind;
    use super::super::measure::Cost;
    use super::*;
    use crate::server::doctor::RingProbe;

    #[test]
    fn the_dearest_kind_counts_and_noise_below_zero_does_not() {
        let host = Host::new(Path::new("/nowhere"), None, 4096, RingProbe::NotTried);
        let cost = |kind, user, kernel| Cost { kind, connections: 1, user, kernel, available: 0.0 };
        let measured = Measured {
            costs: vec![cost(Kind::Idle, 300.2, 3_000.0), cost(Kind::Subscribed, 400.0, -9_000.0)],
            tcp_pages: 1.0,
            available: 1 << 30,
            is_cut: false,
        };
        assert_eq!(size_each(&host, &measured), 3_301 + 4_096);
    }
}
