//! The broker under a service manager: what it says (`sd_notify(3)`) and when, and its watchdog.

#[path = "systemd/activation.rs"]
mod activation;
#[path = "systemd/manager.rs"]
mod manager;
mod support;
#[path = "systemd/unit.rs"]
mod unit;

use std::time::Duration;

use manager::Manager;
use rustix::process::Signal;
use serde_json::json;
use support::{Setup, StoppedThread, post};

#[test]
fn start_and_stop_are_told() {
    for setup in [Setup::new("uring", 2), Setup::new("epoll", 1)] {
        let manager = Manager::new();
        let mut broker = manager.of(setup).with("SERVER_STOP_TIMEOUT", "30s").start();
        let ready = manager.message();
        let (first, status) = ready.split_once('\n').expect("two lines");
        assert_eq!(first, "READY=1");
        let variant = broker.variant;
        let shards = if variant.shards == 1 { "1 shard" } else { "2 shards" };
        let driver = if variant.driver == "uring" { "io_uring" } else { "epoll" };
        assert_eq!(status, format!("STATUS=0 connections on {shards} ({driver})"));
        // Ready means that it serves.
        assert_eq!(post(&mut broker.http(), "/v1/demo/topics/t", b"x").status, 200);
        broker.signal(Signal::TERM);
        let stopping = manager.await_message(|message| !message.starts_with("STATUS="));
        assert_eq!(stopping, "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000");
        assert!(broker.wait().success());
    }
}

#[test]
fn the_status_follows_the_connections() {
    let manager = Manager::new();
    let broker = manager.of(Setup::new("epoll", 2)).start();
    let sockets: Vec<_> = (0..3).map(|_| broker.websocket()).collect();
    manager.await_message(|message| message == "STATUS=3 connections on 2 shards (epoll)");
    drop(sockets);
    manager.await_message(|message| message == "STATUS=0 connections on 2 shards (epoll)");
}

#[test]
fn the_watchdog_is_fed_while_shards_sleep_or_work() {
    for setup in [Setup::new("uring", 3), Setup::new("epoll", 2)] {
        let manager = Manager::new();
        let broker = manager.of(setup).variable("WATCHDOG_USEC", "1000000").start();
        manager.await_message(|message| message.starts_with("READY=1"));
        for _ in 0..4 {
            assert_eq!(manager.message(), "WATCHDOG=1");
        }
        let mut http = broker.http();
        for _ in 0..3 {
            for _ in 0..200 {
                assert_eq!(post(&mut http, "/v1/demo/topics/t", b"x").status, 200);
            }
            manager.await_message(|message| message == "WATCHDOG=1");
        }
        assert!(!broker.log().contains("stuck"), "{}", broker.log());
    }
}

#[test]
fn a_stuck_shard_trips_the_watchdog_and_the_others_deliver() {
    for driver in ["uring", "epoll"] {
        let manager = Manager::new();
        let setup = manager.of(Setup::new(driver, 2)).variable("WATCHDOG_USEC", "1000000");
        // A shard that is stopped within a line of its own holds the log that is awaited here.
        let broker = setup.with("LOG_LEVEL", "info").start();
        let topics = broker.topics("t");
        let mut sockets = broker.websockets();
        sockets[0].subscribe(&topics[0]);
        let mut publisher = broker.websockets().swap_remove(0);

        let stopped = StoppedThread::stop(broker.id(), "shard-1");
        broker.await_log("a shard is stuck");
        let log = broker.log();
        let line = log.lines().find(|line| line.contains("stuck")).expect("it was awaited");
        assert!(line.contains("ERROR") && line.contains("shard=1"), "{line}");
        manager.forget();
        let before_systemd_acts = Duration::from_secs(1);
        let said = manager.message_within(before_systemd_acts);
        assert!(said.as_deref() != Some("WATCHDOG=1"), "the watchdog was fed");
        for round in 0..100 {
            let data = json!({"topic": topics[0], "payload": round});
            publisher.send(&json!({"type": "publish", "data": data}).to_string());
            assert_eq!(sockets[0].value()["data"]["payload"], round);
        }

        drop(stopped);
        broker.await_log("the shard turns again");
        manager.await_message(|message| message == "WATCHDOG=1");
        assert_eq!(broker.log().matches("a shard is stuck").count(), 1, "told once");
        post(&mut broker.http(), &format!("/v1/demo/topics/{}", topics[1]), b"x");
    }
}
