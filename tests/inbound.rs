//! Inbound messages: what clients send to `secure/inbound`, who reads it, and how it is answered.

mod support;

use serde_json::{Value, json};
use support::token::{application, bearer, client_token, enter};
use support::{Broker, EventStream, WebSocket, on_each_with, request_bytes};

const READ_INBOUND: &str = "realtime:subscriber:read:topic:secure/inbound";
const ANSWER: &str = "realtime:publisher:write:topic:priv/*";

fn on_demo(settings: &str, test: impl Fn(&Broker)) {
    on_each_with(|setup| setup.config(&application(settings)), test);
}

/// A client's message.
fn message(payload: &Value, id: &str) -> String {
    json!({"type": "message", "data": {"messageType": "order", "payload": payload, "id": id}})
        .to_string()
}

fn ack(id: &str) -> Value {
    json!({"topic": "priv/acks", "messageType": "ack", "data": {"data": id}})
}

/// What a reader of `secure/inbound` gets of a client without permissions.
fn inbound(client: &WebSocket, subject: &str, payload: &Value, id: &str) -> Value {
    json!({
        "topic": "secure/inbound",
        "messageType": "order",
        "data": {
            "client": {"connectionId": client.id, "subject": subject, "permissions": []},
            "payload": payload,
            "id": id,
        },
    })
}

/// The next message that tells of no connection.
fn next_message(socket: &mut WebSocket) -> Value {
    loop {
        let value = socket.value();
        if value["messageType"] != "presence" {
            return value;
        }
    }
}

#[test]
fn a_client_without_permissions_reaches_the_backend_and_is_acked() {
    on_demo("", |broker| {
        let mut backend = enter(broker, "backend", &[READ_INBOUND, ANSWER]);
        backend.subscribe("secure/inbound");
        let mut client = enter(broker, "alice", &[]);
        for (index, payload) in
            [json!({"n": 1}), json!(""), json!(null), json!([1, "two"]), json!("text")]
                .iter()
                .enumerate()
        {
            let id = format!("m{index}");
            client.send(&message(payload, &id));
            assert_eq!(client.value(), ack(&id));
            assert_eq!(next_message(&mut backend), inbound(&client, "alice", payload, &id));
        }
    });
}

#[test]
fn messages_of_one_client_arrive_in_their_order() {
    on_demo("", |broker| {
        let mut backend = enter(broker, "backend", &[READ_INBOUND]);
        backend.subscribe("secure/inbound");
        let mut client = enter(broker, "alice", &[]);
        for number in 0..200 {
            client.send(&message(&json!(number), &number.to_string()));
        }
        for number in 0..200 {
            let id = number.to_string();
            assert_eq!(next_message(&mut backend), inbound(&client, "alice", &json!(number), &id));
            assert_eq!(client.value(), ack(&id));
        }
    });
}

#[test]
fn a_backend_answers_the_one_connection_that_asked() {
    on_demo("same_subject = \"allow\"", |broker| {
        let mut backend = enter(broker, "backend", &[READ_INBOUND, ANSWER]);
        backend.subscribe("secure/inbound");
        let mut client = enter(broker, "alice", &[]);
        let mut twin = enter(broker, "alice", &[]);
        client.send(&message(&json!("ping"), "q1"));
        assert_eq!(client.value(), ack("q1"));
        let asked = next_message(&mut backend);
        let to = asked["data"]["client"]["connectionId"].as_str().expect("an id");
        let payload = json!({"data": "pong", "status": "ok", "id": asked["data"]["id"]});
        let topic = format!("priv/{to}");
        let reply = json!({
            "type": "publish",
            "data": {"topic": topic, "messageType": "response", "payload": payload, "id": "r1"},
        });
        backend.send(&reply.to_string());
        let expected = json!({
            "topic": topic,
            "messageType": "response",
            "data": {
                "client": {"connectionId": backend.id, "subject": "backend",
                           "permissions": [READ_INBOUND, ANSWER]},
                "payload": payload,
                "id": "r1",
            },
        });
        assert_eq!(client.value(), expected);
        twin.expect_silence();
    });
}

#[test]
fn without_acks_the_message_still_arrives() {
    on_demo("client_inbound_ack_enabled = false", |broker| {
        let mut backend = enter(broker, "backend", &[READ_INBOUND]);
        backend.subscribe("secure/inbound");
        let mut client = enter(broker, "alice", &[]);
        client.send(&message(&json!(1), "m1"));
        assert_eq!(next_message(&mut backend), inbound(&client, "alice", &json!(1), "m1"));
        client.expect_silence();
    });
}

#[test]
fn where_inbound_messages_are_off_a_client_that_sends_one_is_closed() {
    on_demo("enable_websocket_inbound_topic = false", |broker| {
        let mut backend = enter(broker, "backend", &[READ_INBOUND]);
        backend.subscribe("secure/inbound");
        let mut client = enter(broker, "alice", &[]);
        client.send(&message(&json!(1), "m1"));
        let close = (1008, "Inbound messages are not enabled!".to_owned());
        assert_eq!(client.expect_close(), close);
        // Nor is anyone told who connects.
        backend.expect_silence();
    });
}

#[test]
fn an_absent_id_and_message_type_are_made_up() {
    on_demo("", |broker| {
        let mut backend = enter(broker, "backend", &[READ_INBOUND]);
        backend.subscribe("secure/inbound");
        let mut client = enter(broker, "alice", &[]);
        client.send(r#"{"type":"message","data":{"payload":"x","messageType":null}}"#);
        let got = next_message(&mut backend);
        let id = got["data"]["id"].as_str().expect("an id").to_owned();
        assert!(!id.is_empty());
        assert_eq!(got["messageType"], "broadcast");
        assert_eq!(client.value(), ack(&id));
    });
}

#[test]
fn a_stream_with_a_token_reads_inbound_messages_too() {
    on_demo("", |broker| {
        let token = client_token("backend", &[READ_INBOUND]);
        let mut http = broker.http();
        let fields = [("Authorization", &*bearer(&token))];
        let target = "/v1/demo/events?topics=secure/inbound";
        http.send(request_bytes("GET", target, &fields, b""));
        let mut stream = EventStream::begin(http);
        let mut client = enter(broker, "alice", &[]);
        client.send(&message(&json!({"n": 1}), "m1"));
        let event = loop {
            let event = support::json(stream.event().data);
            if event["messageType"] != "presence" {
                break event;
            }
        };
        let client = json!({"connectionId": client.id, "subject": "alice", "permissions": []});
        assert_eq!(
            [&event["topic"], &event["messageType"], &event["client"], &event["clientMessageId"]],
            [&json!("secure/inbound"), &json!("order"), &client, &json!("m1")]
        );
        assert_eq!(event["data"], json!({"n": 1}));
    });
}
