//! Figures as a table for readers and as JSON for programs.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::scenario::{Judged, Kind, Scenario};
use crate::servers::Round;
use crate::statistics::{Summary, percentile};

/// A client that is busy for more than this share of a round may be what holds it up.
const CLIENT_SHARE_MAX: f64 = 0.95;

/// One round of each server.
pub(crate) struct Pair {
    pub(crate) server: Round,
    pub(crate) against: Round,
}

/// The run's figures.
#[derive(Default)]
pub(crate) struct Report {
    entries: Vec<Value>,
    missed: usize,
}

impl Report {
    /// Adds a scenario's figures and prints them.
    pub(crate) fn add(&mut self, scenario: &Scenario, pairs: &[Pair], is_floor: bool) {
        let against = if is_floor { "raw loop" } else { "other" };
        let unit = match scenario.load.kind {
            Kind::Ping => "ping",
            Kind::Connect => "connect",
            Kind::Flat if scenario.load.topics > 1 => "message",
            Kind::Paced | Kind::Timed { .. } | Kind::Flat => "delivery",
        };
        let of = |value: &dyn Fn(&Pair) -> f64| {
            Summary::of(&pairs.iter().map(value).collect::<Vec<f64>>())
        };
        let server = of(&|pair| cost_ns(&pair.server));
        let other = of(&|pair| cost_ns(&pair.against));
        let cpu = of(&|pair| cost_ns(&pair.server) / cost_ns(&pair.against));
        println!("{}", scenario.name);
        println!(
            "  CPU per {unit:<9} {:>9.1} ns   {against} {:>9.1} ns   ratio {cpu}",
            server.median, other.median
        );
        println!("  per CPU second      {:>9.2} M", 1e3 / server.median);
        let mut entry = json!({
            "scenario": scenario.name,
            "unit": unit,
            "cpu_ns": server.median,
            "against_cpu_ns": other.median,
            "cpu_ratio": cpu.to_json(),
            "ratio_max": scenario.ratio_max,
        });
        let mut judged = vec![("CPU", cpu)];
        if scenario.judged == Judged::Latency {
            judged = add_latency(&mut entry, pairs);
        }
        let share = of(&|pair| per(pair.server.client_ns, pair.server.wall_ns));
        if share.median > CLIENT_SHARE_MAX && scenario.load.kind == Kind::Flat {
            println!("  note: the client was busy all the time: rates are its own, CPU is not");
        }
        entry["client_busy_share"] = json!(share.median);
        if let Some(most) = scenario.ratio_max {
            let is_met = judged.iter().all(|(_, ratio)| ratio.median <= most);
            self.missed += usize::from(!is_met);
            let verdict = if is_met { "met" } else { "MISSED" };
            println!("  target: ratio at most {most}: {verdict}");
            entry["is_met"] = json!(is_met);
        }
        self.entries.push(entry);
    }

    /// Adds figures that are no comparison of two servers under load.
    pub(crate) fn note(
        &mut self,
        name: &str,
        lines: &[String],
        entry: Value,
        is_met: Option<bool>,
    ) {
        println!("{name}");
        for line in lines {
            println!("  {line}");
        }
        self.missed += usize::from(is_met == Some(false));
        let mut entry = entry;
        entry["scenario"] = json!(name);
        entry["is_met"] = json!(is_met);
        self.entries.push(entry);
    }

    /// Writes the JSON.
    pub(crate) fn finish(&self, path: &Path) -> ExitCode {
        let text = serde_json::to_string_pretty(&self.entries).expect("figures are JSON");
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!(
            "{} scenarios, {} targets missed; {}",
            self.entries.len(),
            self.missed,
            path.display()
        );
        ExitCode::SUCCESS
    }
}

fn add_latency(entry: &mut Value, pairs: &[Pair]) -> Vec<(&'static str, Summary)> {
    let all = |of: &dyn Fn(&Pair) -> &Round| {
        let mut all: Vec<f64> =
            pairs.iter().flat_map(|pair| of(pair).latencies_ns.iter().copied()).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (server, against) = (all(&|pair| &pair.server), all(&|pair| &pair.against));
    let mut judged = Vec::new();
    for (name, share) in [("median", 0.5), ("p99", 0.99)] {
        let (a, b) = (percentile(&server, share), percentile(&against, share));
        println!(
            "  latency {name:<7} {:>9.3} ms   raw loop {:>9.3} ms   ratio {:.3}",
            a / 1e6,
            b / 1e6,
            a / b
        );
        entry[format!("latency_{name}_ns")] = json!([a, b]);
        judged.push((name, Summary::of(&[a / b])));
    }
    println!("  publishes timed     {}", server.len());
    judged
}

/// Nanoseconds of CPU that an operation of this round cost.
pub(crate) fn cost_ns(round: &Round) -> f64 {
    per(round.server_ns, round.operations)
}

#[expect(clippy::cast_precision_loss, reason = "counts and times far below 2^52")]
pub(crate) fn per(total: u64, count: u64) -> f64 {
    total as f64 / count.max(1) as f64
}
