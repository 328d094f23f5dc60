//! The packaged units under a real systemd, booted in namespaces: start, hardening, credentials, watchdog,
//! sockets, restart, stop.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::can_build_trees;
use crate::machine::{Machine, await_some};
use crate::support::StoppedThread;

const KEY: &str = "k-7f3a9d2b61c8e405";

/// An application whose key is no part of the configuration.
fn prepare(root: &Path) {
    let path = root.join("etc/fanwire/fanwire.toml");
    let text = fs::read_to_string(&path).expect("the package has it");
    let application = "\n[[applications]]\nid = \"demo\"\nopen = false\n\
                       [[applications.keys]]\nrights = [\"subscribe\", \"publish\"]\n";
    fs::write(&path, text + application).expect("the tree is ours");
    let credentials = root.join("etc/fanwire/credentials");
    fs::create_dir(&credentials).expect("the tree is ours");
    fs::write(credentials.join("api-key"), KEY).expect("the tree is ours");
    // Nobody but root, so that only systemd can have given it to the broker.
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o700)).expect("ours");
    let drop_in = root.join("etc/systemd/system/fanwire.service.d");
    fs::create_dir_all(&drop_in).expect("the tree is ours");
    let text = "[Service]\nLoadCredential=api-key:/etc/fanwire/credentials/api-key\n\
                Environment=FANWIRE_APPLICATIONS_0_KEYS_0_SECRET_FILE=%d/api-key\n\
                Environment=FANWIRE_SHARDS_COUNT=2\nWatchdogSec=2s\n";
    fs::write(drop_in.join("10-trial.conf"), text).expect("the tree is ours");
}

fn publish(machine: &Machine, key: &str) -> String {
    let header = format!("X-API-Key: {key}");
    let url = "http://127.0.0.1:8480/v1/demo/topics/t";
    machine.text(&["curl", "-sS", "--max-time", "20", "-d", "hi", "-H", &header, url])
}

#[test]
fn the_units_hold_what_they_say() {
    if !can_build_trees() {
        return;
    }
    let machine = Machine::boot(prepare);
    the_service_runs_closed_in(&machine);
    a_stuck_shard_is_ended_and_started_anew(&machine);
    systemd_holds_the_sockets(&machine);
    machine.run(&["systemctl", "stop", "fanwire.service"]);
    assert_eq!(
        (machine.property("Result"), machine.property("ExecMainStatus")),
        ("success".into(), "0".into())
    );
}

fn the_service_runs_closed_in(machine: &Machine) {
    assert_eq!(machine.property("ActiveState"), "active", "{}", machine.journal());
    assert_eq!(machine.property("Type"), "notify");
    let status = machine.property("StatusText");
    assert!(status.starts_with("0 connections on 2 shards ("), "{status}");
    machine.run(&["systemd-analyze", "security", "--threshold=12", "fanwire.service"]);
    let answer = publish(machine, KEY);
    assert!(answer.contains("\"position\""), "{answer}\n{}", machine.journal());
    assert!(publish(machine, "another").contains("\"unauthorized\""));
    let environment = fs::read(format!("/proc/{}/environ", machine.main_process()));
    let environment = String::from_utf8_lossy(&environment.expect("root may")).into_owned();
    assert!(environment.contains("SECRET_FILE=/run/credentials/") && !environment.contains(KEY));
    assert!(!machine.journal().contains("WARN"), "{}", machine.journal());
}

fn a_stuck_shard_is_ended_and_started_anew(machine: &Machine) {
    let process = machine.main_process();
    let stopped = StoppedThread::stop(process, "shard-1");
    // Until its tracer lets go of it, the process cannot end, and systemd waits for that.
    machine.await_property("Result", "watchdog");
    drop(stopped);
    machine.await_property("NRestarts", "1");
    machine.await_property("ActiveState", "active");
    assert_ne!(machine.main_process(), process);
    let journal = machine.journal();
    assert!(journal.contains("a shard is stuck") && journal.contains("shard=1"), "{journal}");
    assert!(publish(machine, KEY).contains("\"position\""));
}

fn systemd_holds_the_sockets(machine: &Machine) {
    let line = "ListenStream=127.0.0.1:8480\n";
    machine.drop_in("fanwire.socket", &format!("[Socket]\nListenStream=\n{line}{line}"));
    machine.run(&["systemctl", "stop", "fanwire.service"]);
    machine.run(&["systemctl", "start", "fanwire.socket"]);
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert!(publish(machine, KEY).contains("\"position\""), "the first client starts it");
    assert_eq!(machine.property("ActiveState"), "active");
    // Clients come while it restarts; none is refused.
    let script = "for i in $(seq 200); do curl -sS -o /dev/null --max-time 20 \
                  http://127.0.0.1:8480/health/live || exit 1; done";
    let mut clients = machine.spawn(&["bash", "-c", script]);
    machine.run(&["systemctl", "restart", "fanwire.service"]);
    assert!(clients.wait().expect("it is our child").success());

    // Another number of sockets than shards: no start, and the log says which number.
    machine.run(&["systemctl", "stop", "fanwire.service", "fanwire.socket"]);
    machine.drop_in("fanwire.socket", &format!("[Socket]\nListenStream=\n{line}"));
    machine.run(&["systemctl", "start", "fanwire.socket"]);
    let start = ["systemctl", "start", "fanwire.service"].map(str::to_owned);
    machine.spawn(&start.each_ref().map(String::as_str)).wait().expect("it is our child");
    await_some("the start is refused", || {
        machine.journal().contains("1 sockets for 2 shards").then_some(())
    });
    machine.run(&["systemctl", "stop", "fanwire.service", "fanwire.socket"]);
    machine.run(&["systemctl", "reset-failed", "fanwire.service"]);
    machine.run(&["systemctl", "start", "fanwire.service"]);
}
