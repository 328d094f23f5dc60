//! What is published the instant a subscriber has read its welcome, or its stream's head, reaches
//! it: a hundred thousand times, on every driver and on topics with homes on both shards.

mod support;

use support::{Broker, EventStream, Http, Setup, json};

/// Subscriptions of sockets, all variants and threads together.
const SOCKET_COUNT: usize = 96_000;
/// Streams, the same. Each costs a connection.
const STREAM_COUNT: usize = 4_000;
const THREAD_COUNT: usize = 4;
/// Subscriptions whose publishes travel together.
const BATCH: usize = 50;

fn variants() -> [Setup; 4] {
    [Setup::new("uring", 2), Setup::new("epoll", 2), Setup::new("uring", 3), Setup::new("epoll", 1)]
}

fn publish_bytes(topic: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!(
        "POST /v1/demo/topics/{topic} HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn in_threads(broker: &Broker, test: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREAD_COUNT {
            let test = &test;
            scope.spawn(move || test(thread));
        }
    });
    assert_eq!(broker.metrics().count("fanwire_panics_total", &[]), 0);
}

#[test]
fn a_publish_after_the_welcome_reaches_the_websocket() {
    for setup in variants() {
        let broker = setup.start();
        let per_thread = SOCKET_COUNT / variants().len() / THREAD_COUNT;
        in_threads(&broker, |thread| {
            // One subscriber per shard, so that homes are here and elsewhere.
            let mut sockets = broker.websockets();
            let mut publisher = broker.http();
            for batch in 0..per_thread / BATCH {
                let index = batch % sockets.len();
                let socket = &mut sockets[index];
                let topics: Vec<_> = (0..BATCH).map(|n| format!("{thread}-{batch}-{n}")).collect();
                let commands: Vec<u8> =
                    topics.iter().flat_map(|topic| command("subscribe", topic)).collect();
                socket.send_bytes(&commands);
                let mut missing: Vec<&str> = topics.iter().map(String::as_str).collect();
                for _ in 0..BATCH {
                    // A welcome, or what an earlier welcome's publish delivered.
                    let text = loop {
                        let text = socket.text();
                        if text.contains("\"welcome\"") {
                            break text;
                        }
                        take(&mut missing, &text);
                    };
                    let welcome = json(text);
                    let topic = welcome["topic"].as_str().unwrap();
                    publisher.send(publish_bytes(topic, topic));
                }
                while !missing.is_empty() {
                    take(&mut missing, &socket.text());
                }
                for _ in 0..BATCH {
                    assert_eq!(publisher.response().status, 200);
                }
                let leaving: Vec<u8> =
                    topics.iter().flat_map(|topic| command("unsubscribe", topic)).collect();
                socket.send_bytes(&leaving);
            }
        });
    }
}

fn command(kind: &str, topic: &str) -> Vec<u8> {
    let text = format!(r#"{{"type":"{kind}","data":{{"topic":"{topic}"}}}}"#);
    support::frame(true, 1, text.as_bytes())
}

/// A delivery must be of one of the missing topics.
fn take(missing: &mut Vec<&str>, text: &str) {
    let message = json(text);
    let topic = message["topic"].as_str().expect("a topic");
    let found = missing.iter().position(|missing| *missing == topic);
    missing.swap_remove(found.unwrap_or_else(|| panic!("twice or never asked for: {text}")));
    assert_eq!(message["data"], topic);
}

#[test]
fn a_publish_after_the_head_reaches_the_stream() {
    for setup in variants() {
        let broker = setup.start();
        let per_thread = STREAM_COUNT / variants().len() / THREAD_COUNT;
        in_threads(&broker, |thread| {
            let mut publisher = broker.http();
            for n in 0..per_thread {
                // One topic, or several over several homes.
                let topics: Vec<_> =
                    (0..=n % 3).map(|part| format!("s-{thread}-{n}-{part}")).collect();
                let target = format!("/v1/demo/events?topics={}", topics.join(","));
                let mut stream = EventStream::open(broker.http(), &target);
                publish_each(&mut publisher, &topics);
                let mut got: Vec<String> = topics
                    .iter()
                    .map(|_| json(stream.event().data)["topic"].as_str().unwrap().to_owned())
                    .collect();
                got.sort();
                assert_eq!(got, topics);
            }
        });
    }
}

fn publish_each(publisher: &mut Http, topics: &[String]) {
    let bytes: Vec<u8> = topics.iter().flat_map(|topic| publish_bytes(topic, "x")).collect();
    publisher.send(bytes);
    for _ in topics {
        assert_eq!(publisher.response().status, 200);
    }
}
