//! The one client of both servers: opens the sockets, publishes, counts what arrives.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{RecvFlags, recv};

use crate::cpu;
use crate::settings::{Mode, Settings};

/// Frames that one batch publish carries in flat mode.
const BATCH_LEN: usize = 64;

/// Batches in flight in flat mode.
const PIPELINE_LEN: usize = 4;

const TOPIC: &str = "bench";

/// Something that can be told to send so many messages to all its subscribers.
pub(crate) trait Target {
    /// The server's process.
    fn pid(&self) -> u32;
    /// Sends `message_count` messages and returns when every subscriber has every byte.
    fn publish(&mut self, message_count: usize);
}

/// The sockets of one server.
struct Subscribers {
    epoll: OwnedFd,
    sockets: Vec<TcpStream>,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
    received: u64,
}

impl Subscribers {
    fn new(sockets: Vec<TcpStream>) -> Subscribers {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
        for (index, socket) in sockets.iter().enumerate() {
            socket.set_nonblocking(true).expect("a TCP socket");
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, socket, data, epoll::EventFlags::IN).expect("epoll");
        }
        Subscribers {
            epoll,
            sockets,
            events: Vec::with_capacity(1024),
            scratch: vec![0; 1 << 20],
            received: 0,
        }
    }

    /// Takes what has arrived, waiting for something when `waits`.
    fn drain(&mut self, waits: bool) {
        self.events.clear();
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = if waits { None } else { Some(&now) };
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout).expect("epoll");
        for event in &self.events {
            let index = usize::try_from(event.data.u64()).expect("an index");
            // TRUNC on a TCP socket discards in the kernel: the client stays cheap (tcp(7)).
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match recv(self.sockets[index].as_fd(), &mut self.scratch[..], flags) {
                Ok((_, 0)) => panic!("the server closed a subscriber"),
                Ok((_, size)) => self.received += size as u64,
                Err(rustix::io::Errno::AGAIN) => {}
                Err(errno) => panic!("recv: {errno}"),
            }
        }
    }

    fn drain_until(&mut self, total: u64) {
        while self.received < total {
            self.drain(true);
        }
        assert_eq!(self.received, total, "more arrived than was sent");
    }
}

/// The broker.
pub(crate) struct Broker {
    child: Child,
    subscribers: Subscribers,
    publisher: TcpStream,
    request: Vec<u8>,
    batch: Vec<u8>,
    mode: Mode,
    frame_size: usize,
    expected: u64,
}

impl Broker {
    pub(crate) fn start(settings: &Settings) -> Broker {
        cpu::pin_self(cpu::SERVER_CPU);
        let mut child = Command::new(env!("CARGO_BIN_EXE_fanwire"))
            .args(["--listen", "127.0.0.1:0", "--shards", "1", "--driver", &settings.driver])
            .env("FANWIRE_SHARDS_SEND", &settings.send)
            .env("FANWIRE_LOG_LEVEL", "warn")
            // No ping may be mistaken for a delivery.
            .env("FANWIRE_WEBSOCKET_PING_INTERVAL", "3600s")
            .env("FANWIRE_WEBSOCKET_IDLE_TIMEOUT", "7200s")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        cpu::pin_self(cpu::CLIENT_CPU);
        let mut greeting = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut greeting).expect("a greeting");
        let address = greeting.trim().rsplit("//").next().expect("an address");
        let address: SocketAddr = address.parse().expect("an address");
        let sockets = (0..settings.subscriber_count).map(|_| subscribe(address)).collect();
        let publisher = TcpStream::connect(address).expect("the broker accepts");
        publisher.set_nodelay(true).expect("a TCP socket");
        let payload = "x".repeat(settings.payload_size);
        let request = request(&format!("/v1/demo/topics/{TOPIC}"), payload.as_bytes());
        let message = format!("{{\"topic\":\"{TOPIC}\",\"data\":\"{payload}\"}}");
        let messages = vec![message; BATCH_LEN].join(",");
        let batch = request_json("/v1/demo/publish", &format!("{{\"messages\":[{messages}]}}"));
        let mut broker = Broker {
            child,
            subscribers: Subscribers::new(sockets),
            publisher,
            request,
            batch,
            mode: settings.mode,
            frame_size: 0,
            expected: 0,
        };
        broker.learn_frame_size(settings.subscriber_count);
        broker
    }

    /// Bytes that one message takes on one subscriber's wire.
    pub(crate) fn frame_size(&self) -> usize {
        self.frame_size
    }

    fn learn_frame_size(&mut self, subscriber_count: usize) {
        self.publisher.write_all(&self.request).expect("the broker reads");
        read_answer(&mut self.publisher);
        let first = self.subscribers.sockets[0].as_fd();
        let mut frame = [0; 4096];
        let size = loop {
            match recv(first, &mut frame[..], RecvFlags::DONTWAIT | RecvFlags::PEEK) {
                Ok((size, _)) => break size,
                Err(_) => std::thread::yield_now(),
            }
        };
        self.frame_size = size;
        self.expected = (size * subscriber_count) as u64;
        self.subscribers.drain_until(self.expected);
    }

    fn publish_flat(&mut self, message_count: usize) {
        let batch_count = message_count.div_ceil(BATCH_LEN);
        let mut sent = 0;
        let mut answered = 0;
        self.publisher.set_nonblocking(true).expect("a TCP socket");
        let mut reading = Vec::new();
        while answered < batch_count {
            while sent < batch_count && sent - answered < PIPELINE_LEN {
                self.publisher.set_nonblocking(false).expect("a TCP socket");
                self.publisher.write_all(&self.batch).expect("the broker reads");
                self.publisher.set_nonblocking(true).expect("a TCP socket");
                sent += 1;
            }
            self.subscribers.drain(false);
            let mut bytes = [0; 4096];
            if let Ok(size) = self.publisher.read(&mut bytes) {
                reading.extend_from_slice(&bytes[..size]);
                answered += take_answers(&mut reading);
            }
        }
        self.publisher.set_nonblocking(false).expect("a TCP socket");
        self.subscribers.drain_until(self.expected);
    }
}

impl Target for Broker {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn publish(&mut self, message_count: usize) {
        let count = self.subscribers.sockets.len();
        match self.mode {
            Mode::Paced => {
                for _ in 0..message_count {
                    self.publisher.write_all(&self.request).expect("the broker reads");
                    self.expected += (self.frame_size * count) as u64;
                    self.subscribers.drain_until(self.expected);
                    read_answer(&mut self.publisher);
                }
            }
            Mode::Flat => {
                assert_eq!(message_count % BATCH_LEN, 0, "--messages is a multiple of {BATCH_LEN}");
                self.expected += (self.frame_size * count * message_count) as u64;
                self.publish_flat(message_count);
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The raw loop.
pub(crate) struct Raw {
    child: Child,
    input: ChildStdin,
    out: ChildStdout,
    subscribers: Subscribers,
    mode: Mode,
    frame_size: usize,
    expected: u64,
}

impl Raw {
    pub(crate) fn start(settings: &Settings, frame_size: usize) -> Raw {
        cpu::pin_self(cpu::SERVER_CPU);
        let mode = if settings.mode == Mode::Flat { "flat" } else { "paced" };
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--raw-server", mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        cpu::pin_self(cpu::CLIENT_CPU);
        let mut input = child.stdin.take().expect("piped");
        let mut out = child.stdout.take().expect("piped");
        let mut port = Vec::new();
        let mut byte = [0];
        while out.read_exact(&mut byte).is_ok() && byte[0] != b'\n' {
            port.push(byte[0]);
        }
        let port: u16 = String::from_utf8_lossy(&port).parse().expect("a port");
        input.write_all(&command(settings.subscriber_count, 0, 0)).expect("the loop reads");
        let sockets = (0..settings.subscriber_count)
            .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the loop accepts"))
            .collect();
        Raw {
            child,
            input,
            out,
            subscribers: Subscribers::new(sockets),
            mode: settings.mode,
            frame_size,
            expected: 0,
        }
    }
}

impl Target for Raw {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn publish(&mut self, message_count: usize) {
        let count = self.subscribers.sockets.len();
        let run_len = if self.mode == Mode::Flat { BATCH_LEN * PIPELINE_LEN } else { 1 };
        let command = command(message_count, self.frame_size, run_len);
        self.input.write_all(&command).expect("the loop reads");
        let mut byte = [0];
        if self.mode == Mode::Paced {
            for _ in 0..message_count {
                self.expected += (self.frame_size * count) as u64;
                self.subscribers.drain_until(self.expected);
                self.out.read_exact(&mut byte).expect("the loop answers");
                self.input.write_all(&[0]).expect("the loop reads");
            }
        } else {
            self.expected += (self.frame_size * count * message_count) as u64;
            self.subscribers.drain_until(self.expected);
        }
        self.out.read_exact(&mut byte).expect("the loop answers");
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself; either way it is reaped.
    let _ = child.kill();
    let _ = child.wait();
}

fn command(a: usize, b: usize, c: usize) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (place, value) in bytes.chunks_mut(4).zip([a, b, c]) {
        place.copy_from_slice(&u32::try_from(value).expect("small").to_le_bytes());
    }
    bytes
}

fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn request_json(path: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {size}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Opens a WebSocket, subscribes and reads both welcomes.
fn subscribe(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the broker accepts");
    socket.set_nodelay(true).expect("a TCP socket");
    let upgrade = "GET /apps/demo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).expect("the broker reads");
    let text = format!("{{\"type\":\"subscribe\",\"data\":{{\"topic\":\"{TOPIC}\"}}}}");
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).expect("short"), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    socket.write_all(&frame).expect("the broker reads");
    let mut bytes = Vec::new();
    let wanted = format!("\"topic\":\"{TOPIC}\",\"messageType\":\"welcome\"");
    while !String::from_utf8_lossy(&bytes).contains(&wanted) {
        let mut part = [0; 1024];
        let size = socket.read(&mut part).expect("the broker answers");
        assert!(size > 0, "the broker closed: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&part[..size]);
    }
    socket
}

fn read_answer(socket: &mut TcpStream) {
    let mut reading = Vec::new();
    while take_answers(&mut reading) == 0 {
        let mut bytes = [0; 4096];
        let size = socket.read(&mut bytes).expect("the broker answers");
        assert!(size > 0, "the broker closed the publisher");
        reading.extend_from_slice(&bytes[..size]);
    }
}

/// Takes whole answers off the front; how many. All must be 200.
fn take_answers(reading: &mut Vec<u8>) -> usize {
    let mut count = 0;
    loop {
        let Some(head) = reading.windows(4).position(|window| window == b"\r\n\r\n") else {
            return count;
        };
        let text = String::from_utf8_lossy(&reading[..head]).into_owned();
        assert!(text.starts_with("HTTP/1.1 200"), "refused: {text}");
        let size = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let size: usize = size.expect("a length").parse().expect("a number");
        if reading.len() < head + 4 + size {
            return count;
        }
        reading.drain(..head + 4 + size);
        count += 1;
    }
}
