//! How long a message is good: it is delivered at once whatever its time to live, and whoever comes
//! later than that does not get it, nor is told of a loss.

mod support;

use serde_json::{Value, json};
use support::past::{Folder, number, positioned, publish_numbers};
use support::{Broker, Http, Setup, on_each};

/// Publishes a number that is good for so many seconds; its position.
fn publish(http: &mut Http, topic: &str, number: u64, ttl: &str) -> String {
    let target = format!("/v1/demo/topics/{topic}");
    let answer = http.request("POST", &target, &[("TTL", ttl)], number.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    support::json(&answer.body)["position"].as_str().expect("a position").to_owned()
}

fn kept(http: &mut Http, topic: &str, after: &str) -> (Vec<u64>, Value) {
    let target = format!("/v1/demo/history?topic={topic}&after={after}");
    let mut page = support::json(http.request("GET", &target, &[], b"").body);
    let numbers = page["messages"].as_array().expect("a list").iter().map(number).collect();
    (numbers, page["lost"].take())
}

/// Waits until these are what is kept.
fn await_kept(http: &mut Http, topic: &str, after: &str, expected: &[u64]) {
    let deadline = fanwire::stdx::clock::now() + support::PATIENCE;
    loop {
        let (numbers, lost) = kept(http, topic, after);
        assert_eq!(lost, Value::Null, "what has expired is not lost");
        if numbers == expected {
            return;
        }
        assert!(fanwire::stdx::clock::now() < deadline, "{numbers:?} instead of {expected:?}");
    }
}

/// Those who come after the expiry get the rest; the same on every door.
fn check_late_comers(broker: &Broker, topic: &str, start: &str, expected: &[u64]) {
    let mut socket = positioned(broker);
    let recovery = socket.subscribe_from(topic, start);
    assert_eq!(recovery, json!({"recovered": true, "count": expected.len()}));
    assert_eq!(socket.numbers(expected.len()), expected);
    socket.expect_silence();
    let target = format!("/v1/demo/events?topics={topic}");
    let mut events = support::past::returning_stream(broker, &target, start);
    assert_eq!(events.numbers(expected.len()), expected);
    let target = format!("/v1/demo/poll?topics={topic}&since={start}&wait=0");
    let polled = support::json(broker.http().request("GET", &target, &[], b"").body);
    let numbers: Vec<u64> =
        polled["messages"].as_array().expect("a list").iter().map(number).collect();
    assert_eq!((&*numbers, &polled["lost"]), (expected, &Value::Null));
}

#[test]
fn what_has_expired_is_not_recovered_and_not_lost() {
    on_each(|broker| {
        for topic in broker.topics("t") {
            let mut http = broker.http();
            let mut live = broker.websocket();
            live.subscribe(&topic);
            let start = publish_numbers(&mut http, &topic, 0..1).remove(0);
            publish(&mut http, &topic, 1, "1");
            publish(&mut http, &topic, 2, "3600");
            publish_numbers(&mut http, &topic, 3..4);
            publish(&mut http, &topic, 4, "0");
            publish(&mut http, &topic, 5, "99999999999999999999");
            // Who is there gets all of them, those that are good for no time included.
            assert_eq!(live.numbers(6), [0, 1, 2, 3, 4, 5]);
            await_kept(&mut http, &topic, &start, &[2, 3, 5]);
            check_late_comers(broker, &topic, &start, &[2, 3, 5]);
        }
    });
}

#[test]
fn the_latest_message_is_the_latest_that_is_good() {
    on_each(|broker| {
        for topic in broker.topics("l") {
            let mut http = broker.http();
            publish(&mut http, &topic, 1, "3600");
            publish(&mut http, &topic, 2, "0");
            let answer = http.request("GET", &format!("/v1/demo/topics/{topic}"), &[], b"");
            assert_eq!((answer.status, number(&support::json(&answer.body))), (200, 1));
        }
    });
}

#[test]
fn batches_and_websockets_say_it_per_message() {
    on_each(|broker| {
        for topic in broker.topics("b") {
            let mut http = broker.http();
            let start = publish_numbers(&mut http, &topic, 0..1).remove(0);
            let body = json!({"messages": [
                {"topic": topic, "data": "1", "ttl": 0},
                {"topic": topic, "data": "2", "ttl": 3600},
                {"topic": topic, "data": "3", "ttl": null},
            ]});
            let answer = http.request("POST", "/v1/demo/publish", &[], body.to_string().as_bytes());
            assert_eq!(answer.status, 200, "{}", answer.text());
            let mut socket = broker.websocket();
            for (payload, ttl) in [("4", json!(0)), ("5", json!(3600))] {
                let data = json!({"topic": topic, "payload": payload, "ttl": ttl});
                socket.send(&json!({"type": "publish", "data": data}).to_string());
                assert_eq!(socket.value()["topic"], "priv/acks");
            }
            let (numbers, lost) = kept(&mut http, &topic, &start);
            assert_eq!((numbers, lost), (vec![2, 3, 5], Value::Null));
        }
    });
}

#[test]
fn a_time_to_live_is_a_whole_number() {
    on_each(|broker| {
        let mut http = broker.http();
        for ttl in ["", "-1", "1.5", "soon"] {
            let answer = http.request("POST", "/v1/demo/topics/t", &[("TTL", ttl)], b"1");
            assert_eq!((answer.status, &*answer.problem()), (400, "bad_field"), "{ttl:?}");
        }
        for ttl in ["-1", "\"5\"", "1.5"] {
            let body = format!(r#"{{"messages":[{{"topic":"t","data":1,"ttl":{ttl}}}]}}"#);
            let answer = http.request("POST", "/v1/demo/publish", &[], body.as_bytes());
            assert_eq!((answer.status, &*answer.problem()), (400, "bad_field"), "{ttl}");
        }
    });
}

#[test]
fn durable_messages_expire_too_also_while_the_broker_is_away() {
    for setup in [Setup::new("uring", 2), Setup::new("epoll", 1)] {
        let folder = Folder::new();
        let setup = setup.config(&format!(
            "store.path = \"{}\"\n[[applications]]\nid = \"demo\"\nopen = true\ndurable = true\n",
            folder.store()
        ));
        let mut broker = setup.start();
        let mut http = broker.http();
        let start = publish_numbers(&mut http, "d", 0..1).remove(0);
        publish(&mut http, "d", 1, "1");
        publish(&mut http, "d", 2, "3600");
        broker.signal(rustix::process::Signal::TERM);
        drop(http);
        assert!(broker.wait().success());
        let broker = setup.start();
        await_kept(&mut broker.http(), "d", &start, &[2]);
        check_late_comers(&broker, "d", &start, &[2]);
    }
}
