//! The same random traffic through both drivers and both ways to send: the same bytes come out.

mod support;

use std::io::{Read as _, Write as _};

use support::{Random, Setup, WebSocket, frame, post};

const SEEDS: [u64; 4] = [1, 7, 0xfa17, 0xdeca_fbad];
const MESSAGE_COUNT: usize = 60;
const SIZE_MAX: usize = 200 << 10;

/// Payload sizes, those around every length encoding and buffer included.
fn size(random: &mut Random) -> usize {
    const EDGES: [usize; 12] =
        [0, 1, 80, 81, 125, 126, 4_096, 16_384, 65_535, 65_536, 131_072, SIZE_MAX];
    match random.below(3) {
        0 => (EDGES[random.below(EDGES.len())] + random.below(5)).min(SIZE_MAX),
        1 => random.below(2_000),
        _ => random.below(SIZE_MAX),
    }
}

fn text(random: &mut Random, size: usize) -> String {
    random.bytes(size).into_iter().map(|byte| char::from(b'!' + 2 + byte % 56)).collect()
}

/// What each of several subscribers gets; the run's random parts replaced.
fn run(setup: &Setup, seed: u64) -> Vec<Vec<u8>> {
    let broker = setup.start();
    let mut random = Random(seed);
    let mut sockets: Vec<WebSocket> = (0..3).map(|_| broker.websocket()).collect();
    for socket in &mut sockets {
        socket.subscribe("d");
    }
    let stream = support::EventStream::open(broker.http(), "/?channels=d");
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            std::thread::spawn(move || {
                (0..=MESSAGE_COUNT).flat_map(|_| socket.text().into_bytes()).collect::<Vec<u8>>()
            })
        })
        .collect();
    let stream_reader = std::thread::spawn(move || {
        let mut stream = stream;
        (0..=MESSAGE_COUNT).flat_map(|_| stream.event().data.into_bytes()).collect::<Vec<u8>>()
    });
    let mut http = broker.http();
    for _ in 0..MESSAGE_COUNT {
        let size = size(&mut random);
        let body = text(&mut random, size);
        let mut bytes = format!(
            "POST /v1/demo/topics/d HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n{body}"
        )
        .into_bytes();
        // In pieces of any size.
        let mut stream = http.stream().try_clone().expect("a socket");
        while !bytes.is_empty() {
            let piece = 1 + random.below(bytes.len().min(40_000));
            stream.write_all(&bytes[..piece]).expect("the broker reads");
            bytes.drain(..piece);
        }
        assert_eq!(http.response().status, 200);
    }
    post(&mut http, "/v1/demo/topics/d", b"the end");
    let mut all: Vec<Vec<u8>> =
        readers.into_iter().map(|reader| reader.join().expect("reads all")).collect();
    all.push(stream_reader.join().expect("reads all"));
    all
}

#[test]
fn both_drivers_and_both_senders_put_out_the_same_bytes() {
    for seed in SEEDS {
        let expected = run(&Setup::new("epoll", 1), seed);
        assert!(expected[0] == expected[1] && expected[1] == expected[2]);
        assert!(expected[0].len() > 1 << 20, "seed {seed} does too little");
        for setup in [
            Setup::new("uring", 1),
            Setup::new("uring", 2),
            Setup::new("uring", 1).with("SHARDS_SEND", "direct"),
            Setup::new("epoll", 2).with("SHARDS_SEND", "ring"),
            Setup::new("uring", 1).with("SHARDS_FLUSH_DELAY_MAX", "2ms"),
        ] {
            let got = run(&setup, seed);
            assert!(got == expected, "seed {seed}: {setup:?} differs from epoll");
        }
    }
}

/// Client messages in random fragments with controls between: the same frames come back.
#[test]
fn fragmented_publishes_come_back_the_same() {
    let run = |setup: &Setup, seed: u64| {
        let broker = setup.start();
        let mut random = Random(seed);
        let mut socket = broker.websocket();
        socket.subscribe("d");
        let mut got = Vec::new();
        for n in 0..MESSAGE_COUNT {
            let size = random.below(5_000);
            let payload = text(&mut random, size);
            let command = format!(
                r#"{{"type":"publish","data":{{"topic":"d","payload":"{payload}","id":"{n}"}}}}"#
            );
            let mut bytes = Vec::new();
            let mut rest = command.as_bytes();
            let mut opcode = 1;
            while !rest.is_empty() {
                let piece = (1 + random.below(2_000)).min(rest.len());
                bytes.extend(frame(piece == rest.len(), opcode, &rest[..piece]));
                if random.below(3) == 0 {
                    bytes.extend(frame(true, 10, b"unasked"));
                }
                (rest, opcode) = (&rest[piece..], 0);
            }
            while !bytes.is_empty() {
                let piece = 1 + random.below(bytes.len().min(3_000));
                socket.send_bytes(&bytes[..piece]);
                bytes.drain(..piece);
            }
            let mut pair = [socket.text(), socket.text()];
            pair.sort();
            got.push(pair.concat().replace(&socket.id, "ID"));
        }
        got
    };
    for seed in SEEDS {
        let expected = run(&Setup::new("epoll", 1), seed);
        for setup in [Setup::new("uring", 1), Setup::new("uring", 3), Setup::new("epoll", 2)] {
            assert!(run(&setup, seed) == expected, "seed {seed}: {setup:?}");
        }
    }
}

/// A reader that takes one byte at a time through a full socket gets every byte.
#[test]
fn short_sends_lose_nothing() {
    for setup in [Setup::new("uring", 1), Setup::new("epoll", 1), Setup::new("uring", 2)] {
        let limits =
            "[[applications]]\nid = \"demo\"\nopen = true\nlimits.outbound_size_max = \"64MiB\"\n";
        let broker = setup.config(limits).start();
        let stream = support::EventStream::open(broker.http(), "/?channels=d");
        let mut raw = stream.stream().try_clone().expect("a socket");
        let mut http = broker.http();
        let mut random = Random(3);
        let count = 150;
        for n in 0..count {
            let size = 150_000 + random.below(50_000);
            let body = format!("{n} {}", text(&mut random, size));
            post(&mut http, "/v1/demo/topics/d", body.as_bytes());
        }
        let metrics = broker.metrics();
        let blocked = metrics.count("fanwire_sends_blocked_total", &[]);
        assert!(blocked + metrics.count("fanwire_sends_short_total", &[]) > 0, "nothing was short");
        let (mut parser, mut events) = (support::Parser::default(), Vec::new());
        let mut random = Random(5);
        while events.len() < count {
            let mut bytes = vec![0; 1 + random.below(70_000)];
            let size = raw.read(&mut bytes).expect("bytes");
            assert!(size > 0, "the stream ended");
            parser.feed(&bytes[..size], &mut events);
        }
        let mut random = Random(3);
        for (n, event) in events.iter().enumerate() {
            let size = 150_000 + random.below(50_000);
            assert!(event.data == format!("{n} {}", text(&mut random, size)), "event {n}");
        }
    }
}
