//! What must hold of the native dialect's bodies for any bytes. The input is a Content-Type, a line
//! feed and a body; the whole input also stands for a batch.

use fanwire::model::message::Payload;
use fanwire::model::refusal::Refusal;
use fanwire::proto::json::Scanner;
use fanwire::proto::native;
use serde_json::value::RawValue;

use crate::fields::{fields, string};

/// Below the depth at which `serde_json` gives up (128).
const DEPTH_MAX: usize = 64;
/// Few, so that short inputs meet it.
const MESSAGES_MAX: usize = 4;

/// Panics where the naive reader disagrees.
pub(crate) fn check(data: &[u8]) {
    let mut scanner = Scanner::new(DEPTH_MAX);
    check_batch(&mut scanner, data);
    let head_size = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (head, body) = data.split_at(head_size);
    let body = body.get(1..).unwrap_or_default();
    for content_type in [None, Some(head), Some(b"application/json")] {
        check_payload(&mut scanner, content_type, body);
    }
}

fn check_payload(scanner: &mut Scanner, content_type: Option<&[u8]>, body: &[u8]) {
    let read = native::payload(scanner, content_type, body).map_err(|refused| refused.refusal);
    let is_json = !body.is_empty() && content_type.is_some_and(naive_is_json);
    let expected = match str::from_utf8(body) {
        Err(_) => Err(Refusal::BadUtf8),
        Ok(text) if !is_json => Ok(Payload::Text(text.into())),
        Ok(text) if scanner.scan(body).is_ok() => Ok(Payload::Json(text.into())),
        Ok(_) => Err(Refusal::BadJson),
    };
    assert_eq!(read, expected, "{content_type:?}");
}

/// RFC 9110 §8.3.1 and RFC 6839 §3.1, on a lower-case copy.
fn naive_is_json(content_type: &[u8]) -> bool {
    let lower = String::from_utf8_lossy(content_type).to_ascii_lowercase();
    let essence = lower.split(';').next().unwrap_or_default();
    let essence = essence.trim_matches(|c: char| c.is_ascii_whitespace());
    essence == "application/json" || essence.strip_suffix("+json").is_some_and(|s| !s.is_empty())
}

fn check_batch(scanner: &mut Scanner, body: &[u8]) {
    let read = native::batch(scanner, body, MESSAGES_MAX, 0);
    let is_json = scanner.scan(body).is_ok();
    let text = str::from_utf8(body).unwrap_or_default();
    let expected = is_json.then(|| naive_batch(text)).flatten();
    match (read, expected) {
        (Ok(read), Some(expected)) => {
            let read: Vec<(Vec<String>, Payload)> = read
                .into_iter()
                .map(|m| (m.topics.into_iter().map(String::from).collect(), m.payload))
                .collect();
            assert_eq!(read, expected);
            let publish_count: usize = read.iter().map(|(topics, _)| topics.len()).sum();
            assert!((1..=MESSAGES_MAX).contains(&publish_count));
        }
        (Err(refused), Some(expected)) => {
            let publish_count: usize = expected.iter().map(|(topics, _)| topics.len()).sum();
            assert_eq!(refused.refusal, Refusal::TooMany, "{}", refused.detail);
            assert!(publish_count > MESSAGES_MAX);
        }
        (Err(refused), None) => {
            let is_refused_json = matches!(refused.refusal, Refusal::BadJson | Refusal::BadUtf8);
            assert_eq!(is_refused_json, !is_json, "{}", refused.detail);
        }
        (Ok(read), None) => panic!("let through: {read:?}"),
    }
}

/// Topics and payload of each message; `None` for what has another shape.
fn naive_batch(text: &str) -> Option<Vec<(Vec<String>, Payload)>> {
    let messages = elements(fields(text, ["messages"])?[0]?)?;
    if messages.is_empty() {
        return None;
    }
    messages.into_iter().map(naive_message).collect()
}

fn naive_message(raw: &str) -> Option<(Vec<String>, Payload)> {
    let topics = match fields(raw, ["topic", "topics", "data"])? {
        [Some(topic), None, Some(_)] => vec![string(topic)?],
        [None, Some(topics), Some(_)] => {
            elements(topics)?.into_iter().map(string).collect::<Option<Vec<String>>>()?
        }
        _ => return None,
    };
    let data = fields(raw, ["data"])?[0]?;
    (!topics.is_empty()).then(|| (topics, Payload::Json(data.into())))
}

/// An array's elements, as raw texts.
fn elements(raw: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}
