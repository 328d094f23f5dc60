//! The unit drop-in for a number of connections.

use super::demand::Demand;
use super::host::Host;
use super::report::wrap;

const WIDTH: usize = 100;

/// A line of the `[Service]` section.
struct Directive {
    line: fn(&Demand, u64) -> String,
    /// Whether it acts; others are comments to choose from.
    is_active: bool,
    text: &'static str,
}

const DIRECTIVES: [Directive; 5] = [
    Directive {
        line: |demand, _| format!("LimitNOFILE={}", demand.descriptor_limit()),
        is_active: true,
        text: "One descriptor per connection; fs.nr_open must not be lower. Cost: 8 bytes per descriptor, \
               taken at the start so that no shard waits for the table to grow.",
    },
    Directive {
        line: |_, _| "MemorySwapMax=0".to_owned(),
        is_active: true,
        text: "A page of the connection table that was swapped out stops its shard. Not measured here: no \
               swap. Cost: the broker's memory is never given up for others (systemd.resource-control(5)).",
    },
    Directive {
        line: |_, size| format!("MemoryHigh={}M", (size + size / 2) >> 20),
        is_active: false,
        text: "Where others must be protected from the broker: process, history and connections with half as \
               much again for slow readers' queues. Above it shards are slowed down; measure with `fanwire \
               capacity` first.",
    },
    Directive {
        line: |_, _| "CPUAffinity=0-7".to_owned(),
        is_active: false,
        text: "The CPUs of the network card's node, one shard each; leave some to the interrupts of other \
               devices (systemd.exec(5)).",
    },
    Directive {
        line: |_, _| "NUMAPolicy=local".to_owned(),
        is_active: false,
        text: "With CPUAffinity= on a machine of several nodes: memory where the shard runs.",
    },
];

/// The file for `demand` on `host`.
pub(super) fn drop_in_file(host: &Host, demand: &Demand) -> String {
    let connections = demand.connections;
    let mut file = String::new();
    let head = format!(
        "/etc/systemd/system/fanwire.service.d/90-fanwire.conf: for {connections} connections. Written by \
         `fanwire doctor --connections {connections} --write DIR`. Apply with: systemctl daemon-reload && \
         systemctl restart fanwire. Undo by removing it."
    );
    wrap(&mut file, &head, "# ", WIDTH);
    file.push_str("\n[Service]\n");
    for directive in &DIRECTIVES {
        wrap(&mut file, directive.text, "# ", WIDTH);
        let line = (directive.line)(demand, demand.memory_size(host.page_size));
        let mark = if directive.is_active { "" } else { "#" };
        file.extend([mark, &line, "\n"]);
    }
    file
}
