//! A process's own use of its CPU between two reports.

use crate::run::per;
use crate::sys;

/// Counts from the moment it was made.
pub(crate) struct Beat {
    from_ns: u64,
    cpu_ns: u64,
    turn_ns_max: u64,
}

impl Beat {
    pub(crate) fn new() -> Beat {
        Beat { from_ns: sys::monotonic_ns(), cpu_ns: sys::thread_cpu_ns(), turn_ns_max: 0 }
    }

    /// Notes a turn of the process's loop.
    pub(crate) fn turn(&mut self, turn_ns: u64) {
        self.turn_ns_max = self.turn_ns_max.max(turn_ns);
    }

    /// Share of one CPU, and the longest turn in nanoseconds.
    pub(crate) fn now(&self) -> (f64, u64) {
        let whole_ns = per(sys::monotonic_ns() - self.from_ns, 1.0);
        (per(sys::thread_cpu_ns() - self.cpu_ns, whole_ns), self.turn_ns_max)
    }
}
