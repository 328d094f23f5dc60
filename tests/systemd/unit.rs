//! The unit files: what systemd's own tools say of them, and that the broker runs under their filter.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::Signal;

use super::manager::Manager;
use crate::support::filter::{allowing, filtered};
use crate::support::{Setup, post};

/// `systemd-analyze security`'s exposure of the unit, in tenths, at most.
const EXPOSURE_TENTHS_MAX: u32 = 12;

const SERVICE: &str = include_str!("../../systemd/fanwire.service");
const SOCKET: &str = include_str!("../../systemd/fanwire.socket");
const NOTIFY_RELOAD: &str = include_str!("../../systemd/fanwire.service.d/10-notify-reload.conf");

const CONFIG: &str = "[[applications]]\nid = \"demo\"\nopen = true\n\
                      [[applications.topics]]\npatterns = [\"d\"]\ndurable = true\n";

/// Runs `systemd-analyze`, where there is one.
fn analyze(arguments: &[&str]) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).env("LC_ALL", "C").output() {
        Ok(output) => Some(output),
        Err(error) => {
            let required = std::env::var_os("FANWIRE_REQUIRE_ALL").is_some_and(|v| v == "1");
            assert!(!required, "systemd-analyze is required: {error}");
            eprintln!("skipped: systemd-analyze cannot be run: {error}");
            None
        }
    }
}

/// Copies of the units in a folder of their own, which start the binary under test.
struct Units(PathBuf);

impl Units {
    fn new(name: &str) -> Units {
        let folder = format!("units-{name}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let units = Units(folder);
        std::fs::create_dir_all(&units.0).expect("a folder of our own");
        let service = SERVICE.replace("/usr/bin/fanwire", env!("CARGO_BIN_EXE_fanwire"));
        units.write("fanwire.service", &service);
        units.write("fanwire.socket", SOCKET);
        units
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("ours");
        std::fs::write(path, text).expect("the folder is ours");
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let units = Units::new("verify");
    let Some(version) = analyze(&["--version"]) else { return };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let number = version.split_whitespace().nth(1).and_then(|number| number.parse::<u32>().ok());
    let number = number.expect("systemd NUMBER");
    if number >= 253 {
        units.write("fanwire.service.d/10-notify-reload.conf", NOTIFY_RELOAD);
    } else {
        eprintln!("skipped: Type=notify-reload needs systemd 253; this is {number}");
    }
    let [service, socket] = ["fanwire.service", "fanwire.socket"].map(|name| units.path(name));
    for is_offered_taken in [false, true] {
        if is_offered_taken {
            let text = std::fs::read_to_string(&service).expect("it was written");
            units.write("fanwire.service", &with_offered_lines(&text));
        }
        let verdict = analyze(&["verify", "--man=no", &service, &socket]).expect("it ran before");
        let said = String::from_utf8_lossy(&verdict.stderr);
        assert!(verdict.status.success() && said.is_empty(), "{said}");
    }
}

/// The unit with every line in force that it offers as a comment.
fn with_offered_lines(unit: &str) -> String {
    let is_offered = |line: &str| {
        line.strip_prefix('#').and_then(|line| line.split_once('=')).is_some_and(|(name, _)| {
            name.chars().all(|c| c.is_ascii_alphabetic()) && !name.is_empty()
        })
    };
    let lines = unit.lines().map(|line| if is_offered(line) { &line[1..] } else { line });
    let text: Vec<_> = lines.collect();
    assert!(text.contains(&"MemoryMax=8G"), "the unit offers a ceiling");
    text.join("\n") + "\n"
}

#[test]
fn the_unit_is_as_closed_as_it_says() {
    let units = Units::new("security");
    let path = units.path("fanwire.service");
    let threshold = format!("--threshold={EXPOSURE_TENTHS_MAX}");
    let Some(verdict) = analyze(&["security", "--offline=true", &threshold, &path]) else { return };
    let said = String::from_utf8_lossy(&verdict.stdout);
    assert!(verdict.status.success() && said.contains("Overall exposure level"), "{said}");
    let stated =
        format!("security: {}.{} at most", EXPOSURE_TENTHS_MAX / 10, EXPOSURE_TENTHS_MAX % 10);
    assert!(SERVICE.contains(&stated), "the unit states it: {stated}");
}

/// The calls that the unit's `SystemCallFilter=` lines allow, as systemd reads them.
fn allowed_calls() -> Option<BTreeSet<String>> {
    let mut allowed = BTreeSet::new();
    for line in SERVICE.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let denied = line.strip_prefix('~');
        for name in denied.unwrap_or(line).split_whitespace() {
            for call in expanded(name)? {
                if denied.is_some() {
                    allowed.remove(&call)
                } else {
                    allowed.insert(call)
                };
            }
        }
    }
    Some(allowed)
}

/// A call, or all of a group's, nested groups included.
fn expanded(name: &str) -> Option<Vec<String>> {
    if !name.starts_with('@') {
        return Some(vec![name.to_owned()]);
    }
    let output = analyze(&["syscall-filter", name])?;
    assert!(output.status.success(), "{name} is no group");
    let text = String::from_utf8(output.stdout).expect("text");
    let members = text.lines().skip(1).map(str::trim);
    let mut calls = Vec::new();
    for member in members.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        calls.extend(expanded(member)?);
    }
    Some(calls)
}

#[test]
fn the_broker_runs_under_the_units_filter() {
    let Some(calls) = allowed_calls() else { return };
    for refused in ["ptrace", "mount", "setuid", "reboot", "bpf", "kexec_load"] {
        assert!(!calls.contains(refused), "{refused} is allowed");
    }
    let filter = allowing(&calls, rustix::io::Errno::NOSYS.raw_os_error());
    for driver in ["uring", "epoll"] {
        let folder = Units::new(driver);
        let manager = Manager::new();
        let setup = manager
            .of(Setup::new(driver, 2))
            .config(CONFIG)
            .with("STORE_PATH", folder.path("store.db"))
            .with("SHARDS_PIN", "true");
        let mut broker = filtered(&filter, || setup.start());
        let ready = manager.message();
        let name = if driver == "uring" { "io_uring" } else { "epoll" };
        assert!(ready.starts_with("READY=1") && ready.contains(name), "{ready}");
        let mut socket = broker.websocket();
        socket.subscribe("d");
        let published = post(&mut broker.http(), "/v1/demo/topics/d", b"x");
        assert_eq!(published.status, 200, "{}", published.text());
        assert_eq!(socket.value()["data"], "x");
        drop(socket);
        broker.signal(Signal::TERM);
        assert!(broker.wait().success());
        let log = broker.log();
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    }
}
