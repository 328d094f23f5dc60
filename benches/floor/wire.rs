//! The bytes that clients send, and what the raw loop must know of them.

use serde_json::{Value, json};

use crate::scenario::{Door, Load};

/// Characters of a topic's name up to its number's end: `t` and seven digits.
pub(crate) const TOPIC_LEN: usize = 8;

/// The name of topic `number`, 40 bytes.
pub(crate) fn topic(number: usize) -> String {
    format!("t{number:07}/abcdefghij-klmnopqrst-uvwxyzabc")
}

/// What the raw loop is told: sizes, and the broker's answers to send in its place.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Bytes of a delivery on a subscriber's wire.
    pub(crate) frame_size: usize,
    pub(crate) request_size: usize,
    /// Where the first message's topic stands in a request, and how far the next one's is.
    pub(crate) topic_at: usize,
    pub(crate) topic_stride: usize,
    pub(crate) batch: usize,
    /// What answers an upgrade, a subscribe, a publish.
    pub(crate) upgrade: Vec<u8>,
    pub(crate) welcome: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

impl Shape {
    /// As one argument of a command line.
    pub(crate) fn to_text(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        json!({
            "frame_size": self.frame_size,
            "request_size": self.request_size,
            "topic_at": self.topic_at,
            "topic_stride": self.topic_stride,
            "batch": self.batch,
            "upgrade": text(&self.upgrade),
            // Its frame's header is no text.
            "welcome": text(&self.welcome.iter().map(|b| b & 0x7f).collect::<Vec<_>>()),
            "answer": text(&self.answer),
        })
        .to_string()
    }

    /// Reads what `to_text` wrote.
    pub(crate) fn from_text(text: &str) -> Option<Shape> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |key: &str| usize::try_from(value[key].as_u64()?).ok();
        let bytes = |key: &str| Some(value[key].as_str()?.as_bytes().to_vec());
        Some(Shape {
            frame_size: number("frame_size")?,
            request_size: number("request_size")?,
            topic_at: number("topic_at")?,
            topic_stride: number("topic_stride")?,
            batch: number("batch")?,
            upgrade: bytes("upgrade")?,
            welcome: bytes("welcome")?,
            answer: bytes("answer")?,
        })
    }
}

/// Words that compress about as chat does, as a JSON string's characters.
fn payload(size: usize) -> String {
    let words = ["order", "price", "score", "home", "away", "goal", "minute", "user", "joined"];
    let chosen = (0..size).map(|n| words[n * n % 7 + n % 3]);
    let mut text = chosen.collect::<Vec<_>>().join(" ");
    text.truncate(size.saturating_sub(2));
    text
}

/// A publish of `load.batch` messages to the topics from `first` on; or of one by the Realtime route,
/// which alone has them compressed.
pub(crate) fn request(load: &Load, first: usize, token: Option<&str>, compress: bool) -> Vec<u8> {
    let authorization =
        token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let data = payload(load.payload_size);
    let (path, body) = if compress {
        let topic = topic(first);
        let body = format!("{{\"topic\":\"{topic}\",\"message\":\"{data}\",\"compress\":true}}");
        ("/api/topics/demo/publish".to_owned(), body)
    } else if load.batch == 1 {
        (format!("/v1/demo/topics/{}", topic(first)), format!("\"{data}\""))
    } else {
        let message = |n: usize| {
            let topic = topic((first + n) % load.topics);
            format!("{{\"topic\":\"{topic}\",\"data\":\"{data}\"}}")
        };
        let messages: Vec<String> = (0..load.batch).map(message).collect();
        ("/v1/demo/publish".to_owned(), format!("{{\"messages\":[{}]}}", messages.join(",")))
    };
    format!(
        "POST {path} HTTP/1.1\r\nHost: broker\r\nContent-Type: application/json\r\n\
         {authorization}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Where topics stand in a request of this load: the first one's place, and the distance.
pub(crate) fn topic_places(load: &Load, request: &[u8]) -> (usize, usize) {
    let text = String::from_utf8_lossy(request);
    let mut places = text.match_indices("t00").map(|(at, _)| at);
    let first = places.next().expect("a topic");
    let stride = places.next().map_or(0, |second| second - first);
    (first, if load.batch == 1 { 0 } else { stride })
}

/// The head with which a subscriber comes.
pub(crate) fn head(door: Door, topic: &str) -> Vec<u8> {
    let deflate =
        if door == Door::Deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    match door {
        Door::WebSocket | Door::Deflate => format!(
            "GET /apps/demo HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{deflate}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        Door::EventStream => {
            format!("GET /v1/demo/events?topics={topic} HTTP/1.1\r\nHost: broker\r\n\r\n")
        }
    }
    .into_bytes()
}

/// The frame that subscribes, masked with zeros.
pub(crate) fn subscribe(topic: &str) -> Vec<u8> {
    let text = format!("{{\"type\":\"subscribe\",\"data\":{{\"topic\":\"{topic}\"}}}}");
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).expect("short"), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Takes whole answers off the front of `bytes`; how many bytes, and how many answers.
///
/// # Panics
/// When one is not a 200: then what is measured is not what is meant.
pub(crate) fn answers(bytes: &[u8]) -> (usize, usize) {
    let (mut taken, mut count) = (0, 0);
    while let Some(size) = answer_size(&bytes[taken..]) {
        taken += size;
        count += 1;
    }
    (taken, count)
}

fn answer_size(bytes: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let text = str::from_utf8(&bytes[..head]).expect("a head of text");
    assert!(text.starts_with("HTTP/1.1 200"), "refused: {}", String::from_utf8_lossy(bytes));
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.expect("a length").parse().expect("a number");
    (bytes.len() >= head + 4 + length).then_some(head + 4 + length)
}
