//! Durable topics over restarts, crashes, a store in use and a disk that is full.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::past::{Folder, number, positioned, publish_numbers, returning_stream};
use support::{Broker, EventStream, Setup, request_bytes};

/// `durable/*` is kept in the store.
fn config(folder: &Folder) -> String {
    format!(
        "store.path = \"{}\"\n[[applications]]\nid = \"demo\"\nopen = true\n\
         [[applications.topics]]\npatterns = [\"durable/*\"]\ndurable = true\n\
         history_count_max = 1_000_000\nhistory_size_max = \"1GiB\"\nhistory_age_max = \"0s\"\n",
        folder.store()
    )
}

/// Before and after a restart: another number of shards, and another driver.
fn lives() -> [(Setup, Setup); 4] {
    [
        (Setup::new("uring", 1), Setup::new("uring", 1)),
        (Setup::new("epoll", 1), Setup::new("epoll", 3)),
        (Setup::new("uring", 3), Setup::new("uring", 2)),
        (Setup::new("epoll", 2), Setup::new("uring", 1)),
    ]
}

fn stop(mut broker: Broker) {
    broker.signal(Signal::TERM);
    assert!(broker.wait().success());
}

/// Store and offset of a durable message's position.
fn store_position(text: &str) -> (&str, u64) {
    let (store, offset) = text.strip_prefix('s').and_then(|rest| rest.split_once('.')).expect(text);
    (store, u64::from_str_radix(offset, 16).expect("hex"))
}

/// Every message of a topic, as one who has seen none gets them. `known` is any position of it.
fn everything(broker: &Broker, topic: &str, known: &str) -> Vec<Value> {
    let mut socket = positioned(broker);
    let start = format!("s{}.0", store_position(known).0);
    let recovery = socket.subscribe_from(topic, &start);
    assert_eq!(recovery["recovered"], true, "{recovery}");
    let count = recovery["count"].as_u64().expect("a number");
    let messages = (0..count).map(|_| socket.value()).collect();
    socket.expect_silence();
    messages
}

#[test]
fn a_restart_loses_no_durable_message_and_no_place_in_them() {
    for (before, after) in lives() {
        let folder = Folder::new();
        let (before, after) = (before.config(&config(&folder)), after.config(&config(&folder)));
        let broker = before.start();
        let mut http = broker.http();
        let mut reader = positioned(&broker);
        reader.subscribe("durable/a");
        let positions = publish_numbers(&mut http, "durable/a", 0..200);
        let seen: Vec<Value> = (0..200).map(|_| reader.value()).collect();
        publish_numbers(&mut http, "durable/b", 500..503);
        let forgotten = publish_numbers(&mut http, "memory", 0..3);
        drop((http, reader));
        stop(broker);

        let broker = after.start();
        let mut reader = positioned(&broker);
        let recovery = reader.subscribe_from("durable/a", &positions[99]);
        assert_eq!(recovery, json!({"recovered": true, "count": 100}));
        let again: Vec<Value> = (0..100).map(|_| reader.value()).collect();
        assert_eq!(again, seen[100..], "the very same messages: ids, positions, data");
        // The count goes on where it was; who reads hears of it.
        let next = publish_numbers(&mut broker.http(), "durable/a", 200..201);
        assert_eq!(reader.numbers(1), [200]);
        assert!(store_position(&next[0]) > store_position(&positions[199]));
        assert_eq!(store_position(&next[0]).1, 204, "200, three of the other topic, and it");
        let other = everything(&broker, "durable/b", &next[0]);
        assert_eq!(other.iter().map(number).collect::<Vec<_>>(), [500, 501, 502]);
        // What was in memory is gone, and that is said.
        let mut socket = positioned(&broker);
        publish_numbers(&mut broker.http(), "memory", 9..10);
        let recovery = socket.subscribe_from("memory", &forgotten[0]);
        assert_eq!(recovery, json!({"recovered": false, "reason": "history_lost", "count": 1}));
        assert_eq!(socket.numbers(1), [9]);
        drop((reader, socket));
        stop(broker);
    }
}

#[test]
fn a_streams_cursor_over_durable_and_other_topics_survives_for_what_is_durable() {
    for (before, after) in lives() {
        let folder = Folder::new();
        let (before, after) = (before.config(&config(&folder)), after.config(&config(&folder)));
        let target = "/v1/demo/events?topics=durable/a,memory,durable/b";
        let broker = before.start();
        let mut http = broker.http();
        let mut events = EventStream::open(broker.http(), target);
        for round in 0..10 {
            publish_numbers(&mut http, "durable/a", 3 * round..3 * round + 1);
            publish_numbers(&mut http, "memory", 3 * round + 1..3 * round + 2);
            publish_numbers(&mut http, "durable/b", 3 * round + 2..3 * round + 3);
        }
        let mut last = String::new();
        for _ in 0..15 {
            last = events.event().id;
        }
        // Of the last events' ids the highest place counts: what came so far by number.
        let mut left: Vec<u64> = (0..15).map(|_| number_of(&mut events)).collect();
        left.sort_unstable();
        stop(broker);

        let broker = after.start();
        publish_numbers(&mut broker.http(), "durable/b", 100..101);
        let mut back = returning_stream(&broker, target, &last);
        let expected: Vec<u64> = left.into_iter().filter(|n| n % 3 != 1).chain([100]).collect();
        let (mut got, mut lost) = (Vec::new(), Vec::new());
        while got.len() < expected.len() || lost.is_empty() {
            let event = back.event();
            if event.kind == "lost" {
                lost.push(support::json(&event.data));
            } else {
                got.push(support::past::event_number(&event));
            }
        }
        assert_eq!(got, expected, "in the store's order over both topics");
        assert_eq!(lost, [json!({"reason": "history_lost", "topics": ["memory"]})]);
        publish_numbers(&mut broker.http(), "memory", 101..102);
        assert_eq!(number_of(&mut back), 101);
    }
}

fn number_of(events: &mut EventStream) -> u64 {
    support::past::event_number(&events.event())
}

/// What one publisher was told before the broker went.
#[derive(Debug, Default)]
struct Told {
    /// Position by number.
    acknowledged: BTreeMap<u64, String>,
    /// How many numbers it has sent.
    sent: u64,
}

/// Publishes numbers in batches without waiting in between, until the connection breaks.
fn publish_until_it_breaks(broker: &Broker, publisher: u64, acknowledged: &AtomicUsize) -> Told {
    let mut http = broker.http();
    let mut told = Told::default();
    loop {
        let batch = told.sent..told.sent + 32;
        let requests: Vec<u8> = batch.clone().flat_map(|n| keyed_request(publisher, n)).collect();
        told.sent = batch.end;
        if http.stream().write_all(&requests).is_err() {
            return told;
        }
        for number in batch {
            let Some(answer) = http.try_response("POST") else { return told };
            assert_eq!(answer.status, 200, "{}", answer.text());
            told.acknowledged.insert(number, position_of(&answer.body));
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn position_of(body: &[u8]) -> String {
    support::json(body)["position"].as_str().expect("a position").to_owned()
}

fn topic(publisher: u64) -> String {
    format!("durable/{}", publisher % 2)
}

fn keyed_request(publisher: u64, number: u64) -> Vec<u8> {
    let key = format!("{publisher}.{number}");
    let text = (publisher * 1_000_000 + number).to_string();
    let target = format!("/v1/demo/topics/{}", topic(publisher));
    request_bytes("POST", &target, &[("Idempotency-Key", &key)], text.as_bytes())
}

#[test]
fn a_crash_loses_nothing_acknowledged_and_a_retry_makes_no_double() {
    const PUBLISHERS: u64 = 4;
    for (before, after) in lives() {
        let folder = Folder::new();
        let (before, after) = (before.config(&config(&folder)), after.config(&config(&folder)));
        let mut broker = before.start();
        let acknowledged = AtomicUsize::new(0);
        let told: Vec<Told> = std::thread::scope(|scope| {
            let publishers: Vec<_> = (0..PUBLISHERS)
                .map(|n| (n, &broker, &acknowledged))
                .map(|(n, broker, count)| {
                    scope.spawn(move || publish_until_it_breaks(broker, n, count))
                })
                .collect();
            while acknowledged.load(Ordering::Relaxed) < 1500 {
                assert!(publishers.iter().all(|p| !p.is_finished()), "{}", broker.log());
                std::thread::yield_now();
            }
            broker.signal(Signal::KILL);
            publishers.into_iter().map(|p| p.join().expect("no panic")).collect()
        });
        assert!(!broker.wait().success(), "it was killed");

        let broker = after.start();
        let known = told[0].acknowledged.values().next().expect("some were acknowledged");
        check_kept(&broker, &told, known, false);
        // Each sends again what it has no answer for; and, as one that lost an answer, the last one.
        for (publisher, told) in (0..).zip(&told) {
            let mut http = broker.http();
            let first = told.acknowledged.keys().next_back().copied().unwrap_or(0);
            for number in first..told.sent {
                http.send(keyed_request(publisher, number));
                let answer = http.response();
                assert_eq!(answer.status, 200, "{}", answer.text());
                if let Some(position) = told.acknowledged.get(&number) {
                    assert_eq!(&position_of(&answer.body), position, "the first one's answer");
                }
            }
        }
        check_kept(&broker, &told, known, true);
    }
}

/// What was acknowledged is kept, at its place, and nothing twice; when `is_all`, all that was sent.
fn check_kept(broker: &Broker, told: &[Told], known: &str, is_all: bool) {
    let mut kept: HashMap<u64, String> = HashMap::new();
    for topic in ["durable/0", "durable/1"] {
        let messages = everything(broker, topic, known);
        let offset = |m: &Value| store_position(m["position"].as_str().expect("a position")).1;
        assert!(messages.is_sorted_by(|a, b| offset(a) < offset(b)), "in order");
        for message in &messages {
            let at = message["position"].as_str().expect("a position").to_owned();
            assert_eq!(kept.insert(number(message), at), None, "twice: {message}");
        }
    }
    for (publisher, told) in (0..).zip(told) {
        for (number, position) in &told.acknowledged {
            let found = kept.get(&(publisher * 1_000_000 + number));
            assert_eq!(found, Some(position), "{number} of {publisher}");
        }
        let sent = (0..told.sent).map(|number| publisher * 1_000_000 + number);
        assert!(!is_all || sent.clone().all(|number| kept.contains_key(&number)));
    }
    let sent: u64 = told.iter().map(|told| told.sent).sum();
    assert!(kept.len() as u64 <= sent, "{} kept of {sent}", kept.len());
}

#[test]
fn a_store_that_is_in_use_is_refused_with_its_name() {
    let folder = Folder::new();
    let setup = Setup::new("epoll", 1).config(&config(&folder));
    let broker = setup.start();
    let position = publish_numbers(&mut broker.http(), "durable/a", 0..1).remove(0);
    let (status, log) = setup.try_start().expect_err("the store is taken");
    assert!(!status.success());
    let expected = format!("the store {} is in use by another process", folder.store());
    assert!(log.contains(&expected), "{log}");
    // The first goes on unharmed.
    publish_numbers(&mut broker.http(), "durable/a", 1..2);
    assert_eq!(everything(&broker, "durable/a", &position).len(), 2);
    stop(broker);
    let broker = setup.start();
    assert_eq!(everything(&broker, "durable/a", &position).len(), 2);
}

#[test]
fn a_store_that_is_not_ours_stays_as_it_is() {
    let folder = Folder::new();
    let text = "not a store, and dear to somebody ".repeat(200);
    std::fs::write(folder.store(), &text).expect("our folder");
    let (status, log) =
        Setup::new("epoll", 1).config(&config(&folder)).try_start().expect_err("it is not ours");
    assert!(!status.success());
    assert!(log.contains("is not a store of this broker; it is left alone"), "{log}");
    assert_eq!(std::fs::read_to_string(folder.store()).expect("it is there"), text);
}

#[test]
fn a_full_disk_refuses_durable_publishes_and_nothing_else() {
    for setup in [Setup::new("uring", 2), Setup::new("epoll", 1)] {
        let folder = Folder::new();
        let setup = setup.config(&config(&folder));
        let broker = setup.clone().file_size_max(512 << 10).start();
        let mut http = broker.http();
        let mut reader = positioned(&broker);
        reader.subscribe("durable/a");
        let text = "x".repeat(10_000);
        let mut kept = Vec::new();
        let refused = loop {
            let body = format!("{}{text}", kept.len());
            let answer = http.request("POST", "/v1/demo/topics/durable/a", &[], body.as_bytes());
            if answer.status != 200 {
                break answer;
            }
            kept.push(position_of(&answer.body));
            assert!(kept.len() < 1000, "ten megabytes in half of one");
        };
        assert_eq!((refused.status, refused.problem().as_str()), (503, "store_failed"));
        assert!(kept.len() > 10, "it took some: {}", kept.len());
        for number in 0..kept.len() {
            let data = reader.value()["data"].as_str().unwrap().to_owned();
            assert!(data.starts_with(&format!("{number}x")), "what was taken was delivered");
        }
        reader.expect_silence();
        // It stays so, a batch and a retry included; memory topics go on.
        let key = [("Idempotency-Key", "k")];
        let again = http.request("POST", "/v1/demo/topics/durable/b", &key, b"x");
        assert_eq!((again.status, again.problem().as_str()), (503, "store_failed"));
        publish_numbers(&mut http, "memory", 0..5);
        assert_eq!(broker.http().request("GET", "/health/live", &[], b"").status, 200);
        broker.await_log("the store has failed");
        // What is there can still be read.
        assert_eq!(everything(&broker, "durable/a", &kept[0]).len(), kept.len());
        drop((http, reader));
        stop(broker);

        let broker = setup.start();
        let messages = everything(&broker, "durable/a", &kept[0]);
        let places: Vec<&str> = messages.iter().map(|m| m["position"].as_str().unwrap()).collect();
        assert_eq!(places, kept);
        publish_numbers(&mut broker.http(), "durable/a", 0..1);
    }
}
