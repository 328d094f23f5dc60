//! What a delivery, a publish and a handshake cost the whole broker in user instructions, compared
//! with a committed baseline: the gate that a change has to pass.
//!
//! `cargo bench --bench instructions [-- NAME…] [--renew]`
//!
//! Each scenario runs the real binary under callgrind twice, with the same set-up and with a short
//! and a long run of rounds; the difference of the two counts over the difference of what was
//! counted is the figure, so start, set-up and stop drop out. Rounds go in lockstep: what one caused
//! has arrived before the next begins, so each costs the same turns of the shard, however slow the
//! machine. The kernel's instructions are not in it: the floor bench has the last word on time.
//!
//! `baseline.json` holds the figures, the tolerance, and what they were taken on. Exit status: 0
//! within the tolerance or below it, 1 when a scenario costs more or has no counterpart there, 77
//! when nothing could be compared. `--renew` writes what was measured into the baseline. What is left
//! in `target/instructions`: `report.json`, and each run's profile for `callgrind_annotate`.

#![expect(clippy::print_stdout, reason = "a bench's figures are its output")]

mod baseline;
mod broker;
mod client;
mod machine;
mod report;
mod scenarios;

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Resource, getrlimit, setrlimit};

use baseline::Baseline;
use broker::Broker;
use machine::Machine;
use report::Report;
use scenarios::{SCENARIOS, Scenario};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.json");

/// What tests/run.sh takes for "skipped".
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    // Cargo says `--bench` to every bench.
    let (flags, names): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .partition(|arg| arg.starts_with('-'));
    let renews = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--renew"] => true,
        _ => return fail("usage: cargo bench --bench instructions [-- NAME…] [--renew]"),
    };
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|one| is_chosen(one, &names)).collect();
    if chosen.is_empty() {
        return fail("no scenario has such a name");
    }
    let machine = Machine::this();
    let baseline = match read_baseline() {
        Ok(baseline) => baseline.unwrap_or_else(|| Baseline::empty(machine.clone())),
        Err(problem) => return fail(&problem),
    };
    if let Some(reason) = why_not(&baseline, &machine, renews) {
        println!("skipped: {reason}");
        return ExitCode::from(SKIPPED);
    }
    raise_descriptor_limit();
    let measured: Vec<(&str, f64)> = chosen.iter().map(|one| (one.name, measure(one))).collect();
    let is_whole = chosen.len() == SCENARIOS.len();
    conclude(baseline, machine, &measured, is_whole, renews)
}

fn is_chosen(scenario: &Scenario, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| scenario.name.contains(name.as_str()))
}

/// The committed baseline; none while there is no such file.
fn read_baseline() -> Result<Option<Baseline>, String> {
    match std::fs::read_to_string(BASELINE) {
        Ok(text) => Baseline::parse(&text).map(Some).map_err(|why| format!("{BASELINE}: {why}")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{BASELINE}: {error}")),
    }
}

/// Why this machine cannot be compared with the baseline.
fn why_not(baseline: &Baseline, machine: &Machine, renews: bool) -> Option<String> {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if version.is_err() {
        return Some("valgrind is missing (apt-get install valgrind)".to_owned());
    }
    if renews { None } else { baseline.machine.why_incomparable(machine) }
}

/// Instructions per counted thing.
fn measure(scenario: &Scenario) -> f64 {
    let [short, long] = scenario.rounds.map(|rounds| instructions(scenario, rounds));
    let more_rounds = scenario.rounds[1] - scenario.rounds[0];
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let figure = (long as f64 - short as f64) / (more_rounds * scenario.per_round) as f64;
    println!("{:<20} {figure:>10.1} instructions per {}", scenario.name, scenario.unit);
    figure
}

/// Instructions of one whole run of the broker.
fn instructions(scenario: &Scenario, rounds: usize) -> u64 {
    let folder = report::folder();
    let broker = Broker::start(&folder.join(format!("{}.{rounds}.callgrind", scenario.name)));
    let mut round = (scenario.begin)(&broker);
    for _ in 0..rounds {
        round();
    }
    // `round` holds the clients' sockets: they stay open until the broker has ended.
    broker.stop()
}

/// Shows, writes and judges what was measured.
fn conclude(
    baseline: Baseline,
    machine: Machine,
    measured: &[(&str, f64)],
    is_whole: bool,
    renews: bool,
) -> ExitCode {
    if baseline.machine.rustc != machine.rustc {
        println!("the baseline is of rustc {}, this is {}", baseline.machine.rustc, machine.rustc);
    }
    let rows = baseline.compare(measured, is_whole);
    let report =
        Report { machine: &machine, tolerance_percent: baseline.tolerance_percent, rows: &rows };
    println!("\n{}", report.table());
    write(&report::folder().join("report.json"), &report.json());
    if renews {
        write(Path::new(BASELINE), &baseline.renewed(machine, measured, is_whole).text());
        return ExitCode::SUCCESS;
    }
    if rows.iter().any(|row| row.verdict.fails()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the folder can be written");
    println!("written: {}", path.display());
}

fn fail(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::FAILURE
}

/// The subscribers need a descriptor each, here and in the broker, which inherits the limit.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be the hard one");
}
