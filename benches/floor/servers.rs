//! The processes: two servers, a client for each, started, asked and ended.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cpu;
use crate::scenario::{Kind, PING_INTERVAL, Scenario, Server, Setup};

/// A child process and its pipes; ended when dropped.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(command: &mut Command, cpus: &[usize]) -> Process {
        cpu::pin_self(cpus);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        cpu::pin_self(&[cpu::CLIENT_CPU]);
        let mut child = child.expect("the process starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Process { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let size = self.output.read_line(&mut line).expect("its output");
        assert!(size > 0, "a process of this bench has ended; its errors stand above");
        line.trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may have ended by itself; either way it is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with its client.
pub(crate) struct Side {
    // Ended first: a client whose server has gone complains.
    client: Process,
    server: Process,
    /// What the client has learned of the server's bytes.
    pub(crate) learned: Value,
    address: String,
    /// Where a broker's configuration and keys lie, until it has ended.
    _folder: Folder,
}

/// What a round was like.
pub(crate) struct Round {
    /// Deliveries, publishes, pings or connections.
    pub(crate) operations: u64,
    /// CPU time of the server, the kernel's network thread included.
    pub(crate) server_ns: u64,
    /// CPU time of the client, and how long the round took.
    pub(crate) client_ns: u64,
    pub(crate) wall_ns: u64,
    pub(crate) latencies_ns: Vec<f64>,
}

impl Side {
    /// Starts a server and its client. The raw loop has to know a broker's bytes: `learned`.
    pub(crate) fn start(scenario: &Scenario, server: Server, learned: &Value) -> Side {
        let folder = Folder::new();
        let mut token = None;
        let mut process = match server {
            Server::Raw => Process::start(
                this_program().args(["--raw-server", text(&learned["shape"])]),
                &[cpu::SERVER_CPU],
            ),
            Server::Broker(setup) => {
                token = folder.configure(scenario, setup.token);
                start_broker(scenario, setup, &folder.config())
            }
        };
        let greeting = process.line();
        let address = match server {
            Server::Raw => format!("127.0.0.1:{greeting}"),
            Server::Broker(_) => address_in(&greeting),
        };
        let mut command = this_program();
        let which = if server == scenario.server { "server" } else { "against" };
        command.args(["--client", scenario.name, which, &address]).args(token);
        command.env("FLOOR_SUBSCRIBERS", scenario.load.subscribers.to_string());
        if server == Server::Raw {
            command.env("FLOOR_SUBSCRIBED_SIZE", learned["subscribed_size"].to_string());
        }
        let mut client = Process::start(&mut command, &[cpu::CLIENT_CPU]);
        let learned = serde_json::from_str(&client.line()).expect("JSON");
        Side { client, server: process, learned, address, _folder: folder }
    }

    /// Plays a round.
    pub(crate) fn play(&mut self, soft_irq: &cpu::SoftIrqThread) -> Round {
        let (server, client) = (self.server.child.id(), self.client.child.id());
        let before = (cpu::run_time_ns(server) + soft_irq.run_time_ns(), cpu::run_time_ns(client));
        let began = fanwire::stdx::clock::now();
        let input = self.client.input.as_mut().expect("not ended");
        input.write_all(b"round\n").expect("the client reads");
        let played: Value = serde_json::from_str(&self.client.line()).expect("JSON");
        let wall_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let after = (cpu::run_time_ns(server) + soft_irq.run_time_ns(), cpu::run_time_ns(client));
        let latencies = played["latencies_ns"].as_array().into_iter().flatten();
        Round {
            operations: played["operations"].as_u64().expect("a number").max(1),
            server_ns: after.0 - before.0,
            client_ns: after.1 - before.1,
            wall_ns,
            latencies_ns: latencies.filter_map(Value::as_f64).collect(),
        }
    }

    /// Bytes of user memory that the server has for itself.
    pub(crate) fn private_size(&self) -> u64 {
        cpu::private_size(self.server.child.id())
    }

    /// The broker's metrics, as its text says them.
    pub(crate) fn metrics(&self) -> String {
        let mut socket = std::net::TcpStream::connect(&self.address).expect("the broker accepts");
        let request = "GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).expect("the broker reads");
        std::io::read_to_string(socket).expect("text")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// A broker whose client is another program.
pub(crate) struct Broker {
    process: Process,
    /// `HOST:PORT`.
    pub(crate) address: String,
    _folder: Folder,
}

impl Broker {
    pub(crate) fn start(scenario: &Scenario, setup: Setup) -> Broker {
        let folder = Folder::new();
        let _ = folder.configure(scenario, setup.token);
        let mut process = start_broker(scenario, setup, &folder.config());
        let address = address_in(&process.line());
        Broker { process, address, _folder: folder }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }
}

/// The address in a broker's first line.
fn address_in(greeting: &str) -> String {
    greeting.rsplit("//").next().unwrap_or_default().to_owned()
}

/// This program again, in another role.
fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("this program"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The broker pings when pings are measured; else no ping may be mistaken for a delivery.
fn ping_interval(scenario: &Scenario) -> Duration {
    if scenario.load.kind == Kind::Ping { PING_INTERVAL } else { Duration::from_hours(1) }
}

fn start_broker(scenario: &Scenario, setup: Setup, config: &Path) -> Process {
    let cpus: Vec<usize> = (0..setup.shards).collect();
    let ping = format!("{}s", ping_interval(scenario).as_secs());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    command
        .args(["--listen", "127.0.0.1:0", "--driver", setup.driver])
        .args(["--shards", &setup.shards.to_string(), "--config"])
        .arg(config)
        .env("FANWIRE_SHARDS_SEND", setup.send)
        .env("FANWIRE_LOG_LEVEL", "warn")
        .env("FANWIRE_WEBSOCKET_PING_INTERVAL", ping);
    Process::start(&mut command, &cpus)
}

/// A folder of its own for a broker's configuration, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fanwire-floor-{}-{number}", std::process::id());
        Folder(std::env::temp_dir().join(name))
    }

    fn config(&self) -> PathBuf {
        self.0.join("fanwire.toml")
    }

    /// Writes the configuration, with a key for publishers where they need one; returns a token.
    fn configure(&self, scenario: &Scenario, algorithm: Option<&str>) -> Option<String> {
        std::fs::create_dir_all(&self.0).expect("a temporary folder");
        let idle = 2 * ping_interval(scenario).as_secs();
        let limits = format!("limits.idle_timeout = \"{idle}s\"");
        let keys = algorithm.map_or(String::new(), |algorithm| self.keys(algorithm));
        let text = format!("[[applications]]\nid = \"demo\"\nopen = true\n{limits}\n{keys}\n");
        std::fs::write(self.config(), text).expect("a temporary file");
        algorithm.map(|algorithm| self.token(algorithm))
    }

    /// Makes a key; what to paste below the application.
    fn keys(&self, algorithm: &str) -> String {
        let folder = self.0.to_str().expect("a path of text");
        let to: &[&str] = if algorithm.starts_with("HS") { &[] } else { &["--out", folder] };
        let pasted = run(fanwire().args(["token", "keys", "--algorithm", algorithm]).args(to));
        pasted.replace("auth_keys", "admin_keys")
    }

    fn token(&self, algorithm: &str) -> String {
        // A secret signs out of the configuration, a private key out of its file.
        let from = self.0.join("private.pem");
        let from = [OsStr::new("--key-file"), from.as_os_str()];
        run(fanwire()
            .args(["token", "mint", "--role", "admin", "--subject", "bench"])
            .args(["--algorithm", algorithm, "--publish", "*"])
            .args(if algorithm.starts_with("HS") { &[] } else { &from[..] })
            .arg("--config")
            .arg(self.config()))
        .trim()
        .to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Most brokers need none.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn fanwire() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fanwire"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
