//! The floor: a server that does of each load only what needs the kernel.
//!
//! One `recv` per readable socket, one `send` per delivery and one per read's answers. It parses
//! nothing: requests have one size, and a topic's number stands at known places in them. Frames and
//! answers are of the broker's sizes. What it sends to one subscriber because of one read leaves as
//! one send: the coalesced floor.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, epoll, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

use crate::wire::{Shape, TOPIC_LEN};

/// Masked pongs without payload.
const PONG_SIZE: usize = 6;
const PING: [u8; 2] = [0x89, 0];
const READ_SIZE: usize = 64 * 1024;
const LISTENER: u64 = u64::MAX;

enum Role {
    New,
    /// With its topic, once it has one.
    Subscriber(Option<usize>),
    Publisher {
        partial: Vec<u8>,
    },
}

struct Connection {
    fd: OwnedFd,
    role: Role,
}

struct Raw {
    shape: Shape,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Subscribers by topic number.
    topics: Vec<Vec<usize>>,
    subscriber_count: usize,
    /// Frames that one send may take: as many as one read may ask for.
    frames: Vec<u8>,
    /// (frames owed, topic) of this read.
    owed: Vec<(usize, usize)>,
    /// Who asked for the pings that are out, and how many pongs are missing.
    pinging: Option<(usize, usize)>,
}

/// Serves until its parent ends it; the first line of standard output is the port.
pub(crate) fn serve(shape: Shape) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // The backlog that std asks for is too small for a crowd.
    rustix::net::listen(&listener, 65_535).expect("a listening socket");
    listener.set_nonblocking(true).expect("a listening socket");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", listener.local_addr().expect("bound").port()).expect("a reader");
    out.flush().expect("a reader");
    drop(out);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
    let data = epoll::EventData::new_u64(LISTENER);
    epoll::add(&epoll, &listener, data, epoll::EventFlags::IN).expect("epoll");
    let frames_max = READ_SIZE / shape.request_size.max(1) + 1;
    let mut raw = Raw {
        frames: vec![b'x'; shape.frame_size * shape.batch * frames_max],
        shape,
        epoll,
        connections: Vec::new(),
        free: Vec::new(),
        topics: Vec::new(),
        subscriber_count: 0,
        owed: Vec::new(),
        pinging: None,
    };
    let mut events = Vec::with_capacity(512);
    let mut input = vec![0; READ_SIZE];
    loop {
        events.clear();
        match epoll::wait(&raw.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => panic!("epoll: {errno}"),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => raw.accept(&listener),
                index => raw.read(usize::try_from(index).expect("an index"), &mut input),
            }
        }
    }
}

impl Raw {
    fn accept(&mut self, listener: &TcpListener) {
        loop {
            match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(fd) => {
                    sockopt::set_tcp_nodelay(&fd, true).expect("a TCP socket");
                    let index = self.free.pop().unwrap_or(self.connections.len());
                    let data = epoll::EventData::new_u64(index as u64);
                    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
                    epoll::add(&self.epoll, &fd, data, flags).expect("epoll");
                    let connection = Some(Connection { fd, role: Role::New });
                    match self.connections.get_mut(index) {
                        Some(place) => *place = connection,
                        None => self.connections.push(connection),
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => panic!("accept: {errno}"),
            }
        }
    }

    fn read(&mut self, index: usize, input: &mut [u8]) {
        let connection = self.connections[index].as_mut().expect("an open connection");
        let size = match recv(&connection.fd, &mut *input, RecvFlags::DONTWAIT) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => return self.end(index),
            Ok((_, size)) => size,
            Err(Errno::AGAIN) => return,
            Err(errno) => panic!("recv: {errno}"),
        };
        let bytes = &input[..size];
        match &mut connection.role {
            Role::New | Role::Publisher { .. } if bytes.starts_with(b"PING") => self.ping(index),
            Role::New if bytes.starts_with(b"GET ") => {
                connection.role = Role::Subscriber(None);
                send_all(&connection.fd, &self.shape.upgrade);
                if bytes.windows(4).any(|window| window == b"\"t00") {
                    self.subscribe(index, bytes);
                }
            }
            Role::Subscriber(None) => self.subscribe(index, bytes),
            Role::Subscriber(_) => self.pongs(size / PONG_SIZE),
            Role::New => {
                connection.role = Role::Publisher { partial: Vec::new() };
                self.publish(index, bytes);
            }
            Role::Publisher { .. } => self.publish(index, bytes),
        }
    }

    fn end(&mut self, index: usize) {
        let connection = self.connections[index].take();
        if let Some(Connection { role: Role::Subscriber(Some(topic)), .. }) = connection {
            self.topics[topic].retain(|subscriber| *subscriber != index);
            self.subscriber_count -= 1;
        }
        self.free.push(index);
    }

    fn subscribe(&mut self, index: usize, bytes: &[u8]) {
        let at = bytes.windows(4).position(|window| window == b"\"t00").expect("a topic") + 1;
        let topic = topic_number(&bytes[at..]);
        if self.topics.len() <= topic {
            self.topics.resize_with(topic + 1, Vec::new);
        }
        self.topics[topic].push(index);
        if let Some(connection) = &mut self.connections[index] {
            connection.role = Role::Subscriber(Some(topic));
        }
        self.subscriber_count += 1;
        send_all(&self.fd(index), &self.shape.welcome);
    }

    fn publish(&mut self, index: usize, bytes: &[u8]) {
        let Some(Connection { role: Role::Publisher { partial }, .. }) =
            &mut self.connections[index]
        else {
            unreachable!("only publishers publish")
        };
        let mut kept = std::mem::take(partial);
        let whole = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        let count = whole.len() / self.shape.request_size;
        let rest = whole[count * self.shape.request_size..].to_vec();
        self.owed.clear();
        for request in whole.chunks_exact(self.shape.request_size) {
            for message in 0..self.shape.batch {
                let at = self.shape.topic_at + message * self.shape.topic_stride;
                let topic = topic_number(&request[at..]);
                match self.owed.last_mut() {
                    Some((frames, last)) if *last == topic => *frames += 1,
                    _ => self.owed.push((1, topic)),
                }
            }
        }
        for (frames, topic) in &self.owed {
            let block = &self.frames[..frames * self.shape.frame_size];
            for subscriber in self.topics.get(*topic).into_iter().flatten() {
                let connection = self.connections[*subscriber].as_ref().expect("it is open");
                send_all(&connection.fd, block);
            }
        }
        if count > 0 {
            let answers = self.shape.answer.repeat(count);
            send_all(&self.fd(index), &answers);
        }
        if let Some(Connection { role: Role::Publisher { partial }, .. }) =
            &mut self.connections[index]
        {
            *partial = rest;
        }
    }

    fn ping(&mut self, index: usize) {
        self.pinging = Some((index, self.subscriber_count));
        for subscriber in self.topics.iter().flatten() {
            send_all(&self.fd(*subscriber), &PING);
        }
    }

    fn pongs(&mut self, count: usize) {
        let Some((asker, missing)) = &mut self.pinging else { return };
        *missing -= count;
        if *missing == 0 {
            let asker = *asker;
            self.pinging = None;
            send_all(&self.fd(asker), b"PONG");
        }
    }

    fn fd(&self, index: usize) -> rustix::fd::BorrowedFd<'_> {
        self.connections[index].as_ref().expect("an open connection").fd.as_fd()
    }
}

fn topic_number(bytes: &[u8]) -> usize {
    let digits = &bytes[1..TOPIC_LEN];
    digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

fn send_all(socket: &impl rustix::fd::AsFd, mut block: &[u8]) {
    while !block.is_empty() {
        match send(socket, block, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => block = &block[sent..],
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(socket, PollFlags::OUT)];
                poll(&mut fds, None).expect("a socket");
            }
            // The peer has gone; its end is read.
            Err(Errno::PIPE | Errno::CONNRESET) => return,
            Err(errno) => panic!("send: {errno}"),
        }
    }
}

/// Nanoseconds from an eventfd's write on one pinned thread to its read on the other: the median
/// of half round trips.
pub(crate) fn bare_wake_ns(count: usize) -> f64 {
    use crate::cpu;
    let make = || rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor");
    let (there, back) = (make(), make());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cpu::pin_self(&[cpu::CLIENT_CPU]);
            for _ in 0..count {
                pass(&there, &back);
            }
        });
        let timed = scope.spawn(|| {
            cpu::pin_self(&[cpu::SERVER_CPU]);
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                let began = fanwire::stdx::clock::now();
                rustix::io::write(&there, &1_u64.to_ne_bytes()).expect("an eventfd");
                rustix::io::read(&back, &mut [0; 8]).expect("an eventfd");
                times.push(began.elapsed().as_secs_f64() * 1e9 / 2.0);
            }
            times.sort_by(f64::total_cmp);
            times[count / 2]
        });
        timed.join().expect("no panic")
    })
}

fn pass(from: &OwnedFd, to: &OwnedFd) {
    rustix::io::read(from, &mut [0; 8]).expect("an eventfd");
    rustix::io::write(to, &1_u64.to_ne_bytes()).expect("an eventfd");
}
