//! The real binary on a port of its own choice; ended with the value that stands for it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::tools::Missing;

/// A busy machine starts a process late; a broken broker ends or stays silent.
const START_TIME_MAX: Duration = Duration::from_mins(1);
/// More than `server.stop_timeout`, after which the broker ends whatever is left.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);

const GREETING: &str = "fanwire listens on http://";

/// What the broker's threads wait with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Driver {
    Uring,
    Epoll,
}

impl Driver {
    /// Whether this machine lets a process have it.
    ///
    /// # Errors
    /// Where the kernel has no `io_uring` or forbids it.
    pub(crate) fn probe(self) -> Result<(), Missing> {
        match self {
            Driver::Uring => io_uring::IoUring::new(2)
                .map(drop)
                .map_err(|error| Missing(format!("io_uring: {error}"))),
            Driver::Epoll => Ok(()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Driver::Uring => "uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// A running broker with its configuration and its log.
pub(crate) struct Broker {
    driver: Driver,
    home: PathBuf,
    child: Child,
    address: String,
}

impl Broker {
    /// Starts a broker on a free port.
    pub(crate) fn start(driver: Driver, configuration: &str) -> Broker {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("broker-{}-{number}", std::process::id());
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&home).expect("the directory for temporary files takes one more");
        fs::write(home.join("fanwire.toml"), configuration).expect("a small file can be written");
        let child = spawn(driver, &home, "127.0.0.1:0");
        let mut broker = Broker { driver, home, child, address: String::new() };
        broker.address = broker.wait_for_greeting();
        broker
    }

    /// `host:port` of its listener.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks it to stop, waits until it has, and starts another on the same port.
    pub(crate) fn restart(&mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("the child has not been waited for");
        let status = self.wait_for_end();
        assert!(status.success(), "stopped with {status}:\n{}", self.log());
        self.start_again();
    }

    /// Kills it, so that peers see no word of farewell, and starts another on the same port.
    pub(crate) fn crash(&mut self) {
        self.child.kill().expect("the child has not been waited for");
        self.wait_for_end();
        self.start_again();
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    fn start_again(&mut self) {
        self.child = spawn(self.driver, &self.home, &self.address);
        assert_eq!(self.wait_for_greeting(), self.address);
    }

    fn wait_for_greeting(&mut self) -> String {
        let stdout = self.child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        // Reads to the end, so that the broker never writes into a closed or a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _nobody_waits_any_more = sender.send(line);
            }
        });
        let line = lines.recv_timeout(START_TIME_MAX).unwrap_or_default();
        let address = line.strip_prefix(GREETING);
        address.unwrap_or_else(|| panic!("no greeting but {line:?}:\n{}", self.log())).to_owned()
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        let (sender, ended) = mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            // The sender goes when the child has ended; only then is its id free for others.
            if ended.recv_timeout(STOP_TIME_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _has_just_ended = kill_process(pid, Signal::KILL);
            }
        });
        let status = self.child.wait().expect("a child can be waited for");
        drop(sender);
        watch.join().expect("the watch does not panic");
        status
    }
}

fn spawn(driver: Driver, home: &Path, listen: &str) -> Child {
    let log = File::options().create(true).append(true).open(home.join("log"));
    let mut broker = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    // Such variables are configuration to the broker, and those meant for the tests unknown keys.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"FANWIRE_") {
            broker.env_remove(name);
        }
    }
    broker
        .args(["--listen", listen, "--driver", driver.name(), "--shards", "2", "--config"])
        .arg(home.join("fanwire.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.expect("the log can be opened"))
        .spawn()
        .expect("the binary was built with this test")
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself, and its files may stay: both harm nothing here.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        let _left = fs::remove_dir_all(&self.home);
    }
}
