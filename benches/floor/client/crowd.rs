//! The subscribers' sockets: what has arrived is counted, pings are answered.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::time::Timespec;

use crate::scenario::{Door, Kind};
use crate::wire;

const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
const PING_SIZE: usize = 2;

/// How deliveries are told apart in the bytes that arrive.
#[derive(Debug)]
enum Counter {
    /// All have this size; the kernel may throw them away unread.
    Size(usize),
    /// WebSocket frames, with what each socket still has to skip.
    Frames(Vec<Skip>),
    /// Events: each ends with an empty line.
    Events(Vec<bool>),
    /// Pings, which are answered.
    Pings,
}

/// Where a socket stands within a frame.
#[derive(Clone, Debug, Default)]
struct Skip {
    payload: usize,
    head: Vec<u8>,
}

pub(crate) struct Crowd {
    epoll: OwnedFd,
    sockets: Vec<TcpStream>,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
    counter: Counter,
    /// Bytes, frames, events or pings: as the counter counts.
    received: u64,
    /// Whatever else is ready: tokens beyond the subscribers'.
    others: Vec<u64>,
}

impl Crowd {
    /// `reads_all`: what arrives is read although its size would do to count it.
    pub(crate) fn new(sockets: Vec<TcpStream>, door: Door, kind: Kind, reads_all: bool) -> Crowd {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
        for (index, socket) in sockets.iter().enumerate() {
            socket.set_nonblocking(true).expect("a TCP socket");
            watch(&epoll, socket, index as u64);
        }
        let counter = match (kind, door) {
            (Kind::Ping, Door::WebSocket | Door::Deflate) => Counter::Pings,
            (_, Door::WebSocket) if !reads_all => Counter::Size(1),
            (_, Door::WebSocket | Door::Deflate) => {
                Counter::Frames(vec![Skip::default(); sockets.len()])
            }
            (_, Door::EventStream) => Counter::Events(vec![false; sockets.len()]),
        };
        Crowd {
            epoll,
            sockets,
            events: Vec::with_capacity(1024),
            scratch: vec![0; 1 << 20],
            counter,
            received: 0,
            others: Vec::new(),
        }
    }

    /// Subscribers.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Watches a socket that is no subscriber's; its token is beyond the subscribers' numbers.
    pub(crate) fn watch(&self, socket: &TcpStream, token: u64) {
        watch(&self.epoll, socket, token);
    }

    /// Throws away what has arrived until nothing does for a while, then counts from zero.
    pub(crate) fn settle(&mut self) {
        let quiet = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
        while self.take(Some(&quiet)) > 0 {}
        self.received = 0;
    }

    /// The first frame that subscriber 0 has got and not read.
    pub(crate) fn peek(&self) -> usize {
        let mut frame = [0; 16 * 1024];
        loop {
            match recv(&self.sockets[0], &mut frame[..], RecvFlags::DONTWAIT | RecvFlags::PEEK) {
                Ok((size, _)) => return size,
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// Tells the size that every delivery has, where they all have one.
    pub(crate) fn learn_size(&mut self, size: usize) {
        if let Counter::Size(known) = &mut self.counter {
            *known = size;
        }
    }

    /// Deliveries counted.
    pub(crate) fn received(&self) -> u64 {
        match self.counter {
            Counter::Size(size) => self.received / size as u64,
            _ => self.received,
        }
    }

    /// Takes what has arrived, waiting for something at most so long (`None`: for ever); how many
    /// sockets were ready.
    pub(crate) fn take(&mut self, timeout: Option<&Timespec>) -> usize {
        self.events.clear();
        self.others.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => panic!("epoll: {errno}"),
        }
        let events = std::mem::take(&mut self.events);
        for event in &events {
            match usize::try_from(event.data.u64()) {
                Ok(index) if index < self.sockets.len() => self.read(index),
                _ => self.others.push(event.data.u64()),
            }
        }
        self.events = events;
        self.events.len()
    }

    /// Takes until so many deliveries have been counted.
    pub(crate) fn take_until(&mut self, total: u64) {
        while self.received() < total {
            self.take(None);
        }
    }

    /// The tokens of other sockets that the last take found ready.
    pub(crate) fn others(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.others)
    }

    /// Answers pings until `input` can be read; false when it has failed.
    pub(crate) fn tend_until_readable(&mut self, input: &impl AsFd) -> bool {
        loop {
            let mut fds =
                [PollFd::new(input, PollFlags::IN), PollFd::new(&self.epoll, PollFlags::IN)];
            if poll(&mut fds, None).is_err() {
                return false;
            }
            let (is_asked, has_more) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            if has_more {
                self.take(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
            }
            if is_asked {
                return true;
            }
        }
    }

    fn read(&mut self, index: usize) {
        let socket = &self.sockets[index];
        let discards = matches!(self.counter, Counter::Size(_));
        // TRUNC on a TCP socket discards in the kernel: the client stays cheap (tcp(7)).
        let discard = if discards { RecvFlags::TRUNC } else { RecvFlags::empty() };
        let size = match recv(socket, &mut self.scratch[..], RecvFlags::DONTWAIT | discard) {
            Ok((_, 0)) => panic!("the server closed subscriber {index}"),
            Ok((_, size)) => size,
            Err(Errno::AGAIN) => return,
            Err(errno) => panic!("recv: {errno}"),
        };
        let bytes = &self.scratch[..size.min(self.scratch.len())];
        self.received += match &mut self.counter {
            Counter::Size(_) => size as u64,
            Counter::Frames(skips) => skips[index].frames(bytes),
            Counter::Events(ended) => events(bytes, &mut ended[index]),
            Counter::Pings => {
                let count = size / PING_SIZE;
                for _ in 0..count {
                    (&*socket).write_all(&PONG).expect("the server reads");
                }
                count as u64
            }
        };
    }
}

impl Skip {
    /// Frames whose header ends in `bytes`.
    fn frames(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            (self.payload, bytes) = (self.payload - skipped, &bytes[skipped..]);
            let Some((first, rest)) = bytes.split_first() else { break };
            bytes = rest;
            self.head.push(*first);
            self.payload = match *self.head {
                [_, size @ 0..126] => usize::from(size),
                [_, 126, high, low] => usize::from(u16::from_be_bytes([high, low])),
                _ => continue,
            };
            self.head.clear();
            count += 1;
        }
        count
    }
}

/// Empty lines in `bytes`; `ended` says whether what came before ended a line.
fn events(bytes: &[u8], ended: &mut bool) -> u64 {
    let inner = memchr::memmem::find_iter(bytes, b"\n\n").count() as u64;
    let split = u64::from(*ended && bytes.first() == Some(&b'\n'));
    *ended = bytes.ends_with(b"\n") && !bytes.ends_with(b"\n\n");
    inner + split
}

fn watch(epoll: &OwnedFd, socket: &TcpStream, token: u64) {
    let data = epoll::EventData::new_u64(token);
    epoll::add(epoll, socket, data, epoll::EventFlags::IN).expect("epoll");
}

/// Opens a subscriber and reads until it is subscribed, which `size` bytes say (the raw loop's
/// answers have one size) or the broker's word; with what was read.
pub(crate) fn subscribe(
    address: SocketAddr,
    door: Door,
    topic: &str,
    size: Option<usize>,
) -> (TcpStream, Vec<u8>) {
    let mut socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_nodelay(true).expect("a TCP socket");
    let mut request = wire::head(door, topic);
    if door != Door::EventStream {
        request.extend(wire::subscribe(topic));
    }
    socket.write_all(&request).expect("the server reads");
    let mut bytes = Vec::new();
    let said = format!("\"topic\":\"{topic}\",\"messageType\":\"welcome\"");
    let is_done = |bytes: &[u8]| match (size, door) {
        (Some(size), _) => bytes.len() >= size,
        (None, Door::EventStream) => memchr::memmem::find(bytes, b"\r\n\r\n").is_some(),
        // What is compressed cannot be read here: two frames behind the head.
        (None, Door::Deflate) => memchr::memmem::find(bytes, b"\r\n\r\n")
            .is_some_and(|head| Skip::default().frames(&bytes[head + 4..]) >= 2),
        (None, Door::WebSocket) => memchr::memmem::find(bytes, said.as_bytes()).is_some(),
    };
    while !is_done(&bytes) {
        let mut part = [0; 2048];
        let size = socket.read(&mut part).expect("the server answers");
        assert!(size > 0, "the server closed: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&part[..size]);
    }
    (socket, bytes)
}
