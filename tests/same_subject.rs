//! A second WebSocket of the same subject: the old one goes, the new one goes, or both stay.

mod support;

use serde_json::json;
use support::token::{admin_token, application, ask, bearer, client_token, enter, enter_with};
use support::{Broker, EventStream, WebSocket, on_each_with, request_bytes, upgrade_bytes};

const REPLACED: &str = "Replaced by a newer connection of the same subject!";
const REJECTED: &str = "Another connection of the same subject is open!";

/// Enough that some pair of them is on different shards.
const CONNECTION_COUNT: usize = 8;

fn on_demo(policy: &str, test: impl Fn(&Broker)) {
    let settings = format!("same_subject = \"{policy}\"");
    on_each_with(|setup| setup.config(&application(&settings)), test);
}

/// Publishes to the subject, which says who still is there.
fn call(broker: &Broker, subject: &str) {
    let token = admin_token(&["realtime:publisher:write:topic:*"]);
    let target = format!("/v1/demo/topics/priv/{subject}");
    assert_eq!(ask(broker, "POST", &target, &token, "hello").status, 200);
}

fn expect_call(socket: &mut WebSocket, subject: &str) {
    let expected = json!({
        "topic": format!("priv/{subject}"), "messageType": "broadcast", "data": "hello",
    });
    assert_eq!(socket.value(), expected);
    socket.expect_silence();
}

#[test]
fn the_newest_connection_replaces_the_one_before_on_any_shard() {
    on_demo("replace_old", |broker| {
        let mut bystander = enter(broker, "bob", &[]);
        let mut current = enter(broker, "alice", &[]);
        for _ in 1..CONNECTION_COUNT {
            let newer = enter(broker, "alice", &[]);
            assert_eq!(current.expect_close(), (1008, REPLACED.to_owned()));
            current = newer;
        }
        call(broker, "alice");
        expect_call(&mut current, "alice");
        bystander.expect_silence();
    });
}

#[test]
fn replacing_the_old_one_is_the_default() {
    on_each_with(
        |setup| setup.config(&application("")),
        |broker| {
            let mut old = enter(broker, "alice", &[]);
            let mut new = enter(broker, "alice", &[]);
            assert_eq!(old.expect_close(), (1008, REPLACED.to_owned()));
            new.expect_silence();
        },
    );
}

#[test]
fn a_newcomer_is_rejected_while_the_old_one_is_there() {
    on_demo("reject_new", |broker| {
        let token = client_token("alice", &[]);
        let mut first = enter_with(broker, &token);
        for _ in 1..CONNECTION_COUNT {
            let mut http = broker.http();
            http.send(upgrade_bytes(&format!("/apps/demo?access_token={token}"), &[]));
            let mut newcomer = WebSocket::begin(http);
            // Rejected before its welcome: nothing of the subject's ever reached it.
            assert_eq!(newcomer.expect_close(), (1008, REJECTED.to_owned()));
        }
        call(broker, "alice");
        expect_call(&mut first, "alice");
        // Once it has gone, and the broker knows, another may come.
        first.send_bytes(&support::frame(true, 8, &1000_u16.to_be_bytes()));
        let _answer = first.frame();
        assert_eq!(first.try_frame(), None);
        let deadline = fanwire::stdx::clock::now() + support::PATIENCE;
        loop {
            let mut http = broker.http();
            http.send(upgrade_bytes(&format!("/apps/demo?access_token={token}"), &[]));
            let mut next = WebSocket::begin(http);
            if next.frame().opcode == 1 {
                break;
            }
            assert!(fanwire::stdx::clock::now() < deadline, "locked out for ever");
        }
    });
}

#[test]
fn all_stay_where_that_is_allowed() {
    on_demo("allow", |broker| {
        let mut all: Vec<_> = (0..CONNECTION_COUNT).map(|_| enter(broker, "alice", &[])).collect();
        call(broker, "alice");
        for socket in &mut all {
            expect_call(socket, "alice");
        }
    });
}

#[test]
fn streams_and_websockets_of_one_subject_live_together() {
    on_demo("replace_old", |broker| {
        let field = bearer(&client_token("alice", &[]));
        let stream = || {
            let mut http = broker.http();
            let target = "/v1/demo/events?topics=t";
            http.send(request_bytes("GET", target, &[("Authorization", &field)], b""));
            EventStream::begin(http)
        };
        let (mut first, mut second) = (stream(), stream());
        let mut socket = enter(broker, "alice", &[]);
        let token = admin_token(&["realtime:publisher:write:topic:*"]);
        assert_eq!(ask(broker, "POST", "/v1/demo/topics/t", &token, "x").status, 200);
        for stream in [&mut first, &mut second] {
            assert_eq!(support::json(stream.event().data)["data"], "x");
        }
        socket.expect_silence();
    });
}

#[test]
fn connections_without_a_subject_never_meet() {
    on_each_with(
        |setup| setup.config("[[applications]]\nid = \"demo\"\nopen = true\n"),
        |broker| {
            let mut all: Vec<_> = (0..CONNECTION_COUNT).map(|_| broker.websocket()).collect();
            all.iter_mut().for_each(WebSocket::expect_silence);
        },
    );
}
