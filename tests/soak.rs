//! A soak: fan-out, connections that come and go, and reloads, for a while. Nothing may be lost, and
//! neither memory nor descriptors nor queues may grow.
//!
//! Twenty minutes under `FANWIRE_FULL=1`, or as many seconds as `FANWIRE_SOAK_SECONDS` says; a few
//! otherwise, so that what it is made of is exercised by every run.

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fanwire::stdx::clock;
use rustix::process::Signal;
use serde_json::Value;
use support::{Broker, EventStream, Setup, WebSocket, json, post};

const FULL_SECONDS: u64 = 20 * 60;
const SHORT_SECONDS: u64 = 6;

const TOPIC_COUNT: usize = 8;
/// Subscribers of each topic by each door.
const SUBSCRIBER_COUNT: usize = 6;
const CHURNER_COUNT: usize = 2;
const PUBLISH_INTERVAL: Duration = Duration::from_millis(2);
const RELOAD_INTERVAL: Duration = Duration::from_millis(1500);
const SAMPLE_COUNT: usize = 60;

/// What the last message of each topic says.
const END: &str = "end";

/// Bytes that resident memory may grow by between the first and the last third: the allocator keeps
/// what a burst once needed.
const MEMORY_GROWTH_MAX: u64 = 12 << 20;
/// Descriptors that come and go with the churn.
const DESCRIPTOR_GROWTH_MAX: usize = 2 * CHURNER_COUNT + 2;

#[test]
fn nothing_is_lost_and_nothing_grows() {
    let seconds = seconds();
    let file = File::new();
    file.write(0);
    let broker = Setup::new("auto", 2).with("CONFIG", file.path.display().to_string()).start();
    let is_over = AtomicBool::new(false);
    let (broker, is_over) = (&broker, &is_over);
    let samples = std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for topic in (0..TOPIC_COUNT).map(topic) {
            for _ in 0..SUBSCRIBER_COUNT {
                let mut socket = broker.websocket();
                socket.subscribe(&topic);
                readers.push(scope.spawn(move || read_all(|| socket_payload(&mut socket))));
                let target = format!("/v1/demo/events?topics={topic}");
                let mut stream = EventStream::open(broker.http(), &target);
                readers.push(scope.spawn(move || read_all(|| stream_payload(&mut stream))));
            }
        }
        for number in 0..CHURNER_COUNT {
            scope.spawn(move || churn(broker, number, is_over));
        }
        let file = &file;
        scope.spawn(move || reload(broker, file, is_over));
        let publisher = scope.spawn(move || publish(broker, is_over));
        let samples = sample(broker, Duration::from_secs(seconds));
        is_over.store(true, Ordering::Relaxed);
        let published = publisher.join().expect("every publish is taken");
        assert!(published > 0);
        for reader in readers {
            assert_eq!(reader.join().expect("nothing is lost"), published);
        }
        samples
    });
    judge(&samples);
    let metrics = broker.metrics();
    assert_eq!(metrics.count("fanwire_connections_closed_total", &[("cause", "slow_consumer")]), 0);
}

fn seconds() -> u64 {
    let set = std::env::var("FANWIRE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let is_full = std::env::var_os("FANWIRE_FULL").is_some_and(|value| value == "1");
    set.unwrap_or(if is_full { FULL_SECONDS } else { SHORT_SECONDS })
}

fn topic(number: usize) -> String {
    format!("soak-{number}")
}

/// Reads numbers from zero to the end, none missing, none twice; how many there were.
fn read_all(mut payload: impl FnMut() -> String) -> u64 {
    let mut next = 0;
    loop {
        let payload = payload();
        if payload == END {
            return next;
        }
        assert_eq!(payload, next.to_string(), "lost, doubled or out of order");
        next += 1;
    }
}

fn socket_payload(socket: &mut WebSocket) -> String {
    const PING: u8 = 9;
    const PONG: u8 = 10;
    loop {
        let frame = socket.frame();
        if frame.opcode == PING {
            socket.send_bytes(&support::frame(true, PONG, &frame.payload));
        } else if let Value::String(payload) = &json(frame.payload)["data"] {
            return payload.clone();
        }
    }
}

fn stream_payload(stream: &mut EventStream) -> String {
    let value = json(stream.event().data);
    value["data"].as_str().expect("a text").to_owned()
}

/// Publishes to all topics in turns until it is over; messages per topic.
fn publish(broker: &Broker, is_over: &AtomicBool) -> u64 {
    let mut http = broker.http();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        for topic in (0..TOPIC_COUNT).map(topic) {
            post(&mut http, &format!("/v1/demo/topics/{topic}"), number.to_string().as_bytes());
            std::thread::sleep(PUBLISH_INTERVAL);
        }
        number += 1;
    }
    for topic in (0..TOPIC_COUNT).map(topic) {
        post(&mut http, &format!("/v1/demo/topics/{topic}"), END.as_bytes());
    }
    number
}

/// Clients that come, receive something and go, by a close or without one.
fn churn(broker: &Broker, number: usize, is_over: &AtomicBool) {
    for round in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        // It has its own topic, so that it need not wait for the publisher.
        let topic = format!("churn-{number}-{}", round % 50);
        let mut socket = broker.websocket();
        socket.subscribe(&topic);
        let target = format!("/v1/demo/events?topics={topic}");
        let mut stream = EventStream::open(broker.http(), &target);
        post(&mut broker.http(), &format!("/v1/demo/topics/{topic}"), b"hello");
        assert_eq!(socket_payload(&mut socket), "hello");
        assert_eq!(stream_payload(&mut stream), "hello");
        if round % 2 == 0 {
            socket.send_bytes(&support::frame(true, 8, &1000_u16.to_be_bytes()));
        }
    }
}

/// Reloads; each file differs from the one before.
fn reload(broker: &Broker, file: &File, is_over: &AtomicBool) {
    for round in 1_u64.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        file.write(round);
        broker.signal(Signal::HUP);
        std::thread::sleep(RELOAD_INTERVAL);
    }
}

struct Sample {
    resident_size: u64,
    descriptor_count: usize,
}

fn sample(broker: &Broker, duration: Duration) -> Vec<Sample> {
    let began = clock::now();
    let interval = duration / u32::try_from(SAMPLE_COUNT).expect("small");
    let mut samples = Vec::with_capacity(SAMPLE_COUNT);
    for number in 1..=SAMPLE_COUNT {
        sleep_until(began + interval * u32::try_from(number).expect("small"));
        samples.push(Sample {
            resident_size: broker.resident_size(),
            descriptor_count: broker.descriptor_count(),
        });
    }
    samples
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(clock::now()));
}

fn judge(samples: &[Sample]) {
    let third = samples.len() / 3;
    let (first, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let sizes = |samples: &[Sample]| median(samples.iter().map(|s| s.resident_size).collect());
    let (before, after) = (sizes(first), sizes(last));
    eprintln!("resident memory {before} → {after} bytes");
    assert!(after <= before + MEMORY_GROWTH_MAX, "memory grows: {before} → {after} bytes");
    let counts = |samples: &[Sample]| median(samples.iter().map(|s| s.descriptor_count).collect());
    let (before, after) = (counts(first), counts(last));
    eprintln!("descriptors {before} → {after}");
    assert!(after <= before + DESCRIPTOR_GROWTH_MAX, "descriptors grow: {before} → {after}");
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The configuration that changes.
struct File {
    path: PathBuf,
}

impl File {
    fn new() -> File {
        let name = format!("fanwire-soak-{}.toml", std::process::id());
        File { path: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) }
    }

    /// Replaces it at once: the broker must never read half of one.
    fn write(&self, round: u64) {
        let guest =
            if round % 2 == 1 { "[[applications]]\nid = \"guest\"\nopen = true\n" } else { "" };
        let text = format!(
            "[http]\nidle_timeout = \"{}s\"\n\
             [[applications]]\nid = \"demo\"\nopen = true\n\
             history.count_max = {}\n{guest}",
            60 + round % 10,
            100 + round % 3,
        );
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).expect("the folder for temporary files is ours");
        std::fs::rename(&new, &self.path).expect("the folder for temporary files is ours");
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
