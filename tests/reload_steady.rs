//! A thousand connections over twenty reloads under steady publishing: none is closed, none misses a
//! message or gets one twice.

mod support;

#[path = "reload/operator.rs"]
mod operator;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fanwire::stdx::clock;
use operator::Operator;
use support::{Broker, EventStream, WebSocket, post};

/// Half of them speak WebSocket, half read event streams.
const CONNECTION_COUNT: usize = 1000;
const READER_COUNT: usize = 4;
const RELOAD_COUNT: usize = 20;
/// Messages that a reader may be behind; what they add up to fits the outbound limit.
const BEHIND_MAX: usize = 32;
const END: &str = "end";
/// Time for all of it.
const TIME_MAX: Duration = Duration::from_mins(4);

/// One of a few configurations, each of which changes many things at once.
fn config(number: usize) -> String {
    let pick = |of: &[&str]| of[number % of.len()].to_owned();
    let own = [
        format!("name = \"{number}\"\n"),
        pick(&["", "cors_origins = [\"https://a.example\"]\n", "token_leeway = \"7s\"\n"]),
        pick(&["slow_consumer = \"recover\"\n", "sends_last = false\n"]),
        pick(&["", "limits.outbound_size_max = \"48KiB\"\n", "limits.idle_timeout = \"50s\"\n"]),
        pick(&["", "history = { count_max = 7 }\n", "history = { age_max = \"1s\" }\n"]),
        pick(&["", "[[applications.topics]]\npatterns = [\"t*\"]\nhistory_count_max = 3\n"]),
    ]
    .concat();
    let process = [
        pick(&["", "websocket.ping_interval = \"9s\"\n"]),
        pick(&["sse.heartbeat_interval = \"1s\"\n", "", "http.head_timeout = \"9s\"\n"]),
        pick(&["", "shards.turn.reads_max = 100\n", "shards.flush.delay_max = \"1ms\"\n"]),
        pick(&["", "history.memory_max = \"1MiB\"\n"]),
    ]
    .concat();
    let other = |other| format!("[[applications]]\nid = \"other-{other}\"\nopen = true\n");
    let others = (0..number % 3).map(other).collect::<Vec<_>>().concat();
    format!("{process}[[applications]]\nid = \"demo\"\nopen = true\n{own}{others}")
}

enum Reader {
    WebSocket(Box<WebSocket>),
    Stream(Box<EventStream>),
}

impl Reader {
    fn open(broker: &Broker, number: usize) -> Reader {
        if number.is_multiple_of(2) {
            let mut socket = broker.websocket();
            socket.subscribe("t");
            Reader::WebSocket(Box::new(socket))
        } else {
            let stream = EventStream::open(broker.http(), "/v1/demo/events?topics=t&format=raw");
            Reader::Stream(Box::new(stream))
        }
    }

    /// The next message's text. Pings are heard and not answered.
    fn next(&mut self) -> String {
        match self {
            Reader::Stream(stream) => {
                stream.parser.comment_count = 0;
                stream.event().data
            }
            Reader::WebSocket(socket) => loop {
                let frame = socket.frame();
                let shown = String::from_utf8_lossy(&frame.payload).into_owned();
                match frame.opcode {
                    1 => {
                        let message = support::json(&frame.payload);
                        return message["data"].as_str().expect("a text").to_owned();
                    }
                    9 => socket.send_bytes(&support::frame(true, 10, &frame.payload)),
                    opcode => panic!("opcode {opcode}: {shown}"),
                }
            },
        }
    }
}

/// Reads in step with the publisher until the end; how many messages each of the readers has had.
fn read(readers: &mut [Reader], progress: &AtomicUsize) -> usize {
    for expected in 0.. {
        let texts: Vec<String> = readers.iter_mut().map(Reader::next).collect();
        let first = &texts[0];
        assert!(texts.iter().all(|text| text == first), "{expected}: {texts:?}");
        if first == END {
            return expected;
        }
        assert_eq!(*first, expected.to_string());
        progress.store(expected + 1, Ordering::Release);
    }
    unreachable!("messages are counted for ever")
}

/// Publishes, as fast as the slowest reader reads, until all reloads are over; how many.
fn publish(broker: &Broker, progress: &[AtomicUsize], is_over: &AtomicBool) -> usize {
    let mut http = broker.http();
    let mut number = 0;
    let deadline = clock::now() + TIME_MAX;
    while !is_over.load(Ordering::Acquire) {
        let slowest = progress.iter().map(|read| read.load(Ordering::Acquire)).min();
        if number >= slowest.expect("some read") + BEHIND_MAX {
            assert!(clock::now() < deadline, "some reader reads nothing more");
            std::thread::yield_now();
            continue;
        }
        post(&mut http, "/v1/demo/topics/t", number.to_string().as_bytes());
        number += 1;
    }
    post(&mut http, "/v1/demo/topics/t", END.as_bytes());
    number
}

#[test]
fn a_thousand_connections_stay_and_lose_nothing_over_twenty_reloads() {
    let operator = Operator::start(2, &config(0));
    let broker = &operator.broker;
    let mut groups: Vec<Vec<Reader>> = (0..READER_COUNT).map(|_| Vec::new()).collect();
    for number in 0..CONNECTION_COUNT {
        groups[number % READER_COUNT].push(Reader::open(broker, number / READER_COUNT));
    }
    let progress: Vec<AtomicUsize> = (0..READER_COUNT).map(|_| AtomicUsize::new(0)).collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = groups
            .iter_mut()
            .zip(&progress)
            .map(|(readers, progress)| scope.spawn(move || read(readers, progress)))
            .collect();
        let publisher = scope.spawn(|| publish(broker, &progress, &is_over));
        for number in 1..=RELOAD_COUNT {
            let seen = progress[0].load(Ordering::Acquire);
            let line = operator.reload(&config(number));
            assert!(line.contains("applications[demo].name"), "{line}");
            // Some messages between any two reloads.
            while progress[0].load(Ordering::Acquire) < seen + 3 {
                assert!(!publisher.is_finished(), "it has given up");
                std::thread::yield_now();
            }
        }
        is_over.store(true, Ordering::Release);
        let published = publisher.join().expect("every publish is answered");
        for reader in readers {
            assert_eq!(reader.join().expect("it reads to the end"), published);
        }
    });
    assert_eq!(operator.reloaded_count(), RELOAD_COUNT);
    let metrics = broker.metrics();
    for door in ["websocket", "sse"] {
        assert_eq!(metrics.count("fanwire_connections_closed_total", &[("door", door)]), 0);
    }
}
