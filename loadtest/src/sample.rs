//! What the machine and the server do meanwhile, read from `/proc`.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::sys;

/// The server's processes at one moment, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSample {
    /// User plus system CPU time since it started, milliseconds.
    pub cpu_ms: u64,
    /// Resident memory, bytes.
    pub rss: u64,
    /// Proportional share of resident memory, bytes.
    pub pss: u64,
    /// Private clean and dirty memory, bytes.
    pub private: u64,
    /// Descriptors open.
    pub descriptors: u64,
}

/// The machine at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSample {
    /// CPU time of all cores spent working, clock ticks.
    pub busy_ticks: u64,
    /// CPU time of all cores, clock ticks.
    pub total_ticks: u64,
    /// Memory in TCP socket buffers, bytes.
    pub tcp_buffers: u64,
    /// TCP sockets in the kernel.
    pub tcp_sockets: u64,
    /// Kernel slab memory, which holds the sockets themselves, bytes.
    pub slab: u64,
}

/// Samples the server; `None` when one of the processes is gone or not ours to read.
#[must_use]
pub fn server(pids: &[u32]) -> Option<ServerSample> {
    if pids.is_empty() {
        return None;
    }
    let mut sum = ServerSample::default();
    for pid in pids {
        sum.cpu_ms += cpu_ms(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        sum.rss += kilobytes(&rollup, "Rss:");
        sum.pss += kilobytes(&rollup, "Pss:");
        sum.private += kilobytes(&rollup, "Private_Clean:") + kilobytes(&rollup, "Private_Dirty:");
        sum.descriptors += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |d| d.count() as u64);
    }
    Some(sum)
}

/// What processes got of the CPUs, and what they had to wait for, all threads added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduled {
    /// User plus system CPU time, milliseconds (grain: one clock tick).
    pub cpu_ms: u64,
    /// Time in which a thread was ready to run and another one had its CPU, nanoseconds.
    pub waited_ns: u64,
}

/// Samples processes cheaply, unlike [`server`], which makes the kernel walk their memory; `None`
/// without processes, or when one is gone.
#[must_use]
pub fn scheduled(pids: &[u32]) -> Option<Scheduled> {
    let mut sum = Scheduled::default();
    for pid in pids {
        sum.cpu_ms += cpu_ms(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            sum.waited_ns += waited_ns(&text);
        }
    }
    (!pids.is_empty()).then_some(sum)
}

/// proc(5): time on the CPU, time waiting for one, time slices. Zero where the kernel keeps none.
fn waited_ns(schedstat: &str) -> u64 {
    schedstat.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Samples the machine; what cannot be read is zero.
#[must_use]
pub fn machine() -> MachineSample {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (busy_ticks, total_ticks) = machine_ticks(&stat);
    let tcp = |field: &str| {
        let line = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or("");
        let mut words = line.split_whitespace().skip_while(|word| *word != field);
        words.nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    MachineSample {
        busy_ticks,
        total_ticks,
        tcp_buffers: tcp("mem") * sys::page_size(),
        tcp_sockets: tcp("alloc"),
        slab: kilobytes(&meminfo, "Slab:"),
    }
}

/// proc(5): the fields after the command name, which may itself hold spaces and parentheses.
fn cpu_ms(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) * 1000 / sys::ticks_per_second())
}

fn kilobytes(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    let number = value.and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// proc(5): user nice system idle iowait irq softirq steal; guests are counted in user.
fn machine_ticks(stat: &str) -> (u64, u64) {
    let line = stat.lines().next().unwrap_or("");
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect();
    let total: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    (total - idle, total)
}

/// The machine and its settings, for the report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Kernel release.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs usable by this process.
    pub cpus: u64,
    /// Memory, bytes.
    pub memory: u64,
    /// Descriptors that one process may open.
    pub descriptors_max: u64,
    /// Settings that bear on the result: (name, value).
    pub settings: Vec<(String, String)>,
    /// Command line of this tool.
    pub command: String,
    /// Command lines of the server's processes.
    pub server: Vec<String>,
}

/// Reads the environment; what cannot be read is empty.
#[must_use]
pub fn environment(pids: &[u32], descriptors_max: u64) -> Environment {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let knobs = [
        "net/core/somaxconn",
        "net/ipv4/tcp_max_syn_backlog",
        "net/ipv4/ip_local_port_range",
        "net/ipv4/tcp_rmem",
        "net/ipv4/tcp_wmem",
        "net/ipv4/tcp_mem",
        "fs/nr_open",
    ];
    let one = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()
    };
    Environment {
        kernel: read("/proc/sys/kernel/osrelease"),
        cpu: model.and_then(|line| line.split_once(": ")).map_or("", |pair| pair.1).to_owned(),
        cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
        memory: kilobytes(&read("/proc/meminfo"), "MemTotal:"),
        descriptors_max,
        settings: knobs
            .iter()
            .map(|knob| (knob.replace('/', "."), read(&format!("/proc/sys/{knob}"))))
            .collect(),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        server: pids.iter().map(one).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_text() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_ms(stat), Some(300 * 1000 / sys::ticks_per_second()));
        assert_eq!(waited_ns("1361119 4711 2\n"), 4711);
        assert_eq!(kilobytes("Rss:    12 kB\nPss:  7 kB\n", "Pss:"), 7 * 1024);
        assert_eq!(machine_ticks("cpu  10 1 5 80 4 0 0 0 0 0\ncpu0 1"), (16, 100));
    }

    #[test]
    fn samples_this_very_process() {
        let sample = server(&[std::process::id()]).unwrap();
        assert!(sample.rss > 100_000 && sample.private <= sample.rss && sample.descriptors > 2);
        assert_eq!(server(&[u32::MAX]), None);
        assert_eq!((scheduled(&[u32::MAX]), scheduled(&[])), (None, None));
        assert!(scheduled(&[std::process::id()]).is_some());
        assert!(machine().total_ticks > 0);
    }
}
