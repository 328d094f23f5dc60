//! Presence: who connects and disconnects, who joins and leaves a topic, and who is on it now.

mod support;

use serde_json::{Value, json};
use support::token::{admin_token, application, ask, bearer, client_token, enter};
use support::{Broker, EventStream, WebSocket, on_each_with, request_bytes};

const READ_ALL: &str = "realtime:subscriber:read:topic:*";
const WATCH_T: &str = "realtime:subscriber:read:topic:secure/presence/t";
const MANAGE: &str = "realtime:admin:manage:application";

fn on_demo(settings: &str, test: impl Fn(&Broker)) {
    on_each_with(|setup| setup.config(&application(settings)), test);
}

/// The next message that tells of another subject than the watcher, whose own coming may be told
/// before or after it begins to watch.
fn next_presence(watcher: &mut WebSocket) -> Value {
    loop {
        let value = watcher.value();
        if value["data"]["client"]["subject"] != "watcher" {
            return value;
        }
    }
}

fn connection(client: &Value, code: i32, status: &str) -> Value {
    json!({
        "topic": "secure/inbound",
        "messageType": "presence",
        "data": {
            "client": client,
            "subProtocol": 1,
            "payload": {"code": code, "status": status},
        },
    })
}

#[test]
fn connecting_and_disconnecting_is_told_on_secure_inbound() {
    on_demo("same_subject = \"allow\"", |broker| {
        let mut watcher = enter(broker, "watcher", &[READ_ALL]);
        watcher.subscribe("secure/inbound");
        // Each connection is told, also of one subject.
        let permissions = ["a", "b"];
        let sockets = [(); 3].map(|()| {
            let socket = enter(broker, "alice", &permissions);
            let client =
                json!({"connectionId": socket.id, "subject": "alice", "permissions": permissions});
            assert_eq!(next_presence(&mut watcher), connection(&client, 0, "connected"));
            (socket, client)
        });
        for (index, (mut socket, client)) in sockets.into_iter().enumerate() {
            if index == 0 {
                socket.send_bytes(&support::frame(true, 8, &1000_u16.to_be_bytes()));
            }
            // The others go without a word.
            drop(socket);
            assert_eq!(next_presence(&mut watcher), connection(&client, -1, "disconnected"));
        }
    });
}

/// A watcher of who is on `t`.
fn watch(broker: &Broker) -> WebSocket {
    let mut watcher = enter(broker, "watcher", &[WATCH_T]);
    watcher.subscribe("secure/presence/t");
    watcher
}

fn told(event: &str, subject: &str, count: u32) -> Value {
    json!({
        "topic": "secure/presence/t",
        "messageType": "presence",
        "data": {"event": event, "topic": "t", "subject": subject, "count": count},
    })
}

fn told_number(count: u32) -> Value {
    json!({
        "topic": "secure/presence/t",
        "messageType": "presence",
        "data": {"event": "count", "topic": "t", "count": count},
    })
}

fn member(broker: &Broker, subject: &str) -> WebSocket {
    let mut socket = enter(broker, subject, &[]);
    socket.subscribe("t");
    socket
}

fn stream(broker: &Broker, subject: &str) -> EventStream {
    let mut http = broker.http();
    let field = bearer(&client_token(subject, &[]));
    http.send(request_bytes("GET", "/v1/demo/events?topics=t", &[("Authorization", &field)], b""));
    EventStream::begin(http)
}

/// Who is on `t` by the broker's word.
fn members(broker: &Broker) -> Value {
    let token = admin_token(&[MANAGE]);
    let answer = ask(broker, "GET", "/v1/demo/presence?topic=t", &token, "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    support::json(&answer.body)
}

#[test]
fn a_subject_joins_once_and_leaves_with_its_last_connection() {
    on_demo("same_subject = \"allow\"", |broker| {
        let mut watcher = watch(broker);
        let empty = json!({"topic": "t", "count": 0, "connections": 0, "members": []});
        assert_eq!(members(broker), empty);
        let mut first = member(broker, "alice");
        assert_eq!(watcher.value(), told("join", "alice", 1));
        let second = member(broker, "alice");
        let bob = stream(broker, "bob");
        // In between nothing: alice was there already.
        assert_eq!(watcher.value(), told("join", "bob", 2));
        let expected = json!({
            "topic": "t",
            "count": 2,
            "connections": 3,
            "members": [
                {"subject": "alice", "connections": 2},
                {"subject": "bob", "connections": 1},
            ],
        });
        assert_eq!(members(broker), expected);
        first.send(r#"{"type":"unsubscribe","data":{"topic":"t"}}"#);
        first.expect_silence();
        drop(bob);
        assert_eq!(watcher.value(), told("leave", "bob", 1));
        drop(second);
        assert_eq!(watcher.value(), told("leave", "alice", 0));
        assert_eq!(members(broker), empty);
        // Who has left may join again.
        first.subscribe("t");
        assert_eq!(watcher.value(), told("join", "alice", 1));
    });
}

#[test]
fn only_those_who_may_read_the_feed_are_told() {
    on_demo("", |broker| {
        for permissions in [&[][..], &["realtime:subscriber:read:topic:secure/presence/other"]] {
            let mut socket = enter(broker, "alice", permissions);
            socket.send(r#"{"type":"subscribe","data":{"topic":"secure/presence/t"}}"#);
            let reason = "Subscription to secure topic is forbidden!".to_owned();
            assert_eq!(socket.expect_close(), (1008, reason));
        }
        for (token, status) in [
            (client_token("alice", &[WATCH_T]), 200),
            (client_token("alice", &[]), 403),
            (client_token("alice", &["realtime:subscriber:read:topic:t"]), 403),
            (admin_token(&[MANAGE]), 200),
            (admin_token(&["realtime:admin:manage:connections"]), 403),
        ] {
            let answer = ask(broker, "GET", "/v1/demo/presence?topic=t", &token, "");
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        let token = admin_token(&[MANAGE]);
        for target in ["/v1/demo/presence", "/v1/demo/presence?topic="] {
            assert_eq!(ask(broker, "GET", target, &token, "").status, 400, "{target}");
        }
    });
}

#[test]
fn above_the_limit_only_the_number_is_told() {
    on_demo("presence.members_max = 2", |broker| {
        let mut watcher = watch(broker);
        let mut there = Vec::new();
        for (count, subject) in [(1, "a"), (2, "b")] {
            there.push(member(broker, subject));
            assert_eq!(watcher.value(), told("join", subject, count));
        }
        there.push(member(broker, "c"));
        assert_eq!(watcher.value(), told_number(3));
        let expected = json!({"topic": "t", "count": 3, "connections": 3});
        assert_eq!(members(broker), expected);
        there.push(member(broker, "d"));
        assert_eq!(watcher.value(), told_number(4));
        there.pop();
        assert_eq!(watcher.value(), told_number(3));
    });
}

#[test]
fn who_returns_within_the_debounce_never_left() {
    on_demo("presence.debounce = \"300s\"", |broker| {
        let mut watcher = watch(broker);
        let alice = member(broker, "alice");
        assert_eq!(watcher.value(), told("join", "alice", 1));
        drop(alice);
        let _alice = member(broker, "alice");
        let _bob = member(broker, "bob");
        assert_eq!(watcher.value(), told("join", "bob", 2));
        watcher.expect_silence();
    });
}

#[test]
fn who_stays_away_longer_than_the_debounce_has_left() {
    on_demo("presence.debounce = \"100ms\"", |broker| {
        let mut watcher = watch(broker);
        let alice = member(broker, "alice");
        assert_eq!(watcher.value(), told("join", "alice", 1));
        drop(alice);
        assert_eq!(watcher.value(), told("leave", "alice", 0));
    });
}

#[test]
fn every_topic_has_its_own_members_on_whichever_shard_it_lives() {
    let settings = "same_subject = \"allow\"";
    on_demo(settings, |broker| {
        let mut watcher = enter(broker, "watcher", &[READ_ALL]);
        let mut there = Vec::new();
        for number in 0..8 {
            let topic = format!("room-{number}");
            let feed = format!("secure/presence/{topic}");
            watcher.subscribe(&feed);
            for (count, subject) in (1..).zip(["a", "b", "c"]) {
                let mut socket = enter(broker, subject, &[]);
                socket.subscribe(&topic);
                there.push(socket);
                let data =
                    json!({"event": "join", "topic": topic, "subject": subject, "count": count});
                let event = json!({"topic": feed, "messageType": "presence", "data": data});
                assert_eq!(watcher.value(), event);
            }
        }
        watcher.expect_silence();
    });
}
