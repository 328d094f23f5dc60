//! The stop as those see it who come back: when to return, with what, and what the next process
//! still knows.

mod support;

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::json;
use support::past::{Folder, positioned, publish_numbers};
use support::{Broker, EventStream, Setup, WebSocket, post};

/// Brokers that a test may end itself.
fn drivers() -> [Setup; 4] {
    [Setup::new("uring", 1), Setup::new("epoll", 1), Setup::new("uring", 3), Setup::new("epoll", 2)]
}

/// Milliseconds in which a client may be told to return: `sse.retry_delay` and its jitter.
const RETURN_MS: std::ops::RangeInclusive<u64> = 2000..=5000;

/// The ticket with which a socket is sent away.
fn expect_ticket(socket: &mut WebSocket) -> (String, u64) {
    let frame = socket.value();
    assert_eq!(
        (&frame["topic"], &frame["messageType"]),
        (&json!("priv/session"), &json!("ticket"))
    );
    let retry_ms = frame["data"]["retryMs"].as_u64().expect("milliseconds");
    assert!(RETURN_MS.contains(&retry_ms), "{retry_ms}");
    (frame["data"]["ticket"].as_str().expect("a ticket").to_owned(), retry_ms)
}

/// The milliseconds in the reason of a close.
fn expect_goodbye(socket: &mut WebSocket) -> u64 {
    let (code, reason) = socket.expect_close();
    assert_eq!(code, 1001, "{reason}");
    let words: Vec<&str> = reason.split(' ').collect();
    let number = words.iter().find_map(|word| word.parse().ok()).expect("milliseconds");
    assert!(RETURN_MS.contains(&number) && reason.contains(&format!("{number} ms")), "{reason}");
    number
}

#[test]
fn everyone_is_told_when_to_return_and_not_all_the_same() {
    for setup in drivers() {
        let mut broker = setup.with("SERVER_STOP_TIMEOUT", "30s").start();
        let mut plain: Vec<WebSocket> = (0..12).map(|_| broker.websocket()).collect();
        let mut placed: Vec<WebSocket> = (0..12).map(|_| positioned(&broker)).collect();
        let target = "/v1/demo/events?topics=t";
        let mut streams: Vec<_> =
            (0..12).map(|_| EventStream::open(broker.http(), target)).collect();
        broker.signal(Signal::TERM);
        let of_plain: BTreeSet<u64> = plain.iter_mut().map(expect_goodbye).collect();
        let of_placed: BTreeSet<u64> = placed
            .iter_mut()
            .map(|socket| {
                let (_, retry_ms) = expect_ticket(socket);
                assert_eq!(expect_goodbye(socket), retry_ms, "one word");
                retry_ms
            })
            .collect();
        let of_streams: BTreeSet<u64> = streams
            .iter_mut()
            .map(|stream| {
                assert_eq!(stream.try_event(), None);
                stream.bare_retry().expect("a `retry:` line")
            })
            .collect();
        assert!(of_streams.iter().all(|ms| RETURN_MS.contains(ms)), "{of_streams:?}");
        for distinct in [of_plain, of_placed, of_streams] {
            // By chance two of twelve may be told the same millisecond of 3,000.
            assert!(distinct.len() >= 8, "{distinct:?}");
        }
        drop((plain, placed, streams));
        assert!(broker.wait().success());
        assert!(broker.log().contains("drained"), "{}", broker.log());
    }
}

#[test]
fn what_was_owed_leaves_before_the_ticket_which_stands_behind_it() {
    for setup in drivers() {
        let mut broker = setup.with("SERVER_STOP_TIMEOUT", "30s").start();
        let topics = broker.topics("o");
        let mut socket = positioned(&broker);
        for topic in &topics {
            socket.subscribe(topic);
        }
        for topic in &topics {
            publish_numbers(&mut broker.http(), topic, 0..20);
        }
        broker.signal(Signal::TERM);
        let numbers = socket.numbers(20 * topics.len());
        assert_eq!(numbers.len(), 20 * topics.len());
        expect_ticket(&mut socket);
        expect_goodbye(&mut socket);
        drop(socket);
        assert!(broker.wait().success());
    }
}

#[test]
fn during_the_delay_readiness_says_no_and_all_else_goes_on() {
    for setup in drivers() {
        let mut broker =
            setup.with("SERVER_STOP_DELAY", "30s").with("SERVER_STOP_TIMEOUT", "60s").start();
        let mut socket = positioned(&broker);
        socket.subscribe("t");
        let mut http = broker.http();
        assert_eq!(http.request("GET", "/health/ready", &[], b"").status, 200);
        broker.signal(Signal::TERM);
        await_unready(&broker);
        assert_eq!(http.request("GET", "/health/ready", &[], b"").status, 503);
        assert_eq!(broker.http().request("GET", "/health/live", &[], b"").status, 200);
        publish_numbers(&mut broker.http(), "t", 0..3);
        assert_eq!(socket.numbers(3), [0, 1, 2]);
        broker.websocket().expect_silence();
        socket.expect_silence();
        // Who is in a hurry says so again.
        broker.signal(Signal::TERM);
        assert!(broker.wait().success());
        assert!(broker.log().contains("second signal"), "{}", broker.log());
    }
}

/// Waits until a new connection's question is answered with no, on whichever shard.
fn await_unready(broker: &Broker) {
    let deadline = fanwire::stdx::clock::now() + support::PATIENCE;
    let mut no_count = 0;
    // Shards hear of it one after the other; so often in a row, all have.
    while no_count < 40 {
        assert!(fanwire::stdx::clock::now() < deadline, "it stays ready");
        let answer = broker.http().request("GET", "/health/ready", &[], b"");
        if answer.status == 503 {
            assert_eq!(answer.text(), r#"{"status":"stopping"}"#);
            no_count += 1;
        } else {
            no_count = 0;
        }
    }
}

#[test]
fn after_the_delay_the_connections_are_closed() {
    for setup in drivers() {
        let mut broker = setup.with("SERVER_STOP_DELAY", "300ms").start();
        let mut socket = broker.websocket();
        broker.signal(Signal::TERM);
        expect_goodbye(&mut socket);
        drop(socket);
        assert!(broker.wait().success());
    }
}

#[test]
fn the_next_process_recovers_what_is_durable_and_says_what_is_not() {
    for setup in drivers() {
        let folder = Folder::new();
        let setup = setup.config(&format!(
            "store.path = \"{}\"\n[[applications]]\nid = \"demo\"\nopen = true\n\
             [[applications.topics]]\npatterns = [\"durable/*\"]\ndurable = true\n",
            folder.store()
        ));
        let mut broker = setup.start();
        let mut socket = positioned(&broker);
        for topic in ["durable/a", "durable/b", "memory"] {
            socket.subscribe(topic);
            publish_numbers(&mut broker.http(), topic, 0..3);
            assert_eq!(socket.numbers(3), [0, 1, 2]);
        }
        broker.signal(Signal::TERM);
        let (ticket, _) = expect_ticket(&mut socket);
        expect_goodbye(&mut socket);
        drop(socket);
        assert!(broker.wait().success());

        let broker = setup.start();
        let mut http = broker.http();
        publish_numbers(&mut http, "durable/a", 3..5);
        publish_numbers(&mut http, "memory", 3..4);
        let mut socket = positioned(&broker);
        let resumed = socket.resume(&json!({"ticket": ticket}));
        let recovered = |count: u64| json!({"recovered": true, "count": count});
        let lost = json!({"recovered": false, "reason": "history_lost", "count": 1});
        assert_eq!(resumed.of("durable/a"), (Some(&recovered(2)), vec![3, 4]));
        assert_eq!(resumed.of("durable/b"), (Some(&recovered(0)), vec![]));
        assert_eq!(resumed.of("memory"), (Some(&lost), vec![3]));
        assert_eq!(resumed.told, json!({"recovered": 2, "lost": 1, "messages": 3}));
        for topic in ["durable/a", "durable/b", "memory"] {
            post(&mut http, &format!("/v1/demo/topics/{topic}"), b"9");
            assert_eq!(socket.numbers(1), [9]);
        }
        socket.expect_silence();
    }
}
