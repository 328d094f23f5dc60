//! Closed applications: who gets in by which key at which door, and that no key ever shows.

mod support;

use support::{Broker, EventStream, Response, Setup, WebSocket, on_each_with};

const ALL: &str = "key-that-may-do-everything-1";
const READER: &str = "key-that-may-only-read-22222";
const WRITER: &str = "key-that-may-only-write-3333";
const NEWS: &str = "key-for-the-news-topics-4444";
const OTHER: &str = "key-of-another-application-5";
const WRONG: &str = "key-that-nobody-declared-666";

fn config() -> String {
    let key = |secret: &str, rights: &str, topics: &str| {
        format!(
            "[[applications.keys]]\nsecret = \"{secret}\"\nrights = {rights}\ntopics = {topics}\n"
        )
    };
    let both = r#"["subscribe", "publish"]"#;
    [
        "buzzpost_application = \"closed\"\n[[applications]]\nid = \"closed\"\n".to_owned(),
        key(ALL, both, r#"["*"]"#),
        key(READER, r#"["subscribe"]"#, r#"["*", "!secure/*"]"#),
        key(WRITER, r#"["publish"]"#, r#"["*"]"#),
        key(NEWS, both, r#"["news/*"]"#),
        "[[applications]]\nid = \"other\"\n".to_owned(),
        key(OTHER, both, r#"["*"]"#),
        "[[applications]]\nid = \"off\"\nenabled = false\n".to_owned(),
        key("key-of-the-disabled-one-7777", both, r#"["*"]"#),
    ]
    .concat()
}

fn on_closed(test: impl Fn(&Broker)) {
    on_each_with(
        |setup| setup.config(&config()).with("LOG_LEVEL", "trace"),
        |broker| {
            test(broker);
            let log = broker.log();
            for key in [ALL, READER, WRITER, NEWS, OTHER, WRONG] {
                assert!(!log.contains(key), "a key in the log: {log}");
            }
        },
    );
}

/// Every way in: method, target and body, all naming `topic`.
fn doors(topic: &str) -> Vec<(&'static str, String, String)> {
    vec![
        ("GET", format!("/v1/closed/events?topics={topic}"), String::new()),
        ("GET", format!("/?channels={topic}"), String::new()),
        ("POST", format!("/v1/closed/topics/{topic}"), "x".to_owned()),
        (
            "POST",
            "/v1/closed/publish".to_owned(),
            format!(r#"{{"messages":[{{"topic":"{topic}","data":1}}]}}"#),
        ),
        (
            "POST",
            "/api/topics/closed/publish".to_owned(),
            format!(r#"{{"topic":"{topic}","message":1}}"#),
        ),
        ("POST", "/".to_owned(), format!(r#"{{"channel":"{topic}","data":"1"}}"#)),
    ]
}

/// The head of the answer; of a stream that is all there is.
fn knock(
    broker: &Broker,
    (method, target, body): &(&str, String, String),
    key: Option<&str>,
    way: &str,
) -> Response {
    let mut http = broker.http();
    let mut target = target.clone();
    let mut fields = String::new();
    match (key, way) {
        (None, _) => {}
        (Some(key), "query") => {
            target += if target.contains('?') { "&" } else { "?" };
            target.push_str("secret=");
            target.push_str(key);
        }
        (Some(key), name) => fields = format!("{name}: {key}\r\n"),
    }
    http.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: t\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let head = http.head().expect("an answer");
    if head.status == 200 && *method == "GET" {
        return head;
    }
    let size: usize =
        head.header("content-length").and_then(|size| size.parse().ok()).expect("a length");
    let mut body = vec![0; size];
    std::io::Read::read_exact(&mut http.into_reader(), &mut body).expect("the whole body");
    Response { body, ..head }
}

#[test]
fn every_door_asks_for_a_key_and_takes_it_three_ways() {
    on_closed(|broker| {
        for way in ["X-Secret", "X-API-Key", "x-api-key", "query"] {
            for door in doors("t") {
                for (key, status) in
                    [(None, 401), (Some(WRONG), 401), (Some(OTHER), 401), (Some(ALL), 200)]
                {
                    let answer = knock(broker, &door, key, way);
                    assert_eq!(answer.status, status, "{door:?} {way} {key:?}: {}", answer.text());
                    for key in [ALL, OTHER, WRONG] {
                        assert!(!answer.text().contains(key), "an answer repeats the key");
                    }
                    if status == 401 {
                        assert_eq!(answer.problem(), "unauthorized");
                        assert!(answer.header("www-authenticate").is_some(), "RFC 9110 §15.5.2");
                    }
                }
                for near in [&ALL[1..], &ALL[..ALL.len() - 1], &ALL.to_uppercase(), ""] {
                    assert_eq!(knock(broker, &door, Some(near), way).status, 401, "{near:?}");
                }
            }
        }
        // Two keys are one too many; the operator would not know which counted.
        let mut http = broker.http();
        let fields = [("X-API-Key", ALL), ("X-API-Key", WRONG)];
        assert_eq!(http.request("POST", "/v1/closed/topics/t", &fields, b"x").status, 400);
    });
}

#[test]
fn rights_and_topics_bound_what_a_key_may_do() {
    on_closed(|broker| {
        for (key, topic, may_read, may_write) in [
            (ALL, "t", true, true),
            (READER, "t", true, false),
            (WRITER, "t", false, true),
            (NEWS, "t", false, false),
            (NEWS, "news/a", true, true),
            (NEWS, "newsletter", false, false),
            (READER, "secure/t", false, false),
            (ALL, "secure/t", true, true),
        ] {
            for door in doors(topic) {
                let may = if door.0 == "GET" { may_read } else { may_write };
                let answer = knock(broker, &door, Some(key), "X-API-Key");
                assert_eq!(answer.status, if may { 200 } else { 403 }, "{door:?} {key}");
                if !may {
                    assert_eq!(answer.problem(), "forbidden");
                }
            }
        }
        // One forbidden message forbids the whole batch.
        let mut stream = {
            let mut http = broker.http();
            http.send(format!(
                "GET /v1/closed/events?topics=news/a HTTP/1.1\r\nHost: t\r\nX-Secret: {ALL}\r\n\r\n"
            ));
            EventStream::begin(http)
        };
        let batch = br#"{"messages":[{"topic":"news/a","data":"no"},{"topic":"t","data":"no"}]}"#;
        let answer =
            broker.http().request("POST", "/v1/closed/publish", &[("X-Secret", NEWS)], batch);
        assert_eq!(answer.status, 403);
        let answer = broker.http().request(
            "POST",
            "/v1/closed/topics/news/a",
            &[("X-Secret", NEWS)],
            b"yes",
        );
        assert_eq!(answer.status, 200);
        assert_eq!(support::json(stream.event().data)["data"], "yes");
    });
}

#[test]
fn websockets_are_held_to_their_keys() {
    on_closed(|broker| {
        let mut http = broker.http();
        for (fields, status) in
            [(vec![], 401), (vec![("X-API-Key", WRONG)], 401), (vec![("X-API-Key", OTHER)], 401)]
        {
            let mut all = vec![
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ];
            all.extend(fields);
            let answer = http.request("GET", "/apps/closed", &all, b"");
            assert_eq!((answer.status, answer.problem().as_str()), (status, "unauthorized"));
        }
        let open =
            |key: &str| WebSocket::open(broker.connect(), &format!("/apps/closed?secret={key}"));
        let subscribe =
            |topic: &str| format!(r#"{{"type":"subscribe","data":{{"topic":"{topic}"}}}}"#);
        let publish = |topic: &str| {
            format!(r#"{{"type":"publish","data":{{"topic":"{topic}","payload":1}}}}"#)
        };
        let secure = "Subscription to secure topic is forbidden!";
        for (key, text, reason) in [
            (READER, subscribe("secure/x"), secure),
            (WRITER, subscribe("t"), "Subscription to topic is forbidden!"),
            (NEWS, subscribe("t"), "Subscription to topic is forbidden!"),
            (READER, publish("t"), "Publishing to topic is forbidden!"),
            (NEWS, publish("t"), "Publishing to topic is forbidden!"),
        ] {
            let mut socket = open(key);
            socket.send(&text);
            assert_eq!(socket.expect_close(), (1008, reason.to_owned()), "{key} {text}");
        }
        let mut socket = open(ALL);
        socket.subscribe("secure/x");
        let mut writer = open(WRITER);
        writer.send(&publish("secure/x"));
        assert_eq!(writer.value()["topic"], "priv/acks");
        let text = socket.text();
        assert!(!text.contains(WRITER), "{text}");
        assert_eq!(support::json(&text)["data"]["payload"], 1);
    });
}

#[test]
fn applications_do_not_hear_each_other_and_a_disabled_one_hears_nobody() {
    on_closed(|broker| {
        let mut closed = WebSocket::open(broker.connect(), &format!("/apps/closed?secret={ALL}"));
        let mut other = WebSocket::open(broker.connect(), &format!("/apps/other?secret={OTHER}"));
        closed.subscribe("t");
        other.subscribe("t");
        let mut http = broker.http();
        let private = format!("/v1/other/topics/priv/{}", closed.id);
        for target in ["/v1/other/topics/t", &private] {
            assert_eq!(http.request("POST", target, &[("X-API-Key", OTHER)], b"x").status, 200);
        }
        assert_eq!(other.value()["data"], "x");
        closed.expect_silence();
        let answer = http.request(
            "POST",
            "/v1/off/topics/t",
            &[("X-API-Key", "key-of-the-disabled-one-7777")],
            b"x",
        );
        assert_eq!((answer.status, answer.problem().as_str()), (403, "application_disabled"));
    });
}

#[test]
fn an_open_application_stays_on_the_loopback() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = Setup::new("epoll", 1).listen(address).try_start();
        let (status, log) = refused.map(|_| ()).expect_err("it must not serve everyone");
        assert!(!status.success());
        assert!(log.contains("demo") && log.contains("open") && log.contains("loopback"), "{log}");
    }
    let closed = "[[applications]]\nid = \"a\"\n[[applications.keys]]\nsecret = \"key-of-sixteen-and-more\"\nrights = [\"publish\"]\n";
    let served = Setup::new("epoll", 1).listen("0.0.0.0:0").config(closed).try_start();
    assert!(served.is_ok(), "{served:?}");
}
