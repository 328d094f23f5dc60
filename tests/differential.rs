//! The same traffic through both drivers and both ways to send: each subscriber gets the same bytes,
//! and all of them.
//!
//! What is to come out is made here, from RFC 6455 §5.2 and the shape of an envelope, not taken from
//! another run of the broker; so each set-up is compared with the truth, and with it with all others.
//! Payloads stand at the edges of every length encoding. They go in in odd pieces, by POST and in
//! fragmented frames; they come out to readers that keep up, that nibble, and that begin to read
//! only once everything is published, behind socket buffers that are full by then.
//!
//! Nothing depends on time: a publish follows the answer to the one before.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::JoinHandle;

use socket2::SockRef;
use support::tls::{Certificate, Tls};
use support::{Broker, EventStream, Http, Parser, Random, Setup, WebSocket, frame};

/// Lengths at which RFC 6455 §5.2 changes its encoding, and the ends of the range.
const EDGES: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20];

/// Payloads of any other size, per topic and door.
const RANDOM_COUNT: usize = 6;
const RANDOM_SIZE_MAX: usize = 200 << 10;

/// A reader's small window. Below a loopback segment (64 KiB) the kernel sends by its persist timer.
const WINDOW_SIZE: usize = 128 << 10;

const TOPICS: [&str; 2] = ["d/0", "d/1"];

/// The last message. Other payloads have no lower-case letters, so nothing looks like it.
const END: &str = "the end";

/// Room for 1 MiB in every way in, and for all of a run in the queue of who does not read.
const CONFIG: &str = r#"
publish.body_size_max = "4MiB"
websocket.message_size_max = "4MiB"

[[applications]]
id = "demo"
open = true
limits.realtime_payload_size_max = "2MiB"
limits.native_payload_size_max = "2MiB"
limits.outbound_size_max = "256MiB"
"#;

/// Both drivers with both ways to send, then what changes how messages reach the end of a turn.
fn setups() -> Vec<Setup> {
    let setup = |driver, shards, send| Setup::new(driver, shards).with("SHARDS_SEND", send);
    let all = [
        setup("epoll", 1, "direct"),
        setup("epoll", 1, "ring"),
        setup("uring", 1, "ring"),
        setup("uring", 1, "direct"),
        setup("uring", 2, "ring"),
        setup("uring", 1, "ring").with("SHARDS_FLUSH_DELAY_MAX", "2ms"),
    ];
    let count = if has_io_uring() { all.len() } else { 1 };
    all.into_iter().take(count).collect()
}

fn has_io_uring() -> bool {
    match Setup::new("uring", 1).try_start() {
        Ok(_) => true,
        Err((_, log)) if log.contains("io_uring cannot be had") => {
            let required = std::env::var_os("FANWIRE_REQUIRE_ALL").is_some_and(|v| v == "1");
            assert!(!required, "io_uring is required: {log}");
            eprintln!("skipped: no io_uring here");
            false
        }
        Err((status, log)) => panic!("the broker ended with {status}:\n{log}"),
    }
}

/// What a subscriber is to get of one publish.
struct Expected {
    websocket: Vec<u8>,
    event: String,
}

/// How a subscriber reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    /// As much as there is, at once.
    Eager,
    /// A few hundred bytes at a time, through a small window.
    Nibbling,
    /// Nothing until all is published, then in pieces.
    Late,
}

/// How clients reach a broker.
struct Way<'a> {
    broker: &'a Broker,
    tls: Option<&'a Tls>,
}

impl Way<'_> {
    fn connect(&self) -> TcpStream {
        self.tls.map_or_else(|| self.broker.connect(), |tls| tls.connect(self.broker.other(0)))
    }
}

/// A subscriber of one topic.
struct Subscriber {
    topic: usize,
    is_stream: bool,
    pace: Pace,
    socket: TcpStream,
}

impl Subscriber {
    fn open(way: &Way<'_>, topic: usize, is_stream: bool, pace: Pace) -> Subscriber {
        let socket = way.connect();
        if pace != Pace::Eager {
            SockRef::from(&socket).set_recv_buffer_size(WINDOW_SIZE).expect("a TCP socket");
        }
        let own = socket.try_clone().expect("a socket");
        if is_stream {
            let target = format!("/?channels={}", TOPICS[topic]);
            // Nothing of the stream is behind its head yet, so nothing stays in its buffer.
            drop(EventStream::open(Http::new(socket), &target));
        } else {
            WebSocket::open(socket, "/apps/demo").subscribe(TOPICS[topic]);
        }
        Subscriber { topic, is_stream, pace, socket: own }
    }

    /// Everything up to the last message.
    fn read(mut self) -> Vec<u8> {
        let most = match self.pace {
            Pace::Eager => 256 << 10,
            Pace::Nibbling => 700,
            Pace::Late => 20_000,
        };
        let (mut random, mut piece, mut all) = (Random(most as u64), vec![0; most], Vec::new());
        while !self.is_end(&all) {
            let size = self.socket.read(&mut piece[..=random.below(most)]);
            let size = size.expect("more, or the end");
            assert!(size > 0, "closed before the last message");
            all.extend_from_slice(&piece[..size]);
        }
        all
    }

    /// Whether the last message stands there whole; an event's id may follow its data.
    fn is_end(&self, got: &[u8]) -> bool {
        let tail = String::from_utf8_lossy(&got[got.len().saturating_sub(100)..]);
        tail.contains(END) && tail.ends_with(if self.is_stream { "\n\n" } else { "\"}" })
    }

    fn check(&self, got: &[u8], expected: &[Expected], what: &str) {
        let what = format!("{what}: {:?} on {}", self.pace, TOPICS[self.topic]);
        if self.is_stream {
            let (mut parser, mut events) = (Parser::default(), Vec::new());
            parser.feed(got, &mut events);
            assert_eq!(events.len(), expected.len(), "{what}");
            for (number, (event, expected)) in events.iter().zip(expected).enumerate() {
                assert!(event.data == expected.event, "{what}: event {number} differs");
            }
            let blocks = expected.iter().flat_map(|one| ["data: ", &one.event, "\n\n"]);
            let wire: String = blocks.collect();
            assert!(without_ids(got) == wire, "{what}: the stream differs");
        } else {
            let mut rest = got;
            for (number, frame) in expected.iter().map(|one| &one.websocket).enumerate() {
                let after = rest.strip_prefix(frame.as_slice());
                rest = after.unwrap_or_else(|| panic!("{what}: frame {number} differs"));
            }
            assert!(rest.is_empty(), "{what}: more than was published");
        }
    }
}

/// An event stream without comments and the lines that differ from run to run.
fn without_ids(stream: &[u8]) -> String {
    let text = std::str::from_utf8(stream).expect("event streams are UTF-8");
    let differs = |line: &&str| ["id:", "retry:", ":"].iter().any(|start| line.starts_with(start));
    text.split_inclusive('\n').filter(|line| !differs(line)).collect()
}

/// A whole, unmasked text frame (RFC 6455 §5.2).
fn text_frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match text.len() {
        size @ 0..=125 => bytes.push(u8::try_from(size).expect("small")),
        size @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend_from_slice(&u16::try_from(size).expect("fits").to_be_bytes());
        }
        size => {
            bytes.push(127);
            bytes.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Who publishes, by both doors, and the seeded choices of a run.
struct Publisher {
    http: Http,
    websocket: WebSocket,
    random: Random,
    count: usize,
}

impl Publisher {
    fn open(way: &Way<'_>, seed: u64) -> Publisher {
        let http = Http::new(way.connect());
        let websocket = WebSocket::open(way.connect(), "/apps/demo");
        Publisher { http, websocket, random: Random(seed), count: 0 }
    }

    /// Upper-case letters, digits and signs that no encoding escapes.
    fn payload(&mut self, size: usize) -> String {
        let bytes = self.random.bytes(size).into_iter();
        bytes.map(|byte| char::from(b'!' + 2 + byte % 56)).collect()
    }

    /// The envelope of a payload that came by POST.
    fn posted(topic: &str, payload: &str) -> String {
        format!(r#"{{"topic":"{topic}","messageType":"broadcast","data":"{payload}"}}"#)
    }

    /// The envelope of a payload that came by WebSocket: it names who published.
    fn commanded(&self, topic: &str, payload: &str) -> String {
        let (id, number) = (&self.websocket.id, self.count);
        format!(
            r#"{{"topic":"{topic}","messageType":"broadcast","data":{{"client":{{"connectionId":"{id}","subject":"{id}","permissions":[]}},"payload":"{payload}","id":"{number}"}}}}"#
        )
    }

    /// Posts in pieces of any size.
    fn post(&mut self, topic: &str, payload: &str) -> Expected {
        let size = payload.len();
        let request = format!(
            "POST /v1/demo/topics/{} HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n{payload}",
            topic.replace('/', "%2F")
        );
        let mut socket = self.http.stream().try_clone().expect("a socket");
        write_in_pieces(&mut socket, request.as_bytes(), &mut self.random);
        let response = self.http.response();
        assert_eq!(response.status, 200, "{}", response.text());
        let websocket = text_frame(&Publisher::posted(topic, payload));
        Expected { websocket, event: payload.to_owned() }
    }

    /// Sends a command in fragments of any size, none included, with pongs between, in pieces.
    fn command(&mut self, topic: &str, payload: &str) -> Expected {
        self.count += 1;
        let number = self.count;
        let command = format!(
            r#"{{"type":"publish","data":{{"topic":"{topic}","payload":"{payload}","id":"{number}"}}}}"#
        );
        let mut bytes = Vec::new();
        let (mut rest, mut opcode) = (command.as_bytes(), 1);
        while !rest.is_empty() {
            let size = self.random.below(1 + command.len() / 8).min(rest.len());
            bytes.extend(frame(size == rest.len(), opcode, &rest[..size]));
            if self.random.below(3) == 0 {
                bytes.extend(frame(true, 10, b"unasked"));
            }
            (rest, opcode) = (&rest[size..], 0);
        }
        let mut socket = self.websocket.stream().try_clone().expect("a socket");
        write_in_pieces(&mut socket, &bytes, &mut self.random);
        let ack = self.websocket.value();
        assert_eq!(
            (&ack["messageType"], &ack["data"]["data"]),
            (&"ack".into(), &number.to_string().into())
        );
        let websocket = text_frame(&self.commanded(topic, payload));
        Expected { websocket, event: payload.to_owned() }
    }

    /// Sizes at which a payload or its posted envelope stands at an edge, and others.
    fn sizes(&mut self, topic: &str) -> Vec<usize> {
        let around = Publisher::posted(topic, "").len();
        let enveloped = EDGES.iter().filter_map(|edge| edge.checked_sub(around));
        let mut sizes: Vec<usize> = EDGES.iter().copied().chain(enveloped).collect();
        sizes.extend((0..RANDOM_COUNT).map(|_| self.random.below(RANDOM_SIZE_MAX)));
        sizes
    }

    /// Everything for one topic.
    fn publish_all(&mut self, topic: &str) -> Vec<Expected> {
        let mut expected = Vec::new();
        for size in self.sizes(topic) {
            let payload = self.payload(size);
            expected.push(self.post(topic, &payload));
            expected.push(self.command(topic, &payload));
        }
        expected.push(self.post(topic, END));
        expected
    }
}

fn write_in_pieces(socket: &mut TcpStream, mut bytes: &[u8], random: &mut Random) {
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(1 + random.below(bytes.len().min(40_000)));
        socket.write_all(piece).expect("the broker reads");
        bytes = rest;
    }
}

/// Plays a run and compares what each subscriber got.
fn play(
    setup: &Setup,
    tls: Option<&Tls>,
    seed: u64,
    subscribers: &[(usize, bool, Pace)],
) -> Broker {
    let broker = setup.start();
    let way = Way { broker: &broker, tls };
    let open = |(topic, is_stream, pace): &(usize, bool, Pace)| {
        Subscriber::open(&way, *topic, *is_stream, *pace)
    };
    let all: Vec<Subscriber> = subscribers.iter().map(open).collect();
    let (late, prompt): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|subscriber| subscriber.pace == Pace::Late);
    let prompt: Vec<_> = prompt.into_iter().map(read_aside).collect();
    let mut publisher = Publisher::open(&way, seed);
    let expected = TOPICS.map(|topic| publisher.publish_all(topic));
    let late: Vec<_> = late.into_iter().map(read_aside).collect();
    for reader in prompt.into_iter().chain(late) {
        let (subscriber, got) = reader.join().expect("it reads all");
        let what = format!("seed {seed}, {setup:?}");
        subscriber.check(&got, &expected[subscriber.topic], &what);
    }
    broker
}

fn read_aside(subscriber: Subscriber) -> JoinHandle<(Subscriber, Vec<u8>)> {
    std::thread::spawn(move || {
        let socket = subscriber.socket.try_clone().expect("a socket");
        let got = Subscriber { socket, ..subscriber }.read();
        (subscriber, got)
    })
}

/// Every pace and both doors, on both topics; buffers as the kernel makes them.
#[test]
fn every_driver_and_sender_puts_out_the_bytes_that_were_published() {
    let subscribers = [
        (0, false, Pace::Eager),
        (1, false, Pace::Eager),
        (0, false, Pace::Nibbling),
        (1, false, Pace::Late),
        (0, true, Pace::Eager),
        (1, true, Pace::Late),
    ];
    for (setup, seed) in setups().into_iter().zip(1..) {
        play(&setup.config(CONFIG), None, seed, &subscribers);
    }
}

/// The kernel takes little at a time, so most sends are cut short and none of a late reader's fits.
#[test]
fn full_socket_buffers_lose_and_reorder_nothing() {
    let subscribers = [
        (0, false, Pace::Late),
        (0, false, Pace::Nibbling),
        (1, false, Pace::Eager),
        (1, true, Pace::Late),
        (0, true, Pace::Nibbling),
    ];
    for (setup, seed) in setups().into_iter().zip(11..) {
        let setup = setup.config(CONFIG).with("SHARDS_SOCKET_SEND_SIZE", "128KiB");
        let metrics = play(&setup, None, seed, &subscribers).metrics();
        let short = metrics.count("fanwire_sends_short_total", &[]);
        let blocked = metrics.count("fanwire_sends_blocked_total", &[]);
        assert!(short + blocked > 0, "{setup:?}: every send found room");
    }
}

/// Through TLS: what is owed is sealed a piece at a time, whatever the sizes, and most pieces do not
/// leave at once.
#[test]
fn tls_carries_the_same_bytes() {
    let subscribers = [
        (0, false, Pace::Eager),
        (1, false, Pace::Late),
        (0, true, Pace::Late),
        (1, true, Pace::Nibbling),
    ];
    let certificate = Certificate::new(&["localhost"]);
    let tls = Tls::trusting(&[&certificate]);
    let entry = certificate.entry();
    let listener =
        format!("[[listeners]]\naddress = \"127.0.0.1:0\"\ntls.certificates = [{entry}]\n");
    for (setup, seed) in setups().into_iter().zip(21..) {
        let setup = setup.config(&format!("{CONFIG}{listener}"));
        let setup = setup.with("SHARDS_SOCKET_SEND_SIZE", "128KiB");
        play(&setup, Some(&tls), seed, &subscribers);
    }
}
