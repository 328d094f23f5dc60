//! Who comes back on a WebSocket with a position gets each message it missed once and in order, or
//! is told that some are gone.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use support::past::{number, positioned, publish_numbers};
use support::{Broker, WebSocket, on_each, on_each_with, position, post};

/// Three messages of a topic are kept, and many of `long*`.
const SHORT: &str = "[[applications]]\nid = \"demo\"\nopen = true\nhistory.count_max = 3\n\
    [[applications.topics]]\npatterns = [\"long*\"]\nhistory_count_max = 100_000\n\
    history_size_max = \"64MiB\"\n";

fn recovered(count: usize) -> Value {
    json!({"recovered": true, "count": count})
}

fn lost(reason: &str, count: usize) -> Value {
    json!({"recovered": false, "reason": reason, "count": count})
}

fn subscribe(topic: &str, position: &str) -> String {
    json!({"type": "subscribe", "data": {"topic": topic, "position": position}}).to_string()
}

/// A position with its epoch or its offset changed.
fn changed(position: &str, epoch: u32, offset: u64) -> String {
    let (known, entry) = position.split_once('-').expect("epoch-home.offset");
    let known = u32::from_str_radix(known, 16).expect("hex");
    let (home, at) = entry.split_once('.').expect("home.offset");
    let at = u64::from_str_radix(at, 16).expect("hex");
    format!("{:x}-{home}.{:x}", known.wrapping_add(epoch), at + offset)
}

/// Publishes until told to stop; how many numbers went out.
fn publish_until(broker: &Broker, topic: &str, is_over: &AtomicBool) -> u64 {
    let mut http = broker.http();
    let mut next = 0;
    while !is_over.load(Ordering::Relaxed) {
        publish_numbers(&mut http, topic, next..next + 10);
        next += 10;
    }
    next
}

#[test]
fn what_was_missed_comes_once_in_order_and_then_what_is_live() {
    on_each(|broker| {
        for topic in broker.topics("r") {
            let mut http = broker.http();
            let mut first = positioned(broker);
            let welcome = first.subscribe(&topic);
            let mut positions = vec![welcome["position"].as_str().expect("one").to_owned()];
            positions.extend(publish_numbers(&mut http, &topic, 0..200));
            let seen: Vec<Value> = (0..200).map(|_| first.value()).collect();
            for (index, message) in seen.iter().enumerate() {
                assert_eq!(number(message), index as u64);
                assert_eq!(message["position"], positions[index + 1].as_str());
                assert_eq!(message["id"].as_str().map(str::len), Some(32));
            }
            // Around the ends, and around the pages in which history is read.
            let mut back: Vec<WebSocket> = [0, 1, 63, 64, 65, 128, 129, 200]
                .into_iter()
                .map(|missed| {
                    let mut socket = positioned(broker);
                    let from = &positions[200 - missed];
                    assert_eq!(socket.subscribe_from(&topic, from), recovered(missed));
                    let again: Vec<Value> = (0..missed).map(|_| socket.value()).collect();
                    assert_eq!(again, seen[200 - missed..], "the very same messages");
                    socket.expect_silence();
                    socket
                })
                .collect();
            publish_numbers(&mut http, &topic, 200..203);
            for socket in &mut back {
                assert_eq!(socket.numbers(3), [200, 201, 202]);
                socket.expect_silence();
            }
        }
    });
}

#[test]
fn nothing_is_missed_or_repeated_while_publishing_goes_on() {
    on_each_with(
        |setup| setup.config(SHORT),
        |broker| {
            let is_over = AtomicBool::new(false);
            let topics = broker.topics("long");
            std::thread::scope(|scope| {
                for topic in &topics {
                    scope.spawn(|| publish_until(broker, topic, &is_over));
                }
                let followers: Vec<_> =
                    topics.iter().map(|topic| scope.spawn(|| follow(broker, topic))).collect();
                let results: Vec<_> =
                    followers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
                is_over.store(true, Ordering::Relaxed);
                assert!(results.iter().all(Result::is_ok), "see above");
            });
        },
    );
}

/// Reads a topic over many connections, each of which goes on behind the last one's last message.
fn follow(broker: &Broker, topic: &str) {
    let mut socket = positioned(broker);
    socket.subscribe(topic);
    let first = socket.value();
    let (mut last, mut at) =
        (number(&first), first["position"].as_str().expect("a position").to_owned());
    for round in 0..40 {
        let mut socket = positioned(broker);
        let recovery = socket.subscribe_from(topic, &at);
        assert_eq!(recovery["recovered"], true, "{recovery}");
        // More than history brings, so that it joins the live ones.
        let missed = recovery["count"].as_u64().expect("a number");
        for _ in 0..missed + round % 7 {
            let message = socket.value();
            assert_eq!(number(&message), last + 1, "{message}");
            (last, at) = (last + 1, message["position"].as_str().expect("a position").to_owned());
        }
    }
}

#[test]
fn what_is_gone_is_said_and_what_is_left_follows() {
    on_each_with(
        |setup| setup.config(SHORT),
        |broker| {
            for topic in broker.topics("s") {
                let mut http = broker.http();
                let positions = publish_numbers(&mut http, &topic, 0..10);
                let cases = [
                    (positions[9].clone(), recovered(0)),
                    (positions[6].clone(), recovered(3)),
                    (positions[5].clone(), lost("too_old", 3)),
                    (positions[0].clone(), lost("too_old", 3)),
                    (changed(&positions[9], 1, 0), lost("history_lost", 3)),
                    (changed(&positions[9], 0, 1000), lost("unknown_position", 0)),
                    ("not a position".to_owned(), lost("unknown_position", 0)),
                    (positions[9].to_uppercase() + "-", lost("unknown_position", 0)),
                ];
                for (from, expected) in cases {
                    let mut socket = positioned(broker);
                    assert_eq!(socket.subscribe_from(&topic, &from), expected, "{from}");
                    let count = usize::try_from(expected["count"].as_u64().unwrap()).unwrap();
                    assert_eq!(socket.numbers(count), [7, 8, 9][3 - count..]);
                    socket.expect_silence();
                }
                // An empty one is none, as on an event stream that begins.
                let mut socket = positioned(broker);
                assert_eq!(socket.subscribe_from(&topic, ""), Value::Null);
                publish_numbers(&mut http, &topic, 10..11);
                assert_eq!(socket.numbers(1), [10]);
                socket.expect_silence();
            }
        },
    );
}

#[test]
fn a_position_of_another_topics_home_is_unknown() {
    on_each(|broker| {
        let topics = broker.topics("h");
        let mut http = broker.http();
        let at = publish_numbers(&mut http, &topics[0], 0..1).remove(0);
        for topic in &topics[1..] {
            let mut socket = positioned(broker);
            let recovery = socket.subscribe_from(topic, &at);
            assert_eq!(recovery, lost("unknown_position", 0), "{topic}");
            publish_numbers(&mut http, topic, 5..6);
            assert_eq!(socket.numbers(1), [5]);
        }
        // One of the same home is good: topics of a home share their order.
        let (home, _) = position(&at);
        let neighbour = (0..500)
            .map(|number| format!("neighbour-{number}"))
            .find(|name| position(&publish_numbers(&mut http, name, 0..1)[0]).0 == home)
            .expect("one of 500");
        let mut socket = positioned(broker);
        assert_eq!(socket.subscribe_from(&neighbour, &at), recovered(1));
        assert_eq!(socket.numbers(1), [0]);
    });
}

#[test]
fn without_a_position_nothing_changes() {
    on_each(|broker| {
        let topic = &broker.topics("p")[0];
        let mut http = broker.http();
        let at = publish_numbers(&mut http, topic, 0..3).remove(0);
        let mut plain = broker.websocket();
        let welcome = plain.subscribe(topic);
        let keys: Vec<&str> =
            welcome["data"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((keys, &welcome["position"]), (vec!["connection"], &Value::Null));
        plain.expect_silence();
        publish_numbers(&mut http, topic, 3..4);
        let text = format!(r#"{{"topic":"{topic}","messageType":"broadcast","data":"3"}}"#);
        assert_eq!(plain.text(), text);
        // A position without `positions=1` recovers; the messages keep the platform's form.
        let mut plain = broker.websocket();
        assert_eq!(plain.subscribe_from(topic, &at), recovered(3));
        for number in 1..4 {
            let form = text.replace("\"3\"", &format!("\"{number}\""));
            assert_eq!(plain.text(), form);
        }
        // And one with positions says where it stands without recovering.
        let mut socket = positioned(broker);
        let welcome = socket.subscribe(topic);
        assert_eq!(welcome["data"]["recovery"], Value::Null);
        let (home, offset) = position(welcome["position"].as_str().unwrap());
        assert_eq!(home, position(&at).0);
        assert!(offset >= position(&at).1);
        socket.expect_silence();
    });
}

#[test]
fn who_is_subscribed_already_gets_nothing_again() {
    on_each(|broker| {
        for topic in broker.topics("a") {
            let mut http = broker.http();
            let positions = publish_numbers(&mut http, &topic, 0..5);
            let mut socket = positioned(broker);
            assert_eq!(socket.subscribe_from(&topic, &positions[2]), recovered(2));
            assert_eq!(socket.numbers(2), [3, 4]);
            let again = socket.subscribe_from(&topic, &positions[0]);
            assert_eq!(again, lost("already_subscribed", 0));
            publish_numbers(&mut http, &topic, 5..6);
            assert_eq!(socket.numbers(1), [5]);
            socket.expect_silence();
        }
    });
}

#[test]
fn a_change_of_mind_in_the_middle_delivers_by_the_last_word() {
    on_each(|broker| {
        for topic in broker.topics("m") {
            let mut http = broker.http();
            let positions = publish_numbers(&mut http, &topic, 0..150);
            let unsubscribe = json!({"type": "unsubscribe", "data": {"topic": topic}}).to_string();
            let mut socket = positioned(broker);
            // In one write, so that the answers of the first meet the commands that follow it.
            let mut bytes = Vec::new();
            for text in [
                &*subscribe(&topic, &positions[0]),
                &unsubscribe,
                &subscribe(&topic, &positions[50]),
            ] {
                bytes.extend(support::frame(true, 1, text.as_bytes()));
            }
            socket.send_bytes(&bytes);
            publish_numbers(&mut http, &topic, 150..151);
            // Whatever the first brought before the second took it back was in order, too.
            let (mut after_welcome, mut recovery) = (Vec::new(), Value::Null);
            while after_welcome.last() != Some(&150) {
                let value = socket.value();
                if value["messageType"] == "welcome" {
                    recovery = value["data"]["recovery"].clone();
                    after_welcome.clear();
                } else {
                    after_welcome.push(number(&value));
                }
            }
            let expected: Vec<u64> = (51..151).collect();
            assert_eq!(after_welcome, expected);
            assert!(recovery == recovered(99) || recovery == recovered(100), "{recovery}");
            socket.expect_silence();
            socket.send(&unsubscribe);
            socket.expect_silence();
            publish_numbers(&mut http, &topic, 151..152);
            socket.expect_silence();
        }
    });
}

#[test]
fn more_than_the_queue_takes_comes_page_by_page() {
    on_each_with(
        |setup| setup.config(SHORT),
        |broker| {
            let topic = &broker.topics("long")[0];
            let mut http = broker.http();
            let text = "x".repeat(20_000);
            let mut positions = Vec::new();
            for number in 0..400 {
                let body = format!("{number}:{text}");
                let answer = post(&mut http, &format!("/v1/demo/topics/{topic}"), body.as_bytes());
                positions
                    .push(support::json(&answer.body)["position"].as_str().unwrap().to_owned());
            }
            let before = broker.resident_size();
            let mut sockets: Vec<WebSocket> = (0..4).map(|_| positioned(broker)).collect();
            for socket in &mut sockets {
                assert_eq!(socket.subscribe_from(topic, &positions[0]), recovered(399));
            }
            // Eight megabytes each, of which nobody has read anything yet.
            let grown = broker.resident_size().saturating_sub(before);
            assert!(grown < 8 << 20, "{grown} bytes more for four that catch up");
            publish_numbers(&mut http, topic, 400..401);
            for socket in &mut sockets {
                for number in 1..400 {
                    let message = socket.value();
                    let data = message["data"].as_str().unwrap();
                    assert!(data.starts_with(&format!("{number}:")), "{number}: {}", &data[..9]);
                }
                assert_eq!(socket.numbers(1), [400]);
                socket.expect_silence();
            }
        },
    );
}
