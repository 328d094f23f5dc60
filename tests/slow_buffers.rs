//! `shards.socket.notsent_lowat` and `send_size`: what a client does not read stays in the broker, where its policies
//! are, and not in the kernel.

mod support;

use std::cell::RefCell;
use std::net::TcpStream;

use socket2::{Domain, Socket, Type};
use support::{Broker, WebSocket, on_each_with, post};

const MESSAGE_SIZE: usize = 8_000;
/// More than the kernel's buffers and the queue take together.
const MESSAGES: usize = 1_000;

/// A subscriber with the smallest receive buffer there is.
fn narrow(broker: &Broker, topic: &str) -> WebSocket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&broker.address.into()).expect("the broker listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(support::PATIENCE)).expect("a TCP socket");
    let mut client = WebSocket::open(stream, "/apps/demo");
    client.subscribe(topic);
    client
}

/// Messages that the kernel took for a client that read nothing until it was closed as a slow consumer.
fn messages_taken(broker: &Broker) -> usize {
    let mut client = narrow(broker, "t");
    let mut http = broker.http();
    let body = "f".repeat(MESSAGE_SIZE);
    for _ in 0..MESSAGES {
        post(&mut http, "/v1/demo/topics/t", body.as_bytes());
    }
    let frames = std::iter::from_fn(|| client.try_frame());
    frames.filter(|frame| frame.payload.len() > MESSAGE_SIZE).count()
}

#[test]
fn the_kernel_takes_little_for_a_client_that_does_not_read() {
    const LIMITED: &str =
        "[[applications]]\nid = \"demo\"\nopen = true\nlimits.outbound_size_max = \"64KiB\"\n";
    let measure = |key: &str, value: &str| {
        let configure = |setup: support::Setup| setup.config(LIMITED).with(key, value);
        let counts = RefCell::new(Vec::new());
        on_each_with(configure, |broker| counts.borrow_mut().push(messages_taken(broker)));
        let counts = counts.into_inner();
        eprintln!("{key} = {value}: {counts:?} messages of {MESSAGE_SIZE} bytes in the kernel");
        counts
    };
    let unbounded = measure("SHARDS_SOCKET_NOTSENT_LOWAT", "0");
    let least = unbounded.iter().min().expect("at least one driver");
    for key in ["SHARDS_SOCKET_NOTSENT_LOWAT", "SHARDS_SOCKET_SEND_SIZE"] {
        // The client's window, the bound, and the message that has begun to leave.
        let narrow = measure(key, "16KiB");
        assert!(narrow.iter().all(|count| 3 * count < *least), "{narrow:?}, {unbounded:?}");
        let wide = measure(key, "128KiB");
        // By the medians: how segments were made of it decides what a single client's kernel takes.
        assert!((1..10).contains(&median(&narrow)), "{key}: {narrow:?}");
        assert!(median(&wide) > median(&narrow), "{key}: {wide:?}, {narrow:?}");
    }
}

fn median(counts: &[usize]) -> usize {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts[counts.len() / 2]
}
