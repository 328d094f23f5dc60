//! Event streams through a reader written from the standard (WHATWG HTML §9.2).

mod support;

use support::{EventStream, Setup, json, on_each, on_each_with, position, post};

fn stream(broker: &support::Broker, target: &str) -> EventStream {
    EventStream::open(broker.http(), target)
}

#[test]
fn native_events_carry_the_envelope_and_their_position() {
    on_each(|broker| {
        for topic in broker.topics("n") {
            let mut events = stream(broker, &format!("/v1/demo/events?topics={topic}"));
            let mut http = broker.http();
            let path = format!("/v1/demo/topics/{topic}");
            for (index, (kind, body, data)) in [
                ("application/json", r#"{"b": 1.50,"a":[ ]}"#, r#"{"b": 1.50,"a":[ ]}"#),
                ("application/json", "\"é\\u0041\"", "\"é\\u0041\""),
                ("text/plain", "a \"quoted\" é\u{1}", r#""a \"quoted\" é\u0001""#),
                ("text/plain", "", "\"\""),
            ]
            .into_iter()
            .enumerate()
            {
                let answer =
                    http.request("POST", &path, &[("Content-Type", kind)], body.as_bytes());
                let receipt = json(&answer.body);
                let event = events.event();
                assert_eq!(
                    (event.kind.as_str(), &*event.id),
                    ("message", receipt["position"].as_str().unwrap())
                );
                // `retry:` stands in the first event's block and in no other.
                assert_eq!(event.retry.is_some(), index == 0);
                assert!(event.retry.is_none_or(|retry| (2000..=5000).contains(&retry)));
                let time = json(&event.data)["time"].as_str().unwrap().to_owned();
                assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
                let expected = format!(
                    r#"{{"topic":"{topic}","id":{},"time":"{time}","data":{data}}}"#,
                    receipt["id"]
                );
                assert_eq!(event.data, expected);
            }
        }
    });
}

#[test]
fn raw_and_buzzpost_events_are_the_payloads_characters() {
    on_each(|broker| {
        let mut raw = stream(broker, "/v1/demo/events?topics=x.service-now.com/0a&format=raw");
        let mut buzz = stream(broker, "/?channels=x.service-now.com/0a,other");
        let mut http = broker.http();
        for (data, expected) in [
            (r#""Hello world!""#, "Hello world!"),
            (r#""a\nb\r\nc\rd""#, "a\nb\nc\nd"),
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            (" [1,\n2] ", "[1,\n2]"),
            (r#""\u00e9\ud83d\ude00""#, "é😀"),
            ("null", "null"),
            ("\"\"", ""),
            (r#""\u0000""#, "\0"),
        ] {
            let body = format!(r#"{{"channel":"x.service-now.com/0a","data":{data}}}"#);
            // As its senders do: no Content-Type.
            post(&mut http, "/", body.as_bytes());
            assert_eq!(raw.event().data.trim(), expected.trim());
            let event = buzz.event();
            assert_eq!((event.kind.as_str(), event.data.trim()), ("message", expected.trim()));
        }
    });
}

#[test]
fn no_payload_can_forge_a_field_or_an_event() {
    on_each(|broker| {
        let mut raw = stream(broker, "/v1/demo/events?topics=t&format=raw");
        let mut native = stream(broker, "/v1/demo/events?topics=t,u");
        let mut http = broker.http();
        for end in ["\n", "\r", "\r\n", "\n\r", "\n\n", "\r\r", "\r\n\r\n", "\u{2028}", "\u{85}"] {
            for field in ["data: x", "event: evil", "id: 666", "retry: 1", ": c", "", "data"] {
                let text = format!("a{end}{field}{end}{end}{field}{end}");
                post(&mut http, "/v1/demo/topics/t", text.as_bytes());
                let event = raw.event();
                let expected = text.replace("\r\n", "\n").replace('\r', "\n");
                assert_eq!((event.kind.as_str(), &*event.data), ("message", &*expected));
                assert_ne!(event.id, "666");
                assert_eq!(json(native.event().data)["data"], text.as_str());
            }
        }
        assert_eq!(raw.parser.comment_count, 1, "only the head's");
    });
}

#[test]
fn a_cursor_over_several_homes_moves_entry_by_entry() {
    on_each(|broker| {
        let topics = broker.topics("m");
        let target = format!("/v1/demo/events?topics={}", topics.join(","));
        let mut events = stream(broker, &target);
        let mut http = broker.http();
        let mut last: std::collections::BTreeMap<u16, u64> = [].into();
        for n in 0..30 {
            let topic = &topics[n % topics.len()];
            let answer = post(&mut http, &format!("/v1/demo/topics/{topic}"), b"x");
            let (home, offset) = position(json(&answer.body)["position"].as_str().unwrap());
            let event = events.event();
            assert_eq!(json(&event.data)["topic"], topic.as_str());
            let mut parts = event.id.split('-');
            assert!(parts.next().is_some_and(|epoch| !epoch.is_empty()));
            let entries: std::collections::BTreeMap<u16, u64> =
                parts.map(|entry| position(&format!("e-{entry}"))).collect();
            assert_eq!(entries.len(), topics.len(), "one entry per home: {}", event.id);
            assert_eq!(entries[&home], offset);
            for (home, offset) in &last {
                assert!(entries[home] >= *offset, "an entry went back");
            }
            last = entries;
        }
    });
}

#[test]
fn heads_allow_browsers_and_proxies() {
    on_each(|broker| {
        let mut http = broker.http();
        http.send(
            "GET /v1/demo/events?topics=a HTTP/1.1\r\nHost: t\r\nOrigin: https://x.example\r\n\r\n",
        );
        let head = EventStream::begin(http).head;
        assert_eq!(head.header("x-accel-buffering"), Some("no"));
        assert_eq!(head.header("access-control-allow-origin"), Some("*"));
        assert!(head.header("cache-control").unwrap().contains("no-cache"));
        assert_eq!(head.header("content-length"), None);

        let mut http = broker.http();
        let answer = http.request("HEAD", "/v1/demo/events?topics=a", &[], b"");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/event-stream"))
        );
        let mut http = broker.http();
        http.send("GET /?channels=a HTTP/1.0\r\n\r\n");
        let mut events = EventStream::begin(http);
        assert_eq!(events.head.header("transfer-encoding"), None);
        post(&mut broker.http(), "/", br#"{"channel":"a","data":"old"}"#);
        assert_eq!(events.event().data, "old");

        for target in ["/", "/v1/demo/events?topics=a", "/v1/demo/topics/a", "/v1/demo/publish"] {
            let preflight = [
                ("Origin", "https://x.example"),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "x-secret,content-type"),
            ];
            let answer = broker.http().request("OPTIONS", target, &preflight, b"");
            assert_eq!(answer.status, 204);
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{target}");
            let allowed = answer.header("access-control-allow-headers").unwrap().to_lowercase();
            for name in ["x-secret", "content-type", "last-event-id"] {
                assert!(allowed.split(", ").any(|allowed| allowed == name), "{allowed}");
            }
        }
        // Errors are readable from other origins too.
        let origin = [("Origin", "https://x.example")];
        let answer = broker.http().request("GET", "/v1/demo/events?topics=", &origin, b"");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, Some("*")));
    });
}

#[test]
fn listed_origins_are_told_apart() {
    let broker = Setup::new("uring", 1)
        .config("[[applications]]\nid = \"demo\"\nopen = true\ncors_origins = [\"https://a.example\", \"https://b.example:8443\"]\n")
        .start();
    for (origin, allowed) in [
        ("https://a.example", true),
        ("https://b.example:8443", true),
        ("https://b.example", false),
        ("http://a.example", false),
        ("https://a.example.evil", false),
        ("null", false),
    ] {
        for (method, target) in [("OPTIONS", "/v1/demo/topics/t"), ("POST", "/v1/demo/topics/t")] {
            let answer = broker.http().request(method, target, &[("Origin", origin)], b"");
            let expected = allowed.then_some(origin);
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{method} {origin}");
        }
    }
}

#[test]
fn topics_are_lists_and_lists_repeat() {
    on_each(|broker| {
        for query in [
            "topics=a,b,c",
            "topics=a&topics=b&topics=c",
            "topics=a,b&x=y&topics=c",
            "topics=a,b,a,c,b&topics=c",
            "topics=%61%2cb,c",
            "%74opics=a,b,c",
        ] {
            let mut events = stream(broker, &format!("/v1/demo/events?{query}"));
            let mut http = broker.http();
            for topic in ["a", "b", "c"] {
                post(&mut http, &format!("/v1/demo/topics/{topic}"), b"x");
                assert_eq!(json(events.event().data)["topic"], topic, "{query}");
            }
            post(&mut http, "/v1/demo/topics/d", b"x");
            post(&mut http, "/v1/demo/topics/a", b"last");
            assert_eq!(json(events.event().data)["data"], "last", "each once: {query}");
        }
        let mut http = broker.http();
        let many: Vec<String> = (0..257).map(|n| format!("t{n}")).collect();
        let refused = [
            (String::new(), "bad_field"),
            ("topics=".to_owned(), "bad_topic"),
            ("topics=a,".to_owned(), "bad_topic"),
            ("topics=a,,b".to_owned(), "bad_topic"),
            ("topics=a*".to_owned(), "bad_topic"),
            ("topics=!a".to_owned(), "bad_topic"),
            ("topics=a%0Ab".to_owned(), "bad_topic"),
            ("topics=%FF".to_owned(), "bad_request"),
            (format!("topics={}", "x".repeat(256)), "bad_topic"),
            (format!("topics={}", many.join(",")), "too_many"),
            ("topics=a&format=xml".to_owned(), "bad_field"),
            ("channels=a".to_owned(), "bad_field"),
        ];
        for (query, code) in refused {
            let answer = http.request("GET", &format!("/v1/demo/events?{query}"), &[], b"");
            assert_eq!((answer.status, answer.problem().as_str()), (400, code), "{query}");
        }
        let private = http.request("GET", "/v1/demo/events?topics=priv/x", &[], b"");
        assert_eq!((private.status, private.problem().as_str()), (403, "forbidden"));
        assert_eq!(
            stream(broker, &format!("/v1/demo/events?topics={}", many[..256].join(",")))
                .head
                .status,
            200
        );
    });
}

#[test]
fn heartbeats_come_in_silence_only_as_comments() {
    on_each_with(
        |setup| {
            setup
                .with("SSE_HEARTBEAT_INTERVAL", "100ms")
                .with("SSE_RETRY_DELAY", "1500ms")
                .with("SSE_RETRY_JITTER", "0s")
        },
        |broker| {
            let mut events = stream(broker, "/v1/demo/events?topics=a");
            while events.parser.comment_count < 3 {
                assert!(events.read());
            }
            post(&mut broker.http(), "/v1/demo/topics/a", b"x");
            let mut event = None;
            while event.is_none() {
                events.parser.comment_count = 0;
                event = events.try_event();
            }
            let event = event.unwrap();
            assert_eq!((json(event.data)["data"].as_str(), event.retry), (Some("x"), Some(1500)));
        },
    );
}

#[test]
fn a_stream_whose_reader_left_is_forgotten() {
    on_each(|broker| {
        for _ in 0..20 {
            drop(stream(broker, "/v1/demo/events?topics=gone,gone2"));
        }
        broker.await_metrics("all streams have ended", |metrics| {
            metrics.count("fanwire_connections", &[("door", "sse")]) == 0
                && metrics.count("fanwire_subscriptions", &[]) == 0
        });
    });
}
