//! The binary under test: started on a free port, watched, ended by its own process id.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use crossbeam_channel::{Receiver, bounded};
use rustix::process::{Pid, Signal, kill_process};

use super::{Http, Metrics, WebSocket, position, post};

/// How long any single wait may last before the test counts as failed. Generous: a machine that is
/// busy compiling must not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// What a test runs against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Variant {
    pub(crate) driver: &'static str,
    pub(crate) shards: u16,
}

const VARIANTS: [Variant; 5] = [
    Variant { driver: "uring", shards: 1 },
    Variant { driver: "epoll", shards: 1 },
    Variant { driver: "uring", shards: 2 },
    Variant { driver: "epoll", shards: 2 },
    Variant { driver: "uring", shards: 3 },
];

/// What each line of the greeting that names a listener begins with.
const GREETING: &str = "fanwire listens on ";

/// How to start a broker.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    variant: Variant,
    listen: String,
    variables: Vec<(String, String)>,
    config: Option<String>,
    config_path: Option<PathBuf>,
    file_size_max: Option<u64>,
    passed: Vec<Arc<OwnedFd>>,
}

impl Setup {
    pub(crate) fn new(driver: &'static str, shards: u16) -> Setup {
        Setup {
            variant: Variant { driver, shards },
            listen: "127.0.0.1:0".to_owned(),
            variables: Vec::new(),
            config: None,
            config_path: None,
            file_size_max: None,
            passed: Vec::new(),
        }
    }

    /// Sets a key by its environment variable's name without `FANWIRE_`.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Setup {
        self.variables.push((format!("FANWIRE_{name}"), value.into()));
        self
    }

    pub(crate) fn config(mut self, text: &str) -> Setup {
        self.config = Some(text.to_owned());
        self
    }

    /// Has it read a file that the test keeps, and may change under it.
    pub(crate) fn config_path(mut self, path: &Path) -> Setup {
        self.config_path = Some(path.to_owned());
        self
    }

    pub(crate) fn listen(mut self, address: &str) -> Setup {
        address.clone_into(&mut self.listen);
        self
    }

    /// Lets no file of the broker's grow beyond so many bytes, as a full disk would.
    pub(crate) fn file_size_max(mut self, size: u64) -> Setup {
        self.file_size_max = Some(size);
        self
    }

    /// Sets an environment variable that is no key.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Setup {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Passes a descriptor as systemd passes sockets (`sd_listen_fds(3)`).
    pub(crate) fn pass(mut self, descriptor: impl Into<OwnedFd>) -> Setup {
        self.passed.push(Arc::new(descriptor.into()));
        self
    }

    /// Starts it; it must come up.
    pub(crate) fn start(&self) -> Broker {
        match self.try_start() {
            Ok(broker) => broker,
            Err((status, log)) => panic!("the broker ended with {status}:\n{log}"),
        }
    }

    /// Starts it, or tells how it ended and what it wrote to standard error.
    pub(crate) fn try_start(&self) -> Result<Broker, (ExitStatus, String)> {
        let config = self.config.as_deref().map(ConfigFile::write);
        let mut command = self.command();
        // What steers the test run must not steer the broker.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FANWIRE_") {
                command.env_remove(name);
            }
        }
        command
            .args(["--listen", &self.listen, "--driver", self.variant.driver])
            .args(["--shards", &self.variant.shards.to_string()])
            .env("FANWIRE_LOG_LEVEL", "debug")
            .env("FANWIRE_SHARDS_PIN", "false")
            // Tests of the admin door say where it is.
            .env("FANWIRE_ADMIN_LISTEN", "off")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let path = config.as_ref().map(|config| &config.path).or(self.config_path.as_ref());
        if let Some(path) = path {
            command.arg("--config").arg(path);
        }
        let child = command.spawn().expect("the binary runs");
        Broker::watch(child, self.variant)
    }

    fn command(&self) -> Command {
        // The limit comes with a signal that would end the broker; a full disk sends none. POSIX counts
        // in blocks of 512 bytes.
        let limit = |size: u64| format!("trap '' XFSZ; ulimit -f {}; ", size / 512);
        // Only the process itself knows its number before it is the broker.
        let passed = |count: usize| format!("export LISTEN_PID=$$ LISTEN_FDS={count}; ");
        let count = self.passed.len();
        let steps = [self.file_size_max.map(limit), (count > 0).then(|| passed(count))];
        let script: String = steps.into_iter().flatten().collect();
        let binary = env!("CARGO_BIN_EXE_fanwire");
        if script.is_empty() {
            return Command::new(binary);
        }
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{script}exec \"$0\" \"$@\""), binary]);
        let mappings = self.passed.iter().zip(3..).map(|(descriptor, child_fd)| FdMapping {
            parent_fd: descriptor.try_clone().expect("a descriptor is left"),
            child_fd,
        });
        command.fd_mappings(mappings.collect()).expect("no number is mapped twice");
        command
    }
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) variant: Variant,
    pub(crate) address: SocketAddr,
    /// How its further listeners are reached.
    pub(crate) others: Vec<String>,
    child: Child,
    log: Arc<Mutex<String>>,
    ended: Receiver<()>,
}

impl Broker {
    fn watch(mut child: Child, variant: Variant) -> Result<Broker, (ExitStatus, String)> {
        let log = Arc::new(Mutex::new(String::new()));
        let (ended_tx, ended) = bounded(1);
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut line = String::new();
            while errors.read_line(&mut line).is_ok_and(|size| size > 0) {
                lines.lock().expect("no holder panics").push_str(&line);
                line.clear();
            }
            let _ = ended_tx.send(());
        });
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut greeting = String::new();
        out.read_line(&mut greeting).expect("standard output is read");
        let mut others = Vec::new();
        // The greeting is written at once, so all of it is here.
        while out.buffer().starts_with(GREETING.as_bytes()) {
            let mut line = String::new();
            out.read_line(&mut line).expect("standard output is read");
            others.push(line.trim_end().trim_start_matches(GREETING).to_owned());
        }
        std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
        let address = greeting.trim_end().strip_prefix("fanwire listens on http://");
        let address = address.and_then(|address| address.parse().ok());
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut broker =
            Broker { variant, address: address.unwrap_or(unspecified), others, child, log, ended };
        if address.is_some() {
            return Ok(broker);
        }
        let status = broker.wait();
        Err((status, broker.log()))
    }

    /// The address of a further listener.
    pub(crate) fn other(&self, index: usize) -> SocketAddr {
        let (_, address) = self.others[index].split_once("://").expect("a URL");
        address.parse().expect("an address")
    }

    /// A fresh connection, without Nagle's delay and with bounded reads and writes.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the broker listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket");
        stream
    }

    /// Where its admin door listens, once it says so.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        let line = self.await_log("the admin door listens");
        // As text or as JSON: the one word that is an address.
        let mut words = line.split(|c: char| !c.is_ascii_digit() && !".:[]".contains(c));
        words.find_map(|word| word.parse().ok()).expect("an address")
    }

    /// The first line of the log that holds `part`, once there is one.
    pub(crate) fn await_log(&self, part: &str) -> String {
        let deadline = fanwire::stdx::clock::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            assert!(fanwire::stdx::clock::now() < deadline, "never logged: {part}\n{log}");
            std::thread::yield_now();
        }
    }

    /// A fresh connection to the admin door.
    pub(crate) fn admin(&self) -> Http {
        let stream = TcpStream::connect(self.admin_address()).expect("the admin door listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        Http::new(stream)
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(self.connect())
    }

    /// A welcomed WebSocket on `demo`.
    pub(crate) fn websocket(&self) -> WebSocket {
        WebSocket::open(self.connect(), "/apps/demo")
    }

    /// A welcomed WebSocket on each shard, in the shards' order.
    pub(crate) fn websockets(&self) -> Vec<WebSocket> {
        let mut found: Vec<Option<WebSocket>> = (0..self.variant.shards).map(|_| None).collect();
        // The kernel spreads connections by a hash of their ports: 200 misses would be odd indeed.
        for _ in 0..200 {
            let socket = self.websocket();
            let shard = usize::from(socket.shard());
            found[shard].get_or_insert(socket);
            if found.iter().all(Option::is_some) {
                return found.into_iter().flatten().collect();
            }
        }
        panic!("200 connections, and a shard without one");
    }

    /// A topic of `demo` for each shard that is its home, in the shards' order.
    pub(crate) fn topics(&self, stem: &str) -> Vec<String> {
        let mut found: Vec<Option<String>> = (0..self.variant.shards).map(|_| None).collect();
        let mut http = self.http();
        for number in 0..500 {
            let topic = format!("{stem}-{number}");
            let answer = post(&mut http, &format!("/v1/demo/topics/{topic}"), b"probe");
            let at = super::json(&answer.body)["position"].as_str().map(position);
            let (home, _) = at.expect("a position");
            found[usize::from(home)].get_or_insert(topic);
            if found.iter().all(Option::is_some) {
                return found.into_iter().flatten().collect();
            }
        }
        panic!("500 topics, and a shard that is home to none");
    }

    /// A message of each shard's topic reaches a WebSocket of each shard.
    pub(crate) fn check_every_shard_delivers(&self) {
        let mut sockets = self.websockets();
        for topic in self.topics("t") {
            for socket in &mut sockets {
                socket.subscribe(&topic);
            }
            post(&mut self.http(), &format!("/v1/demo/topics/{topic}"), b"x");
            for socket in &mut sockets {
                assert_eq!(socket.value()["data"], "x");
            }
        }
    }

    /// What `/metrics` tells now.
    pub(crate) fn metrics(&self) -> Metrics {
        let answer = self.http().request("GET", "/metrics", &[], b"");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Metrics::parse(&String::from_utf8(answer.body).expect("UTF-8"))
    }

    /// Asks for the metrics until `holds`, each time by a fresh request.
    pub(crate) fn await_metrics(&self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = fanwire::stdx::clock::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if holds(&metrics) {
                return metrics;
            }
            assert!(fanwire::stdx::clock::now() < deadline, "never: {what}\n{metrics:?}");
            std::thread::yield_now();
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its log holds `text` so many times.
    pub(crate) fn await_log_times(&self, text: &str, count: usize) {
        let deadline = fanwire::stdx::clock::now() + PATIENCE;
        while self.log().matches(text).count() < count {
            let log = self.log();
            assert!(fanwire::stdx::clock::now() < deadline, "never logged: {text}\n{log}");
            std::thread::yield_now();
        }
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_size(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the broker runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes.and_then(|number| number.trim().parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Its open descriptors.
    pub(crate) fn descriptor_count(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        folder.expect("the broker runs").count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("the broker runs");
    }

    /// Waits for its end, at most `PATIENCE`.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = self.ended.recv_timeout(PATIENCE);
        assert!(ended.is_ok(), "the broker does not end; its log:\n{}", self.log());
        self.child.wait().expect("it is our child")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no holder panics").clone()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the broker ({:?})\n{}", self.variant, self.log());
        } else {
            let _ = self.ended.recv_timeout(PATIENCE);
            assert!(!self.log().contains("panic"), "the broker panicked:\n{}", self.log());
        }
    }
}

/// Runs `test` against a default broker of each driver and several shard counts.
pub(crate) fn on_each(test: impl Fn(&Broker)) {
    on_each_with(|setup| setup, test);
}

/// The same with settings.
pub(crate) fn on_each_with(configure: impl Fn(Setup) -> Setup, test: impl Fn(&Broker)) {
    for Variant { driver, shards } in VARIANTS {
        match configure(Setup::new(driver, shards)).try_start() {
            Ok(broker) => test(&broker),
            Err((_, log)) if driver == "uring" && log.contains("io_uring cannot be had") => {
                let required = std::env::var_os("FANWIRE_REQUIRE_ALL").is_some_and(|v| v == "1");
                assert!(!required, "io_uring is required: {log}");
                eprintln!("skipped: no io_uring here");
            }
            Err((status, log)) => panic!("the broker ended with {status}:\n{log}"),
        }
    }
}

/// A configuration file that lives as long as this does.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
}

impl ConfigFile {
    pub(crate) fn write(text: &str) -> ConfigFile {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fanwire-{}-{number}.toml", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, text).expect("the folder for temporary files is ours");
        ConfigFile { path }
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
