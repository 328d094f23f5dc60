//! Permissions: what a token's strings allow on each topic, told in the platform's own words.

mod support;

use serde_json::json;
use support::token::{admin_token, application, ask, bearer, client_token, enter};
use support::{Broker, EventStream, WebSocket, on_each_with, request_bytes};

const READ: &str = "realtime:subscriber:read:topic:";
const WRITE: &str = "realtime:publisher:write:topic:";
const SECURE_CLOSE: &str = "Subscription to secure topic is forbidden!";
const PRIVATE_CLOSE: &str = "Subscription to private topic is forbidden!";
const PUBLISH_CLOSE: &str = "Publishing to topic is forbidden!";

fn on_demo(test: impl Fn(&Broker)) {
    on_each_with(|setup| setup.config(&application("same_subject = \"allow\"")), test);
}

fn subscribe(topic: &str) -> String {
    json!({"type": "subscribe", "data": {"topic": topic}}).to_string()
}

fn publish(topic: &str) -> String {
    json!({"type": "publish", "data": {"topic": topic, "payload": 1, "id": "m"}}).to_string()
}

fn patterns(prefix: &str, patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|pattern| format!("{prefix}{pattern}")).collect()
}

fn enter_with_patterns(broker: &Broker, prefix: &str, list: &[&str]) -> WebSocket {
    let permissions = patterns(prefix, list);
    enter(broker, "alice", &permissions.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Patterns, a topic, and whether they reach it (the platform's matcher, protocols.md §1.4).
const REACH: &[(&[&str], &str, bool)] = &[
    (&[], "secure/a", false),
    (&["*"], "secure/a", true),
    (&["secure/*"], "secure/a", true),
    (&["secure/*"], "secure/a/b", true),
    (&["secure/a"], "secure/a", true),
    (&["secure/a"], "secure/ab", false),
    (&["secure/?"], "secure/a", false),
    (&["SECURE/A"], "secure/a", true),
    (&["*", "!secure/a"], "secure/a", false),
    (&["*", "!secure/a"], "secure/b", true),
    (&["!secure/a"], "secure/b", true),
    (&["!secure/a"], "secure/a", false),
    (&["secure/a", "secure/b"], "secure/b", true),
    (&["public/*"], "secure/a", false),
];

#[test]
fn secure_topics_take_a_permission_to_read() {
    on_demo(|broker| {
        for (list, topic, may) in REACH {
            let mut socket = enter_with_patterns(broker, READ, list);
            if *may {
                socket.subscribe(topic);
                socket.expect_silence();
            } else {
                socket.send(&subscribe(topic));
                let close = (1008, SECURE_CLOSE.to_owned());
                assert_eq!(socket.expect_close(), close, "{list:?} {topic}");
            }
        }
    });
}

#[test]
fn every_topic_takes_a_permission_to_write() {
    on_demo(|broker| {
        for (list, topic, may) in REACH {
            let mut socket = enter_with_patterns(broker, WRITE, list);
            socket.send(&publish(topic));
            if *may {
                let ack =
                    json!({"topic": "priv/acks", "messageType": "ack", "data": {"data": "m"}});
                assert_eq!(socket.value(), ack, "{list:?} {topic}");
            } else {
                let close = (1008, PUBLISH_CLOSE.to_owned());
                assert_eq!(socket.expect_close(), close, "{list:?} {topic}");
            }
        }
        // A right to read is none to write, also where everyone may read.
        let mut reader = enter_with_patterns(broker, READ, &["*"]);
        reader.subscribe("public");
        reader.send(&publish("public"));
        assert_eq!(reader.expect_close(), (1008, PUBLISH_CLOSE.to_owned()));
    });
}

#[test]
fn public_topics_are_everyone_s_and_private_ones_nobody_s() {
    on_demo(|broker| {
        let mut socket = enter(broker, "alice", &[]);
        for topic in ["public", "main", "secured", "securely/x", "a/secure/b", "private/x"] {
            socket.subscribe(topic);
        }
        for topic in ["priv/alice", "priv/acks", "priv/x"] {
            let mut socket = enter_with_patterns(broker, READ, &["*", "priv/*"]);
            socket.send(&subscribe(topic));
            assert_eq!(socket.expect_close(), (1008, PRIVATE_CLOSE.to_owned()), "{topic}");
        }
    });
}

#[test]
fn a_reply_to_a_connection_takes_the_permission_for_private_topics() {
    on_demo(|broker| {
        let mut caller = enter(broker, "caller", &[]);
        let to_caller = json!({
            "type": "publish",
            "data": {"topic": format!("priv/{}", caller.id), "messageType": "response",
                     "payload": {"data": 42, "status": "ok", "id": "q"}, "id": "m"},
        });
        let mut stranger = enter_with_patterns(broker, WRITE, &["public/*"]);
        stranger.send(&to_caller.to_string());
        assert_eq!(stranger.expect_close(), (1008, PUBLISH_CLOSE.to_owned()));
        caller.expect_silence();
        let mut backend = enter_with_patterns(broker, WRITE, &["priv/*"]);
        backend.send(&to_caller.to_string());
        let expected = json!({
            "topic": format!("priv/{}", caller.id),
            "messageType": "response",
            "data": {
                "client": {"connectionId": backend.id, "subject": "alice",
                           "permissions": [format!("{WRITE}priv/*")]},
                "payload": {"data": 42, "status": "ok", "id": "q"},
                "id": "m",
            },
        });
        assert_eq!(caller.value(), expected);
    });
}

/// The status of a stream's head, or of the refusal.
fn stream_status(broker: &Broker, target: &str, token: &str) -> u16 {
    let mut http = broker.http();
    http.send(request_bytes("GET", target, &[("Authorization", &bearer(token))], b""));
    http.head().expect("a head").status
}

#[test]
fn streams_and_http_publishes_are_held_to_the_same_permissions() {
    on_demo(|broker| {
        for (list, topic, may) in REACH {
            let status = if *may { 200 } else { 403 };
            let (read, write) = (patterns(READ, list), patterns(WRITE, list));
            let strings = |list: &[String]| list.to_vec();
            let read = strings(&read);
            let read: Vec<&str> = read.iter().map(String::as_str).collect();
            let write: Vec<&str> = write.iter().map(String::as_str).collect();
            for token in [client_token("alice", &read), admin_token(&read)] {
                for target in
                    [format!("/v1/demo/events?topics={topic}"), format!("/?channels={topic}")]
                {
                    assert_eq!(stream_status(broker, &target, &token), status, "{list:?} {target}");
                }
            }
            let native = format!("/v1/demo/topics/{topic}");
            for token in [client_token("alice", &write), admin_token(&write)] {
                let answer = ask(broker, "POST", &native, &token, "x");
                assert_eq!(answer.status, status, "{list:?} {topic}: {}", answer.text());
                let body = json!({"channel": topic, "data": "x"}).to_string();
                assert_eq!(ask(broker, "POST", "/", &token, &body).status, status);
                let body = json!({"messages": [{"topic": topic, "data": 1}]}).to_string();
                assert_eq!(ask(broker, "POST", "/v1/demo/publish", &token, &body).status, status);
            }
            let body = json!({"topic": topic, "message": 1}).to_string();
            let token = admin_token(&write);
            let answer = ask(broker, "POST", "/api/topics/demo/publish", &token, &body);
            assert_eq!(answer.status, status, "{list:?} {topic}");
            if !may {
                assert_eq!(answer.problem(), "forbidden");
            }
        }
    });
}

#[test]
fn a_stream_of_several_topics_needs_the_right_to_all() {
    on_demo(|broker| {
        let token = client_token("alice", &[&format!("{READ}secure/a")]);
        let target = "/v1/demo/events?topics=public,secure/a";
        assert_eq!(stream_status(broker, target, &token), 200);
        let target = "/v1/demo/events?topics=public,secure/a,secure/b";
        assert_eq!(stream_status(broker, target, &token), 403);
        assert_eq!(stream_status(broker, "/v1/demo/events?topics=priv/alice", &token), 403);
    });
}

#[test]
fn a_stream_tells_who_published_over_a_websocket() {
    on_demo(|broker| {
        let token = client_token("reader", &[&format!("{READ}secure/*")]);
        let mut http = broker.http();
        let fields = [("Authorization", &*bearer(&token))];
        http.send(request_bytes("GET", "/v1/demo/events?topics=secure/t", &fields, b""));
        let mut stream = EventStream::begin(http);
        let mut writer = enter_with_patterns(broker, WRITE, &["secure/*"]);
        writer.send(
            r#"{"type":"publish","data":{"topic":"secure/t","messageType":"k","payload":1,"id":"m"}}"#,
        );
        let mut event = support::json(stream.event().data);
        let members = event.as_object_mut().expect("an object");
        assert!(members.remove("id").is_some_and(|id| id.is_string()));
        assert!(members.remove("time").is_some_and(|time| time.is_string()));
        let expected = json!({
            "topic": "secure/t",
            "data": 1,
            "messageType": "k",
            "client": {"connectionId": writer.id, "subject": "alice",
                       "permissions": [format!("{WRITE}secure/*")]},
            "clientMessageId": "m",
        });
        assert_eq!(event, expected);
    });
}

#[test]
fn a_stream_hears_the_topics_it_asked_for_and_no_other() {
    on_demo(|broker| {
        let token = client_token("reader", &[]);
        let open = |target: &str| {
            let mut http = broker.http();
            http.send(request_bytes("GET", target, &[("Authorization", &bearer(&token))], b""));
            EventStream::begin(http)
        };
        let publisher = admin_token(&[&format!("{WRITE}*")]);
        // Those that come by themselves are a WebSocket's.
        for topic in ["main", "other", "t"] {
            let mut streams = [
                open("/v1/demo/events?topics=t"),
                open("/v1/demo/events?topics=t,u"),
                open("/?channels=t"),
            ];
            for (target, body) in [(topic, "stray"), ("t", "asked")] {
                let target = format!("/v1/demo/topics/{target}");
                assert_eq!(ask(broker, "POST", &target, &publisher, body).status, 200);
            }
            let first = if topic == "t" { "stray" } else { "asked" };
            for stream in &mut streams {
                let data = stream.event().data;
                assert!(data.contains(first), "{topic}: {data}");
            }
        }
    });
}
