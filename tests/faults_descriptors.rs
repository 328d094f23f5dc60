//! No descriptor left: who is connected goes on, who comes waits, the log says what to raise, and all is
//! well again when there are some.

mod support;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use support::{Broker, Setup, post};

const COMPLAINT: &str = "cannot accept: raise LimitNOFILE or lower shards.connections_max";

/// Takes every descriptor from the broker that it does not use yet; what it may have again afterwards.
fn take_descriptors(broker: &Broker) -> Rlimit {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", broker.id())).expect("it runs");
    let number =
        |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let used: std::collections::BTreeSet<u64> = folder.filter_map(number).collect();
    let free =
        (0..=used.len() as u64).find(|number| !used.contains(number)).expect("one more than used");
    let before = getrlimit(Resource::Nofile);
    set_limit(broker, Rlimit { current: Some(free), maximum: before.maximum });
    Rlimit { current: before.maximum, maximum: before.maximum }
}

fn set_limit(broker: &Broker, limit: Rlimit) {
    let pid = i32::try_from(broker.id()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Nofile, limit).expect("it is our child");
}

/// Publishes so many messages from one connection to the other.
fn exchange(publisher: &mut support::Http, subscriber: &mut support::WebSocket, count: u32) {
    for number in 0..count {
        let answer = post(publisher, "/v1/demo/topics/t", number.to_string().as_bytes());
        assert_eq!(answer.status, 200);
        assert_eq!(subscriber.value()["data"], number.to_string());
    }
}

/// What a metric says, asked on a connection that is there already.
fn metric(http: &mut support::Http, name: &str, labels: &[(&str, &str)]) -> f64 {
    let page = http.request("GET", "/metrics", &[], b"");
    support::Metrics::parse(page.text()).sum(name, labels)
}

fn descriptors_run_out_and_come_back(driver: &'static str) {
    let broker = Setup::new(driver, 1).start();
    let mut subscriber = broker.websocket();
    subscriber.subscribe("t");
    let mut publisher = broker.http();
    exchange(&mut publisher, &mut subscriber, 1);

    let enough = take_descriptors(&broker);
    let mut waiting = broker.http();
    waiting.send(support::request_bytes("GET", "/health/ready", &[], b""));
    broker.await_log(COMPLAINT);
    let before = metric(&mut publisher, "fanwire_turns_total", &[]);
    exchange(&mut publisher, &mut subscriber, 100);
    // The next complaint comes 5 s later and tells of the attempts between, one per 100 ms.
    broker.await_log_times(COMPLAINT, 2);
    let log = broker.log();
    let complaints: Vec<_> = log.lines().filter(|line| line.contains(COMPLAINT)).collect();
    assert_eq!(complaints.len(), 2, "{log}");
    for part in ["WARN", "Too many open files", "suppressed=0"] {
        assert!(complaints[0].contains(part), "{part} in {}", complaints[0]);
    }
    let attempts = complaints[1].split_once("suppressed=").expect("it is counted").1;
    let attempts: u32 = attempts.trim_end().parse().expect("a number");
    assert!((1..=51).contains(&attempts), "{attempts} attempts in 5 s");
    let turn_count = metric(&mut publisher, "fanwire_turns_total", &[]) - before;
    assert!(turn_count < 2_000.0, "{turn_count} turns in 5 s: the shard does not rest");

    set_limit(&broker, enough);
    assert_eq!(waiting.response().status, 200, "it waited in the kernel's queue");
    let mut newcomer = broker.websocket();
    newcomer.subscribe("t");
    exchange(&mut publisher, &mut newcomer, 10);
}

#[test]
fn descriptors_run_out_under_io_uring() {
    descriptors_run_out_and_come_back("uring");
}

#[test]
fn descriptors_run_out_under_epoll() {
    descriptors_run_out_and_come_back("epoll");
}

#[test]
fn a_full_shard_sheds_who_comes_and_keeps_who_is_there() {
    for driver in ["uring", "epoll"] {
        let broker = Setup::new(driver, 1).with("SHARDS_CONNECTIONS_MAX", "2").start();
        let mut subscriber = broker.websocket();
        subscriber.subscribe("t");
        let mut publisher = broker.http();
        exchange(&mut publisher, &mut subscriber, 1);
        for _ in 0..50 {
            broker.http().expect_end();
        }
        exchange(&mut publisher, &mut subscriber, 10);
        broker.await_log("full: connection closed at the accept");
        let log = broker.log();
        assert_eq!(log.matches("full: connection closed at the accept").count(), 1, "{log}");
        drop(subscriber);
        // Its place is free once its end has been seen.
        while metric(&mut publisher, "fanwire_connections", &[("door", "websocket")]) > 0.0 {}
        broker.websocket();
    }
}
