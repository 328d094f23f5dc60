//! The real broker under callgrind: started, ended by its own process id, counted.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use fanwire::stdx::clock;
use rustix::process::{Pid, Signal, kill_process};

const BINARY: &str = env!("CARGO_BIN_EXE_fanwire");

/// The applications of every scenario: open, and one that also knows a key, whose tokens are
/// verified. History is full after a few rounds, so that each round costs what the next one does.
const APPLICATIONS: &str = r#"[{
    id = "demo", open = true, history = { count_max = 64 },
    limits = { idle_timeout = "7200s", subscriptions_max = 100000 },
    auth_keys = [{ source = "raw", key = "dR8vXc2LwPq5ZtNy7GmJ4sKb9HfU6eAo", algorithms = ["HS256"] }],
}]"#;

/// One shard, and no io_uring: valgrind knows none.
const FLAGS: &str = "--listen 127.0.0.1:0 --shards 1 --driver epoll";

/// No clock may add turns: nothing is pinged, timed out or drained while it runs.
const VARIABLES: [(&str, &str); 9] = [
    ("FANWIRE_SHARDS_SEND", "direct"),
    ("FANWIRE_SHARDS_PIN", "false"),
    ("FANWIRE_LOG_LEVEL", "warn"),
    ("FANWIRE_WEBSOCKET_PING_INTERVAL", "3600s"),
    ("FANWIRE_SSE_HEARTBEAT_INTERVAL", "3600s"),
    ("FANWIRE_HTTP_IDLE_TIMEOUT", "3600s"),
    ("FANWIRE_SERVER_STOP_DELAY", "600s"),
    ("FANWIRE_SERVER_STOP_TIMEOUT", "1200s"),
    ("FANWIRE_APPLICATIONS", APPLICATIONS),
];

/// Large copies run as `rep movsb` and `rep stosb`, of which valgrind counts every byte as an
/// instruction; with these thresholds they run as vector moves.
const NO_REPEATED_MOVES: &str =
    "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

/// How often it is told to end.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// How long anything may take it: to answer, to fall asleep, to end. Generous: the machine may be
/// busy compiling.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A running broker whose instructions are counted.
pub(crate) struct Broker {
    pub(crate) server: Server,
    child: Child,
    profile: PathBuf,
    /// It prints more than is read; closing the pipe would end it.
    _out: BufReader<ChildStdout>,
}

/// What its clients know of it.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pid: u32,
}

impl Server {
    /// Waits until all its threads sleep. A client that then goes on finds it parked; one that went
    /// on at once would be served in the same turn or in another, as chance has it.
    pub(crate) fn settle(self) {
        let ends_at = clock::now() + PATIENCE;
        while !self.sleeps() {
            assert!(clock::now() < ends_at, "the broker does not fall asleep");
            std::thread::yield_now();
        }
    }

    fn sleeps(self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs");
        tasks.flatten().all(|task| {
            // The state is the first field behind the name, which may hold anything (proc(5)).
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('S'))
        })
    }
}

impl Broker {
    /// Starts it; its profile is to be written to `profile`.
    pub(crate) fn start(profile: &Path) -> Broker {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--tool=callgrind"]);
        valgrind.arg(format!("--callgrind-out-file={}", profile.display()));
        valgrind.arg(BINARY).args(FLAGS.split(' '));
        configure(&mut valgrind).env("GLIBC_TUNABLES", NO_REPEATED_MOVES);
        let mut child = valgrind
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("valgrind has told its version before");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut greeting = String::new();
        out.read_line(&mut greeting).expect("a greeting");
        let address = greeting.trim().rsplit("//").next().and_then(|address| address.parse().ok());
        let address = address.expect("the broker starts and tells its address");
        let server = Server { address, pid: child.id() };
        Broker { server, child, profile: profile.to_owned(), _out: out }
    }

    /// Ends it and tells all instructions that it ran, on every thread.
    pub(crate) fn stop(mut self) -> u64 {
        self.server.settle();
        // The first signal begins a long farewell and the next one ends that at once: a drain would
        // take turns that depend on the time.
        let ends_at = clock::now() + PATIENCE;
        while self.child.try_wait().expect("it is our child").is_none() {
            assert!(clock::now() < ends_at, "the broker does not end");
            let pid = Pid::from_child(&self.child);
            kill_process(pid, Signal::TERM).expect("it is not reaped yet");
            std::thread::sleep(STOP_INTERVAL);
        }
        let profile = std::fs::read_to_string(&self.profile).expect("callgrind has written it");
        let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
        total.and_then(|total| total.trim().parse().ok()).expect("callgrind's format has totals")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client's token that may publish, signed with the application's key.
pub(crate) fn token() -> String {
    let mut mint = Command::new(BINARY);
    mint.args(["token", "mint", "--subject", "bench", "--publish", "*"]);
    let output = configure(&mut mint).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Sets what the scenarios need, and nothing of what steers the run of the tests.
fn configure(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANWIRE_") {
            command.env_remove(name);
        }
    }
    command.envs(VARIABLES)
}
