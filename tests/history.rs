//! Reading what was published: pages of history, the latest message, and the latest on subscribing.

mod support;

use serde_json::{Value, json};
use support::past::{number, positioned, publish_numbers};
use support::{Broker, EventStream, Http, WebSocket, on_each, on_each_with, position, post};

/// Kept: ten messages, of `brief*` for a second, of `none*` nothing; `state*` is told at once.
const LIMITED: &str = "[[applications]]\nid = \"demo\"\nopen = true\nhistory.count_max = 10\n\
    [[applications.topics]]\npatterns = [\"none*\"]\nhistory_count_max = 0\n\
    [[applications.topics]]\npatterns = [\"small*\"]\nhistory_size_max = 1000\n\
    [[applications.topics]]\npatterns = [\"brief*\"]\nhistory_age_max = \"1s\"\n\
    [[applications.topics]]\npatterns = [\"state*\"]\nsends_last = true\n";

fn history(http: &mut Http, topic: &str, query: &str) -> Value {
    let target = format!("/v1/demo/history?topic={topic}{query}");
    let answer = http.request("GET", &target, &[], b"");
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    support::json(&answer.body)
}

fn numbers(page: &Value) -> Vec<u64> {
    page["messages"].as_array().expect("a list").iter().map(number).collect()
}

#[test]
fn pages_run_forward_and_backward_without_a_gap() {
    on_each(|broker| {
        for topic in broker.topics("p") {
            let mut http = broker.http();
            let mut socket = positioned(broker);
            socket.subscribe(&topic);
            let positions = publish_numbers(&mut http, &topic, 0..25);
            let newest = history(&mut http, &topic, "&limit=10");
            assert_eq!(numbers(&newest), (15..25).collect::<Vec<_>>());
            let expected = json!([positions[15], positions[24], true, null]);
            let found = json!([newest["first"], newest["last"], newest["more"], newest["lost"]]);
            assert_eq!(found, expected);
            // Items are the messages as other doors tell them.
            let mut told = Vec::new();
            for item in history(&mut http, &topic, "")["messages"].as_array().unwrap() {
                assert_eq!(item["topic"], topic.as_str());
                assert!(item["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{item}");
                told.push(json!([item["id"], item["position"], item["data"]]));
            }
            let live: Vec<Value> = (0..25)
                .map(|_| socket.value())
                .map(|item| json!([item["id"], item["position"], item["data"]]))
                .collect();
            assert_eq!(told[told.len() - 25..], live);

            let mut backward = numbers(&newest);
            let mut page = newest;
            while !backward.contains(&0) {
                assert_eq!(page["more"], true);
                let before = page["first"].as_str().unwrap();
                page = history(&mut http, &topic, &format!("&before={before}&limit=10"));
                let older = page["messages"].as_array().unwrap().iter();
                // In front of ours stands the word by which the topic's home was found.
                let older = older.filter(|item| item["data"] != "probe").map(number);
                backward.splice(0..0, older);
            }
            assert_eq!(backward, (0..25).collect::<Vec<_>>());

            let (mut forward, mut at) = (vec![0], positions[0].clone());
            loop {
                let page = history(&mut http, &topic, &format!("&after={at}&limit=7"));
                forward.extend(numbers(&page));
                page["last"].as_str().unwrap().clone_into(&mut at);
                if page["more"] == false {
                    break;
                }
            }
            assert_eq!(forward, (0..25).collect::<Vec<_>>());
            let end = history(&mut http, &topic, &format!("&after={at}"));
            assert_eq!((&end["messages"], &end["first"]), (&json!([]), &Value::Null));
            let (known, found) = (position(&at), position(end["last"].as_str().unwrap()));
            assert!(found >= known, "it never goes back");
        }
    });
}

#[test]
fn what_is_not_kept_is_told_as_lost() {
    on_each_with(
        |setup| setup.config(LIMITED),
        |broker| {
            let mut http = broker.http();
            let positions = publish_numbers(&mut http, "t", 0..15);
            let page = history(&mut http, "t", "");
            assert_eq!((numbers(&page), &page["lost"]), ((5..15).collect(), &Value::Null));
            let page = history(&mut http, "t", &format!("&after={}", positions[4]));
            assert_eq!((numbers(&page), &page["lost"]), ((5..15).collect(), &Value::Null));
            let page = history(&mut http, "t", &format!("&after={}", positions[3]));
            let lost = json!({"reason": "too_old", "topics": ["t"]});
            assert_eq!((numbers(&page), &page["lost"]), ((5..15).collect(), &lost));
            // Of another life of the broker.
            let stale = format!("fffffff-{:x}.1", position(&positions[0]).0);
            let page = history(&mut http, "t", &format!("&after={stale}"));
            assert_eq!(page["lost"]["reason"], "history_lost");
            assert_eq!(numbers(&page), (5..15).collect::<Vec<_>>());
            // A family that keeps nothing, and one that keeps few bytes.
            let positions = publish_numbers(&mut http, "none", 0..2);
            let page = history(&mut http, "none", &format!("&after={}", positions[0]));
            assert_eq!((numbers(&page), &page["lost"]["reason"]), (vec![], &json!("too_old")));
            for number in 0..5 {
                let body = json!(format!("{number}{}", "x".repeat(300))).to_string();
                post(&mut http, "/v1/demo/topics/small", body.as_bytes());
            }
            let page = history(&mut http, "small", "");
            assert_eq!(page["messages"].as_array().unwrap().len(), 3, "of 303 bytes each");
        },
    );
}

#[test]
fn messages_grow_old() {
    on_each_with(
        |setup| setup.config(LIMITED),
        |broker| {
            let mut http = broker.http();
            let positions = publish_numbers(&mut http, "brief", 0..2);
            await_empty(&mut http, "/v1/demo/topics/brief");
            let page = history(&mut http, "brief", &format!("&after={}", positions[0]));
            assert_eq!((numbers(&page), &page["lost"]["reason"]), (vec![], &json!("too_old")));
            let mut socket = positioned(broker);
            let recovery = socket.subscribe_from("brief", &positions[0]);
            assert_eq!(recovery, json!({"recovered": false, "reason": "too_old", "count": 0}));
        },
    );
}

/// Asks until there is no latest message any more.
fn await_empty(http: &mut Http, target: &str) {
    let deadline = fanwire::stdx::clock::now() + support::PATIENCE;
    while http.request("GET", target, &[], b"").status != 204 {
        assert!(fanwire::stdx::clock::now() < deadline, "{target} is kept for ever");
    }
}

#[test]
fn the_latest_message_has_a_tag() {
    on_each(|broker| {
        for topic in broker.topics("l") {
            let target = format!("/v1/demo/topics/{topic}");
            let mut http = broker.http();
            let receipt = support::json(&post(&mut http, &target, b"41").body);
            let answer = http.request("GET", &target, &[], b"");
            let tag = format!("\"{}\"", receipt["id"].as_str().unwrap());
            assert_eq!((answer.status, answer.header("etag")), (200, Some(&*tag)));
            let message = support::json(&answer.body);
            assert_eq!(
                json!([message["id"], message["position"]]),
                json!([receipt["id"], receipt["position"]])
            );
            assert_eq!(number(&message), 41);
            let known = [("If-None-Match", &*tag)];
            let answer = http.request("GET", &target, &known, b"");
            assert_eq!((answer.status, answer.header("etag")), (304, Some(&*tag)));
            post(&mut http, &target, b"42");
            let answer = http.request("GET", &target, &known, b"");
            assert_eq!((answer.status, number(&support::json(&answer.body))), (200, 42));
            let answer = http.request("HEAD", &target, &[], b"");
            assert_eq!((answer.status, answer.body.len()), (200, 0));
        }
        let answer = broker.http().request("GET", "/v1/demo/topics/never", &[], b"");
        assert_eq!((answer.status, answer.header("etag")), (204, None));
    });
}

#[test]
fn odd_questions_are_refused() {
    on_each(|broker| {
        let mut http = broker.http();
        let at = publish_numbers(&mut http, "t", 0..1).remove(0);
        for (query, status, code) in [
            (String::new(), 400, "bad_field"),
            ("topic=".to_owned(), 400, "bad_topic"),
            ("topic=a*".to_owned(), 400, "bad_topic"),
            ("topic=priv/x".to_owned(), 403, "forbidden"),
            ("topic=t&after=x".to_owned(), 400, "bad_field"),
            ("topic=t&before=".to_owned(), 400, "bad_field"),
            (format!("topic=t&after={at}&before={at}"), 400, "bad_field"),
            ("topic=t&limit=ten".to_owned(), 400, "bad_field"),
            ("topic=t&limit=-1".to_owned(), 400, "bad_field"),
        ] {
            let answer = http.request("GET", &format!("/v1/demo/history?{query}"), &[], b"");
            assert_eq!((answer.status, &*answer.problem()), (status, code), "{query}");
        }
        // Limits are cut to what is allowed.
        for limit in ["0", "1000000"] {
            assert_eq!(numbers(&history(&mut http, "t", &format!("&limit={limit}"))), [0]);
        }
    });
}

/// Publishes with a key.
fn post_keyed(http: &mut Http, topic: &str, key: &str, number: u64) {
    let target = format!("/v1/demo/topics/{topic}");
    let answer =
        http.request("POST", &target, &[("Message-Key", key)], number.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn subscribe_latest(socket: &mut WebSocket, topic: &str) {
    let data = json!({"topic": topic, "latest": true});
    socket.send(&json!({"type": "subscribe", "data": data}).to_string());
    let welcome = socket.value();
    assert_eq!(welcome["messageType"], "welcome");
    assert_eq!(welcome["data"]["recovery"], Value::Null);
}

fn publish_states(broker: &Broker, topic: &str) {
    let mut http = broker.http();
    for (key, number) in [("x", 1), ("y", 2), ("x", 3), ("z", 4), ("y", 5)] {
        post_keyed(&mut http, topic, key, number);
    }
}

#[test]
fn who_wants_the_latest_gets_one_per_key_and_then_what_is_live() {
    on_each(|broker| {
        for topic in broker.topics("k") {
            publish_states(broker, &topic);
            // A message without a key is the latest of those without one.
            publish_numbers(&mut broker.http(), &topic, 6..8);
            let mut socket = positioned(broker);
            subscribe_latest(&mut socket, &topic);
            assert_eq!(socket.numbers(4), [3, 4, 5, 7]);
            post_keyed(&mut broker.http(), &topic, "x", 8);
            assert_eq!(socket.numbers(1), [8]);
            socket.expect_silence();
        }
    });
}

#[test]
fn a_family_may_send_the_latest_to_everyone_who_comes_new() {
    on_each_with(
        |setup| setup.config(LIMITED),
        |broker| {
            publish_states(broker, "state");
            let mut socket = broker.websocket();
            socket.subscribe("state");
            assert_eq!(socket.numbers(3), [3, 4, 5]);
            socket.expect_silence();
            let mut events = EventStream::open(broker.http(), "/v1/demo/events?topics=state");
            assert_eq!(events.numbers(3), [3, 4, 5]);
            // Who says where it stands gets what followed that.
            let at = publish_numbers(&mut broker.http(), "state", 6..7).remove(0);
            let mut socket = positioned(broker);
            let recovery = socket.subscribe_from("state", &at);
            assert_eq!(recovery, json!({"recovered": true, "count": 0}));
            socket.expect_silence();
        },
    );
}
