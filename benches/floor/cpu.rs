//! CPU time of a process, of the kernel's network thread, and which CPU runs what.

use std::fs;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Where both servers run.
pub(crate) const SERVER_CPU: usize = 0;

/// Where the client runs; the same CPU on a machine that has only one.
pub(crate) const CLIENT_CPU: usize = 1;

/// Pins this thread; children inherit it. A machine without that CPU leaves it where it is.
pub(crate) fn pin_self(cpus: &[usize]) {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    let _ = sched_setaffinity(None, &set);
}

/// Nanoseconds that all threads of a process have run for (`/proc/PID/task/TID/schedstat`).
pub(crate) fn run_time_ns(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let threads = tasks.flatten().filter_map(|task| task.file_name().into_string().ok());
    threads.map(|thread| thread_run_time_ns(&format!("{pid}/task/{thread}"))).sum()
}

/// The kernel's network thread of the server's CPU: what it runs was put off from a send.
pub(crate) struct SoftIrqThread(Option<u32>);

impl SoftIrqThread {
    /// Looks for it among all processes; kernels that hide theirs have none.
    pub(crate) fn find() -> SoftIrqThread {
        let wanted = format!("ksoftirqd/{SERVER_CPU}\n");
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_wanted = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == wanted)
        };
        SoftIrqThread(pids.find(is_wanted))
    }

    /// Nanoseconds that it has run for.
    pub(crate) fn run_time_ns(&self) -> u64 {
        self.0.map_or(0, |pid| thread_run_time_ns(&pid.to_string()))
    }
}

fn thread_run_time_ns(path: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{path}/schedstat")).unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Bytes of user memory that a process has for itself (`Private_Dirty` of `smaps_rollup`).
pub(crate) fn private_size(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
