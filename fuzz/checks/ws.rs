//! What must hold of the WebSocket reader for any client bytes: cutting them anywhere changes
//! nothing, limits hold, and what is accepted without compression means the same to tungstenite.
//!
//! The input is flags (1: permessage-deflate was negotiated), two sizes of pieces, and the bytes.

use std::io::{self, ErrorKind, Read, Write};

use fanwire::proto::ws::{Event, Inflater, Limits, Reader};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const LIMITS: Limits = Limits { message_size_max: 1000 };

#[derive(PartialEq, Eq, Debug)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Fail(u16),
}

/// Reads `bytes` in pieces of the given sizes, over and over.
fn read(bytes: &[u8], deflate: bool, sizes: &[usize]) -> Vec<Seen> {
    let mut reader = Reader::new(deflate);
    let mut inflater = Inflater::new();
    let mut seen = Vec::new();
    let mut rest = bytes;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = rest.len().min(*sizes.next().expect("a cycle"));
        let (piece, after) = rest.split_at(size);
        rest = after;
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            let (used, event) = reader.read(&mut input[at..], &LIMITS, &mut inflater);
            at += used;
            seen.push(match event {
                Event::NeedMore => break,
                Event::Text(text) => Seen::Text(text.to_owned()),
                Event::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                Event::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                Event::Pong(bytes) => Seen::Pong(bytes.to_vec()),
                Event::Close(close) => Seen::Close(close.map(|(code, why)| (code, why.to_owned()))),
                Event::Fail(close) => {
                    assert!(close.reason.len() <= 123);
                    Seen::Fail(close.code)
                }
            });
        }
        assert_eq!(at, input.len());
        assert!(reader.held_size() <= 4 * LIMITS.message_size_max + 512);
    }
    seen
}

/// What the oracle reads, and writes nowhere.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { self.0.read(out) }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What we deliver, tungstenite delivers too, up to where we stop.
fn compare(bytes: &[u8], seen: &[Seen]) {
    let config = WebSocketConfig::default();
    let mut oracle = WebSocket::from_raw_socket(Wire(bytes), Role::Server, Some(config));
    for seen in seen {
        let expected = match seen {
            Seen::Text(text) => Message::Text(text.as_str().into()),
            Seen::Binary(bytes) => Message::Binary(bytes.clone().into()),
            Seen::Ping(bytes) => Message::Ping(bytes.clone().into()),
            Seen::Pong(bytes) => Message::Pong(bytes.clone().into()),
            // tungstenite does not know 1014 and answers for the peer; its own tests cover closing.
            Seen::Close(_) | Seen::Fail(_) => return,
        };
        assert_eq!(oracle.read().expect("what we accept is accepted"), expected);
    }
}

/// Panics where one of them does not.
pub(crate) fn check(data: &[u8]) {
    let [flags, size_a, size_b, bytes @ ..] = data else { return };
    let deflate = flags & 1 != 0;
    let whole = read(bytes, deflate, &[bytes.len().max(1)]);
    let sizes = [usize::from(*size_a) + 1, usize::from(*size_b) % 16 + 1];
    assert_eq!(read(bytes, deflate, &sizes), whole);
    assert_eq!(read(bytes, deflate, &[1]), whole);
    if !deflate {
        compare(bytes, &whole);
    }
}
