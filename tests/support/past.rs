//! What tests of history and recovery share: numbered messages, those who come back for them, and a
//! folder for a store.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{Broker, EventStream, Http, SseEvent, WebSocket, post, request_bytes};

/// A welcomed WebSocket on `demo` whose messages carry their positions.
pub(crate) fn positioned(broker: &Broker) -> WebSocket {
    WebSocket::open(broker.connect(), "/apps/demo?positions=1")
}

/// Publishes each number as a text, one after the other's answer; their positions.
pub(crate) fn publish_numbers(http: &mut Http, topic: &str, numbers: Range<u64>) -> Vec<String> {
    let target = format!("/v1/demo/topics/{topic}");
    let position = |number: u64| {
        let answer = post(http, &target, number.to_string().as_bytes());
        super::json(&answer.body)["position"].as_str().expect("a position").to_owned()
    };
    numbers.map(position).collect()
}

/// The number that a message's `data` holds.
pub(crate) fn number(message: &Value) -> u64 {
    let text = message["data"].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {message}"))
}

/// A stream that goes on behind `id`, as a reader asks that returns.
pub(crate) fn returning_stream(broker: &Broker, target: &str, id: &str) -> EventStream {
    let mut http = broker.http();
    http.send(request_bytes("GET", target, &[("Last-Event-ID", id)], b""));
    EventStream::begin(http)
}

/// The number that a native event holds.
pub(crate) fn event_number(event: &SseEvent) -> u64 {
    assert_eq!(event.kind, "message", "{event:?}");
    number(&super::json(&event.data))
}

impl WebSocket {
    /// Subscribes behind `position`; what came of it.
    pub(crate) fn subscribe_from(&mut self, topic: &str, position: &str) -> Value {
        let data = json!({"topic": topic, "position": position});
        self.send(&json!({"type": "subscribe", "data": data}).to_string());
        let welcome = self.value();
        assert_eq!(
            (&welcome["topic"], &welcome["messageType"]),
            (&topic.into(), &"welcome".into())
        );
        welcome["data"]["recovery"].clone()
    }

    /// The next messages' numbers.
    pub(crate) fn numbers(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| number(&self.value())).collect()
    }
}

impl EventStream {
    /// The next events' numbers.
    pub(crate) fn numbers(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| event_number(&self.event())).collect()
    }
}

/// What a resume brought.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    welcomes: Vec<(String, Value)>,
    messages: Vec<(String, u64)>,
    /// The last answer's data.
    pub(crate) told: Value,
}

impl Resumed {
    /// What a topic's welcome says of its recovery, if it was answered, and its messages' numbers.
    pub(crate) fn of(&self, topic: &str) -> (Option<&Value>, Vec<u64>) {
        let mut welcomes = self.welcomes.iter().filter(|(known, _)| known == topic);
        let recovery = welcomes.next().map(|(_, recovery)| recovery);
        assert!(welcomes.next().is_none(), "{topic} is answered once");
        let messages = self.messages.iter().filter(|(known, _)| known == topic);
        (recovery, messages.map(|(_, number)| *number).collect())
    }
}

impl WebSocket {
    /// Resumes; everything up to the last message that the answer announces.
    pub(crate) fn resume(&mut self, data: &Value) -> Resumed {
        self.send(&json!({"type": "resume", "data": data}).to_string());
        let mut resumed = Resumed::default();
        while resumed.told["messages"].as_u64() != Some(resumed.messages.len() as u64) {
            let frame = self.value();
            let topic = frame["topic"].as_str().expect("a topic").to_owned();
            match frame["messageType"].as_str() {
                Some("welcome") => {
                    resumed.welcomes.push((topic, frame["data"]["recovery"].clone()));
                }
                Some("resumed") => resumed.told = frame["data"].clone(),
                _ => resumed.messages.push((topic, number(&frame))),
            }
        }
        resumed
    }
}

/// An empty folder that goes with the test.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("store-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir(&path).expect("the folder for temporary files is ours");
        Folder { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the store's file stands in it, as text.
    pub(crate) fn store(&self) -> String {
        self.path.join("store.db").to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
