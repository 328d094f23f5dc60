//! Another broker's paths and answers: a correct one passes, what it spoils is seen, and wrong
//! combinations of options are refused. All through the real binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the sabotages are used by the other test")]
mod saboteur;

use std::process::Command;

use saboteur::{Sabotage, Saboteur};
use serde_json::Value;

const PATHS: [&str; 6] =
    ["--door", "sse-raw", "--stream-path", "/sub/{topic}", "--publish-path", "/pub/{topic}"];

/// Exit status, report and output of a run of 50 messages to 12 subscribers.
fn run(scenario: &str, sabotage: Sabotage, more: &[&str]) -> (i32, Value, String) {
    let broker = Saboteur::start(sabotage);
    let name = format!("loadtest-foreign-{}-{}.json", std::process::id(), broker.port);
    let path = std::env::temp_dir().join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_fanwire-loadtest"))
        .args([scenario, "--url", &format!("http://127.0.0.1:{}", broker.port)])
        .args(["--json", path.to_str().unwrap(), "--connect-rate", "500", "--grace", "0.7"])
        .args(["--subscribers", "12", "--rate", "100", "--warmup", "0.1", "--duration", "0.4"])
        .args(more)
        .output()
        .unwrap();
    let json = std::fs::read(&path).unwrap_or_default();
    // Absent when the run could not be done; then the text tells.
    let _ = std::fs::remove_file(&path);
    let text = [output.stdout, output.stderr].concat();
    let report = serde_json::from_slice(&json).unwrap_or(Value::Null);
    (output.status.code().unwrap(), report, String::from_utf8(text).unwrap())
}

#[test]
fn a_correct_foreign_broker_passes() {
    let (status, report, text) = run("fanout", Sabotage::None, &PATHS);
    assert_eq!(status, 0, "{text}");
    let (tally, publish) = (&report["tally"], &report["publish"]);
    assert_eq!((&tally["expected"], &tally["delivered"]), (&600.into(), &600.into()), "{text}");
    // Its answers of 200, 201 and 202, one of them without a length, are all of them accepted.
    let counts = ["accepted", "refused", "unknown"].map(|name| publish[name].as_u64());
    assert_eq!(counts, [Some(50), Some(0), Some(0)], "{text}");
    // The greeting of each, and what it tells of itself with each delivery.
    assert_eq!(tally["other_frames"], 12 + 600, "{text}");
}

#[test]
fn several_topics_go_into_one_stream_path() {
    let many = ["--stream-path", "/sub/{topics}", "--topics", "5", "--topics-per-subscriber", "3"];
    let rest = ["--door", "sse-raw", "--publish-path", "/pub/{topic}"];
    let (status, report, text) = run("topics", Sabotage::None, &[&many[..], &rest].concat());
    assert_eq!(status, 0, "{text}");
    assert_eq!(report["tally"]["delivered"], 10 * 36, "{text}");
}

#[test]
fn what_a_foreign_broker_spoils_is_seen() {
    for (sabotage, expected) in [
        (Sabotage::Drop(20), [1, 0, 0, 0]),
        (Sabotage::Double(20), [0, 1, 0, 0]),
        (Sabotage::Swap(20), [0, 0, 1, 0]),
        (Sabotage::CorruptPayload(20), [1, 0, 0, 1]),
    ] {
        let (status, report, text) = run("fanout", sabotage, &PATHS);
        let violations = &report["tally"]["violations"];
        let found =
            ["gap", "duplicate", "reorder", "corrupt"].map(|kind| violations[kind].as_u64());
        assert_eq!((status, found), (1, expected.map(Some)), "{sabotage:?}: {text}");
    }
}

#[test]
fn a_refused_publish_is_refused_by_a_foreign_broker_too() {
    let (status, report, text) = run("fanout", Sabotage::Refuse(20), &PATHS);
    assert_eq!(status, 0, "{text}");
    assert_eq!(
        (&report["publish"]["refused"], &report["tally"]["expected"]),
        (&1.into(), &588.into())
    );
}

#[test]
fn each_path_can_be_given_alone() {
    let (status, report, text) = run("fanout", Sabotage::None, &PATHS[..4]);
    assert_eq!(status, 0, "{text}");
    assert_eq!(report["publish"]["accepted"], 50, "{text}");
    let (status, report, text) = run("fanout", Sabotage::None, &PATHS[4..]);
    assert_eq!(status, 0, "{text}");
    assert_eq!(
        (&report["tally"]["other_frames"], &report["publish"]["unknown"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn combinations_that_mean_nothing_are_refused() {
    for (more, words) in [
        (&PATHS[2..4], "--stream-path needs --door sse or sse-raw"),
        (
            &["--publish-door", "batch", "--publish-path", "/p/{topic}"],
            "needs --publish-door native",
        ),
        (&["--publish-path", "/p"], "--publish-path must hold {topic} once"),
        (&["--door", "sse-raw", "--stream-path", "/s"], "must hold {topic} or {topics} once"),
        (&["--door", "sse-raw", "--stream-path", "s{topic}"], "must begin with '/'"),
    ] {
        let (status, report, text) = run("fanout", Sabotage::None, more);
        assert_eq!((status, report), (2, Value::Null), "{text}");
        assert!(text.contains(words), "{text}");
    }
    let two = ["--topics", "4", "--topics-per-subscriber", "2"];
    let (status, _, text) = run("topics", Sabotage::None, &[&PATHS[..], &two].concat());
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("takes one topic per subscriber"), "{text}");
}
