//! What the process itself uses, under the names that every Prometheus client library gives it.
//!
//! Read from `/proc/self`: a few microseconds, no `unsafe`. What cannot be read is left out of the
//! page rather than shown as 0.

use std::fs;
use std::path::Path;

use super::exposition::{Exposition, Kind};

/// CPU time in `/proc` is counted in hundredths of a second on every Linux ABI we build for
/// (`USER_HZ`), whatever the kernel's own tick.
const USER_HZ: f64 = 100.0;

/// The process at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProcessStats {
    /// When it started, Unix time in milliseconds; given by whoever started it.
    pub start_ms: u64,
    /// Now, Unix time in microseconds; given by whoever asks.
    pub now_us: u64,
    /// Open descriptors.
    pub open_fds: Option<u64>,
    /// The soft limit on open descriptors.
    pub max_fds: Option<u64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// User and system CPU time of all threads in seconds.
    pub cpu_seconds: Option<f64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Bytes of memory that the process may use: its control group's limit, or all there is.
    pub memory_limit_bytes: Option<u64>,
}

impl ProcessStats {
    /// Reads the running process.
    pub fn read(start_ms: u64, now_us: u64) -> ProcessStats {
        let file =
            |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let status = file("status");
        ProcessStats {
            start_ms,
            now_us,
            // The directory being read is itself one descriptor.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64) - 1),
            max_fds: max_fds(&file("limits")),
            resident_bytes: status_field(&status, "VmRSS:").map(|kib| kib * 1024),
            cpu_seconds: cpu_seconds(&file("stat")),
            threads: status_field(&status, "Threads:"),
            memory_limit_bytes: memory_limit(&file("cgroup")),
        }
    }

    /// Appends the families to a page.
    pub(super) fn expose(&self, page: &mut Exposition<'_>) {
        let mut gauge = |name, help, value: Option<u64>| {
            if let Some(value) = value {
                page.family(name, Kind::Gauge, help).sample(&[], value);
            }
        };
        gauge("process_open_fds", "Open file descriptors.", self.open_fds);
        gauge("process_max_fds", "Limit on open file descriptors.", self.max_fds);
        gauge("process_resident_memory_bytes", "Resident memory.", self.resident_bytes);
        gauge("process_threads", "Threads.", self.threads);
        let help = "Memory that the process may use: its control group's limit, or the machine's.";
        gauge("fanwire_memory_limit_bytes", help, self.memory_limit_bytes);
        if let Some(seconds) = self.cpu_seconds {
            page.family("process_cpu_seconds_total", Kind::Counter, "User and system CPU time.")
                .sample_f64(&[], seconds);
        }
        let help = "Start of the process, Unix time.";
        #[expect(clippy::cast_precision_loss, reason = "milliseconds fit 53 bits for ages")]
        page.family("process_start_time_seconds", Kind::Gauge, help)
            .sample_f64(&[], self.start_ms as f64 / 1000.0);
    }
}

/// The tightest `memory.max` from the process's control group (version 2) upwards, or `MemTotal`.
fn memory_limit(cgroup: &str) -> Option<u64> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let groups = Path::new("/sys/fs/cgroup").join(own);
    let groups = groups.ancestors().take_while(|path| path.starts_with("/sys/fs/cgroup"));
    let limits = groups.filter_map(|group| {
        fs::read_to_string(group.join("memory.max")).ok()?.trim().parse::<u64>().ok()
    });
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| status_field(&text, "MemTotal:")).map(|kib| kib * 1024);
    limits.chain(machine).min()
}

/// `/proc/self/limits`: `Max open files            1024                 524288               files`.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `/proc/self/status`: `VmRSS:      1234 kB`.
fn status_field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// `/proc/self/stat`: the 14th and 15th field are user and system time. The second is the name in
/// brackets, which may itself hold spaces and brackets, so counting starts behind the last one.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / USER_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_process_can_be_read() {
        let stats = ProcessStats::read(1_500, 2_000_000);
        assert!(stats.open_fds.unwrap() >= 3);
        assert!(stats.max_fds.unwrap() >= stats.open_fds.unwrap());
        assert!(stats.resident_bytes.unwrap() > 100_000);
        assert!(stats.threads.unwrap() >= 1);
        assert!(stats.memory_limit_bytes.unwrap() >= stats.resident_bytes.unwrap());
        assert!(stats.cpu_seconds.unwrap() >= 0.0);
    }

    #[test]
    fn files_are_read_by_field() {
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   524288   files\n";
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(max_fds("Max open files unlimited unlimited files"), None);
        assert_eq!(status_field("VmPeak: 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 99 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let mut out = Vec::new();
        let stats = ProcessStats { start_ms: 1_500, ..ProcessStats::default() };
        stats.expose(&mut Exposition::new(&mut out));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().last(), Some("process_start_time_seconds 1.5"));
        assert_eq!(text.lines().count(), 3);
    }
}
