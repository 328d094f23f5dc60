//! A repeated publish with the same idempotency key is answered as the first was and is delivered
//! once, through every door.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::past::{Folder, number, positioned, publish_numbers};
use support::{Broker, Http, Response, Setup, WebSocket, on_each, on_each_with};

fn publish(http: &mut Http, topic: &str, key: &str, body: &str) -> Response {
    let target = format!("/v1/demo/topics/{topic}");
    http.request("POST", &target, &[("Idempotency-Key", key)], body.as_bytes())
}

/// Id and position of an accepted publish.
fn receipt(answer: &Response) -> (Value, Value) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut body = support::json(&answer.body);
    (body["id"].take(), body["position"].take())
}

fn reader(broker: &Broker, topic: &str) -> WebSocket {
    let mut socket = positioned(broker);
    socket.subscribe(topic);
    socket
}

#[test]
fn a_repeated_publish_has_the_first_ones_answer_and_is_delivered_once() {
    on_each(|broker| {
        for topic in broker.topics("i") {
            let mut socket = reader(broker, &topic);
            let first = receipt(&publish(&mut broker.http(), &topic, "k", "1"));
            // On other connections, hence on other shards, and with another body: the key counts.
            for body in ["1", "1", "2", "1"] {
                assert_eq!(receipt(&publish(&mut broker.http(), &topic, "k", body)), first);
            }
            let second = receipt(&publish(&mut broker.http(), &topic, "l", "2"));
            assert_ne!(first, second);
            assert_eq!(socket.numbers(2), [1, 2]);
            // Without a key every publish is its own.
            publish_numbers(&mut broker.http(), &topic, 3..4);
            publish_numbers(&mut broker.http(), &topic, 3..4);
            assert_eq!(socket.numbers(2), [3, 3]);
            socket.expect_silence();
        }
    });
}

#[test]
fn a_key_belongs_to_its_topic() {
    on_each(|broker| {
        let topics = [broker.topics("a"), broker.topics("b")].concat();
        let mut receipts = BTreeSet::new();
        for topic in &topics {
            let mut socket = reader(broker, topic);
            let (id, _) = receipt(&publish(&mut broker.http(), topic, "same", "1"));
            assert!(receipts.insert(id.to_string()), "another topic's answer");
            assert_eq!(socket.numbers(1), [1]);
        }
    });
}

#[test]
fn each_message_of_a_batch_has_a_key_of_its_own() {
    on_each(|broker| {
        let topics = broker.topics("b");
        let last = topics.last().expect("one at least");
        let mut socket = reader(broker, &topics[0]);
        if last != &topics[0] {
            socket.subscribe(last);
        }
        let batch = |numbers: &[(u64, &str)]| {
            let message = |(number, key): &(u64, &str)| {
                let topic = if number % 2 == 0 { &topics[0] } else { last };
                json!({"topic": topic, "data": number.to_string(), "idempotencyKey": key})
            };
            let messages: Vec<Value> = numbers.iter().map(message).collect();
            let body = json!({"messages": messages}).to_string();
            let answer = broker.http().request("POST", "/v1/demo/publish", &[], body.as_bytes());
            assert_eq!(answer.status, 200, "{}", answer.text());
            support::json(&answer.body)
        };
        let first = batch(&[(0, "a"), (2, "b"), (1, "c")]);
        assert_eq!(batch(&[(0, "a"), (2, "b"), (1, "c")]), first, "the whole answer again");
        // The same key twice in one batch is one message; new ones go through.
        let mixed = batch(&[(4, "d"), (0, "a"), (4, "d"), (6, "e")]);
        let results = |answer: &Value| results_of(answer);
        assert_eq!(results(&mixed)[1], results(&first)[0]);
        assert_eq!(results(&mixed)[0], results(&mixed)[2]);
        let mut numbers = socket.numbers(5);
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 4, 6]);
        socket.expect_silence();
    });
}

/// The results of a batch: whatever the answer's only list is.
fn results_of(answer: &Value) -> Vec<Value> {
    let mut fields = answer.as_object().expect("an object").values();
    fields.find_map(Value::as_array).expect("a list").clone()
}

#[test]
fn a_websockets_publish_is_acknowledged_twice_and_delivered_once() {
    on_each(|broker| {
        for topic in broker.topics("s") {
            let mut socket = reader(broker, &topic);
            let publish = |id: &str| {
                let data = json!({"topic": topic, "payload": 1, "id": id, "idempotencyKey": "k"});
                json!({"type": "publish", "data": data}).to_string()
            };
            let mut publisher = broker.websocket();
            for id in ["one", "two", "three"] {
                publisher.send(&publish(id));
                let ack = publisher.value();
                assert_eq!(
                    (&ack["topic"], &ack["data"]["data"]),
                    (&json!("priv/acks"), &json!(id))
                );
            }
            // And by HTTP with the same key.
            publish_once_more(broker, &topic);
            let message = socket.value();
            assert_eq!(
                (&message["data"]["payload"], &message["data"]["id"]),
                (&json!(1), &json!("one"))
            );
            socket.expect_silence();
        }
    });
}

fn publish_once_more(broker: &Broker, topic: &str) {
    receipt(&publish(&mut broker.http(), topic, "k", "again"));
}

#[test]
fn those_who_publish_at_the_same_time_agree() {
    on_each(|broker| {
        for topic in broker.topics("c") {
            let mut socket = reader(broker, &topic);
            let receipts: Vec<(Value, Value)> = std::thread::scope(|scope| {
                let attempts: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            let mut http = broker.http();
                            (0..20)
                                .map(|_| receipt(&publish(&mut http, &topic, "k", "1")))
                                .collect()
                        })
                    })
                    .collect();
                attempts.into_iter().flat_map(|a| -> Vec<_> { a.join().expect("ok") }).collect()
            });
            assert_eq!(receipts.len(), 160);
            assert!(receipts.iter().all(|receipt| *receipt == receipts[0]), "{receipts:?}");
            assert_eq!(socket.numbers(1), [1]);
            socket.expect_silence();
        }
    });
}

#[test]
fn behind_its_window_a_key_is_new() {
    on_each_with(
        |setup| {
            setup.config(
                "[[applications]]\nid = \"demo\"\nopen = true\nidempotency_window = \"300ms\"\n",
            )
        },
        |broker| {
            let mut http = broker.http();
            let first = receipt(&publish(&mut http, "t", "k", "1"));
            let deadline = fanwire::stdx::clock::now() + support::PATIENCE;
            while receipt(&publish(&mut http, "t", "k", "1")) == first {
                assert!(fanwire::stdx::clock::now() < deadline, "it is known for ever");
            }
        },
    );
}

#[test]
fn keys_have_bounds_and_are_one() {
    on_each(|broker| {
        let mut http = broker.http();
        let long = "x".repeat(255);
        receipt(&publish(&mut http, "t", &long, "1"));
        for key in [String::new(), "x".repeat(256)] {
            let refused = publish(&mut http, "t", &key, "1");
            assert_eq!((refused.status, &*refused.problem()), (400, "bad_field"), "{key:?}");
        }
        let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
        let refused = http.request("POST", "/v1/demo/topics/t", &twice, b"1");
        assert_eq!(refused.status, 400, "{}", refused.text());
    });
}

#[test]
fn a_durable_topics_keys_are_as_safe_as_its_messages() {
    for setup in [Setup::new("uring", 2), Setup::new("epoll", 1)] {
        let folder = Folder::new();
        let setup = setup.config(&format!(
            "store.path = \"{}\"\n[[applications]]\nid = \"demo\"\nopen = true\ndurable = true\n",
            folder.store()
        ));
        let mut broker = setup.start();
        let first = receipt(&publish(&mut broker.http(), "d", "k", "1"));
        assert_eq!(receipt(&publish(&mut broker.http(), "d", "k", "1")), first);
        broker.signal(rustix::process::Signal::KILL);
        broker.wait();
        let broker = setup.start();
        let mut socket = reader(&broker, "d");
        assert_eq!(receipt(&publish(&mut broker.http(), "d", "k", "1")), first);
        receipt(&publish(&mut broker.http(), "d", "l", "2"));
        assert_eq!(number(&socket.value()), 2, "the repeated one is not delivered again");
    }
}
