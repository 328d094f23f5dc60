//! `fanwire capacity` by the real binary: it measures, says what binds, and leaves nothing behind.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Variable by which a run's processes are known: children inherit it.
const MARK: &str = "CAPACITY_TEST";

fn start(name: &str, args: &[&str]) -> (Child, String) {
    let mark = format!("{MARK}={name}-{}", std::process::id());
    let (variable, value) = mark.split_once('=').expect("just made so");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANWIRE_") {
            command.env_remove(name);
        }
    }
    command.arg("capacity").args(args).env(variable, value);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    (child, mark)
}

/// Processes that carry the mark.
fn marked(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn it_measures_and_says_what_binds_first() {
    let (child, mark) = start("measures", &["--connections", "1000", "--json"]);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(marked(&mark), [""; 0], "nothing runs on");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let costs = told["costs"].as_array().expect("a list");
    let kinds: Vec<_> = costs.iter().map(|cost| cost["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["WebSocket", "WebSocket, one topic", "event stream, one topic"]);
    for cost in costs {
        assert_eq!(cost["connections"], 1000);
        let user = cost["user_bytes"].as_f64().unwrap();
        // A debug build's tables are as large as a release build's, in steps of chunks.
        assert!((100.0..5_000.0).contains(&user), "{told:#}");
        assert!(cost["kernel_bytes"].is_number() && cost["available_bytes_both_ends"].is_number());
    }
    let pages = told["tcp_pages_per_unread_message"].as_f64().unwrap();
    assert!((0.1..4.0).contains(&pages), "{told:#}");
    let bounds = told["bounds"].as_array().expect("a list");
    let counts: Vec<_> =
        bounds.iter().map(|bound| bound["connections"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted() && counts.len() >= 3, "{told:#}");
    assert_eq!(told["binds_first"], bounds[0]["name"]);
    let shown = String::from_utf8(output.stderr).expect("text");
    assert!(shown.contains("WebSocket, one topic: 1000 of 1000"), "{shown}");
}

#[test]
fn a_signal_ends_it_and_its_broker() {
    let (mut child, mark) = start("signal", &["--connections", "4000"]);
    let mut errors = child.stderr.take().expect("piped");
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("WebSocket: ") {
        let mut bytes = [0; 64];
        let read = errors.read(&mut bytes).expect("progress");
        assert!(read > 0, "it ended early: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&bytes[..read]);
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process id"), Signal::TERM).expect("it runs");
    let mut rest = String::new();
    errors.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("our child").code(), Some(1));
    assert!(rest.contains("stopped by a signal"), "{rest}");
    assert_eq!(marked(&mark), [""; 0], "nothing runs on");
}

#[test]
fn more_than_the_descriptors_allow_is_refused_with_a_sentence() {
    let script = "ulimit -n 300; exec \"$0\" capacity --connections 5000";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_fanwire")])
        .output()
        .expect("a shell");
    let shown = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("the descriptor limit allows 188 connections here, not 5000"),
        "{shown}"
    );
}
