//! A service manager's ear: the socket of `sd_notify(3)`, and one thread of the broker stopped.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fanwire::stdx::clock;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::{PATIENCE, Setup};

/// What the broker under test believes to be systemd.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    /// Listens at an abstract name, which nobody has to remove.
    pub(crate) fn new() -> Manager {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fanwire-manager-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("a name of our own");
        Manager { socket, name }
    }

    /// A broker that reports here.
    pub(crate) fn of(&self, setup: Setup) -> Setup {
        setup.variable("NOTIFY_SOCKET", format!("@{}", self.name))
    }

    /// The next message, if one comes within `wait`.
    pub(crate) fn message_within(&self, wait: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(wait)).expect("a socket");
        let mut buffer = [0; 4096];
        let size = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..size].to_vec()).expect("messages are text"))
    }

    pub(crate) fn message(&self) -> String {
        self.message_within(PATIENCE).expect("a message")
    }

    /// Passes over messages up to the one that is `wanted`.
    pub(crate) fn await_message(&self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = clock::now() + PATIENCE;
        loop {
            let message = self.message();
            if wanted(&message) {
                return message;
            }
            assert!(clock::now() < deadline, "other messages only, at last {message}");
        }
    }

    /// Forgets what has come until now.
    pub(crate) fn forget(&self) {
        while self.message_within(Duration::from_millis(1)).is_some() {}
    }
}

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
        // Fails only if its process has ended.
        let _ = ptrace::detach(self.0, None);
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
