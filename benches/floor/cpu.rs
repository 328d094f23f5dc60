//! CPU time of a process, and which CPU runs what.

use rustix::thread::{CpuSet, sched_setaffinity};

/// Where both servers run.
pub(crate) const SERVER_CPU: usize = 0;

/// Where the client runs; the same CPU on a machine that has only one.
pub(crate) const CLIENT_CPU: usize = 1;

/// Pins this thread; children inherit it. A machine without that CPU leaves it where it is.
pub(crate) fn pin_self(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}

/// Nanoseconds that all threads of a process have run for (`/proc/PID/task/TID/schedstat`).
pub(crate) fn run_time_ns(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum()
}
