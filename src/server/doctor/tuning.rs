//! The one table of kernel settings: value, purpose, measurement, cost, undo.
//!
//! `fix` quotes it in findings, `sysctl_file` writes it out. A setting that only has to be high enough
//! is never lowered: where the host, or else the kernel's default, has as much, its line is a comment.

use std::fmt::Write as _;

use super::demand::Demand;
use super::host::Host;
use super::report::wrap;

/// Columns of the files.
const WIDTH: usize = 100;

/// A kernel setting.
pub(super) struct Setting {
    /// Its name, as `sysctl` has it.
    key: &'static str,
    /// The value for a demand; what the host has now may be kept in part.
    value: fn(&Demand, Option<&[u64]>) -> String,
    /// Which of several numbers tells whether the host has enough; `None`: the value must be this one.
    enough_at: Option<usize>,
    /// What the kernel has by itself, where that is the same on every host.
    kernel_default: Option<&'static [u64]>,
    purpose: &'static str,
    measured: &'static str,
    cost: &'static str,
    undo: &'static str,
}

const SETTINGS: [Setting; 9] = [
    Setting {
        key: "fs.nr_open",
        value: |demand, _| demand.descriptor_limit().max(1 << 20).to_string(),
        enough_at: Some(0),
        kernel_default: Some(&[1 << 20]),
        purpose: "The highest descriptor limit a process may have; LimitNOFILE above it keeps the unit \
                  from starting (proc(5)).",
        measured: "Not measured here: a bound, not a speed.",
        cost: "Nothing until a process asks for it; then 8 bytes per descriptor.",
        undo: "Remove the line and reboot.",
    },
    Setting {
        key: "fs.file-max",
        value: |demand, _| (demand.descriptor_limit() * 2).to_string(),
        enough_at: Some(0),
        kernel_default: None,
        purpose: "Descriptors of the whole machine (proc(5)). The kernel sets it by memory, systemd to the \
                  highest number: it is rarely too low.",
        measured: "Not measured here: a bound, not a speed.",
        cost: "Nothing until they are open; then about 4 KiB per connection.",
        undo: "Remove the line and reboot.",
    },
    Setting {
        key: "net.core.somaxconn",
        value: |demand, _| demand.backlog().to_string(),
        enough_at: Some(0),
        kernel_default: Some(&[4096]),
        purpose: "Accept queue of each shard (listen(2)), for an eighth of the connections coming back at \
                  once; shards.backlog = 0 follows it. Read when the broker starts.",
        measured: "Not measured here: loopback clients wait for their handshake, so its queue stays \
                   short. The count of what it dropped is ListenOverflows in /proc/net/netstat.",
        cost: "About 2.5 KiB of kernel memory per handshake that waits.",
        undo: "net.core.somaxconn = 4096, restart the broker.",
    },
    Setting {
        key: "net.ipv4.tcp_max_syn_backlog",
        value: |demand, _| demand.backlog().to_string(),
        enough_at: Some(0),
        kernel_default: Some(&[4096]),
        purpose: "Handshakes under way before SYN cookies take over (tcp(7)).",
        measured: "Not measured here: loopback has no handshakes under way.",
        cost: "About 300 bytes of kernel memory per handshake under way.",
        undo: "Remove the line and reboot: the kernel chooses by memory.",
    },
    Setting {
        key: "net.ipv4.tcp_rmem",
        value: |_, now| buffers(now, 6_291_456),
        enough_at: None,
        kernel_default: None,
        purpose: "Small middle value: what one client may leave unread in the kernel from its start, in \
                  bytes. The kernel lets a connection that is read quickly grow to the maximum (tcp(7)).",
        measured: "Measured on loopback, a peer that is not read: 130,132 bytes stay in the kernel with \
                   131072, 14,984 with 16384.",
        cost: "An upload's first round trips carry less.",
        undo: "net.ipv4.tcp_rmem = 4096 131072 6291456",
    },
    Setting {
        key: "net.ipv4.tcp_wmem",
        value: |_, now| buffers(now, 4_194_304),
        enough_at: None,
        kernel_default: Some(&[4096, 16_384, 4_194_304]),
        purpose: "What the kernel queues for one client, in bytes; the small middle value is the kernel's own. \
                  It bounds no client that does not read: shards.socket.notsent_lowat does (tcp(7)).",
        measured: "Measured on loopback, a client that does not read: 4.2 MB stay in the kernel with a middle \
                   value of 16384 and of 65536.",
        cost: "None for messages of a broker's size.",
        undo: "net.ipv4.tcp_wmem = 4096 16384 4194304",
    },
    Setting {
        key: "net.ipv4.tcp_mem",
        value: |demand, _| {
            let pages = demand.tcp_pages();
            format!("{} {pages} {}", pages * 3 / 4, pages * 3 / 2)
        },
        enough_at: Some(1),
        kernel_default: None,
        purpose: "Pages (4 KiB, not bytes) of all TCP buffers together: low, pressure, maximum (tcp(7)). \
                  The kernel sets it to about a tenth of memory; only a host with little memory per \
                  connection needs more.",
        measured: "Measured: pages per connection, by `fanwire capacity`; tuning/README.md.",
        cost: "Memory that buffers may take from everything else.",
        undo: "Remove the line and reboot: the kernel chooses by memory.",
    },
    Setting {
        key: "net.ipv4.tcp_slow_start_after_idle",
        value: |_, _| "0".to_owned(),
        enough_at: None,
        kernel_default: Some(&[1]),
        purpose: "A connection that was quiet does not start again with ten packets per round trip \
                  (tcp(7), RFC 2861).",
        measured: "Not measured here: loopback has no round trip to wait for.",
        cost: "A burst after a pause may meet a path that has become narrower, and is sent again.",
        undo: "net.ipv4.tcp_slow_start_after_idle = 1",
    },
    Setting {
        key: "net.netfilter.nf_conntrack_max",
        value: |demand, _| (demand.connections * 3 / 2).next_power_of_two().to_string(),
        enough_at: Some(0),
        kernel_default: None,
        purpose: "Connections that the firewall can track. Cheaper is not to track the broker's port at all: \
                  tuning/README.md.",
        measured: "Not measured here: loopback is not tracked without rules that ask for it.",
        cost: "About 320 bytes of kernel memory per connection.",
        undo: "Remove the line and reboot.",
    },
];

/// Minimum and maximum as they are, and a small start.
fn buffers(now: Option<&[u64]>, maximum: u64) -> String {
    match now {
        Some([least, _, most]) => format!("{least} 16384 {most}"),
        _ => format!("4096 16384 {maximum}"),
    }
}

/// The command and the file line that set `key`.
///
/// # Panics
/// When the table has no such key: the program names it.
pub(super) fn fix(key: &str, demand: &Demand) -> String {
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    let setting = setting.expect("findings name keys of the table");
    let value = (setting.value)(demand, None);
    let quoted = if value.contains(' ') { format!("'{value}'") } else { value.clone() };
    format!(
        "sysctl -w {key}={quoted}\nto keep it: {key} = {value} in /etc/sysctl.d/90-fanwire.conf"
    )
}

/// The sysctl.d file for `demand` on `host`; what the host does not tell is as the kernel has it.
pub(super) fn sysctl_file(host: &Host, demand: &Demand) -> String {
    let connections = demand.connections;
    let mut file = String::new();
    wrap(
        &mut file,
        &format!(
            "/etc/sysctl.d/90-fanwire.conf: for {connections} connections. Written by `fanwire doctor \
             --connections {connections} --write DIR`, which looks at the host that it runs on: a line \
             that would not raise anything is a comment. Apply with: sysctl --system"
        ),
        "# ",
        WIDTH,
    );
    for setting in &SETTINGS {
        setting.write(&mut file, host, demand);
    }
    file
}

impl Setting {
    fn write(&self, file: &mut String, host: &Host, demand: &Demand) {
        let told = host.numbers(&format!("proc/sys/{}", self.key.replace('.', "/")));
        let value = (self.value)(demand, told.as_deref());
        file.push('\n');
        for (label, text) in
            [("", self.purpose), ("", self.measured), ("Cost: ", self.cost), ("Undo: ", self.undo)]
        {
            wrap(file, &format!("{label}{text}"), "# ", WIDTH);
        }
        // Tracking may not be loaded at boot; behind a dash a missing key is no error (sysctl.d(5)).
        let dash = if self.key.starts_with("net.netfilter.") { "-" } else { "" };
        let key = format!("{dash}{}", self.key);
        let line = match (self.enough_at, told.as_deref().or(self.kernel_default)) {
            (Some(_), None) => format!("# Where `fanwire doctor` asks for it: {key} = {value}"),
            (Some(at), Some(now)) if is_enough(now, &value, at) => {
                format!("# Enough as it is ({}): {key} = {value}", shown(now))
            }
            (None, Some(now)) if shown(now) == value => format!("# As it is: {key} = {value}"),
            _ => format!("{key} = {value}"),
        };
        let _ = writeln!(file, "{line}");
    }
}

fn shown(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn is_enough(now: &[u64], value: &str, at: usize) -> bool {
    let wanted = value.split(' ').nth(at).and_then(|number| number.parse::<u64>().ok());
    now.get(at).zip(wanted).is_some_and(|(now, wanted)| *now >= wanted)
}
