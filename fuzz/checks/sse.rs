//! What must hold of server-sent events for any payload: a strict reader (WHATWG HTML §9.2.6) gets
//! its lines back, under the right id, and nothing that was not sent.

use fanwire::model::application::AppIndex;
use fanwire::model::form::{EventId, Form, SseBody};
use fanwire::model::id::MessageId;
use fanwire::model::message::{Message, Payload, Publication};
use fanwire::model::position::{Epoch, Lane, Position};
use fanwire::model::shard::ShardIndex;
use fanwire::model::topic::TopicName;
use fanwire::proto::encode::Encoder;
use fanwire::proto::json::{Scanner, characters};
use fanwire::proto::sse;

/// Below the depth at which `serde_json` gives up (128).
const DEPTH_MAX: usize = 64;

/// An event as `EventSource` dispatches it.
#[derive(PartialEq, Eq, Debug)]
struct Event {
    kind: String,
    data: String,
    last_id: String,
}

/// Panics where the reader gets something else.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    check_payload(&Payload::Text(text.into()), text, &serde_json::Value::from(text));
    if Scanner::new(DEPTH_MAX).scan(data).is_err() {
        return;
    }
    let shown = characters(text.trim_ascii()).unwrap_or_else(|| text.into());
    // Numbers that serde_json's own type rounds are equal to themselves all the same.
    let value = serde_json::from_str(text).expect("the scanner agrees with serde_json");
    check_payload(&Payload::Json(text.into()), &shown, &value);
}

/// `raw` is what a raw stream shows of the payload, `value` what a native one holds as `data`.
fn check_payload(payload: &Payload, raw: &str, value: &serde_json::Value) {
    for body in [SseBody::Raw, SseBody::Native] {
        for id in [EventId::Cursor, EventId::Position] {
            let events = decode(&stream(payload, body, id));
            assert_eq!(events.len(), 2, "{events:?}");
            for (event, offset) in events.iter().zip(1..) {
                assert_eq!(event.last_id, position(offset).to_string());
                assert_eq!(event.kind, "message");
                match body {
                    SseBody::Raw => assert_eq!(event.data, lines(raw)),
                    SseBody::Native => check_envelope(&event.data, value),
                }
            }
        }
    }
}

fn position(offset: u64) -> Position {
    Position { epoch: Epoch(0xbeef), lane: Lane::Home(ShardIndex(1)), offset }
}

/// The same payload twice, after a wait for reconnecting, between heartbeats.
fn stream(payload: &Payload, body: SseBody, id: EventId) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    sse::append_retry(&mut out, std::time::Duration::from_secs(1));
    for offset in 1..=2 {
        let position = position(offset);
        let publication = Publication {
            app: AppIndex(0),
            topic: TopicName::new("a\"b: c").expect("a legal name"),
            payload: payload.clone(),
            message_type: None,
            client_id: None,
            publisher: None,
            compress: false,
            attributes: None,
        };
        let message = Message::new(publication, MessageId::new(1, position), position, 0, 0);
        out.extend_from_slice(&encoder.encode(Form::Sse { body, id }, &message));
        if id == EventId::Cursor {
            sse::append_id(&mut out, &position);
            out.push(b'\n');
        }
        out.extend_from_slice(sse::HEARTBEAT);
    }
    out
}

/// The payload with every line end as a line feed.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn check_envelope(data: &str, value: &serde_json::Value) {
    let envelope: serde_json::Value = serde_json::from_str(data).expect("an envelope is JSON");
    let members = envelope.as_object().expect("an object");
    assert_eq!(members.len(), 4);
    assert_eq!(members["topic"], "a\"b: c");
    assert_eq!(members["time"], "1970-01-01T00:00:00.000Z");
    assert_eq!(members["data"], *value);
}

/// WHATWG HTML §9.2.6, line by line.
fn decode(stream: &[u8]) -> Vec<Event> {
    let text = str::from_utf8(stream).expect("a stream is UTF-8");
    let text = lines(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut events = Vec::new();
    let (mut data, mut kind, mut last_id) = (String::new(), String::new(), String::new());
    // What follows the last line end is no line yet.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let kind = std::mem::take(&mut kind);
                let Some(data) = std::mem::take(&mut data).strip_suffix('\n').map(str::to_owned)
                else {
                    continue;
                };
                let kind = if kind.is_empty() { "message".to_owned() } else { kind };
                events.push(Event { kind, data, last_id: last_id.clone() });
            }
            "data" => data.extend([value, "\n"]),
            "event" => value.clone_into(&mut kind),
            "id" if !value.contains('\0') => value.clone_into(&mut last_id),
            "retry" => assert_eq!(value, "1000"),
            "" => {}
            _ => panic!("a line of its own: {line:?}"),
        }
    }
    events
}
