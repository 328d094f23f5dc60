//! A subscriber fed with bytes: every split, refusals, and returns.

use super::*;
use crate::inbox::Inbox;
use crate::marker::{Codec, Marker};
use crate::settings::{Settings, example};
use crate::shared::Row;
use crate::verdict::Kind;
use flate2::{Compress, Compression, FlushCompress};
use std::sync::atomic::Ordering;

fn text(settings: &Settings, sequence: u64) -> String {
    let mut text = Vec::new();
    let marker = Marker { topic: 0, sequence, intended_ns: 1, sent_ns: 2 };
    Codec::new(settings.run, settings.size).encode(&marker, &mut text);
    String::from_utf8(text).unwrap()
}

fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 126];
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend(payload);
    frame
}

/// Feeds a stream cut in two at each place; all four messages must come, in order.
fn check(settings: &Settings, stream: &[u8]) {
    for split in 0..=stream.len() {
        let row = Row::default();
        let mut context = Context::new(settings, Inbox::new(settings, &row));
        let mut subscriber = Subscriber::new(0);
        subscriber.begin();
        let mut out = Vec::new();
        for part in [&stream[..split], &stream[split..]] {
            let taken = subscriber.receive(part, 10, &mut context, &mut out);
            assert_eq!(taken, Ok(()), "split {split}");
        }
        assert_eq!(subscriber.phase, Phase::Live, "split {split}");
        assert_eq!(row.delivered.load(Ordering::Relaxed), 4, "split {split}");
        let tally = context.inbox.into_tally();
        assert!(tally.is_clean(), "split {split}: {:?}", tally.examples);
    }
}

#[test]
fn websocket_streams_survive_every_split() {
    let settings = Settings { deflate: true, ..example() };
    let mut stream = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: \
        s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate; \
        server_no_context_takeover\r\n\r\n"
        .to_vec();
    let topic = settings.topic(0);
    for name in ["main", &topic] {
        let welcome = format!(r#"{{"topic":"{name}","messageType":"welcome","data":{{}}}}"#);
        stream.extend(server_frame(0x81, welcome.as_bytes()));
    }
    for sequence in 0..4 {
        let text = text(&settings, sequence);
        let json = format!(r#"{{"topic":"{topic}","messageType":"broadcast","data":"{text}"}}"#);
        match sequence {
            0 => stream.extend(server_frame(0x81, json.as_bytes())),
            1 => {
                stream.extend(server_frame(0x01, &json.as_bytes()[..50]));
                stream.extend(b"\x89\x00");
                stream.extend(server_frame(0x80, &json.as_bytes()[50..]));
            }
            _ => stream.extend(server_frame(0xC2, &deflated(json.as_bytes()))),
        }
    }
    check(&settings, &stream);
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1000);
    let mut compress = Compress::new(Compression::default(), false);
    compress.compress_vec(bytes, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

#[test]
fn event_streams_survive_every_split_chunked_or_not() {
    let settings = Settings { door: Door::Sse, ..example() };
    for coding in ["", "Transfer-Encoding: chunked\r\n"] {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        let mut stream = format!("{head}{coding}\r\n").into_bytes();
        for sequence in 0..4 {
            let (topic, text) = (settings.topic(0), text(&settings, sequence));
            let event = format!("id: 1\ndata: {{\"topic\":\"{topic}\",\"data\":\"{text}\"}}\n\n");
            // Chunk borders need not be event borders.
            for part in [&event[..60], &event[60..]] {
                if coding.is_empty() {
                    stream.extend(part.as_bytes());
                } else {
                    stream.extend(format!("{:x}\r\n{part}\r\n", part.len()).into_bytes());
                }
            }
        }
        check(&settings, &stream);
    }
}

#[test]
fn refusals_and_closes_are_named() {
    let settings = example();
    let row = Row::default();
    let mut context = Context::new(&settings, Inbox::new(&settings, &row));
    let mut refused = |stream: &[u8]| {
        let mut subscriber = Subscriber::new(0);
        subscriber.begin();
        subscriber.receive(stream, 1, &mut context, &mut Vec::new()).unwrap_err()
    };
    let busy = refused(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nwait");
    assert!(busy.contains("503") && busy.contains("wait"), "{busy}");
    let wrong = refused(b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: abc\r\n\r\n");
    assert!(wrong.contains("Sec-WebSocket-Accept"), "{wrong}");
    let good = b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let closed = refused(&[&good[..], b"\x88\x05\x03\xf0bye"].concat());
    assert!(closed.contains("1008 bye"), "{closed}");
    assert_eq!(context.inbox.tally.of(Kind::Corrupt), 0);
}

/// What a subscriber with a memory has after it was fed two connections, and what it then says.
#[test]
fn whoever_returns_goes_on_where_it_was() {
    let settings = Settings { topics: 2, topics_per_subscriber: 2, ..example() };
    let row = Row::default();
    let mut context = Context::new(&settings, Inbox::new(&settings, &row));
    let mut subscriber = Subscriber::with_memory(0, 2);
    let head = b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let welcome = |name: &str, rest: &str| {
        let json = format!(r#"{{"topic":"{name}","messageType":"welcome","data":{rest}}}"#);
        server_frame(0x81, json.as_bytes())
    };
    let [a, b] = [settings.topic(0), settings.topic(1)];
    let message = |sequence: u64, position: &str| {
        let text = text(&settings, sequence);
        let json = format!(
            r#"{{"topic":"{a}","messageType":"broadcast","data":"{text}","id":"1","position":"{position}"}}"#
        );
        server_frame(0x81, json.as_bytes())
    };
    let mut feed = |subscriber: &mut Subscriber, parts: &[Vec<u8>]| {
        subscriber.begin();
        let (mut out, stream) = (Vec::new(), [head.to_vec(), parts.concat()].concat());
        assert_eq!(subscriber.receive(&stream, 10, &mut context, &mut out), Ok(()));
        assert_eq!(subscriber.phase, Phase::Live);
        subscriber.end();
    };
    let plain = |position: &str| format!(r#"{{}},"position":"{position}""#);
    let greetings =
        [welcome("main", "{}"), welcome(&a, &plain("p0")), welcome(&b, &plain("q0"))].concat();
    feed(&mut subscriber, &[greetings, message(0, "p1")]);
    let positions = |s: &Subscriber| s.memory.as_ref().unwrap().positions.clone();
    assert_eq!(positions(&subscriber), [Some("p1".to_owned()), Some("q0".to_owned())]);
    let told = |ok: bool, count: u32| {
        format!(r#"{{"recovery":{{"recovered":{ok},"count":{count}}}}},"position":"p9""#)
    };
    let greetings =
        [welcome("main", "{}"), welcome(&a, &told(true, 2)), welcome(&b, &told(false, 0))].concat();
    feed(&mut subscriber, &[greetings, message(1, "p2")]);
    assert_eq!(positions(&subscriber), [Some("p2".to_owned()), Some("p9".to_owned())]);
    assert!(subscriber.tracks[0].has(0) && subscriber.tracks[0].has(1));
    let tally = context.inbox.into_tally();
    assert_eq!((tally.lost_statements, tally.is_clean()), (1, true), "{:?}", tally.examples);
}
