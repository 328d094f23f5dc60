//! Another broker and ours under the load test, one after the other, by the same doors: raw POST
//! bodies in, event streams out.
//!
//! The load is the bench's own in the load test's words: 200 bytes, 1,000 subscribers of one topic,
//! paced and then flat. The load test proves every delivery and prints its lines; here only the two
//! brokers' figures are set side by side. Both are met by a load test on the client's CPU; ours runs
//! on the server's. The other broker is not pinned: whoever starts it puts it there
//! (`taskset -c 0`), or compares CPU per delivery alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cpu;
use crate::report::Report;
use crate::scenario;
use crate::servers::Broker;

/// Each scenario of the load test, and what it is told besides.
const LOADS: [(&str, &[&str]); 2] = [
    ("fanout", &["--rate", "50", "--publish-connections", "1"]),
    ("flat", &["--publish-connections", "1", "--pipeline", "4"]),
];

/// Share of its CPU at which the load test may be what holds a flat run up.
const CLIENT_SHARE_MAX: f64 = 0.95;

/// Where the other broker is, as the load test takes it.
#[derive(Default)]
pub(crate) struct Other {
    pub(crate) url: Option<String>,
    /// Its processes, comma-separated; without them its CPU is not known.
    pub(crate) pid: Option<String>,
    pub(crate) stream_path: Option<String>,
    pub(crate) publish_path: Option<String>,
    pub(crate) subscribers: Option<usize>,
}

/// Plays both loads at the other broker and at ours.
///
/// # Errors
/// When there is no address or no load test, or a run could not be done.
pub(crate) fn compare(other: &Other, report: &mut Report) -> Result<(), String> {
    if other.url.is_none() {
        return Err("other needs --url http://HOST:PORT".to_owned());
    }
    let program = load_test()?;
    // The load test inherits it.
    cpu::pin_self(&[cpu::CLIENT_CPU]);
    for (name, more) in LOADS {
        let theirs = play(&program, name, more, other)?;
        let broker = Broker::start(&scenario::BASE, scenario::RING);
        let own = Other {
            url: Some(format!("http://{}", broker.address)),
            pid: Some(broker.pid().to_string()),
            subscribers: other.subscribers,
            ..Other::default()
        };
        let ours = play(&program, name, more, &own)?;
        let lines = [line("other", &theirs), line("fanwire", &ours)];
        let entry = json!({ "other": figures(&theirs), "fanwire": figures(&ours) });
        report.note(&format!("other-{name}"), &lines, entry, None);
    }
    Ok(())
}

/// It stands beside the broker's program.
fn load_test() -> Result<PathBuf, String> {
    let path = Path::new(env!("CARGO_BIN_EXE_fanwire")).with_file_name("fanwire-loadtest");
    if path.exists() {
        return Ok(path);
    }
    let build = "cargo build --release --package fanwire-loadtest";
    Err(format!("{} is missing: build it with `{build}`", path.display()))
}

/// One run; its lines go to the terminal. A failed delivery is a figure, not an error.
fn play(program: &Path, name: &str, more: &[&str], at: &Other) -> Result<Value, String> {
    let file = std::env::temp_dir().join(format!("fanwire-other-{}.json", std::process::id()));
    let subscribers = at.subscribers.unwrap_or(1_000).to_string();
    let mut command = Command::new(program);
    command
        .args([name, "--door", "sse-raw", "--size", "200", "--subscribers", &subscribers])
        .args(more)
        .arg("--json")
        .arg(&file);
    for (option, value) in [
        ("--url", &at.url),
        ("--server-pid", &at.pid),
        ("--stream-path", &at.stream_path),
        ("--publish-path", &at.publish_path),
    ] {
        command.args(value.iter().flat_map(|value| [option, value]));
    }
    let status = command.status().map_err(|error| format!("{}: {error}", program.display()))?;
    let text = std::fs::read(&file);
    // Absent when the run could not be done.
    let _ = std::fs::remove_file(&file);
    let text = text.map_err(|_absent| format!("the load test gave no report ({status})"))?;
    serde_json::from_slice(&text).map_err(|error| format!("not a report: {error}"))
}

/// What is kept of a run's report.
fn figures(run: &Value) -> Value {
    let latency = &run["latency_corrected"];
    json!({
        "passed": run["passed"],
        "deliveries_per_second": run["publish"]["delivered_per_second"],
        "cpu_us_per_delivery": run["server"]["cpu_us_per_delivery"],
        "latency_p50_ns": latency["p50_ns"],
        "latency_p99_ns": latency["p99_ns"],
        "client_cpus": run["generator"]["cpu_share_sum"],
        "client_is_saturated": run["generator"]["is_saturated"],
    })
}

fn line(who: &str, run: &Value) -> String {
    let figures = figures(run);
    let number = |name: &str| figures[name].as_f64().unwrap_or(0.0);
    let cpu = figures["cpu_us_per_delivery"].as_f64();
    let cpu = cpu.map_or("       -".to_owned(), |cpu| format!("{cpu:>8.2}"));
    let doubt = if run["generator"]["is_saturated"] == true {
        "  (the client was late: believe neither rate nor latency)"
    } else if number("client_cpus") > CLIENT_SHARE_MAX {
        "  (the client was busy all the time)"
    } else {
        ""
    };
    format!(
        "{who:<8} {:>10.0} deliveries/s  {cpu} us CPU per delivery  p50 {:>8.3} ms  p99 {:>8.3} ms{}{}",
        number("deliveries_per_second"),
        number("latency_p50_ns") / 1e6,
        number("latency_p99_ns") / 1e6,
        doubt,
        if run["passed"] == true { "" } else { "  (FAILED: see above)" },
    )
}
