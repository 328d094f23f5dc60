//! `shards.socket.notsent_lowat`: what a client does not read stays in the broker, where its policies
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
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&broker.address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
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
    let measure = |lowat: &str| {
        let configure = |setup: support::Setup| {
            setup.config(LIMITED).with("SHARDS_SOCKET_NOTSENT_LOWAT", lowat)
        };
        let counts = RefCell::new(Vec::new());
        on_each_with(configure, |broker| counts.borrow_mut().push(messages_taken(broker)));
        counts.into_inner()
    };
    // The client's window, the mark, and the message that has begun to leave.
    let limited = measure("16KiB");
    assert!(limited.iter().all(|count| (1..10).contains(count)), "{limited:?}");
    let unlimited = measure("0");
    let least = unlimited.iter().min().expect("at least one driver");
    assert!(limited.iter().all(|count| 3 * count < *least), "{limited:?}, {unlimited:?}");
    eprintln!(
        "messages of {MESSAGE_SIZE} bytes in the kernel: {limited:?}, by itself {unlimited:?}"
    );
}
