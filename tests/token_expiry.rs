//! Tokens that expire while their connection is open, and new ones presented without reconnecting.

mod support;

use serde_json::{Value, json};
use support::token::{
    CLIENT_SECRET, application, bearer, client_token, enter, enter_with, hs256, hs256_header, now_s,
};
use support::{Broker, EventStream, on_each_with, request_bytes};

const READ_SECURE: &str = "realtime:subscriber:read:topic:secure/*";
const SECURE_CLOSE: &str = "Subscription to secure topic is forbidden!";

fn on_demo(settings: &str, test: impl Fn(&Broker)) {
    on_each_with(|setup| setup.config(&application(settings)), test);
}

fn token_until(subject: &str, expires_at: u64, permissions: &[&str]) -> String {
    let claims = json!({"sub": subject, "exp": expires_at, "permissions": permissions});
    hs256(CLIENT_SECRET, &hs256_header(), &claims)
}

fn authenticate(token: &str) -> String {
    json!({"type": "authenticate", "data": {"token": token}}).to_string()
}

fn told(message_type: &str, data: &Value) -> Value {
    json!({"topic": "priv/session", "messageType": message_type, "data": data})
}

fn expired(expires_at: u64, closes_at: u64) -> Value {
    told("expired", &json!({"expiresAt": expires_at, "closesAt": closes_at}))
}

#[test]
fn a_connection_is_told_and_then_closed() {
    let settings = "token_leeway = \"1s\"\ntoken_expiry = \"close\"\ntoken_expiry_grace = \"1s\"";
    on_demo(settings, |broker| {
        let expires_at = now_s() + 1;
        let mut socket = enter_with(broker, &token_until("alice", expires_at, &[]));
        assert_eq!(socket.value(), expired(expires_at + 1, expires_at + 2));
        assert!(now_s() > expires_at, "too early");
        assert_eq!(socket.expect_close(), (3000, "The token has expired!".to_owned()));
        assert!(now_s() >= expires_at + 2, "too early");
    });
}

#[test]
fn a_stream_ends_with_its_token() {
    let settings = "token_leeway = \"0s\"\ntoken_expiry = \"close\"\ntoken_expiry_grace = \"0s\"";
    on_demo(settings, |broker| {
        let expires_at = now_s() + 2;
        let field = bearer(&token_until("alice", expires_at, &[]));
        let mut http = broker.http();
        let target = "/v1/demo/events?topics=t";
        http.send(request_bytes("GET", target, &[("Authorization", &field)], b""));
        let mut stream = EventStream::begin(http);
        assert_eq!(stream.try_event(), None);
        assert!(now_s() >= expires_at, "too early");
    });
}

#[test]
fn a_new_token_in_time_keeps_the_connection() {
    let settings = "token_leeway = \"0s\"\ntoken_expiry = \"close\"\ntoken_expiry_grace = \"300s\"";
    on_demo(settings, |broker| {
        let expires_at = now_s() + 1;
        let mut socket = enter_with(broker, &token_until("alice", expires_at, &[]));
        assert_eq!(socket.value(), expired(expires_at, expires_at + 300));
        let later = now_s() + 600;
        socket.send(&authenticate(&token_until("alice", later, &[READ_SECURE])));
        let data = json!({"permissions": [READ_SECURE], "expiresAt": later});
        assert_eq!(socket.value(), told("authenticated", &data));
        socket.subscribe("secure/t");
        // The next expiry is told anew.
        let soon = now_s() + 1;
        socket.send(&authenticate(&token_until("alice", soon, &[])));
        let data = json!({"permissions": [], "expiresAt": soon});
        assert_eq!(socket.value(), told("authenticated", &data));
        assert_eq!(socket.value(), expired(soon, soon + 300));
    });
}

#[test]
fn by_default_tokens_are_judged_at_the_door_only() {
    on_demo("token_leeway = \"0s\"", |broker| {
        let expires_at = now_s() + 1;
        let token = token_until("alice", expires_at, &[]);
        let mut socket = enter_with(broker, &token);
        let field = bearer(&token);
        let mut http = broker.http();
        let deadline = fanwire::stdx::clock::now() + support::PATIENCE;
        // The broker's own word that it has expired: the token opens nothing any more.
        loop {
            let fields = [("Authorization", field.as_str())];
            let answer = http.request("POST", "/v1/demo/topics/t", &fields, b"x");
            if answer.status == 401 {
                break;
            }
            assert_eq!(answer.status, 403, "no permission to publish");
            assert!(fanwire::stdx::clock::now() < deadline, "it never expires");
        }
        socket.subscribe("t");
        socket.expect_silence();
    });
}

#[test]
fn new_permissions_count_from_the_answer_on() {
    on_demo("", |broker| {
        let mut socket = enter(broker, "alice", &[]);
        socket.send(&authenticate(&client_token("alice", &[READ_SECURE])));
        let answer = socket.value();
        assert_eq!(answer["messageType"], "authenticated", "{answer}");
        socket.subscribe("secure/t");
        socket.send(&authenticate(&client_token("alice", &[])));
        let answer = socket.value();
        assert_eq!(answer["data"]["permissions"], json!([]), "{answer}");
        socket.send(r#"{"type":"subscribe","data":{"topic":"secure/u"}}"#);
        assert_eq!(socket.expect_close(), (1008, SECURE_CLOSE.to_owned()));
    });
}

#[test]
fn a_token_without_an_end_says_so() {
    on_demo("", |broker| {
        let mut socket = enter(broker, "alice", &[]);
        let token = hs256(CLIENT_SECRET, &hs256_header(), &json!({"sub": "alice"}));
        socket.send(&authenticate(&token));
        let data = json!({"permissions": [], "expiresAt": null});
        assert_eq!(socket.value(), told("authenticated", &data));
    });
}

#[test]
fn a_refused_token_changes_nothing_and_shows_nowhere() {
    on_each_with(
        |setup| setup.config(&application("")).with("LOG_LEVEL", "trace"),
        |broker| {
            let mut socket = enter(broker, "alice", &[READ_SECURE]);
            let forged = hs256("guess", &hs256_header(), &json!({"sub": "alice"}));
            for (token, code) in [
                (forged.clone(), "unauthorized"),
                (token_until("alice", now_s() - 60, &[]), "unauthorized"),
                ("x".to_owned(), "unauthorized"),
                // Valid, but someone else's.
                (client_token("mallory", &[READ_SECURE]), "forbidden"),
            ] {
                socket.send(&authenticate(&token));
                let answer = socket.value();
                assert!(answer["data"]["detail"].is_string(), "{answer}");
                let data = json!({"code": code, "detail": answer["data"]["detail"]});
                assert_eq!(answer, told("refused", &data));
            }
            socket.subscribe("secure/t");
            support::token::assert_unlogged(&broker.log(), &forged);
        },
    );
}

#[test]
fn an_authenticate_without_a_token_is_no_message() {
    on_demo("", |broker| {
        for text in [
            r#"{"type":"authenticate"}"#,
            r#"{"type":"authenticate","data":{}}"#,
            r#"{"type":"authenticate","data":{"token":7}}"#,
        ] {
            let mut socket = enter(broker, "alice", &[]);
            socket.send(text);
            let close = (1008, "Invalid message format!".to_owned());
            assert_eq!(socket.expect_close(), close, "{text}");
        }
    });
}
