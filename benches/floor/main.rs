//! The broker against a raw loop, and its doors, drivers and shard counts against each other: CPU,
//! latency and memory, as ratios of one run.
//!
//! `cargo bench --bench floor` plays every scenario (about ten minutes); `-- NAME…` those whose names
//! begin so; `-- --list` names them. `--pairs N` and `--subscribers N` change what a scenario says,
//! `--json FILE` is where the figures go (`target/floor.json`).
//!
//! `other --url http://HOST:PORT [--pid PID] [--stream-path '/sub/{topic}'] [--publish-path
//! '/pub/{topic}']` drives another broker through the load test, and then ours: see `other.rs`.
//!
//! Both servers of a scenario run at once, pinned to one CPU, each with a client process of its own,
//! pinned to the other. They are measured in turns (ABAB), so that what the machine does to one it
//! does to the other. CPU is the server process's own run time
//! (`/proc/PID/task/*/schedstat`, nanoseconds) and that of the kernel's network thread of its CPU,
//! over operations that the client has counted. Judge the ratio, never the times.

#![expect(clippy::print_stdout, reason = "a bench's figures are its output")]

mod client;
mod counts;
mod cpu;
mod memory;
mod other;
mod raw;
mod report;
mod scenario;
mod servers;
mod statistics;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use other::Other;
use report::{Pair, Report};
use scenario::{ALL, Scenario, Server};
use servers::Side;

/// The name of the comparison with another broker.
const OTHER: &str = "other";

/// What the command line asks for.
#[derive(Default)]
struct Wanted {
    names: Vec<String>,
    pairs: Option<usize>,
    subscribers: Option<usize>,
    json: Option<PathBuf>,
    is_list: bool,
    other: Other,
}

impl Wanted {
    /// Another broker has no part in a run of everything: only its name asks for it.
    fn is_other(&self) -> bool {
        self.names.iter().any(|name| name == OTHER)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--raw-server", shape] => {
            raw::serve(wire::Shape::from_text(shape).expect("what this program wrote"));
            return ExitCode::SUCCESS;
        }
        ["--client", name, which, address, ref token @ ..] => {
            let scenario = from_environment(scenario::named(name));
            let server = if which == "server" { scenario.server } else { scenario.against };
            let token = token.first().copied();
            client::run(&scenario, server, address, token);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    match read(&arguments) {
        Ok(wanted) => run(&wanted),
        Err(problem) => {
            eprintln!("{problem}; see the head of benches/floor/main.rs");
            ExitCode::FAILURE
        }
    }
}

fn read(arguments: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |text: &String| text.parse().map_err(|error| format!("{text}: {error}"));
        match argument.as_str() {
            // Cargo adds this.
            "--bench" => {}
            "--list" => wanted.is_list = true,
            "--pairs" => wanted.pairs = Some(number(value()?)?),
            "--subscribers" => wanted.subscribers = Some(number(value()?)?),
            "--url" => wanted.other.url = Some(value()?.clone()),
            "--pid" => wanted.other.pid = Some(value()?.clone()),
            "--stream-path" => wanted.other.stream_path = Some(value()?.clone()),
            "--publish-path" => wanted.other.publish_path = Some(value()?.clone()),
            "--json" => wanted.json = Some(value()?.into()),
            name if !name.starts_with('-') => wanted.names.push(name.to_owned()),
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    wanted.other.subscribers = wanted.subscribers;
    if wanted.other.url.is_some() && !wanted.is_other() {
        return Err("--url belongs to the scenario `other`".to_owned());
    }
    Ok(wanted)
}

/// A client's scenario, with what the command line changed.
fn from_environment(scenario: Option<Scenario>) -> Scenario {
    let mut scenario = scenario.expect("a scenario's name");
    let subscribers = std::env::var("FLOOR_SUBSCRIBERS").ok().and_then(|text| text.parse().ok());
    if let Some(subscribers) = subscribers {
        scenario.load.subscribers = subscribers;
    }
    scenario
}

fn run(wanted: &Wanted) -> ExitCode {
    let extra = ["hop", "memory-websocket", "memory-sse", "counts"];
    let is_wanted = |name: &str| {
        wanted.names.is_empty() || wanted.names.iter().any(|wanted| name.starts_with(wanted))
    };
    if wanted.is_list {
        let names = ALL.iter().map(|scenario| scenario.name).chain(extra);
        names.chain([OTHER]).for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    for scenario in ALL.iter().filter(|scenario| is_wanted(scenario.name)) {
        let mut scenario = *scenario;
        scenario.pairs = wanted.pairs.unwrap_or(scenario.pairs).max(1);
        scenario.load.subscribers = wanted.subscribers.unwrap_or(scenario.load.subscribers);
        compare(&scenario, &mut report);
    }
    for name in extra.into_iter().filter(|name| is_wanted(name)) {
        match name {
            "hop" => counts::hop(&mut report),
            "counts" => counts::count(&mut report),
            _ => {
                let scenario = scenario::named(name).expect("a scenario");
                memory::measure(&scenario, &mut report);
            }
        }
    }
    if wanted.is_other()
        && let Err(problem) = other::compare(&wanted.other, &mut report)
    {
        eprintln!("{problem}");
        return ExitCode::FAILURE;
    }
    let path = wanted.json.clone().unwrap_or_else(|| "target/floor.json".into());
    report.finish(&path)
}

/// Plays one scenario.
fn compare(scenario: &Scenario, report: &mut Report) {
    eprintln!("{}: starting", scenario.name);
    let mut server = Side::start(scenario, scenario.server, &serde_json::Value::Null);
    let learned = server.learned.clone();
    let mut against = Side::start(scenario, scenario.against, &learned);
    let soft_irq = cpu::SoftIrqThread::find();
    // One pair warms both up and is not counted.
    server.play(&soft_irq);
    against.play(&soft_irq);
    let mut pairs = Vec::new();
    for number in 0..scenario.pairs {
        // Always in this order, so that each comes back from the same rest: after it a socket's
        // first segments are acknowledged one by one, which costs the sender.
        let server = server.play(&soft_irq);
        let pair = Pair { server, against: against.play(&soft_irq) };
        let [a, b] = [&pair.server, &pair.against].map(report::cost_ns);
        let ratio = a / b;
        let of = scenario.pairs;
        eprintln!(
            "{}: pair {} of {of}: {a:.1} ns, {b:.1} ns, {ratio:.3}",
            scenario.name,
            number + 1
        );
        pairs.push(pair);
    }
    report.add(scenario, &pairs, scenario.against == Server::Raw);
}
