//! One thread of a broker stopped from outside, as one that waits for something for ever.

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A thread of another process that does not run until this is dropped. The kernel stops it for us
/// as its tracer (ptrace(2)): to the rest of its process it is in a call that does not return.
#[derive(Debug)]
pub(crate) struct StoppedThread(Pid);

impl StoppedThread {
    /// Stops the thread called `name`. Both ends of a trace must be in one thread of the test.
    pub(crate) fn stop(process: u32, name: &str) -> StoppedThread {
        let thread = thread_called(process, name);
        ptrace::seize(thread, ptrace::Options::empty()).expect("a child may be traced");
        ptrace::interrupt(thread).expect("it is traced");
        let stopped = waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it is traced");
        assert!(matches!(stopped, WaitStatus::PtraceEvent(..)), "{stopped:?}");
        StoppedThread(thread)
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        if ptrace::detach(self.0, None).is_err() {
            // Its process has been ended, and is not gone before its tracer has seen that.
            let _ = waitpid(self.0, Some(WaitPidFlag::__WALL));
        }
    }
}

fn thread_called(process: u32, name: &str) -> Pid {
    let folder = format!("/proc/{process}/task");
    let tasks = std::fs::read_dir(folder).expect("the broker runs");
    for task in tasks {
        let path = task.expect("the folder is read").path();
        let called = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if called.trim_end() == name {
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            return Pid::from_raw(number.expect("tasks are called by their number"));
        }
    }
    panic!("no thread is called {name}");
}
