//! Long polling: requests that wait for messages, and how they go on from one another.

mod support;

use std::net::Shutdown;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::past::{number, publish_numbers};
use support::{Broker, Http, Response, Setup, on_each, on_each_with, post, request_bytes};

const SIMPLE: &str = "poll.simple_application = \"demo\"\npoll.simple_topic = \"simple\"\n\
    poll.wait_max = \"400ms\"\n[[applications]]\nid = \"demo\"\nopen = true\n";

const ADMIN_KEY: &str = "q7Tn2xVd0aJmUe9cLrYk4sWb";
const ADMINISTERED: &str = "[[applications]]\nid = \"demo\"\nopen = true\n\
    [[applications.keys]]\nsecret = \"q7Tn2xVd0aJmUe9cLrYk4sWb\"\nrights = [\"admin\"]\n";

/// What a poll answered.
#[derive(Debug)]
struct Polled {
    numbers: Vec<u64>,
    position: String,
    lost: Value,
}

fn polled(answer: &Response) -> Polled {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    let mut body = support::json(&answer.body);
    let position = body["position"].as_str().expect("a position").to_owned();
    assert_eq!(answer.header("etag"), Some(&*format!("\"{position}\"")));
    let numbers = body["messages"].as_array().expect("a list").iter().map(number).collect();
    Polled { numbers, position, lost: body["lost"].take() }
}

fn poll(http: &mut Http, query: &str) -> Polled {
    polled(&http.request("GET", &format!("/v1/demo/poll?{query}"), &[], b""))
}

/// A poll that waits: sent, and taken in by the broker.
fn waiting(broker: &Broker, query: &str) -> Http {
    let before = subscriptions(broker);
    let mut http = broker.http();
    http.send(request_bytes("GET", &format!("/v1/demo/poll?{query}"), &[], b""));
    broker.await_metrics("the poll waits", |metrics| {
        metrics.count("fanwire_subscriptions", &[]) > before
    });
    http
}

fn subscriptions(broker: &Broker) -> u64 {
    broker.metrics().count("fanwire_subscriptions", &[])
}

fn await_no_subscriptions(broker: &Broker) {
    broker.await_metrics("no session is left behind", |metrics| {
        metrics.count("fanwire_subscriptions", &[]) == 0
    });
}

#[test]
fn a_poll_waits_for_the_next_message_of_any_of_its_topics() {
    on_each(|broker| {
        let topics = broker.topics("w");
        let list = topics.join(",");
        for topic in &topics {
            let mut http = waiting(broker, &format!("topics={list}"));
            let receipt = publish_numbers(&mut broker.http(), topic, 7..8);
            let answer = http.response();
            let body = support::json(&answer.body);
            let message = &body["messages"][0];
            assert_eq!(
                (&message["topic"], &message["position"]),
                (&json!(topic), &json!(receipt[0]))
            );
            assert!(message["id"].is_string() && message["time"].is_string(), "{message}");
            let polled = polled(&answer);
            assert_eq!((polled.numbers, polled.lost), (vec![7], Value::Null));
            // The connection is good for another; nothing is subscribed in between.
            await_no_subscriptions(broker);
            let next = poll(&mut http, &format!("topics={list}&since={}&wait=0", polled.position));
            assert_eq!(next.numbers, [0; 0]);
        }
    });
}

#[test]
fn a_chain_of_polls_misses_nothing_and_repeats_nothing() {
    on_each(|broker| {
        let topics = broker.topics("c");
        let list = topics.join(",");
        let mut http = broker.http();
        let mut at = poll(&mut http, &format!("topics={list}&wait=0")).position;
        std::thread::scope(|scope| {
            for (index, topic) in (0..).zip(&topics) {
                scope.spawn(move || {
                    publish_numbers(&mut broker.http(), topic, 1000 * index..1000 * index + 200)
                });
            }
            let mut seen: Vec<Vec<u64>> = topics.iter().map(|_| Vec::new()).collect();
            while seen.iter().map(Vec::len).sum::<usize>() < 200 * topics.len() {
                let next = poll(&mut http, &format!("topics={list}&since={at}&limit=9"));
                assert_eq!(next.lost, Value::Null);
                at = next.position;
                for number in next.numbers {
                    seen[usize::try_from(number / 1000).unwrap()].push(number % 1000);
                }
            }
            let all: Vec<u64> = (0..200).collect();
            assert!(seen.iter().all(|numbers| *numbers == all), "each once and in order: {seen:?}");
        });
        let end = poll(&mut http, &format!("topics={list}&since={at}&wait=0"));
        assert_eq!(end.numbers, [0; 0]);
    });
}

#[test]
fn no_wait_a_short_wait_and_a_limit() {
    on_each(|broker| {
        for topic in broker.topics("s") {
            let mut http = broker.http();
            let positions = publish_numbers(&mut http, &topic, 0..30);
            // Without `since` from now on: what was before does not count.
            let now = poll(&mut http, &format!("topics={topic}&wait=0"));
            assert_eq!((now.numbers, now.lost), (vec![], Value::Null));
            let empty = poll(&mut http, &format!("topics={topic}&since={}&wait=1", now.position));
            assert_eq!(empty.numbers, [0; 0]);
            let from = format!("topics={topic}&since={}", positions[4]);
            let rest = poll(&mut http, &from);
            assert_eq!(rest.numbers, (5..30).collect::<Vec<_>>());
            let some = poll(&mut http, &format!("{from}&limit=10"));
            assert_eq!(some.numbers, (5..15).collect::<Vec<_>>());
            let more = poll(&mut http, &format!("topics={topic}&since={}", some.position));
            assert_eq!(more.numbers, (15..30).collect::<Vec<_>>());
            for limit in ["0", "1"] {
                assert_eq!(poll(&mut http, &format!("{from}&limit={limit}")).numbers, [5]);
            }
        }
    });
}

#[test]
fn a_known_tag_is_answered_304_and_is_a_position_too() {
    on_each(|broker| {
        let mut http = broker.http();
        let at = publish_numbers(&mut http, "t", 0..1).remove(0);
        let tag = format!("\"{at}\"");
        let target = "/v1/demo/poll?topics=t&wait=0";
        let with_since = format!("{target}&since={at}");
        for target in [target, &with_since] {
            let answer = http.request("GET", target, &[("If-None-Match", &tag)], b"");
            assert_eq!((answer.status, answer.header("etag")), (304, Some(&*tag)));
        }
        publish_numbers(&mut http, "t", 1..3);
        for target in [target, &with_since] {
            for tag in [tag.clone(), format!("W/{tag}")] {
                let answer = http.request("GET", target, &[("If-None-Match", &tag)], b"");
                assert_eq!(polled(&answer).numbers, [1, 2]);
            }
        }
        // A loss is news, whatever the tag says.
        let answer = http.request("GET", target, &[("If-None-Match", "\"what\"")], b"");
        assert_eq!(polled(&answer).lost, json!({"reason": "unknown_position", "topics": ["t"]}));
    });
}

#[test]
fn a_loss_is_told_at_once_with_what_is_left() {
    on_each_with(
        |setup| {
            setup.config("[[applications]]\nid = \"demo\"\nopen = true\nhistory.count_max = 3\n")
        },
        |broker| {
            let topics = broker.topics("l");
            let list = topics.join(",");
            let mut http = broker.http();
            let at = poll(&mut http, &format!("topics={list}&wait=0")).position;
            publish_numbers(&mut http, &topics[0], 0..7);
            let told = poll(&mut http, &format!("topics={list}&since={at}"));
            assert_eq!(told.numbers, [4, 5, 6]);
            assert_eq!(told.lost, json!({"reason": "too_old", "topics": [topics[0]]}));
            let next = poll(&mut http, &format!("topics={list}&since={}&wait=0", told.position));
            assert_eq!((next.numbers, next.lost), (vec![], Value::Null), "it is told once");
            // Of one that nobody can read, all topics are concerned.
            let told = poll(&mut http, &format!("topics={list}&since=what"));
            let mut sorted = topics.clone();
            sorted.sort();
            assert_eq!(told.lost, json!({"reason": "unknown_position", "topics": sorted}));
        },
    );
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    on_each(|broker| {
        let mut http = broker.http();
        for (query, status, code) in [
            ("", 400, "bad_field"),
            ("topics=", 400, "bad_topic"),
            ("topics=priv/x", 403, "forbidden"),
            ("topics=t&wait=soon", 400, "bad_field"),
            ("topics=t&wait=-1", 400, "bad_field"),
            ("topics=t&limit=all", 400, "bad_field"),
        ] {
            let answer = http.request("GET", &format!("/v1/demo/poll?{query}"), &[], b"");
            assert_eq!((answer.status, &*answer.problem()), (status, code), "{query}");
        }
        await_no_subscriptions(broker);
    });
}

#[test]
fn who_leaves_while_waiting_leaves_nothing_behind() {
    on_each(|broker| {
        let list = broker.topics("g").join(",");
        for half in [true, false] {
            for _ in 0..10 {
                let http = waiting(broker, &format!("topics={list}"));
                if half {
                    http.stream().shutdown(Shutdown::Both).expect("connected");
                }
                drop(http);
                await_no_subscriptions(broker);
            }
        }
        let metrics = broker.await_metrics("the connections are gone", |metrics| {
            metrics.count("fanwire_connections", &[("door", "http")]) == 1
        });
        assert_eq!(metrics.count("fanwire_panics_total", &[]), 0);
    });
}

#[test]
fn requests_behind_a_poll_wait_for_it() {
    on_each(|broker| {
        for topic in broker.topics("p") {
            let mut http = waiting(broker, &format!("topics={topic}"));
            let target = format!("/v1/demo/poll?topics={topic}&wait=0");
            http.send(request_bytes("GET", "/health/live", &[], b""));
            http.send(request_bytes("POST", "/v1/demo/topics/other", &[], b"1"));
            http.send(request_bytes("GET", &target, &[], b""));
            // A turn passes for sure while another connection is served.
            assert_eq!(subscriptions(broker), 1);
            publish_numbers(&mut broker.http(), &topic, 3..4);
            assert_eq!(polled(&http.response()).numbers, [3]);
            assert_eq!(http.response().text(), r#"{"status":"ok"}"#);
            assert_eq!(http.response().status, 200);
            let last = http.response();
            // Behind a publish that was under way it is refused; else it is answered.
            if last.status == 200 {
                assert_eq!(polled(&last).numbers, [0; 0]);
            } else {
                assert_eq!((last.status, &*last.problem()), (400, "bad_request"));
            }
        }
    });
}

#[test]
fn many_polls_over_few_connections_leave_no_session_behind() {
    on_each_with(
        |setup| setup.config(ADMINISTERED),
        |broker| {
            let topics = broker.topics("m");
            let mut connections: Vec<Http> = (0..24).map(|_| broker.http()).collect();
            for round in 0..12 {
                for (http, topic) in connections.iter_mut().zip(topics.iter().cycle()) {
                    let target = format!("/v1/demo/poll?topics={topic}");
                    http.send(request_bytes("GET", &target, &[], b""));
                }
                broker.await_metrics("all wait", |metrics| {
                    metrics.count("fanwire_subscriptions", &[]) == 24
                });
                for topic in &topics {
                    publish_numbers(&mut broker.http(), topic, round..round + 1);
                }
                for http in &mut connections {
                    assert_eq!(polled(&http.response()).numbers, [round]);
                }
            }
            await_no_subscriptions(broker);
            let fields = [("X-API-Key", ADMIN_KEY)];
            let answer = broker.http().request("GET", "/v1/demo", &fields, b"");
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(support::json(&answer.body)["subscriptions"], 0, "{}", answer.text());
        },
    );
}

#[test]
fn a_stop_answers_who_waits_with_a_place_to_come_back_to() {
    for setup in [Setup::new("uring", 2), Setup::new("epoll", 1)] {
        let mut broker = setup.with("SERVER_STOP_SPREAD", "0s").start();
        let topics = broker.topics("q").join(",");
        let mut polls: Vec<Http> =
            (0..6).map(|_| waiting(&broker, &format!("topics={topics}"))).collect();
        broker.signal(Signal::TERM);
        for http in &mut polls {
            let answer = http.response();
            assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
            assert_eq!(polled(&answer).numbers, [0; 0]);
            http.expect_end();
        }
        assert!(broker.wait().success());
        assert!(broker.log().contains("drained"), "{}", broker.log());
    }
}

#[test]
fn the_simple_form_gives_one_message_as_text() {
    on_each_with(
        |setup| setup.config(SIMPLE),
        |broker| {
            let mut http = broker.http();
            let timed_out = http.request("GET", "/subscribe", &[], b"");
            assert_eq!((timed_out.status, timed_out.text()), (502, ""));
            let start = timed_out.header("etag").expect("a tag").to_owned();
            for text in ["first", "zwei é", "{\"a\": 1}"] {
                assert_eq!(post(&mut broker.http(), "/publish", text.as_bytes()).text(), "ok");
            }
            let mut tag = start.clone();
            for text in ["first", "zwei é", "{\"a\": 1}"] {
                let answer = http.request("GET", "/subscribe", &[("If-None-Match", &tag)], b"");
                assert_eq!((answer.status, answer.text()), (200, text));
                assert_eq!(answer.header("content-type"), Some("text/plain;charset=utf-8"));
                answer.header("etag").expect("a tag").clone_into(&mut tag);
            }
            let end = http.request("GET", "/subscribe", &[("If-None-Match", &tag)], b"");
            assert_eq!((end.status, end.header("etag")), (502, Some(&*tag)));
            let since = format!("/subscribe?since={}", start.trim_matches('"'));
            assert_eq!(http.request("GET", &since, &[], b"").text(), "first");
            // It is a topic like any other.
            let mut socket = broker.websocket();
            socket.subscribe("simple");
            post(&mut http, "/publish", b"live");
            assert_eq!(socket.value()["data"], "live");
        },
    );
    let broker = Setup::new("epoll", 1).start();
    for (method, target) in [("GET", "/subscribe"), ("POST", "/publish")] {
        assert_eq!(broker.http().request(method, target, &[], b"").status, 404, "{target}");
    }
}
