//! What was measured and what follows, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json as value};

use super::bounds::{Bounds, size_each};
use super::measure::{Measured, TIME_MAX};
use crate::server::doctor::{Host, show_size};

/// For people.
pub(in crate::server) fn text(host: &Host, measured: &Measured, bounds: &Bounds) -> String {
    let mut out = "What a connection costs here, in bytes:\n".to_owned();
    for cost in &measured.costs {
        let _ = writeln!(
            out,
            "  {:<24} user {:>5.0}   kernel {:>5.0}   ({} opened)",
            cost.kind.name(),
            cost.user,
            cost.kernel,
            cost.connections
        );
    }
    let _ = writeln!(
        out,
        "  an unread message        {:.1} pages of TCP's buffers",
        measured.tcp_pages
    );
    if measured.is_cut {
        let _ = writeln!(out, "  (cut short: {} s had passed)", TIME_MAX.as_secs());
    }
    let _ = writeln!(
        out,
        "\nWith {} of memory available and {} bytes each, this host holds:",
        show_size(measured.available),
        size_each(host, measured)
    );
    for (index, bound) in bounds.0.iter().enumerate() {
        let mark = if index == 0 { "  <- binds first" } else { "" };
        let _ = writeln!(
            out,
            "  {:<12} {:>12}  {}{mark}",
            bound.name, bound.connections, bound.because
        );
    }
    out.push_str(
        "  ports            no limit  a server's connections share its port; each client address has 64,511\n\n\
         Queues of slow readers and history come on top; `fanwire doctor` says how to raise a bound.\n",
    );
    out
}

/// For programs.
pub(in crate::server) fn json(host: &Host, measured: &Measured, bounds: &Bounds) -> Value {
    let cost = |cost: &super::measure::Cost| {
        value!({
            "kind": cost.kind.name(),
            "connections": cost.connections,
            "user_bytes": cost.user,
            "kernel_bytes": cost.kernel,
            "available_bytes_both_ends": cost.available,
        })
    };
    let bound = |bound: &super::bounds::Bound| value!({ "name": bound.name, "connections": bound.connections, "because": bound.because });
    value!({
        "costs": measured.costs.iter().map(cost).collect::<Vec<_>>(),
        "tcp_pages_per_unread_message": measured.tcp_pages,
        "available_bytes": measured.available,
        "bytes_each": size_each(host, measured),
        "is_cut": measured.is_cut,
        "bounds": bounds.0.iter().map(bound).collect::<Vec<_>>(),
        "binds_first": bounds.0.first().map(|bound| bound.name),
    })
}
