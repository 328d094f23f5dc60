//! The command line: what was typed, checked and turned into [`Settings`].

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::marker::MARKER_SIZE;
use crate::report::Report;
use crate::settings::{Door, PublishDoor, Scenario, Settings};
use crate::shared::WORKERS_MAX;
use crate::{compare, connect, html, scenario, summary, sys, worker};

/// Descriptors of a process that are not subscribers: pipes, epoll, publish connections.
const DESCRIPTORS_RESERVED: u64 = 64;
/// Ports of one source address, when the kernel's range cannot be read.
const PORTS_DEFAULT: u64 = 28_000;

/// Load test that proves delivery before it speaks of speed.
#[derive(Parser)]
#[command(name = "fanwire-loadtest", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

const AFTER_HELP: &str = "\
Exit status: 0 passed, 1 a delivery was wrong (or `compare` found a regression), 2 the run could \
not be done.

Examples:
  fanwire-loadtest fanout --subscribers 10000 --rate 10 --server-pid $(pidof fanwire) --html fan.html
  fanwire-loadtest topics --door sse --subscribers 5000 --topics 500 --rate 2000
  fanwire-loadtest idle --steps 2000,10000 --server-pid $(pidof fanwire)
  fanwire-loadtest flat --subscribers 1000 --duration 10 --json after.json
  fanwire-loadtest compare before.json after.json --threshold 5";

#[derive(Subcommand)]
enum Task {
    /// Open subscribers at --connect-rate and measure the handshake.
    Connect(Options),
    /// Open subscribers in --steps and measure the server's memory per connection.
    Idle(Options),
    /// Many subscribers of one topic.
    Fanout(Options),
    /// Subscribers spread over many topics.
    Topics(Options),
    /// Cut every subscriber and let all come back while publishing goes on.
    Storm(Options),
    /// Let some subscribers stop reading; the others must not notice.
    Slow(Options),
    /// Closed loop: find how many frames per second the server delivers.
    Flat(Options),
    /// Compare two JSON reports; fails when the second is worse by more than the threshold.
    Compare {
        /// The report to compare with.
        before: PathBuf,
        /// The report to judge.
        after: PathBuf,
        /// Differences below this many percent are noise.
        #[arg(long, default_value_t = 10.0)]
        threshold: f64,
    },
    /// One worker process of a run (started by the tool itself).
    #[command(hide = true)]
    Worker {
        /// Descriptor of the counter page.
        counters: i32,
    },
}

#[derive(Args)]
struct Options {
    /// The server, plain HTTP.
    #[arg(long, default_value = "http://127.0.0.1:8480")]
    url: String,
    /// Application.
    #[arg(long, default_value = "demo")]
    app: String,
    /// How subscribers connect.
    #[arg(long, value_enum, default_value = "ws")]
    door: Door,
    /// How messages are published.
    #[arg(long, value_enum, default_value = "native")]
    publish_door: PublishDoor,
    /// Subscribers.
    #[arg(long, short = 'n', default_value_t = 1000)]
    subscribers: u32,
    /// Topics [default: 100 for `topics`, else 1].
    #[arg(long)]
    topics: Option<u32>,
    /// Topics that each subscriber takes.
    #[arg(long, default_value_t = 1)]
    topics_per_subscriber: u32,
    /// Beginning of topic names; letters, digits, `-`, `_`, `/`.
    #[arg(long, default_value = "load")]
    topic_prefix: String,
    /// Bytes of each message's text.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Publishes per second, over all topics [default: 1000 for `topics`, else 20].
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of publishing that are verified but not timed.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds of publishing that are timed.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// New connections per second; 0 = all at once.
    #[arg(long, default_value_t = 2000.0)]
    connect_rate: f64,
    /// Seconds a handshake may take.
    #[arg(long, default_value_t = 10.0)]
    connect_timeout: f64,
    /// HTTP connections for publishing; a topic always uses the same one.
    #[arg(long, default_value_t = 4)]
    publish_connections: u32,
    /// Requests in flight on each publishing connection.
    #[arg(long, default_value_t = 1)]
    pipeline: u32,
    /// Most messages per request on the batch door.
    #[arg(long, default_value_t = 16)]
    batch: u32,
    /// flat: messages whose deliveries may be outstanding.
    #[arg(long, default_value_t = 16)]
    window: u32,
    /// Worker processes; more when one's descriptors or its CPU do not suffice.
    #[arg(long, default_value_t = 1)]
    processes: u32,
    /// Source addresses: a number of 127.0.0.x, or a comma-separated list.
    #[arg(long)]
    source_addresses: Option<String>,
    /// Offer permessage-deflate (WebSocket).
    #[arg(long)]
    deflate: bool,
    /// Publish with `compress: true` (Realtime publish door).
    #[arg(long)]
    compress: bool,
    /// Token for subscribers.
    #[arg(long, env = "FANWIRE_LOADTEST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Token for publishes [default: --token].
    #[arg(long, env = "FANWIRE_LOADTEST_PUBLISH_TOKEN", hide_env_values = true)]
    publish_token: Option<String>,
    /// buzzPost secret.
    #[arg(long, env = "FANWIRE_LOADTEST_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Seconds without any delivery after which missing ones count as lost.
    #[arg(long, default_value_t = 5.0)]
    grace: f64,
    /// idle: subscribers to reach one after the other; the last replaces --subscribers.
    #[arg(long, value_delimiter = ',')]
    steps: Vec<u32>,
    /// idle: seconds of stillness before memory is measured; connect: seconds to hold.
    #[arg(long, default_value_t = 3.0)]
    settle: f64,
    /// slow: subscribers that stop reading [default: 1 in 100, at least 1]. The server notices only
    /// once rate × size × duration exceeds what the kernel buffers for them, some MiB.
    #[arg(long)]
    slow: Option<u32>,
    /// storm: share of the subscribers to cut, 0 to 1.
    #[arg(long, default_value_t = 1.0)]
    cut_fraction: f64,
    /// storm: how many cuts, evenly spread over the duration.
    #[arg(long, default_value_t = 1)]
    cuts: u32,
    /// storm: connections per second after a cut; 0 = all at once.
    #[arg(long, default_value_t = 0.0)]
    reconnect_rate: f64,
    /// Processes of the server, to sample CPU and memory (comma-separated).
    #[arg(long, value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// Schedule lag at p99, in milliseconds, beyond which the generator counts as saturated.
    #[arg(long, default_value_t = 5.0)]
    lag_limit: f64,
    /// Write the report as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the report as one self-contained HTML page.
    #[arg(long)]
    html: Option<PathBuf>,
}

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard error is the last place to say anything.
            let _ = writeln!(io::stderr(), "fanwire-loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(task: Task) -> Result<bool, String> {
    let (scenario, options) = match task {
        Task::Connect(options) => (Scenario::Connect, options),
        Task::Idle(options) => (Scenario::Idle, options),
        Task::Fanout(options) => (Scenario::Fanout, options),
        Task::Topics(options) => (Scenario::Topics, options),
        Task::Storm(options) => (Scenario::Storm, options),
        Task::Slow(options) => (Scenario::Slow, options),
        Task::Flat(options) => (Scenario::Flat, options),
        Task::Compare { before, after, threshold } => {
            let comparison = compare::compare(&read(&before)?, &read(&after)?, threshold)?;
            print(&comparison.to_string())?;
            return Ok(!comparison.has_regression());
        }
        Task::Worker { counters } => {
            worker::run(counters).map_err(|error| error.to_string())?;
            return Ok(true);
        }
    };
    let (json, page) = (options.json.clone(), options.html.clone());
    let settings = options.settings(scenario)?;
    check_limits(&settings)?;
    connect::probe(settings.target)?;
    let report = scenario::run(settings)?;
    print(&summary::text(&report))?;
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        write(&path, &text)?;
    }
    if let Some(path) = page {
        write(&path, &html::page(&report))?;
    }
    Ok(report.passed)
}

fn print(text: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{text}").map_err(|error| format!("cannot print: {error}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Report, String> {
    let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| explain(&error))?;
    serde_json::from_str(&text).map_err(|error| explain(&format!("not a report: {error}")))
}

impl Options {
    fn settings(self, scenario: Scenario) -> Result<Settings, String> {
        let (target, host) = resolve(&self.url)?;
        let sources = sources(self.source_addresses.as_deref())?;
        let mut steps = self.steps;
        if scenario == Scenario::Idle && steps.is_empty() {
            steps = vec![(self.subscribers / 5).max(1), self.subscribers];
        }
        let subscribers = steps.last().copied().unwrap_or(self.subscribers);
        let many = scenario == Scenario::Topics;
        let slow = match (scenario, self.slow) {
            (Scenario::Slow, slow) => slow.unwrap_or((subscribers / 100).max(1)),
            _ => 0,
        };
        let settings = Settings {
            scenario,
            door: self.door,
            publish_door: self.publish_door,
            target,
            host,
            app: self.app,
            run: run_number(),
            topic_prefix: self.topic_prefix,
            topics: self.topics.unwrap_or(if many { 100 } else { 1 }),
            topics_per_subscriber: self.topics_per_subscriber,
            subscribers,
            steps,
            size: self.size,
            rate: self.rate.unwrap_or(if many { 1000.0 } else { 20.0 }),
            warmup_s: self.warmup,
            duration_s: self.duration,
            connect_rate: self.connect_rate,
            reconnect_rate: self.reconnect_rate,
            connect_timeout_s: self.connect_timeout,
            publish_connections: self.publish_connections,
            pipeline: self.pipeline,
            batch: self.batch,
            window: self.window,
            processes: self.processes,
            sources,
            deflate: self.deflate,
            compress: self.compress,
            publish_token: self.publish_token.or_else(|| self.token.clone()),
            token: self.token,
            secret: self.secret,
            grace_s: self.grace,
            settle_s: self.settle,
            slow,
            cut_fraction: self.cut_fraction,
            cuts: self.cuts,
            server_pids: self.server_pid,
            lag_limit_ms: self.lag_limit,
        };
        check(&settings)?;
        Ok(settings)
    }
}

/// All that is wrong with the settings, together.
fn check(settings: &Settings) -> Result<(), String> {
    let name_is_plain = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
    let rules = [
        (settings.subscribers > 0, "--subscribers must be at least 1".to_owned()),
        (settings.topics > 0, "--topics must be at least 1".to_owned()),
        (settings.topics < 1_000_000, "--topics must be below 1,000,000".to_owned()),
        (
            (1..=settings.topics).contains(&settings.topics_per_subscriber),
            "--topics-per-subscriber must be between 1 and --topics".to_owned(),
        ),
        (settings.size >= MARKER_SIZE, format!("--size must be at least {MARKER_SIZE}")),
        (settings.size <= 512 * 1024, "--size must be at most 524288".to_owned()),
        (settings.rate > 0.0, "--rate must be above 0".to_owned()),
        (settings.duration_s > 0.0, "--duration must be above 0".to_owned()),
        (settings.warmup_s >= 0.0, "--warmup must not be negative".to_owned()),
        (settings.grace_s > 0.0, "--grace must be above 0".to_owned()),
        (settings.publish_connections > 0, "--publish-connections must be at least 1".to_owned()),
        (settings.pipeline > 0, "--pipeline must be at least 1".to_owned()),
        (settings.batch > 0, "--batch must be at least 1".to_owned()),
        (settings.window > 0, "--window must be at least 1".to_owned()),
        (
            (1..=WORKERS_MAX).contains(&(settings.processes as usize)),
            format!("--processes must be between 1 and {WORKERS_MAX}"),
        ),
        (
            settings.steps.is_sorted_by(|a, b| a < b),
            "--steps must grow from one to the next".to_owned(),
        ),
        (settings.slow <= settings.subscribers, "--slow must not exceed --subscribers".to_owned()),
        (
            settings.scenario != Scenario::Storm || settings.cuts > 0,
            "--cuts must be at least 1".to_owned(),
        ),
        (
            settings.topic_prefix.chars().all(name_is_plain),
            "--topic-prefix may hold letters, digits, '-', '_' and '/'".to_owned(),
        ),
        (
            !settings.compress || settings.publish_door == PublishDoor::Realtime,
            "--compress needs --publish-door realtime".to_owned(),
        ),
        (!settings.deflate || settings.door == Door::Ws, "--deflate needs --door ws".to_owned()),
    ];
    let wrong: Vec<String> =
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, message)| message).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Compares what the run needs with what this machine grants.
fn check_limits(settings: &Settings) -> Result<(), String> {
    let limit = sys::raise_descriptor_limit().map_err(|error| error.to_string())?;
    let each = u64::from(settings.subscribers.div_ceil(settings.processes));
    if each + DESCRIPTORS_RESERVED > limit {
        let enough = u64::from(settings.subscribers)
            .div_ceil(limit.saturating_sub(DESCRIPTORS_RESERVED).max(1));
        return Err(format!(
            "{each} subscribers per process exceed the descriptor limit of {limit} \
             (RLIMIT_NOFILE): use --processes {enough} or more, or raise `ulimit -n`"
        ));
    }
    let ports = ports();
    let addresses = settings.sources.len().max(1) as u64;
    if u64::from(settings.subscribers) > ports * addresses {
        return Err(format!(
            "{} subscribers need more than the {ports} ports of {addresses} source address(es): \
             use --source-addresses {} or more",
            settings.subscribers,
            u64::from(settings.subscribers).div_ceil(ports)
        ));
    }
    Ok(())
}

fn ports() -> u64 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let bounds: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match bounds[..] {
        [low, high] if high > low => high - low,
        _ => PORTS_DEFAULT,
    }
}

fn resolve(url: &str) -> Result<(SocketAddr, String), String> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(format!("--url {url}: only plain http:// is supported"));
    };
    let host = rest.trim_end_matches('/');
    let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut addresses =
        with_port.to_socket_addrs().map_err(|error| format!("--url {url}: {error}"))?;
    let target = addresses.next().ok_or_else(|| format!("--url {url}: no address"))?;
    Ok((target, host.to_owned()))
}

fn sources(text: Option<&str>) -> Result<Vec<IpAddr>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if let Ok(count) = text.parse::<u8>() {
        return Ok((1..=count).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).collect());
    }
    let parse = |word: &str| {
        word.trim().parse().map_err(|_bad| format!("--source-addresses: {word} is not an address"))
    };
    text.split(',').map(parse).collect()
}

/// Differs from run to run, so that messages of an earlier run cannot pass for this one's.
fn run_number() -> u32 {
    let seed = sys::unix_ms() ^ (u64::from(std::process::id()) << 32);
    u32::try_from(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses_and_urls() {
        let (target, host) = resolve("http://127.0.0.1:8480/").unwrap();
        assert_eq!((target.port(), host.as_str()), (8480, "127.0.0.1:8480"));
        assert_eq!(resolve("http://127.0.0.1").unwrap().0.port(), 80);
        assert!(resolve("https://127.0.0.1").is_err());
        assert_eq!(sources(Some("3")).unwrap().len(), 3);
        assert_eq!(sources(Some("127.0.0.9, ::1")).unwrap().len(), 2);
        assert!(sources(Some("127.0.0.x")).is_err());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let bad = Settings { size: 10, rate: 0.0, topics_per_subscriber: 2, ..example() };
        let message = check(&bad).unwrap_err();
        for option in ["--size", "--rate", "--topics-per-subscriber"] {
            assert!(message.contains(option), "{message}");
        }
        assert_eq!(check(&example()), Ok(()));
    }

    #[test]
    fn limits_name_the_option_that_helps() {
        let many = Settings { subscribers: 4_000_000_000, ..example() };
        let message = check_limits(&many).unwrap_err();
        assert!(message.contains("RLIMIT_NOFILE") && message.contains("--processes"), "{message}");
    }
}
