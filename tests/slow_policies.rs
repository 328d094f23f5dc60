//! Who stops reading for a while, by its topic's policy: the connection lives, and once it reads
//! again it gets what the policy says, and is told what it does not get.

mod support;

use std::net::TcpStream;

use serde_json::{Value, json};
use support::past::number;
use support::{
    Broker, EventStream, Http, Metrics, PATIENCE, WebSocket, frame, on_each_with, post,
    request_bytes,
};

/// A family per policy; of `short*` hardly anything is kept.
const FAMILIES: &str = "[[applications]]\nid = \"demo\"\nopen = true\n\
    limits.outbound_size_max = \"64KiB\"\n\
    [[applications.topics]]\npatterns = [\"recover*\"]\nslow_consumer = \"recover\"\n\
    history_count_max = 10_000\nhistory_size_max = \"64MiB\"\n\
    [[applications.topics]]\npatterns = [\"short*\"]\nslow_consumer = \"recover\"\n\
    history_count_max = 5\n\
    [[applications.topics]]\npatterns = [\"oldest*\"]\nslow_consumer = \"drop_oldest\"\n\
    [[applications.topics]]\npatterns = [\"latest*\"]\nslow_consumer = \"keep_latest\"\n";

/// Messages of a flood.
const COUNT: u64 = 300;
/// Bytes of one.
const SIZE: usize = 10_000;
/// Keys that a flood's messages have in turn.
const KEYS: u64 = 10;

fn on_families(test: impl Fn(&Broker)) {
    on_each_with(|setup| setup.config(FAMILIES).with("SHARDS_SOCKET_SEND_SIZE", "8KiB"), test);
}

/// A connection whose buffers hold little on both sides.
fn narrow(broker: &Broker) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
    socket.connect(&broker.address.into()).expect("the broker listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    stream
}

fn narrow_socket(broker: &Broker, topic: &str) -> WebSocket {
    let mut socket = WebSocket::open(narrow(broker), "/apps/demo?positions=1");
    socket.subscribe(topic);
    socket
}

/// Publishes a flood with one who reads all of it beside.
fn flood(broker: &Broker, topic: &str) {
    let mut healthy = broker.websocket();
    healthy.subscribe(topic);
    let mut http = broker.http();
    for number in 0..COUNT {
        publish(&mut http, topic, number);
        assert_eq!(padded(&healthy.value()), number, "nobody else is held up");
    }
}

/// Publishes a number with much behind it.
fn publish(http: &mut Http, topic: &str, number: u64) {
    let body = format!("{number}:{}", "f".repeat(SIZE));
    let key = format!("k{}", number % KEYS);
    let target = format!("/v1/demo/topics/{topic}");
    let answer = http.request("POST", &target, &[("Message-Key", &key)], body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The number in front of a padded message.
fn padded(message: &Value) -> u64 {
    let text = message["data"].as_str().and_then(|text| text.split_once(':'));
    text.and_then(|(number, _)| number.parse().ok()).unwrap_or_else(|| panic!("{message}"))
}

/// What a socket that had stopped reading got.
#[derive(Debug, Default)]
struct Got {
    before: Vec<u64>,
    lost: Vec<Value>,
    after: Vec<u64>,
}

impl Got {
    fn take(&mut self, number: u64) {
        if self.lost.is_empty() { self.before.push(number) } else { self.after.push(number) }
    }

    fn is_whole(&self) -> bool {
        self.before.iter().chain(&self.after).next_back() == Some(&(COUNT - 1))
    }

    /// What came before the loss has no gap; the loss is told once, and something was dropped.
    fn check_loss(&self, lost: &Value) {
        assert_eq!(&self.lost, std::slice::from_ref(lost), "{self:?}");
        assert!(self.before.iter().copied().eq(0..self.before.len() as u64), "{self:?}");
        assert!(self.before.last() < self.after.first(), "{self:?}");
    }
}

fn read_on(socket: &mut WebSocket) -> Got {
    let mut got = Got::default();
    while !got.is_whole() {
        let value = socket.value();
        if value["messageType"] == "lost" {
            assert_eq!(value["topic"], "priv/session");
            assert!(value["data"]["position"].is_string(), "{value}");
            got.lost.push(json!([value["data"]["topic"], value["data"]["reason"]]));
        } else {
            got.take(padded(&value));
        }
    }
    got
}

fn read_events_on(events: &mut EventStream) -> Got {
    let mut got = Got::default();
    while !got.is_whole() {
        let event = events.event();
        let data = support::json(&event.data);
        if event.kind == "lost" {
            assert!(!event.id.is_empty(), "{event:?}");
            got.lost.push(json!([data["topics"][0], data["reason"]]));
        } else {
            got.take(padded(&data));
        }
    }
    got
}

/// It is subscribed as before, nobody was closed, and it was counted under its policy.
fn check_alive(broker: &Broker, topic: &str, socket: &mut WebSocket, policy: &str) {
    post(&mut broker.http(), &format!("/v1/demo/topics/{topic}"), b"7");
    assert_eq!(number(&socket.value()), 7);
    socket.expect_silence();
    check_counted(&broker.metrics(), policy);
}

fn check_counted(metrics: &Metrics, policy: &str) {
    assert_eq!(metrics.count("fanwire_slow_consumers_total", &[]), 0);
    assert!(metrics.count("fanwire_fell_behind_total", &[("policy", policy)]) > 0, "{policy}");
}

#[test]
fn recover_brings_everything_from_history() {
    on_families(|broker| {
        for topic in broker.topics("recover") {
            let mut socket = narrow_socket(broker, &topic);
            let mut events = events_of(broker, &topic);
            flood(broker, &topic);
            for got in [read_on(&mut socket), read_events_on(&mut events)] {
                assert!(got.before.iter().copied().eq(0..COUNT), "{got:?}");
            }
            check_alive(broker, &topic, &mut socket, "recover");
            assert_eq!(number(&support::json(events.event().data)), 7);
        }
    });
}

fn events_of(broker: &Broker, topic: &str) -> EventStream {
    let mut http = Http::new(narrow(broker));
    http.send(request_bytes("GET", &format!("/v1/demo/events?topics={topic}"), &[], b""));
    EventStream::begin(http)
}

#[test]
fn recover_says_so_when_history_is_too_short() {
    on_families(|broker| {
        for topic in broker.topics("short") {
            let mut socket = narrow_socket(broker, &topic);
            let mut events = events_of(broker, &topic);
            flood(broker, &topic);
            for got in [read_on(&mut socket), read_events_on(&mut events)] {
                got.check_loss(&json!([topic, "too_old"]));
                assert!(got.after.iter().copied().eq(COUNT - 5..COUNT), "{got:?}");
            }
            check_alive(broker, &topic, &mut socket, "recover");
        }
    });
}

#[test]
fn drop_oldest_brings_the_newest_that_fit() {
    on_families(|broker| {
        for topic in broker.topics("oldest") {
            let mut socket = narrow_socket(broker, &topic);
            let mut events = events_of(broker, &topic);
            flood(broker, &topic);
            for got in [read_on(&mut socket), read_events_on(&mut events)] {
                got.check_loss(&json!([topic, "too_slow"]));
                let first = COUNT - got.after.len() as u64;
                assert!(got.after.iter().copied().eq(first..COUNT), "{got:?}");
            }
            check_alive(broker, &topic, &mut socket, "drop_oldest");
        }
    });
}

#[test]
fn keep_latest_brings_one_per_key() {
    on_families(|broker| {
        for topic in broker.topics("latest") {
            let mut socket = narrow_socket(broker, &topic);
            let mut events = events_of(broker, &topic);
            flood(broker, &topic);
            for got in [read_on(&mut socket), read_events_on(&mut events)] {
                got.check_loss(&json!([topic, "too_slow"]));
                assert!(got.after.iter().copied().eq(COUNT - KEYS..COUNT), "{got:?}");
            }
            check_alive(broker, &topic, &mut socket, "keep_latest");
        }
    });
}

#[test]
fn pongs_do_not_stand_behind_what_is_queued() {
    on_families(|broker| {
        let topic = &broker.topics("oldest")[0];
        let mut socket = narrow_socket(broker, topic);
        flood(broker, topic);
        socket.send_bytes(&frame(true, 9, b"there?"));
        // Once this is answered the shards have had turns for the ping.
        let before = broker.metrics().count("fanwire_turns_total", &[]);
        broker.await_metrics("turns", |m| m.count("fanwire_turns_total", &[]) > before + 20);
        let (mut index, mut pong_at) = (0, None);
        loop {
            let frame = socket.frame();
            match frame.opcode {
                10 => pong_at = Some(index),
                _ if support::json(&frame.payload)["messageType"] == "lost" => break,
                _ => index += 1,
            }
        }
        // Nothing is read from a socket of which more than half a queue waits: three messages. Once
        // it is read, the pong is in front of all that had not begun to leave.
        let pong_at = pong_at.expect("a pong before the loss");
        assert!(pong_at + 1 < index, "the pong came after {pong_at} of {index} messages");
    });
}

#[test]
fn a_reader_slower_than_its_topic_gets_everything_once() {
    on_families(|broker| {
        for topic in broker.topics("recover") {
            let mut socket = narrow_socket(broker, &topic);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut http = broker.http();
                    (0..COUNT).for_each(|number| publish(&mut http, &topic, number));
                });
                for number in 0..COUNT {
                    assert_eq!(padded(&socket.value()), number);
                    // Each message costs the reader more than it costs its publisher.
                    if number % 3 == 0 {
                        assert_eq!(broker.metrics().count("fanwire_slow_consumers_total", &[]), 0);
                    }
                }
            });
            socket.expect_silence();
        }
    });
}

#[test]
fn a_session_with_several_policies_keeps_each_topics_own() {
    on_families(|broker| {
        let (recover, oldest) = (&broker.topics("recover")[0], &broker.topics("oldest")[0]);
        let mut socket = narrow_socket(broker, recover);
        socket.subscribe(oldest);
        let mut http = broker.http();
        for number in 0..COUNT {
            publish(&mut http, recover, number);
            publish(&mut http, oldest, number);
        }
        let (mut all, mut newest, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        while all.last() != Some(&(COUNT - 1)) || newest.last() != Some(&(COUNT - 1)) {
            let value = socket.value();
            if value["messageType"] == "lost" {
                lost.push(value["data"]["topic"].clone());
            } else if value["topic"] == recover.as_str() {
                all.push(padded(&value));
            } else {
                newest.push(padded(&value));
            }
        }
        assert!(all.iter().copied().eq(0..COUNT), "{all:?}");
        assert!(newest.is_sorted_by(|a, b| a < b), "{newest:?}");
        assert!(newest.len() < all.len() && lost.iter().all(|topic| topic == oldest.as_str()));
        assert!(!lost.is_empty(), "what was dropped is told");
        socket.expect_silence();
        check_counted(&broker.metrics(), "recover");
        check_counted(&broker.metrics(), "drop_oldest");
    });
}
