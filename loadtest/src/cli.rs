//! The command line: what was typed, checked and turned into [`Settings`].

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::paths::Paths;
use crate::report::Report;
use crate::settings::{
    Door, Farewell, PublishDoor, RecoverSettings, Scenario, Settings, StormSettings,
};
use crate::token::{Algorithm, Signer, TokenSettings};
use crate::{check, child, compare, connect, html, scenario, summary, sys};

/// Load test that proves delivery before it speaks of speed.
#[derive(Parser)]
#[command(name = "fanwire-loadtest", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

const AFTER_HELP: &str = "\
Exit status: 0 passed, 1 a delivery was wrong or a storm not weathered (or `compare` found a regression), 2 the run could \
not be done.

Examples:
  fanwire-loadtest fanout --subscribers 10000 --rate 10 --server-pid $(pidof fanwire) --html fan.html
  fanwire-loadtest topics --door sse --subscribers 5000 --topics 500 --rate 2000
  fanwire-loadtest idle --steps 2000,10000 --server-pid $(pidof fanwire)
  fanwire-loadtest storm -n 10000 --key-file private.pem --server-pid $(pidof fanwire)
  fanwire-loadtest recover -n 10000 --server-pid $(pidof fanwire) --html recover.html
  fanwire-loadtest publish --publish-connections 8 --pipeline 32 --duration 10 --json memory.json
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
    Cut(Options),
    /// A crowd of -n connections comes, is dropped, comes back twice; --established subscribers
    /// must not notice.
    Storm(Options),
    /// -n subscribers are dropped at once and return with their positions while publishing goes on;
    /// each must have every message once and in order, and --established subscribers must not notice.
    Recover(Options),
    /// Let some subscribers stop reading; the others must not notice.
    Slow(Options),
    /// Closed loop: find how many frames per second the server delivers.
    Flat(Options),
    /// Closed loop: find how many publishes per second the server answers, with --pipeline requests
    /// in flight on each of --publish-connections.
    Publish(Options),
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
    #[command(flatten)]
    paths: Paths,
    /// Subscribers; storm and recover: connections of the crowd [default: 10000 for `recover`, 0 for
    /// `publish`, else 1000].
    #[arg(long, short = 'n')]
    subscribers: Option<u32>,
    /// Topics [default: 100 for `topics`, 20 for `recover`, else 1].
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
    /// Publishes per second, over all topics [default: 1000 for `topics`, 100 for
    /// `storm`, 40 for `recover`, else 20].
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
    /// Requests in flight on each publishing connection [default: 16 for `publish`, and for `storm`
    /// and `recover`, whose messages must go out when they are due although the answers are late;
    /// else 1].
    #[arg(long)]
    pipeline: Option<u32>,
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
    /// Private key that signs a token of its own for each connection: PKCS#8 in PEM, or for HS256
    /// the secret.
    #[arg(long, conflicts_with = "token")]
    key_file: Option<PathBuf>,
    /// How --key-file signs.
    #[arg(long, value_enum, ignore_case = true, default_value = "ES256", requires = "key_file")]
    algorithm: Algorithm,
    /// `iss` of tokens signed with --key-file.
    #[arg(long, requires = "key_file")]
    issuer: Option<String>,
    /// `aud` of tokens signed with --key-file.
    #[arg(long, requires = "key_file")]
    audience: Option<String>,
    /// `kid` of tokens signed with --key-file.
    #[arg(long, requires = "key_file")]
    key_id: Option<String>,
    /// Token for publishes [default: --token, or one signed with --key-file].
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
    /// cut: share of the subscribers to cut, 0 to 1.
    #[arg(long, default_value_t = 1.0)]
    cut_fraction: f64,
    /// cut: how many cuts, evenly spread over the duration; recover: how many drops.
    #[arg(long, default_value_t = 1)]
    cuts: u32,
    /// cut: connections per second after a cut; 0 = all at once.
    #[arg(long, default_value_t = 0.0)]
    reconnect_rate: f64,
    /// storm, recover: subscribers that receive throughout, each over its own connection.
    #[arg(long, default_value_t = 500)]
    established: u32,
    /// storm, recover: seconds before it in which the quiet latency is measured.
    #[arg(long, default_value_t = 10.0)]
    quiet: f64,
    /// storm: handshakes of the crowd under way at any time.
    #[arg(long, default_value_t = 256)]
    concurrency: u32,
    /// storm, recover: processes that hold the crowd [default: 1; recover: one per door].
    #[arg(long)]
    crowd_processes: Option<u32>,
    /// recover: doors of the crowd, an equal share each.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ws,sse")]
    crowd_doors: Vec<Door>,
    /// recover: seconds over which those return to whom the server gives no time to wait.
    #[arg(long, default_value_t = 3.0)]
    jitter: f64,
    /// A server that says that messages are lost does not fail the run by it.
    #[arg(long)]
    allow_lost: bool,
    /// storm, recover: niceness of those processes, 0 to 19. Where generator and server share CPUs, more
    /// leaves the server its own; the crowd then comes as fast as what is left allows.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=19))]
    crowd_nice: u8,
    /// storm, recover: how the crowd is dropped.
    #[arg(long, value_enum, default_value = "reset")]
    drop: Farewell,
    /// storm, recover: most that the p99 of delivery may grow, as a multiple of its quiet value.
    #[arg(long, default_value_t = 3.0)]
    ratio_max: f64,
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
        Task::Cut(options) => (Scenario::Cut, options),
        Task::Storm(options) => (Scenario::Storm, options),
        Task::Recover(options) => (Scenario::Recover, options),
        Task::Slow(options) => (Scenario::Slow, options),
        Task::Flat(options) => (Scenario::Flat, options),
        Task::Publish(options) => (Scenario::Publish, options),
        Task::Compare { before, after, threshold } => {
            let comparison = compare::compare(&read(&before)?, &read(&after)?, threshold)?;
            print(&comparison.to_string())?;
            return Ok(!comparison.has_regression());
        }
        Task::Worker { counters } => {
            child::run(counters).map_err(|error| error.to_string())?;
            return Ok(true);
        }
    };
    let (json, page) = (options.json.clone(), options.html.clone());
    let settings = options.settings(scenario)?;
    check::limits(&settings)?;
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
        let wanted = self.subscribers.unwrap_or(default_subscribers(scenario));
        if scenario == Scenario::Idle && steps.is_empty() {
            steps = vec![(wanted / 5).max(1), wanted];
        }
        let has_crowd = scenario.has_crowd();
        let recover = match scenario {
            Scenario::Recover => RecoverSettings { doors: self.crowd_doors, jitter_s: self.jitter },
            _ => RecoverSettings::default(),
        };
        let doors = u32::try_from(recover.doors.len()).unwrap_or(u32::MAX);
        let storm = match scenario {
            Scenario::Storm | Scenario::Recover => StormSettings {
                crowd: wanted,
                processes: self.crowd_processes.unwrap_or(doors.max(1)),
                concurrency: self.concurrency,
                quiet_s: self.quiet,
                nice: self.crowd_nice,
                farewell: self.drop,
                ratio_max: self.ratio_max,
            },
            _ => StormSettings::default(),
        };
        let all = if has_crowd { self.established } else { wanted };
        let subscribers = steps.last().copied().unwrap_or(all);
        let run = run_number();
        let key = self.key_file.map(|key_file| TokenSettings {
            key_file,
            algorithm: self.algorithm,
            issuer: self.issuer,
            audience: self.audience,
            key_id: self.key_id,
        });
        let signed = key.as_ref().map(|key| publish_token(key, run)).transpose()?;
        let slow = match (scenario, self.slow) {
            (Scenario::Slow, slow) => slow.unwrap_or((subscribers / 100).max(1)),
            _ => 0,
        };
        let is_deep = has_crowd || scenario == Scenario::Publish;
        let settings = Settings {
            scenario,
            door: self.door,
            publish_door: self.publish_door,
            paths: self.paths,
            target,
            host,
            app: self.app,
            run,
            topic_prefix: self.topic_prefix,
            topics: self.topics.unwrap_or(default_topics(scenario)),
            topics_per_subscriber: self.topics_per_subscriber,
            subscribers,
            steps,
            size: self.size,
            rate: self.rate.unwrap_or(default_rate(scenario)),
            warmup_s: self.warmup,
            duration_s: self.duration,
            connect_rate: self.connect_rate,
            reconnect_rate: self.reconnect_rate,
            connect_timeout_s: self.connect_timeout,
            publish_connections: self.publish_connections,
            pipeline: self.pipeline.unwrap_or(if is_deep { 16 } else { 1 }),
            batch: self.batch,
            window: self.window,
            processes: self.processes,
            sources,
            deflate: self.deflate,
            compress: self.compress,
            publish_token: self.publish_token.or(signed).or_else(|| self.token.clone()),
            key,
            token: self.token,
            secret: self.secret,
            grace_s: self.grace,
            settle_s: self.settle,
            slow,
            cut_fraction: self.cut_fraction,
            cuts: self.cuts,
            storm,
            recover,
            allow_lost: self.allow_lost,
            server_pids: self.server_pid,
            lag_limit_ms: self.lag_limit,
        };
        check::settings(&settings)?;
        Ok(settings)
    }
}

fn default_subscribers(scenario: Scenario) -> u32 {
    match scenario {
        Scenario::Recover => 10_000,
        Scenario::Publish => 0,
        _ => 1000,
    }
}

fn default_topics(scenario: Scenario) -> u32 {
    match scenario {
        Scenario::Topics => 100,
        Scenario::Recover => 20,
        _ => 1,
    }
}

fn default_rate(scenario: Scenario) -> f64 {
    match scenario {
        Scenario::Topics => 1000.0,
        Scenario::Storm => 100.0,
        Scenario::Recover => 40.0,
        _ => 20.0,
    }
}

/// Also shows, before anything is connected, that the key can be used.
fn publish_token(key: &TokenSettings, run: u32) -> Result<String, String> {
    Signer::load(key, run)?.publisher().map_err(|error| format!("cannot sign: {error}"))
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
}
