//! Each scenario through the real binary against a correct broker, and the errors of runs that
//! cannot be done.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the sabotages are used by the other test")]
mod saboteur;

use std::process::{Command, Output};

use saboteur::{Sabotage, Saboteur};
use serde_json::Value;

fn tool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fanwire-loadtest")).args(arguments).output().unwrap()
}

fn run(scenario: &str, more: &[&str]) -> (Output, Value, String) {
    let broker = Saboteur::start(Sabotage::None);
    let url = format!("http://127.0.0.1:{}", broker.port);
    let stem = format!("loadtest-{scenario}-{}-{}", std::process::id(), broker.port);
    let (json, html) = (
        std::env::temp_dir().join(format!("{stem}.json")),
        std::env::temp_dir().join(format!("{stem}.html")),
    );
    let files = ["--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let pid = std::process::id().to_string();
    let fixed = [scenario, "--url", &url, "--server-pid", &pid, "--grace", "0.7"];
    let output = tool(&[&fixed[..], &files, more].concat());
    let report = serde_json::from_slice(&std::fs::read(&json).unwrap_or_default());
    let page = std::fs::read_to_string(&html).unwrap_or_default();
    // Absent when the run could not be done; the caller then sees the output.
    let _ = (std::fs::remove_file(&json), std::fs::remove_file(&html));
    (output, report.unwrap_or(Value::Null), page)
}

#[track_caller]
fn passes(scenario: &str, more: &[&str]) -> (Value, String) {
    let (output, report, page) = run(scenario, more);
    let text = String::from_utf8_lossy(&output.stdout);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}\n{progress}");
    assert!(text.lines().last().unwrap().starts_with("PASS"), "{text}");
    (report, page)
}

#[test]
fn connect_measures_handshakes() {
    let more = ["--subscribers", "40", "--connect-rate", "200", "--settle", "0.1"];
    let (report, _) = passes("connect", &more);
    assert_eq!(
        (&report["connect"]["live"], &report["connect"]["failures"]),
        (&40.into(), &0.into())
    );
    assert_eq!(report["connect"]["handshake"]["count"], 40);
    let rate = report["connect"]["rate_achieved"].as_f64().unwrap();
    assert!(rate <= 215.0, "open loop at 200/s must not be faster: {rate}");
}

#[test]
fn idle_measures_memory_between_steps() {
    let (report, _) = passes("idle", &["--steps", "10,40", "--settle", "0.2"]);
    let steps = report["memory"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!((&steps[0]["subscribers"], &steps[1]["subscribers"]), (&10.into(), &40.into()));
    assert!(steps[0]["private_per_subscriber"].is_null());
    let slope = steps[1]["private_per_subscriber"].as_f64().unwrap();
    let grown = steps[1]["private"].as_f64().unwrap() - steps[0]["private"].as_f64().unwrap();
    assert!((slope - grown / 30.0).abs() < 1e-6);
}

#[test]
fn a_cut_brings_everybody_back() {
    for door in ["ws", "sse"] {
        let more = [
            "--door",
            door,
            "--subscribers",
            "30",
            "--rate",
            "200",
            "--warmup",
            "0.1",
            "--duration",
            "1",
            "--cuts",
            "2",
        ];
        let (report, _) = passes("cut", &more);
        let cuts = report["cuts"].as_array().unwrap();
        assert_eq!(cuts.len(), 2);
        assert!(cuts.iter().all(|s| s["cut"] == 30 && s["recovered_s"].is_f64()), "{cuts:?}");
        assert!(report["tally"]["expected"].as_u64().unwrap() > 3_000, "{}", report["tally"]);
    }
}

#[test]
fn storm_reports_each_phase() {
    for drop in ["reset", "close"] {
        let more = ["-n", "40", "--established", "8", "--rate", "200", "--warmup", "0.1"];
        // A busy test machine must not fail on latency, which is not what is tested here.
        let storm = ["--quiet", "0.4", "--concurrency", "5", "--drop", drop, "--ratio-max", "999"];
        let more = [&more[..], &storm, &["--crowd-processes", "2", "--lag-limit", "999"]].concat();
        let (report, page) = passes("storm", &more);
        let phases = report["storm"]["phases"].as_array().unwrap();
        let connects: Vec<_> = phases.iter().map(|p| p["connects"].as_u64().unwrap()).collect();
        assert_eq!(connects, [0, 40, 40, 40, 0], "{phases:?}");
        for phase in phases {
            let connects = &phase["connects"];
            assert_eq!((&phase["errors"], &phase["welcomed"]), (&0.into(), connects), "{phase}");
            assert_eq!(&phase["handshake"]["count"], connects, "{phase}");
            assert!(phase["delivery"]["count"].as_u64() > Some(0), "{phase}");
            let lasted_s = phase["lasted_s"].as_f64().unwrap();
            assert!(phase["last_welcome_s"].as_f64().unwrap() <= lasted_s, "{phase}");
            assert!(phase["server_cpu_s"].is_f64() && phase["server_waited_s"].is_f64(), "{phase}");
        }
        let timed: u64 = phases.iter().map(|p| p["delivery"]["count"].as_u64().unwrap()).sum();
        assert_eq!(report["latency_corrected"]["count"], timed, "each delivery is of one phase");
        assert_eq!(report["tally"]["expected"], report["tally"]["delivered"]);
        assert!(page.contains("Storm of 40 connections") && page.contains("by phase of the storm"));
    }
}

#[test]
fn recover_reports_each_return() {
    let more = ["-n", "20", "--established", "5", "--topics", "3", "--rate", "200", "--cuts", "2"];
    // A busy test machine must not fail on latency, which is not what is tested here.
    let storm = ["--warmup", "0.1", "--quiet", "0.4", "--jitter", "0.2", "--ratio-max", "999"];
    let more = [&more[..], &storm, &["--lag-limit", "999"]].concat();
    let (report, page) = passes("recover", &more);
    let phases = report["storm"]["phases"].as_array().unwrap();
    let connects: Vec<_> = phases.iter().map(|p| p["connects"].as_u64().unwrap()).collect();
    assert_eq!(connects, [0, 20, 20], "{phases:?}");
    assert!(phases.iter().all(|p| p["delivery"]["count"].as_u64() > Some(0)), "{phases:?}");
    let published = report["publish"]["accepted"].as_u64().unwrap();
    // Each topic's 66 or 67 messages go to a third of 25.
    let expected = report["tally"]["expected"].as_u64().unwrap();
    assert!(expected.abs_diff(published * 25 / 3) <= 25, "{expected} of {published}");
    assert_eq!(report["latency_corrected"]["count"].as_u64().map(|c| c < expected / 3), Some(true));
    assert!(page.contains("Return after each drop") && page.contains("by phase of the storm"));
}

#[test]
fn publish_keeps_every_pipeline_full() {
    for door in ["native", "batch"] {
        let more = ["--publish-connections", "3", "--pipeline", "4", "--batch", "5"];
        let time = ["--warmup", "0.1", "--duration", "0.4", "--publish-door", door];
        let (report, _) = passes("publish", &[&more[..], &time].concat());
        let publish = &report["publish"];
        assert!(publish["rate_achieved"].as_f64().unwrap() > 500.0, "{publish}");
        assert_eq!((&publish["sent"], &publish["unsent"]), (&publish["accepted"], &0.into()));
        assert!(publish["answer_raw"]["count"].as_u64() > Some(0), "{publish}");
        assert_eq!(report["tally"]["expected"], 0);
    }
    cannot(&["publish", "-n", "3"], &["publish takes no subscribers"]);
}

#[test]
fn slow_readers_are_reported_not_judged() {
    let more = ["--subscribers", "20", "--slow", "3", "--warmup", "0.1", "--duration", "0.4"];
    let (report, _) = passes("slow", &more);
    assert_eq!(report["slow"]["complete"], 3, "{}", report["slow"]);
    assert_eq!(report["tally"]["expected"], 10 * 17, "20/s for 0.5 s to 17 readers");
}

#[test]
fn flat_runs_as_fast_as_the_broker() {
    let more = ["--subscribers", "10", "--warmup", "0.1", "--duration", "0.5"];
    let (report, page) = passes("flat", &more);
    assert!(report["publish"]["delivered_per_second"].as_f64().unwrap() > 500.0);
    assert!(page.contains("<svg") && page.contains("PASS"));
    for outside in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "the page must be self-contained: {outside}");
    }
}

#[test]
fn reports_compare_and_regressions_fail() {
    let (before, _) = passes("flat", &["--subscribers", "5", "--warmup", "0", "--duration", "0.3"]);
    let mut after = before.clone();
    let rate = before["publish"]["delivered_per_second"].as_f64().unwrap();
    after["publish"]["delivered_per_second"] = (rate * 0.8).into();
    let stem = std::env::temp_dir().join(format!("loadtest-compare-{}", std::process::id()));
    let (a, b) = (format!("{}-a", stem.display()), format!("{}-b", stem.display()));
    std::fs::write(&a, before.to_string()).unwrap();
    std::fs::write(&b, after.to_string()).unwrap();
    let compare = |x: &str, y: &str, threshold: &str| {
        let output = tool(&["compare", x, y, "--threshold", threshold]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(compare(&a, &b, "30").0, Some(0));
    let (status, text) = compare(&a, &b, "10");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("WORSE") && text.contains("REGRESSION"), "{text}");
    assert_eq!(compare(&b, &a, "10").0, Some(0));
    std::fs::remove_file(&a).unwrap();
    std::fs::remove_file(&b).unwrap();
}

#[track_caller]
fn cannot(arguments: &[&str], words: &[&str]) {
    let output = tool(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

#[test]
fn errors_say_what_to_do() {
    // Port 9 of the loopback is nobody's.
    cannot(&["fanout", "--url", "http://127.0.0.1:9"], &["no server at 127.0.0.1:9", "--url"]);
    cannot(&["fanout", "-n", "2000000000"], &["RLIMIT_NOFILE", "--processes"]);
    cannot(&["fanout", "--size", "5"], &["--size must be at least 80"]);
    let broker = Saboteur::start(Sabotage::None);
    let url = format!("http://127.0.0.1:{}", broker.port);
    cannot(&["fanout", "--url", &url, "-n", "3", "--app", "nobody"], &["404", "no such door"]);
}
