//! A place in a topic is the same through every door; a session's places as one ticket, and back.

mod support;

use serde_json::{Value, json};
use support::past::{event_number, number, positioned, publish_numbers, returning_stream};
use support::{Broker, EventStream, WebSocket, on_each, on_each_with};

const SHORT: &str = "[[applications]]\nid = \"demo\"\nopen = true\nhistory.count_max = 3\n";

fn ask_ticket(socket: &mut WebSocket) -> String {
    socket.send(r#"{"type":"ticket","data":{}}"#);
    let frame = socket.value();
    assert_eq!(
        (&frame["topic"], &frame["messageType"]),
        (&json!("priv/session"), &json!("ticket"))
    );
    assert_eq!(frame["data"]["retryMs"], Value::Null, "only a stop says when to come back");
    frame["data"]["ticket"].as_str().expect("a ticket").to_owned()
}

/// Positions as each door tells them, of messages 0 to 9 of `topic`.
fn positions_by_door(broker: &Broker, topic: &str) -> [Vec<String>; 4] {
    let target = format!("/v1/demo/events?topics={topic}");
    let mut events = EventStream::open(broker.http(), &target);
    let mut socket = positioned(broker);
    socket.subscribe(topic);
    let answers = publish_numbers(&mut broker.http(), topic, 0..10);
    let of_events = (0..10).map(|_| events.event().id).collect();
    let text = |value: &Value| value["position"].as_str().expect("a position").to_owned();
    let of_socket = (0..10).map(|_| text(&socket.value())).collect();
    let target = format!("/v1/demo/history?topic={topic}&limit=10");
    let history = support::json(broker.http().request("GET", &target, &[], b"").body);
    let of_history = history["messages"].as_array().expect("a list").iter().map(text).collect();
    [answers, of_events, of_socket, of_history]
}

#[test]
fn every_door_takes_every_doors_positions() {
    on_each(|broker| {
        for topic in broker.topics("x") {
            for positions in positions_by_door(broker, &topic) {
                let at = &positions[6];
                let mut socket = positioned(broker);
                socket.subscribe_from(&topic, at);
                assert_eq!(socket.numbers(3), [7, 8, 9]);
                let target = format!("/v1/demo/events?topics={topic}");
                assert_eq!(returning_stream(broker, &target, at).numbers(3), [7, 8, 9]);
                for target in [
                    format!("/v1/demo/poll?topics={topic}&since={at}"),
                    format!("/v1/demo/history?topic={topic}&after={at}"),
                ] {
                    let answer = broker.http().request("GET", &target, &[], b"");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let body = support::json(&answer.body);
                    let numbers: Vec<u64> =
                        body["messages"].as_array().unwrap().iter().map(number).collect();
                    assert_eq!((numbers, &body["lost"]), (vec![7, 8, 9], &Value::Null));
                }
            }
        }
    });
}

#[test]
fn a_streams_cursor_is_good_for_each_of_its_topics_alone() {
    on_each(|broker| {
        let topics = broker.topics("y");
        let target = format!("/v1/demo/events?topics={}", topics.join(","));
        let mut events = EventStream::open(broker.http(), &target);
        for topic in &topics {
            publish_numbers(&mut broker.http(), topic, 0..1);
        }
        let id = (0..topics.len()).map(|_| events.event().id).last().expect("one at least");
        for topic in &topics {
            publish_numbers(&mut broker.http(), topic, 1..3);
            let mut socket = positioned(broker);
            let recovery = socket.subscribe_from(topic, &id);
            assert_eq!(recovery, json!({"recovered": true, "count": 2}), "{topic} {id}");
            assert_eq!(socket.numbers(2), [1, 2]);
        }
        // A poll over all of them goes on from there, and the stream from the poll's.
        let poll = format!("/v1/demo/poll?topics={}&since={id}", topics.join(","));
        let body = support::json(broker.http().request("GET", &poll, &[], b"").body);
        assert_eq!(body["messages"].as_array().unwrap().len(), 2 * topics.len());
        publish_numbers(&mut broker.http(), &topics[0], 3..4);
        let mut back = returning_stream(broker, &target, body["position"].as_str().unwrap());
        assert_eq!(event_number(&back.event()), 3);
    });
}

#[test]
fn a_ticket_restores_every_topic_where_it_stood() {
    on_each(|broker| {
        let topics = broker.topics("t");
        let mut http = broker.http();
        let mut first = positioned(broker);
        for topic in &topics {
            first.subscribe(topic);
            publish_numbers(&mut http, topic, 0..5);
            assert_eq!(first.numbers(5), [0, 1, 2, 3, 4]);
        }
        let ticket = ask_ticket(&mut first);
        drop(first);
        let mut count = 0;
        for (topic, more) in topics.iter().zip(2..) {
            publish_numbers(&mut http, topic, 5..5 + more);
            count += more;
        }
        let mut sockets = [positioned(broker), broker.websocket()];
        for socket in &mut sockets {
            let resumed = socket.resume(&json!({"ticket": ticket}));
            for (topic, more) in topics.iter().zip(2..) {
                let welcome = json!({"recovered": true, "count": more});
                assert_eq!(resumed.of(topic), (Some(&welcome), (5..5 + more).collect()));
            }
            let told = json!({"recovered": topics.len(), "lost": 0, "messages": count});
            assert_eq!(resumed.told, told);
            socket.expect_silence();
        }
        for topic in &topics {
            publish_numbers(&mut http, topic, 50..51);
            assert!(sockets.iter_mut().all(|socket| socket.numbers(1) == [50]));
        }
    });
}

#[test]
fn a_resume_names_what_is_lost_and_its_own_positions_win() {
    on_each_with(
        |setup| setup.config(SHORT),
        |broker| {
            let topics = [broker.topics("a"), broker.topics("b"), broker.topics("c")].concat();
            let mut http = broker.http();
            let mut first = positioned(broker);
            for topic in &topics {
                first.subscribe(topic);
            }
            let ticket = ask_ticket(&mut first);
            // Of the first topic more than is kept, of the others less.
            publish_numbers(&mut http, &topics[0], 0..7);
            let own = publish_numbers(&mut http, &topics[1], 0..3);
            publish_numbers(&mut http, &topics[2], 0..3);
            let data = json!({
                "ticket": ticket,
                "topics": {&topics[1]: own[1], &topics[2]: null, "fresh": null, "odd": "nonsense"},
            });
            let mut socket = positioned(broker);
            let resumed = socket.resume(&data);
            let lost = json!({"recovered": false, "reason": "too_old", "count": 3});
            assert_eq!(resumed.of(&topics[0]), (Some(&lost), vec![4, 5, 6]));
            let recovered = |count: u64| json!({"recovered": true, "count": count});
            assert_eq!(resumed.of(&topics[1]), (Some(&recovered(1)), vec![2]));
            assert_eq!(resumed.of(&topics[2]), (Some(&Value::Null), vec![]));
            assert_eq!(resumed.of("fresh"), (Some(&Value::Null), vec![]));
            let odd = json!({"recovered": false, "reason": "unknown_position", "count": 0});
            assert_eq!(resumed.of("odd"), (Some(&odd), vec![]));
            for topic in &topics[3..] {
                assert_eq!(resumed.of(topic), (Some(&recovered(0)), vec![]));
            }
            let expected = json!({"recovered": topics.len() - 2, "lost": 2, "messages": 4});
            assert_eq!(resumed.told, expected);
            for topic in topics.iter().map(String::as_str).chain(["fresh", "odd"]) {
                publish_numbers(&mut http, topic, 50..51);
                assert_eq!(socket.numbers(1), [50], "{topic}");
            }
            socket.expect_silence();
        },
    );
}

#[test]
fn resumes_that_say_nothing_or_nonsense() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        for data in [json!({}), json!({"topics": {}}), json!({"ticket": ""})] {
            let told = json!({"recovered": 0, "lost": 0, "messages": 0});
            assert_eq!(socket.resume(&data).told, told, "{data}");
        }
        socket.expect_silence();
        for data in [json!({"ticket": "%%%"}), json!({"ticket": "AAAA"}), json!({"topics": []})] {
            let mut socket = broker.websocket();
            socket.send(&json!({"type": "resume", "data": data}).to_string());
            let (code, reason) = socket.expect_close();
            assert_eq!((code, &*reason), (1008, "Invalid message format!"), "{data}");
        }
        // A topic that nobody may have ends it as a subscribe does.
        let mut socket = broker.websocket();
        socket.send(r#"{"type":"resume","data":{"topics":{"priv/x":null}}}"#);
        assert_eq!(socket.expect_close().0, 1008);
    });
}

#[test]
fn mains_place_stands_in_the_address() {
    on_each(|broker| {
        let mut http = broker.http();
        let mut first = WebSocket::begin({
            let mut http = broker.http();
            http.send(support::upgrade_bytes("/apps/demo?positions=1", &[]));
            http
        });
        let welcome = first.value();
        assert_eq!(welcome["topic"], "main");
        let start = welcome["position"].as_str().expect("a position").to_owned();
        let positions = publish_numbers(&mut http, "main", 0..3);
        assert_eq!(first.numbers(3), [0, 1, 2]);
        for (at, missed) in [(&start, vec![0, 1, 2]), (&positions[1], vec![2])] {
            let target = format!("/apps/demo?positions=1&position={at}");
            let mut http = broker.http();
            http.send(support::upgrade_bytes(&target, &[]));
            let mut socket = WebSocket::begin(http);
            let welcome = socket.value();
            let recovery = json!({"recovered": true, "count": missed.len()});
            assert_eq!(welcome["data"]["recovery"], recovery);
            assert_eq!(socket.numbers(missed.len()), missed);
            socket.expect_silence();
        }
        // Without one, `main` is as it always was.
        let mut plain = broker.websocket();
        publish_numbers(&mut http, "main", 3..4);
        assert_eq!(plain.text(), r#"{"topic":"main","messageType":"broadcast","data":"3"}"#);
    });
}
