//! Who comes back to an event stream with its last event's id gets each event it missed once and in
//! order, or a `lost` event.

mod support;

use std::collections::BTreeSet;

use serde_json::json;
use support::past::{event_number, publish_numbers, returning_stream};
use support::{
    Broker, EventStream, SseEvent, on_each, on_each_with, position, post, request_bytes,
};

const SHORT: &str = "[[applications]]\nid = \"demo\"\nopen = true\nhistory.count_max = 3\n";

fn stream(broker: &Broker, target: &str) -> EventStream {
    EventStream::open(broker.http(), target)
}

fn stream_with(broker: &Broker, target: &str, fields: &[(&str, &str)]) -> EventStream {
    let mut http = broker.http();
    http.send(request_bytes("GET", target, fields, b""));
    EventStream::begin(http)
}

fn events(stream: &mut EventStream, count: usize) -> Vec<SseEvent> {
    (0..count).map(|_| stream.event()).collect()
}

/// The next event, which must be a `lost`.
fn expect_lost(stream: &mut EventStream, reason: &str, topics: &[&str]) -> SseEvent {
    let event = stream.event();
    assert_eq!(event.kind, "lost", "{event:?}");
    assert_eq!(support::json(&event.data), json!({"reason": reason, "topics": topics}));
    assert!(!event.id.is_empty(), "it has an id");
    event
}

/// The next message is the one published now.
fn expect_live(broker: &Broker, stream: &mut EventStream, topic: &str) {
    publish_numbers(&mut broker.http(), topic, 900..901);
    assert_eq!(event_number(&stream.event()), 900);
}

#[test]
fn an_event_id_leads_to_what_followed_it() {
    on_each(|broker| {
        for topic in broker.topics("e") {
            let target = format!("/v1/demo/events?topics={topic}");
            let mut first = stream(broker, &target);
            publish_numbers(&mut broker.http(), &topic, 0..130);
            let seen = events(&mut first, 130);
            for missed in [0, 1, 64, 65, 129] {
                let id = &seen[129 - missed].id;
                let query = format!("{target}&lastEventId={id}");
                let mut back = [returning_stream(broker, &target, id), stream(broker, &query)];
                for stream in &mut back {
                    let again = events(stream, missed);
                    let ids = |events: &[SseEvent]| -> Vec<(String, String)> {
                        events.iter().map(|e| (e.id.clone(), e.data.clone())).collect()
                    };
                    assert_eq!(ids(&again), ids(&seen[130 - missed..]));
                }
            }
            let mut back = returning_stream(broker, &target, &seen[129].id);
            expect_live(broker, &mut back, &topic);
        }
    });
}

#[test]
fn a_cursor_over_several_homes_splits_what_was_seen_from_what_was_not() {
    on_each(|broker| {
        // Two topics of each home, so that a home's own order shows.
        let mut topics = broker.topics("c");
        topics.extend(broker.topics("d"));
        let target = format!("/v1/demo/events?topics={}", topics.join(","));
        let mut first = stream(broker, &target);
        // In one write, so that a turn brings many of them.
        let requests: Vec<u8> = (0..60)
            .flat_map(|n| {
                let topic = &topics[n * 7 % topics.len()];
                let number = n.to_string();
                let target = format!("/v1/demo/topics/{topic}");
                request_bytes("POST", &target, &[], number.as_bytes())
            })
            .collect();
        let mut http = broker.http();
        http.send(&requests);
        let homes: Vec<u16> = (0..60)
            .map(|_| {
                let answer = http.response();
                position(support::json(&answer.body)["position"].as_str().unwrap()).0
            })
            .collect();
        let seen = events(&mut first, 60);
        let all: Vec<u64> = seen.iter().map(event_number).collect();
        assert_eq!(all.iter().copied().collect::<BTreeSet<u64>>().len(), 60);
        for cut in [0, 1, 2, 13, 29, 30, 58, 59] {
            let mut back = returning_stream(broker, &target, &seen[cut].id);
            let missed: Vec<u64> = events(&mut back, 59 - cut).iter().map(event_number).collect();
            let expected: BTreeSet<u64> = all[cut + 1..].iter().copied().collect();
            assert_eq!(missed.iter().copied().collect::<BTreeSet<u64>>(), expected);
            for home in 0..broker.variant.shards {
                let of_home =
                    missed.iter().filter(|n| homes[usize::try_from(**n).unwrap()] == home);
                assert!(of_home.is_sorted(), "home {home}: {missed:?}");
            }
        }
        let mut back = returning_stream(broker, &target, &seen[59].id);
        expect_live(broker, &mut back, &topics[0]);
        assert_eq!(event_number(&first.event()), 900);
    });
}

#[test]
fn topics_of_one_home_keep_its_order_over_pages() {
    on_each(|broker| {
        let home = position(&publish_numbers(&mut broker.http(), "o", 0..1)[0]).0;
        let mut http = broker.http();
        let topics: Vec<String> = (0..1000)
            .map(|n| format!("o-{n}"))
            .filter(|name| position(&publish_numbers(&mut http, name, 0..1)[0]).0 == home)
            .take(3)
            .collect();
        let target = format!("/v1/demo/events?topics={}", topics.join(","));
        let mut first = stream(broker, &target);
        for number in 0..200 {
            let topic = &topics[usize::try_from(number % 3).unwrap()];
            publish_numbers(&mut http, topic, number..number + 1);
        }
        let seen = events(&mut first, 200);
        let numbers: Vec<u64> = seen.iter().map(event_number).collect();
        assert!(numbers.iter().copied().eq(0..200), "{numbers:?}");
        for cut in [0, 70, 150] {
            let mut back = returning_stream(broker, &target, &seen[cut].id);
            let expected: Vec<u64> = (cut as u64 + 1..200).collect();
            assert_eq!(back.numbers(199 - cut), expected);
        }
    });
}

#[test]
fn a_loss_is_an_event_with_an_id_to_go_on_from() {
    on_each_with(
        |setup| setup.config(SHORT),
        |broker| {
            for topic in broker.topics("l") {
                let target = format!("/v1/demo/events?topics={topic}");
                let mut http = broker.http();
                let positions = publish_numbers(&mut http, &topic, 0..10);
                for (id, reason, count) in [
                    (&*positions[2], "too_old", 3),
                    ("12345", "unknown_position", 0),
                    ("what was that", "unknown_position", 0),
                    ("\u{e9}", "unknown_position", 0),
                    ("fffffff-0.1", "history_lost", 3),
                ] {
                    let id = if reason == "history_lost" {
                        // Of a process that has ended, on this topic's home.
                        format!("fffffff-{:x}.1", position(&positions[0]).0)
                    } else {
                        id.to_owned()
                    };
                    let mut back = returning_stream(broker, &target, &id);
                    let event = expect_lost(&mut back, reason, &[&topic]);
                    assert!(event.retry.is_some(), "it stands in the first block");
                    assert_eq!(back.numbers(count), [7, 8, 9][3 - count..]);
                    // From the event's own id nothing is lost any more.
                    let mut next = returning_stream(broker, &target, &event.id);
                    assert_eq!(next.numbers(count), [7, 8, 9][3 - count..]);
                }
            }
        },
    );
}

#[test]
fn a_loss_over_several_homes_names_the_topics_it_concerns() {
    on_each_with(
        |setup| setup.config(SHORT),
        |broker| {
            let topics = broker.topics("l");
            let target = format!("/v1/demo/events?topics={}", topics.join(","));
            let mut first = stream(broker, &target);
            let mut http = broker.http();
            for topic in &topics {
                publish_numbers(&mut http, topic, 0..1);
            }
            let id = events(&mut first, topics.len()).pop().unwrap().id;
            // The first topic outruns its history; the others do not.
            publish_numbers(&mut http, &topics[0], 1..6);
            for topic in &topics[1..] {
                publish_numbers(&mut http, topic, 10..12);
            }
            let mut back = returning_stream(broker, &target, &id);
            let count = 1 + 3 + 2 * (topics.len() - 1);
            let (lost, messages): (Vec<_>, Vec<_>) =
                events(&mut back, count).into_iter().partition(|event| event.kind == "lost");
            let told: Vec<_> = lost.iter().map(|event| support::json(&event.data)).collect();
            assert_eq!(told, [json!({"reason": "too_old", "topics": [topics[0]]})]);
            let mut numbers: Vec<u64> = messages.iter().map(event_number).collect();
            numbers.sort_unstable();
            let mut expected = vec![3, 4, 5];
            topics[1..].iter().for_each(|_| expected.extend([10, 11]));
            expected.sort_unstable();
            assert_eq!(numbers, expected);
        },
    );
}

#[test]
fn the_header_wins_over_the_address_and_an_empty_id_is_none() {
    on_each(|broker| {
        for topic in broker.topics("w") {
            let positions = publish_numbers(&mut broker.http(), &topic, 0..10);
            let target = format!("/v1/demo/events?topics={topic}");
            let with_query = format!("{target}&lastEventId={}", positions[1]);
            // A page's address stays the same; what its reader has seen moves on.
            let mut back = returning_stream(broker, &with_query, &positions[7]);
            assert_eq!(back.numbers(2), [8, 9]);
            // An empty header resets, also where the address names one.
            for (target, fields) in [
                (&target, &[("Last-Event-ID", "")][..]),
                (&with_query, &[("Last-Event-ID", "")]),
                (&format!("{target}&lastEventId="), &[]),
            ] {
                let mut fresh = stream_with(broker, target, fields);
                expect_live(broker, &mut fresh, &topic);
            }
        }
    });
}

#[test]
fn a_browsers_stream_has_an_id_before_its_first_event() {
    on_each(|broker| {
        let topics = broker.topics("b");
        for list in [topics[0].clone(), topics.join(",")] {
            for target in [format!("/v1/demo/events?topics={list}"), format!("/?channels={list}")] {
                let fields = [("Sec-Fetch-Mode", "cors")];
                let mut browser = stream_with(broker, &target, &fields);
                let before_any = browser.id_before_events();
                assert!(!before_any.is_empty(), "{target}");
                drop(browser);
                publish_numbers(&mut broker.http(), &topics[0], 0..2);
                let mut back = returning_stream(broker, &target, &before_any);
                let kinds: Vec<String> =
                    events(&mut back, 2).into_iter().map(|event| event.kind).collect();
                assert_eq!(kinds, ["message", "message"]);
            }
        }
        // Others get no block without data: some readers take it for an event.
        let mut plain = stream(broker, &format!("/v1/demo/events?topics={}", topics[0]));
        publish_numbers(&mut broker.http(), &topics[0], 2..3);
        let event = plain.event();
        assert_eq!(event_number(&event), 2);
        assert!(event.retry.is_some(), "`retry:` is in the first event's block");
    });
}

#[test]
fn buzzposts_root_recovers_alike() {
    on_each_with(
        |setup| setup.config(SHORT),
        |broker| {
            let topics = broker.topics("z");
            let target = format!("/?channels={}", topics.join(","));
            let mut first = stream(broker, &target);
            let mut http = broker.http();
            let mut publish = |data: &str| {
                let body = json!({"channel": topics[0], "data": data}).to_string();
                post(&mut http, "/", body.as_bytes());
            };
            ["a", "b", "c"].into_iter().for_each(&mut publish);
            let seen = events(&mut first, 3);
            let datas = |events: &[SseEvent]| -> Vec<String> {
                events.iter().map(|event| event.data.clone()).collect()
            };
            assert_eq!(datas(&seen), ["a", "b", "c"]);
            let mut back = returning_stream(broker, &target, &seen[0].id);
            assert_eq!(datas(&events(&mut back, 2)), ["b", "c"]);
            ["d", "e"].into_iter().for_each(&mut publish);
            assert_eq!(datas(&events(&mut back, 2)), ["d", "e"]);
            let mut late = returning_stream(broker, &target, &seen[0].id);
            expect_lost(&mut late, "too_old", &[&topics[0]]);
            assert_eq!(datas(&events(&mut late, 3)), ["c", "d", "e"]);
        },
    );
}
