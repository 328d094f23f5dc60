//! One round of each kind of load.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use fanwire::stdx::clock;
use rustix::time::Timespec;
use serde_json::{Value, json};

use super::conversation::played;
use super::crowd::{Crowd, subscribe};
use super::timed;
use crate::scenario::{Door, Kind, Load, PING_INTERVAL, ROUND_TIME_MAX, Scenario, Server};
use crate::wire;

const HEAD_END: &[u8] = b"\r\n\r\n";

pub(crate) struct Rounds {
    load: Load,
    door: Door,
    is_raw: bool,
    address: SocketAddr,
    crowd: Crowd,
    publishers: Vec<Publisher>,
    /// A request for each run of topics.
    requests: Vec<Vec<u8>>,
    next_request: usize,
    upgrade: Vec<u8>,
    welcome: Vec<u8>,
    answer: Vec<u8>,
    frame_size: usize,
}

/// A connection that publishes.
pub(crate) struct Publisher {
    socket: TcpStream,
    reading: Vec<u8>,
    in_flight: usize,
}

impl Publisher {
    fn open(address: SocketAddr) -> Publisher {
        let socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_nodelay(true).expect("a TCP socket");
        Publisher { socket, reading: Vec::new(), in_flight: 0 }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    /// Reads once; how many answers that made whole.
    pub(crate) fn read(&mut self) -> usize {
        let mut bytes = [0; 16 * 1024];
        let size = self.socket.read(&mut bytes).expect("the server answers");
        assert!(size > 0, "the server closed a publisher");
        self.reading.extend_from_slice(&bytes[..size]);
        let (taken, count) = wire::answers(&self.reading);
        self.reading.drain(..taken);
        count
    }

    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        self.write(request);
        let mut answer = Vec::new();
        while wire::answers(&answer).1 == 0 {
            let mut bytes = [0; 4096];
            let size = self.socket.read(&mut bytes).expect("the server answers");
            assert!(size > 0, "the server closed: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&bytes[..size]);
        }
        answer
    }
}

impl Rounds {
    pub(crate) fn new(
        scenario: &Scenario,
        server: Server,
        address: SocketAddr,
        token: Option<&str>,
    ) -> Rounds {
        let load = scenario.load;
        let (door, is_raw) = match server {
            Server::Broker(setup) => (setup.door, false),
            Server::Raw => (Door::WebSocket, true),
        };
        let size = std::env::var("FLOOR_SUBSCRIBED_SIZE").ok().and_then(|text| text.parse().ok());
        let (first, read) = subscribe(address, door, &wire::topic(0), size);
        let head = memchr::memmem::find(&read, HEAD_END).map_or(0, |at| at + HEAD_END.len());
        let size = if door == Door::WebSocket { size } else { None };
        let is_connect = load.kind == Kind::Connect;
        let count = if is_connect { 1 } else { load.topics * load.subscribers };
        let active = (1..count).map(|n| wire::topic(n % load.topics));
        // Nobody publishes to these.
        let idle = (0..load.idle).map(|n| wire::topic(load.topics + 1 + n % 100));
        let others = active.chain(idle).map(|topic| subscribe(address, door, &topic, size).0);
        let sockets = std::iter::once(first).chain(others).collect();
        // Two doors are compared by clients that do the same work.
        let reads_all = [scenario.server, scenario.against].iter().any(Server::is_read);
        let crowd = Crowd::new(sockets, door, load.kind, reads_all);
        let publishers: Vec<Publisher> =
            (0..load.publishers).map(|_| Publisher::open(address)).collect();
        for (number, publisher) in publishers.iter().enumerate() {
            crowd.watch(&publisher.socket, (crowd.len() + number) as u64);
        }
        let compress = door == Door::Deflate;
        let run_count = load.topics.div_ceil(load.batch);
        let requests = (0..run_count)
            .map(|n| wire::request(&load, n * load.batch % load.topics, token, compress));
        let mut rounds = Rounds {
            load,
            door,
            is_raw,
            address,
            crowd,
            publishers,
            requests: requests.collect(),
            next_request: 0,
            upgrade: read[..head].to_vec(),
            welcome: read[head..].to_vec(),
            answer: Vec::new(),
            frame_size: 1,
        };
        if !matches!(load.kind, Kind::Ping | Kind::Connect) {
            rounds.learn();
        }
        rounds
    }

    /// Publishes twice: a stream's first event says more than later ones.
    fn learn(&mut self) {
        for _ in 0..2 {
            self.crowd.settle();
            self.answer = self.publishers[0].exchange(&self.requests[0]);
            let copies = if self.load.topics == 1 { self.load.batch } else { 1 };
            // A batch's frames come together, or by and by: settle, then look at one of them.
            std::thread::sleep(std::time::Duration::from_millis(200));
            self.frame_size = self.crowd.peek() / copies;
        }
        self.crowd.settle();
        self.crowd.learn_size(self.frame_size);
    }

    pub(crate) fn crowd(&mut self) -> &mut Crowd {
        &mut self.crowd
    }

    /// What the raw loop has to know, and how many subscribers there are.
    pub(crate) fn learned(&self) -> Value {
        let (topic_at, topic_stride) = wire::topic_places(&self.load, &self.requests[0]);
        let shape = wire::Shape {
            frame_size: self.frame_size,
            request_size: self.requests[0].len(),
            topic_at,
            topic_stride,
            batch: self.load.batch,
            upgrade: self.upgrade.clone(),
            welcome: self.welcome.clone(),
            answer: self.answer.clone(),
        };
        json!({
            "shape": shape.to_text(),
            "subscribed_size": self.upgrade.len() + self.welcome.len(),
            "subscribers": self.crowd.len(),
        })
    }

    /// Plays one round.
    pub(crate) fn play(&mut self) -> Value {
        match self.load.kind {
            Kind::Paced => self.paced(),
            Kind::Flat => self.flat(),
            Kind::Ping => self.ping(),
            Kind::Connect => self.connect(),
            Kind::Timed { per_second, connects_per_second } => {
                let request = &self.requests[0];
                let count = self.load.messages;
                let churn = timed::Churn::new(self.address, connects_per_second, self.crowd.len());
                let per_publish = self.load.subscribers as u64;
                let publisher = &mut self.publishers[0];
                let timing = timed::Timing { count, per_second, per_publish };
                let latencies = timed::play(&mut self.crowd, publisher, request, &timing, churn);
                played(count as u64 * per_publish, &latencies)
            }
        }
    }

    fn paced(&mut self) -> Value {
        let operations = (self.load.messages * self.load.subscribers) as u64;
        for _ in 0..self.load.messages {
            let total = self.crowd.received() + self.load.subscribers as u64;
            self.publishers[0].write(&self.requests[0]);
            self.crowd.take_until(total);
            while self.publishers[0].read() == 0 {}
        }
        played(operations, &[])
    }

    fn flat(&mut self) -> Value {
        let request_count = self.load.messages.div_ceil(self.load.batch);
        let message_count = request_count * self.load.batch;
        let total = self.crowd.received() + (message_count * self.load.subscribers) as u64;
        let first_publisher = self.crowd.len() as u64;
        let deadline = clock::now() + ROUND_TIME_MAX;
        let mut unsent = request_count;
        let mut unanswered = request_count;
        for number in 0..self.publishers.len() {
            self.fill(number, &mut unsent);
        }
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        while unanswered > 0 || self.crowd.received() < total {
            self.crowd.take(Some(&second));
            assert!(clock::now() < deadline, "{unanswered} answers are missing");
            for token in self.crowd.others() {
                let number = usize::try_from(token - first_publisher).expect("a publisher");
                let count = self.publishers[number].read();
                self.publishers[number].in_flight -= count;
                unanswered -= count;
                self.fill(number, &mut unsent);
            }
        }
        // One subscriber per topic: a delivery is a publish.
        played((message_count * self.load.subscribers) as u64, &[])
    }

    /// Writes as many requests as may be in flight, at once.
    fn fill(&mut self, number: usize, unsent: &mut usize) {
        let publisher = &mut self.publishers[number];
        let count = (self.load.depth - publisher.in_flight).min(*unsent);
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.extend_from_slice(&self.requests[self.next_request]);
            self.next_request = (self.next_request + 1) % self.requests.len();
        }
        *unsent -= count;
        publisher.in_flight += count;
        if count > 0 {
            publisher.write(&bytes);
        }
    }

    /// The raw loop is told when; the broker pings by its own timers, each one once per interval.
    fn ping(&mut self) -> Value {
        let before = self.crowd.received();
        if self.is_raw {
            self.publishers[0].write(b"PING");
            let mut answer = [0; 4];
            while self.crowd.received() - before < self.crowd.len() as u64 {
                self.crowd.take(None);
            }
            self.publishers[0].socket.read_exact(&mut answer).expect("the loop answers");
        } else {
            let until = clock::now() + PING_INTERVAL;
            while clock::now() < until {
                self.crowd.take(Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
            }
        }
        played(self.crowd.received() - before, &[])
    }

    fn connect(&mut self) -> Value {
        let size = self.is_raw.then_some(self.upgrade.len() + self.welcome.len());
        for _ in 0..self.load.messages {
            drop(subscribe(self.address, self.door, &wire::topic(0), size));
        }
        played(self.load.messages as u64, &[])
    }
}
