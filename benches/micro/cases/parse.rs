//! What publishers send, read: a Realtime frame, a native batch.

use std::fmt::Write as _;

use fanwire::proto::json::Scanner;
use fanwire::proto::native;
use fanwire::proto::realtime::{Command, parse_command};

use super::{Op, text};

/// Levels of nesting, as the shard's scanner takes them.
pub(super) const DEPTH_MAX: usize = 64;

/// `{"type":"publish",…}` with a payload of `SIZE` bytes.
pub(crate) fn realtime<const SIZE: usize>() -> Op {
    let payload = json(SIZE);
    let frame = format!(
        r#"{{"type":"publish","data":{{"topic":"chat/room-7","messageType":"broadcast","compress":false,"payload":{payload},"id":"k3j5h2g8f1d"}}}}"#
    );
    let mut scanner = Scanner::new(DEPTH_MAX);
    Box::new(move || {
        let Ok(Command::Publish(publish)) = parse_command(&mut scanner, &frame) else {
            panic!("the frame is a publish")
        };
        publish.payload.len()
    })
}

/// `COUNT` messages of 200 bytes in one native batch.
pub(crate) fn batch<const COUNT: usize>() -> Op {
    let body = batch_body(COUNT);
    let mut scanner = Scanner::new(DEPTH_MAX);
    Box::new(move || {
        native::batch(&mut scanner, body.as_bytes(), COUNT, 0).expect("a valid batch").len()
    })
}

/// `count` messages of 200 bytes, each for a topic of its own.
pub(super) fn batch_body(count: usize) -> String {
    let mut body = String::from("{\"messages\":[");
    for index in 0..count {
        let comma = if index == 0 { "" } else { "," };
        let payload = json(200);
        write!(body, r#"{comma}{{"topic":"chat/room-{index}","data":{payload}}}"#)
            .expect("writing to memory");
    }
    body.push_str("]}");
    body
}

/// An object of `size` bytes with some structure.
pub(super) fn json(size: usize) -> String {
    let head = r#"{"user":"u-4711","seq":42,"flags":[true,false,null],"text":""#;
    format!("{head}{}\"}}", text(size.saturating_sub(head.len() + 2)))
}
