//! Rates: connections of an address, commands and bytes of a connection, publishes of an
//! application; and that those who keep within them notice nothing.

mod support;

use fanwire::stdx::clock;
use serde_json::json;
use support::token::{EVERYTHING, admin_token, application, ask, bearer, client_token, enter};
use support::{
    Broker, EventStream, PATIENCE, Response, WebSocket, on_each_with, post, request_bytes,
};

/// Tries after which a rate that lets everything through has failed.
const TRIES_MAX: u32 = 2000;

fn on_demo(limits: &str, test: impl Fn(&Broker)) {
    let settings = format!("same_subject = \"allow\"\n{limits}");
    on_each_with(|setup| setup.config(&application(&settings)), test);
}

/// Tries until one is refused; how many were not, which the rate must bound.
fn until_refused(burst: u32, per_second: u32, attempt: impl Fn() -> Option<Response>) -> Response {
    let began = clock::now();
    for admitted in 0..TRIES_MAX {
        if let Some(refused) = attempt() {
            let seconds = u32::try_from(began.elapsed().as_secs()).expect("minutes at most") + 1;
            assert!(admitted >= burst, "{admitted} of a burst of {burst}");
            assert!(admitted <= burst + per_second * seconds, "{admitted} in {seconds} s");
            return refused;
        }
    }
    panic!("{TRIES_MAX} within a rate of {per_second}/s");
}

fn check_refused(answer: &Response) {
    assert_eq!((answer.status, answer.problem().as_str()), (429, "rate_limited"));
    let seconds = answer.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{answer:?}");
}

#[test]
fn an_address_begins_so_many_connections_whichever_shard_takes_them() {
    on_demo("limits.connections_per_address = \"1/s burst 20\"", |broker| {
        let token = admin_token(&EVERYTHING);
        let refused = until_refused(20, 1, || {
            let answer = ask(broker, "GET", "/v1/demo/topics", &token, "");
            (answer.status != 200).then_some(answer)
        });
        check_refused(&refused);
        // What asks for no application is not counted against one.
        assert_eq!(broker.http().request("GET", "/health/live", &[], b"").status, 200);
    });
}

#[test]
fn requests_of_one_connection_count_once() {
    on_demo("limits.connections_per_address = \"1/s burst 3\"", |broker| {
        let field = bearer(&admin_token(&EVERYTHING));
        let mut http = broker.http();
        for _ in 0..50 {
            let answer = http.request("GET", "/v1/demo", &[("Authorization", &field)], b"");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
}

#[test]
fn who_was_refused_is_refused_again_on_the_same_connection() {
    // Once in a minute: within this test nothing comes back into the bucket.
    on_demo("limits.connections_per_address = \"1/m burst 3\"", |broker| {
        let field = bearer(&admin_token(&EVERYTHING));
        let fields = [("Authorization", field.as_str())];
        let mut admitted: Vec<_> = (0..3).map(|_| broker.http()).collect();
        for http in &mut admitted {
            assert_eq!(http.request("GET", "/v1/demo", &fields, b"").status, 200);
        }
        let mut refused = broker.http();
        for target in ["/v1/demo", "/v1/demo", "/v1/demo/topics", "/v1/demo/connections"] {
            check_refused(&refused.request("GET", target, &fields, b""));
        }
        // Nor does a publish or a stream get through it.
        check_refused(&refused.request("POST", "/v1/demo/topics/t", &fields, b"x"));
        for http in &mut admitted {
            assert_eq!(http.request("GET", "/v1/demo", &fields, b"").status, 200);
        }
    });
}

#[test]
fn a_shed_stream_is_told_when_to_come_back_and_gets_in_then() {
    on_demo("limits.connections_per_address = \"1/s burst 4\"", |broker| {
        let field = bearer(&client_token("alice", &[]));
        let open = || {
            let mut http = broker.http();
            let target = "/v1/demo/events?topics=t";
            http.send(request_bytes("GET", target, &[("Authorization", &field)], b""));
            // With any other status than 200 a browser would never come back.
            EventStream::begin(http)
        };
        let admin = bearer(&admin_token(&EVERYTHING));
        let mut publisher = broker.http();
        let mut publish = || {
            let fields = [("Authorization", admin.as_str())];
            let answer = publisher.request("POST", "/v1/demo/topics/t", &fields, b"x");
            assert_eq!(answer.status, 200, "{}", answer.text());
        };
        publish();
        let began = clock::now();
        let mut streams: Vec<_> = (0..TRIES_MAX / 20).map(|_| open()).collect();
        let seconds = usize::try_from(began.elapsed().as_secs()).expect("minutes at most") + 1;
        publish();
        let (mut admitted, mut shed) = (0, 0);
        for stream in &mut streams {
            if stream.try_event().is_some() {
                admitted += 1;
            } else {
                shed += 1;
                let retry_ms = stream.bare_retry();
                assert!(retry_ms.is_some_and(|ms| (1000..=60_000).contains(&ms)), "{retry_ms:?}");
            }
        }
        assert!((3..=3 + seconds).contains(&admitted), "{admitted} in {seconds} s, {shed} shed");
        let deadline = clock::now() + PATIENCE;
        loop {
            let mut stream = open();
            publish();
            if stream.try_event().is_some() {
                break;
            }
            assert!(clock::now() < deadline, "shed for ever");
        }
    });
}

#[test]
fn a_connection_sends_so_many_commands() {
    on_demo("limits.commands_per_connection = \"1/s burst 10\"", |broker| {
        let mut steady = enter(broker, "bob", &[]);
        let mut socket = enter(broker, "alice", &[]);
        let flood = r#"{"type":"unsubscribe","data":{"topic":"t"}}"#;
        (0..200).for_each(|_| socket.send(flood));
        let (code, reason) = socket.expect_close();
        assert_eq!(code, 1013, "{reason}");
        assert!(reason.starts_with("Too many commands"), "{reason}");
        // The burst is each connection's own.
        for number in 0..10 {
            steady.subscribe(&format!("t{number}"));
        }
        steady.expect_silence();
    });
}

#[test]
fn a_connection_sends_so_many_bytes() {
    on_demo("limits.bytes_per_connection = \"1KiB/s burst 8KiB\"", |broker| {
        let mut socket = enter(broker, "alice", &[]);
        let text = json!({"type": "unsubscribe", "data": {"topic": "t".repeat(200)}}).to_string();
        (0..400).for_each(|_| socket.send(&text));
        let (code, reason) = socket.expect_close();
        assert_eq!(code, 1013, "{reason}");
        assert!(reason.starts_with("Too many bytes"), "{reason}");
    });
}

#[test]
fn an_application_publishes_so_much_through_all_doors_together() {
    on_demo("limits.publishes = \"1/s burst 20\"", |broker| {
        let token = admin_token(&EVERYTHING);
        let batch = r#"{"messages":[{"topic":"a","data":1}]}"#;
        let platform = r#"{"topic":"a","message":1}"#;
        let turns = std::cell::Cell::new(0_usize);
        let refused = until_refused(20, 1, || {
            let (target, body) = [
                ("/v1/demo/topics/a", "x"),
                ("/v1/demo/publish", batch),
                ("/api/topics/demo/publish", platform),
                ("/", r#"{"channel":"a","data":"x"}"#),
            ][turns.replace(turns.get() + 1) % 4];
            let answer = ask(broker, "POST", target, &token, body);
            (answer.status != 200).then_some(answer)
        });
        check_refused(&refused);
        let mut socket = enter(broker, "alice", &EVERYTHING);
        let publish = r#"{"type":"publish","data":{"topic":"a","payload":1,"id":"m"}}"#;
        (0..100).for_each(|_| socket.send(publish));
        let (code, reason) = close_after_acks(&mut socket);
        assert_eq!(code, 1013, "{reason}");
        // In time it goes on.
        let deadline = clock::now() + PATIENCE;
        while ask(broker, "POST", "/v1/demo/topics/a", &token, "x").status != 200 {
            assert!(clock::now() < deadline, "refused for ever");
        }
    });
}

/// Reads the acks of what was let through, and the close.
fn close_after_acks(socket: &mut WebSocket) -> (u16, String) {
    for _ in 0..200 {
        let frame = socket.frame();
        if frame.opcode == 8 {
            let (code, reason) = frame.payload.split_first_chunk::<2>().expect("a code");
            return (u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned());
        }
        assert_eq!(support::json(&frame.payload)["topic"], "priv/acks");
    }
    panic!("never closed");
}

#[test]
fn a_batch_over_the_rate_is_refused_whole() {
    on_demo("limits.publishes = \"1/s burst 40\"", |broker| {
        let messages: Vec<_> = (0..40).map(|n| json!({"topic": "a", "data": n})).collect();
        let token = admin_token(&EVERYTHING);
        let body = json!({"messages": messages}).to_string();
        assert_eq!(ask(broker, "POST", "/v1/demo/publish", &token, &body).status, 200);
        let mut reader = enter(broker, "alice", &[]);
        reader.subscribe("a");
        // Full again after 40 seconds, longer than any wait here.
        check_refused(&ask(broker, "POST", "/v1/demo/publish", &token, &body));
        reader.expect_silence();
    });
}

#[test]
fn without_limits_nothing_is_counted() {
    on_each_with(
        |setup| setup,
        |broker| {
            let mut http = broker.http();
            (0..300).for_each(|_| drop(post(&mut http, "/v1/demo/topics/t", b"x")));
            let mut socket = broker.websocket();
            for _ in 0..300 {
                socket.send(r#"{"type":"unsubscribe","data":{"topic":"t"}}"#);
            }
            socket.expect_silence();
        },
    );
}
