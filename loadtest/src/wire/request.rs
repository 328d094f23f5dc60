//! The requests of each door: the one place that knows paths and field names.

use std::collections::BTreeMap;

use serde_json::json;

use crate::marker::{Codec, Marker};
use crate::memory::Memory;
use crate::settings::{Door, PublishDoor, Settings};

/// The nonce of every handshake; the answer to it is [`WEBSOCKET_ACCEPT`].
///
/// A browser must vary it (RFC 6455 §4.1). A load generator that keeps it can check the answer
/// without computing SHA-1 tens of thousands of times.
const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a server must answer to [`WEBSOCKET_KEY`], RFC 6455 §1.3.
pub const WEBSOCKET_ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request that opens a subscriber's connection; `own_token` comes before that of the settings.
/// With a `memory`, one on WebSocket asks for positions, and a stream begins where it had ended.
#[must_use]
pub fn subscribe(
    settings: &Settings,
    subscriber: u32,
    own_token: Option<&str>,
    memory: Option<&Memory>,
) -> Vec<u8> {
    let topics = || {
        let names: Vec<String> =
            settings.topics_of(subscriber).map(|t| settings.topic(t)).collect();
        names.join(",")
    };
    let (app, host) = (&settings.app, &settings.host);
    let token = own_token.or(settings.token.as_deref());
    let path = match settings.door {
        Door::Ws => {
            let token = token.map(|token| format!("access_token={token}"));
            let positions = memory.map(|_| "positions=1".to_owned());
            let query: Vec<String> = token.into_iter().chain(positions).collect();
            let mark = if query.is_empty() { "" } else { "?" };
            let path = format!("/apps/{app}{mark}{}", query.join("&"));
            return websocket(&path, host, settings.deflate);
        }
        Door::Sse | Door::SseRaw => event_stream_path(settings, &topics()),
        Door::Buzz => match &settings.secret {
            Some(secret) => format!("/?secret={secret}&channels={}", topics()),
            None => format!("/?channels={}", topics()),
        },
    };
    let bearer = bearer(token);
    let cursor = memory.and_then(|memory| memory.cursor.as_ref());
    let last = cursor.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\
         Cache-Control: no-store\r\n{bearer}{last}\r\n"
    )
    .into_bytes()
}

fn event_stream_path(settings: &Settings, topics: &str) -> String {
    let format = if settings.door == Door::SseRaw { "&format=raw" } else { "" };
    let own = || format!("/v1/{}/events?topics={topics}{format}", settings.app);
    settings.paths.stream_of(topics).unwrap_or_else(own)
}

fn websocket(path: &str, host: &str, deflate: bool) -> Vec<u8> {
    let extensions = if deflate {
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
         client_no_context_takeover\r\n"
    } else {
        ""
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n"
    )
    .into_bytes()
}

fn bearer(token: Option<&str>) -> String {
    token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"))
}

/// The Realtime dialect's commands that subscribe to `topics`, each from its position if it has one:
/// one `resume` for several of which some have, else a `subscribe` each.
#[must_use]
pub fn subscribe_commands(topics: &[String], positions: &[Option<String>]) -> Vec<String> {
    if topics.len() > 1 && positions.iter().any(Option::is_some) {
        let from: BTreeMap<_, _> = topics.iter().zip(positions).collect();
        return vec![json!({ "type": "resume", "data": { "topics": from } }).to_string()];
    }
    let command = |(topic, position): (&String, &Option<String>)| {
        let data = match position {
            Some(position) => json!({ "topic": topic, "position": position }),
            None => json!({ "topic": topic }),
        };
        json!({ "type": "subscribe", "data": data }).to_string()
    };
    topics.iter().zip(positions).map(command).collect()
}

/// Builds publish requests for one run.
pub struct Publishes {
    door: PublishDoor,
    codec: Codec,
    compress: bool,
    /// Request line up to the topic (native) or whole head up to `Content-Length` (others).
    before: String,
    /// From behind the topic to the value of `Content-Length`.
    after: String,
    body: Vec<u8>,
}

impl Publishes {
    /// For the door and application of `settings`.
    #[must_use]
    pub fn new(settings: &Settings) -> Publishes {
        let app = &settings.app;
        let own = match settings.publish_door {
            PublishDoor::Native => format!("/v1/{app}/topics/"),
            PublishDoor::Batch => format!("/v1/{app}/publish"),
            PublishDoor::Realtime => format!("/api/topics/{app}/publish"),
            PublishDoor::Buzz => "/".to_owned(),
        };
        let (before, behind) = settings.paths.publish_parts().unwrap_or((&own, ""));
        let before = format!("POST {before}");
        let secret = match (&settings.secret, settings.publish_door) {
            (Some(secret), PublishDoor::Buzz) => format!("X-Secret: {secret}\r\n"),
            _ => String::new(),
        };
        let after = format!(
            "{behind} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{}{secret}Content-Length: ",
            settings.host,
            bearer(settings.publish_token.as_deref()),
        );
        let codec = Codec::new(settings.run, settings.size);
        let compress = settings.compress;
        Publishes { door: settings.publish_door, codec, compress, before, after, body: Vec::new() }
    }

    /// Appends one request that publishes `messages` (one, except on the batch door) as
    /// (topic name, marker).
    ///
    /// # Panics
    /// When there is no message.
    pub fn write(&mut self, messages: &[(&str, Marker)], out: &mut Vec<u8>) {
        self.body.clear();
        let (&(topic, marker), rest) = messages.split_first().expect("a request has a message");
        match self.door {
            PublishDoor::Native => self.quoted(&marker),
            PublishDoor::Batch => {
                self.body.extend_from_slice(b"{\"messages\":[");
                self.batch_item(topic, &marker);
                for (topic, marker) in rest {
                    self.body.push(b',');
                    self.batch_item(topic, marker);
                }
                self.body.extend_from_slice(b"]}");
            }
            PublishDoor::Realtime => {
                self.object(&[("topic", topic)], "message", &marker);
                if self.compress {
                    self.body.pop();
                    self.body.extend_from_slice(b",\"compress\":true}");
                }
            }
            PublishDoor::Buzz => self.object(&[("channel", topic)], "data", &marker),
        }
        out.extend_from_slice(self.before.as_bytes());
        if self.door == PublishDoor::Native {
            out.extend_from_slice(topic.as_bytes());
        }
        out.extend_from_slice(self.after.as_bytes());
        out.extend_from_slice(self.body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.body);
    }

    fn batch_item(&mut self, topic: &str, marker: &Marker) {
        self.object(&[("topic", topic)], "data", marker);
    }

    fn object(&mut self, names: &[(&str, &str)], payload: &str, marker: &Marker) {
        self.body.push(b'{');
        for (key, value) in names {
            self.body.extend_from_slice(format!("\"{key}\":\"{value}\",").as_bytes());
        }
        self.body.extend_from_slice(format!("\"{payload}\":").as_bytes());
        self.quoted(marker);
        self.body.push(b'}');
    }

    fn quoted(&mut self, marker: &Marker) {
        self.body.push(b'"');
        self.codec.encode(marker, &mut self.body);
        self.body.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;
    use crate::settings::example;
    use serde_json::Value;

    fn body(door: PublishDoor, compress: bool, count: u64) -> (String, Value) {
        let settings = Settings { publish_door: door, compress, ..example() };
        let mut publishes = Publishes::new(&settings);
        let marker = |sequence| Marker { topic: 0, sequence, intended_ns: 1, sent_ns: 2 };
        let messages: Vec<_> = (0..count).map(|s| ("some-topic", marker(s))).collect();
        let mut out = Vec::new();
        publishes.write(&messages, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
    }

    #[test]
    fn each_door_has_its_path_and_fields() {
        let (line, value) = body(PublishDoor::Native, false, 1);
        assert_eq!(line, "POST /v1/demo/topics/some-topic HTTP/1.1");
        assert_eq!(value.as_str().unwrap().len(), 200);
        let (line, value) = body(PublishDoor::Realtime, true, 1);
        assert_eq!(line, "POST /api/topics/demo/publish HTTP/1.1");
        assert_eq!((&value["topic"], &value["compress"]), (&"some-topic".into(), &true.into()));
        assert!(value["message"].as_str().unwrap().starts_with("fwlt1:"));
        let (line, value) = body(PublishDoor::Buzz, false, 1);
        assert_eq!((line.as_str(), &value["channel"]), ("POST / HTTP/1.1", &"some-topic".into()));
        let (line, value) = body(PublishDoor::Batch, false, 3);
        assert_eq!(line, "POST /v1/demo/publish HTTP/1.1");
        assert_eq!(value["messages"].as_array().unwrap().len(), 3);
        assert_eq!(value["messages"][2]["topic"], "some-topic");
    }

    #[test]
    fn subscribers_name_their_topics() {
        let mut settings = Settings { topics: 3, topics_per_subscriber: 2, ..example() };
        settings.door = Door::Sse;
        let text = String::from_utf8(subscribe(&settings, 1, None, None)).unwrap();
        let line = "GET /v1/demo/events?topics=load-00000abc-000002,load-00000abc-000000 HTTP/1.1";
        assert_eq!(text.lines().next(), Some(line));
        settings.door = Door::Ws;
        settings.token = Some("abc".into());
        for (own, shown) in [(None, "abc"), (Some("own"), "own")] {
            let text = String::from_utf8(subscribe(&settings, 1, own, None)).unwrap();
            let line = format!("GET /apps/demo?access_token={shown} HTTP/1.1\r\n");
            assert!(text.starts_with(&line), "{text}");
        }
    }

    #[test]
    fn other_brokers_have_paths_of_their_own() {
        let (stream, publish) = (Some("/sub/{topics}?a=1".into()), Some("/pub/{topic}?b=2".into()));
        let door = Door::SseRaw;
        let settings = Settings { door, paths: Paths { stream, publish }, ..example() };
        let text = String::from_utf8(subscribe(&settings, 0, None, None)).unwrap();
        assert_eq!(text.lines().next(), Some("GET /sub/load-00000abc-000000?a=1 HTTP/1.1"));
        let marker = Marker { topic: 0, sequence: 0, intended_ns: 1, sent_ns: 2 };
        let mut out = Vec::new();
        Publishes::new(&settings).write(&[("some-topic", marker)], &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().next(), Some("POST /pub/some-topic?b=2 HTTP/1.1"));
        assert!(text.contains("\r\nContent-Length: 202\r\n\r\n\"fwlt1:"), "{text}");
    }

    #[test]
    fn those_who_return_say_how_far_they_had_come() {
        let mut settings = Settings { door: Door::Sse, ..example() };
        let memory = Memory { cursor: Some("e-1.5".into()), ..Memory::new(1) };
        let text = |settings: &Settings, memory: &Memory| {
            String::from_utf8(subscribe(settings, 1, None, Some(memory))).unwrap()
        };
        assert!(text(&settings, &memory).contains("\r\nLast-Event-ID: e-1.5\r\n"));
        assert!(!text(&settings, &Memory::new(1)).contains("Last-Event-ID"));
        settings.door = Door::Ws;
        assert!(text(&settings, &memory).starts_with("GET /apps/demo?positions=1 HTTP"));
        settings.token = Some("abc".into());
        let line = "GET /apps/demo?access_token=abc&positions=1 HTTP";
        assert!(text(&settings, &memory).starts_with(line));
    }

    #[test]
    fn commands_subscribe_one_by_one_or_resume_all() {
        let check = |topics: &[&str], positions: &[Option<&str>], expected: &[&str]| {
            let topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
            let positions: Vec<_> = positions.iter().map(|p| p.map(str::to_owned)).collect();
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let commands = subscribe_commands(&topics, &positions);
            let got: Vec<Value> = commands.iter().map(|command| parse(command)).collect();
            assert_eq!(got, expected.iter().map(|text| parse(text)).collect::<Vec<_>>());
        };
        let [a, b] =
            ["a", "b"].map(|t| format!(r#"{{"type":"subscribe","data":{{"topic":"{t}"}}}}"#));
        check(&["a", "b"], &[None, None], &[&a, &b]);
        let from = r#"{"type":"subscribe","data":{"topic":"a","position":"p"}}"#;
        check(&["a"], &[Some("p")], &[from]);
        let resume = r#"{"type":"resume","data":{"topics":{"a":"p","b":null}}}"#;
        check(&["a", "b"], &[Some("p"), None], &[resume]);
    }
}
