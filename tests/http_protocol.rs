//! HTTP/1.1 as strangers speak it (RFC 9110, RFC 9112): framing, order, limits, timeouts, garbage.

mod support;

use support::{Http, json, on_each, on_each_with, position, post};

const TOPIC: &str = "/v1/demo/topics/t";

fn post_bytes(target: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n{body}")
        .into_bytes()
}

fn get_bytes(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes()
}

#[test]
fn a_connection_is_kept_and_answers_have_their_fields() {
    on_each(|broker| {
        let mut http = broker.http();
        for n in 0..50 {
            let answer = post(&mut http, TOPIC, b"x");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{n}");
            assert!(answer.header("date").unwrap().ends_with(" GMT"));
            assert_eq!(answer.header("connection"), None);
            let body = json(&answer.body);
            assert_eq!(body["id"].as_str().unwrap().len(), 32);
            position(body["position"].as_str().unwrap());
        }
        let answer = http.request("POST", TOPIC, &[("Connection", "close")], b"x");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        http.expect_end();
    });
}

#[test]
fn pipelined_answers_come_in_order_whatever_the_homes() {
    on_each(|broker| {
        let topics = broker.topics("pipe");
        for depth in [2, 64, 65, 500] {
            let mut http = broker.http();
            // Positions of a known number of messages per topic tell which answer is whose.
            let mut bytes = Vec::new();
            for n in 0..depth {
                match n % 7 {
                    3 => bytes.extend(get_bytes("/health/live")),
                    5 => bytes.extend(get_bytes(&format!("/nothing/{n}"))),
                    _ => {
                        let topic = &topics[n % topics.len()];
                        bytes.extend(post_bytes(&format!("/v1/demo/topics/{topic}"), "x"));
                    }
                }
            }
            http.send(&bytes);
            let mut last = vec![0; topics.len()];
            for n in 0..depth {
                let answer = http.response();
                let body = json(&answer.body);
                match n % 7 {
                    3 => assert_eq!(body["status"], "ok"),
                    5 => assert_eq!(
                        (answer.status, answer.problem().as_str()),
                        (404, "unknown_route")
                    ),
                    _ => {
                        let (home, offset) = position(body["position"].as_str().unwrap());
                        assert_eq!(usize::from(home), n % topics.len(), "answer {n} of {depth}");
                        assert!(offset > last[usize::from(home)]);
                        last[usize::from(home)] = offset;
                    }
                }
            }
            http.end();
            http.expect_end();
        }
    });
}

#[test]
fn a_half_closed_client_still_gets_every_answer() {
    on_each(|broker| {
        for topic in broker.topics("half") {
            for count in [1, 3, 200] {
                let mut http = broker.http();
                http.send(post_bytes(&format!("/v1/demo/topics/{topic}"), "x").repeat(count));
                http.end();
                for _ in 0..count {
                    assert_eq!(http.response().status, 200);
                }
                http.expect_end();
            }
        }
        // Half a request has no answer.
        let mut http = broker.http();
        http.send(&post_bytes(TOPIC, "hello")[..30]);
        http.end();
        http.expect_end();
    });
}

#[test]
fn a_request_may_be_cut_anywhere() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        socket.subscribe("t");
        let chunked =
            b"POST /v1/demo/topics/t HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\
            5;ext=\"x\"\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n";
        for whole in [post_bytes(TOPIC, "hello world"), chunked.to_vec()] {
            let mut http = broker.http();
            for cut in 1..whole.len() {
                http.send(&whole[..cut]);
                // Another connection's answer gives the broker time to read the first part alone.
                assert_eq!(broker_turn(&mut socket), 10);
                http.send(&whole[cut..]);
                assert_eq!(http.response().status, 200, "cut at {cut}");
                assert_eq!(socket.value()["data"], "hello world");
            }
            for byte in &whole {
                http.send([*byte]);
            }
            assert_eq!(http.response().status, 200);
            assert_eq!(socket.value()["data"], "hello world");
        }
    });
}

fn broker_turn(socket: &mut support::WebSocket) -> u8 {
    socket.send_bytes(&support::frame(true, 9, b""));
    socket.frame().opcode
}

#[test]
fn chunks_and_expectations_are_understood() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        socket.subscribe("t");
        let mut http = broker.http();
        let head = format!("POST {TOPIC} HTTP/1.1\r\nHost: t\r\n");
        http.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
        assert_eq!(http.response().status, 200);
        assert_eq!(socket.value()["data"], "");
        http.send(format!(
            "{head}Transfer-Encoding: Chunked\r\n\r\n00A\r\n0123456789\r\n0\r\n\r\n"
        ));
        assert_eq!(http.response().status, 200);
        assert_eq!(socket.value()["data"], "0123456789");

        http.send(format!("{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
        assert_eq!(http.response().status, 100);
        http.send("hi");
        assert_eq!(http.response().status, 200);
        assert_eq!(socket.value()["data"], "hi");
        // RFC 9110 §10.1.1: none once some of the content is here.
        http.send(format!("{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\nho"));
        assert_eq!(http.response().status, 200);
        assert_eq!(socket.value()["data"], "ho");
        http.send(format!("{head}Expect: 100-continue\r\nContent-Length: 300000\r\n\r\n"));
        assert_eq!(http.response().status, 413);
        http.expect_end();
        let mut http = broker.http();
        http.send(format!("{head}Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n"));
        assert_eq!(http.response().status, 417);
        http.expect_end();
    });
}

#[test]
fn head_options_and_http_1_0_are_served() {
    on_each(|broker| {
        let mut http = broker.http();
        for target in ["/", "/health/live", "/health/ready", "/api/health/status", "/nothing"] {
            let get = http.request("GET", target, &[], b"");
            let head = http.request("HEAD", target, &[], b"");
            assert_eq!(head.body, b"");
            assert_eq!(head.status, get.status);
            let size = head.header("content-length").map(str::to_owned);
            assert_eq!(size.as_deref(), get.header("content-length"), "{target}");
        }
        assert_eq!(http.request("HEAD", "/metrics", &[], b"").status, 200);
        for (target, allow) in [
            ("*", "GET, HEAD, POST, DELETE, OPTIONS"),
            ("/api/connections/demo", "DELETE, OPTIONS"),
            ("/", "GET, HEAD, POST, OPTIONS"),
            (TOPIC, "GET, HEAD, POST, OPTIONS"),
            ("/v1/demo/publish", "POST, OPTIONS"),
            ("/v1/demo/events", "GET, HEAD, OPTIONS"),
        ] {
            let answer = http.request("OPTIONS", target, &[], b"");
            assert_eq!((answer.status, answer.header("allow")), (204, Some(allow)), "{target}");
            assert_eq!(answer.header("content-length"), None, "RFC 9110 §8.6");
        }
        let mut http = broker.http();
        http.send(format!("POST {TOPIC} HTTP/1.0\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(http.response().header("connection"), Some("close"));
        http.expect_end();
        let mut http = broker.http();
        for _ in 0..2 {
            http.send("GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
            assert_eq!(http.response().header("connection"), Some("keep-alive"));
        }
    });
}

#[test]
fn what_does_not_exist_is_told() {
    on_each(|broker| {
        let mut http = broker.http();
        for target in [
            "/x",
            "/v1",
            "/v1/",
            "/v1/demo/connections/",
            "/v1/demo/",
            "/v1//events",
            "/v1/demo/topic",
            "/apps",
            "/apps/",
            "/apps/demo/x",
            "/api/topics/demo",
            "/api/topics//publish",
            "/metrics/",
            "/V1/demo/events",
            "//",
            "/health",
        ] {
            let answer = http.request("GET", target, &[], b"");
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (404, "unknown_route"),
                "{target}"
            );
        }
        for target in ["/v1/none/events?topics=a", "/apps/none", "/v1/DEMO/events?topics=a"] {
            let answer = http.request("GET", target, &[], b"");
            assert_eq!(answer.problem(), "unknown_application", "{target}");
        }
        let post = http.request("POST", "/v1/none/topics/t", &[], b"");
        assert_eq!((post.status, post.problem().as_str()), (404, "unknown_application"));
        for (method, target, allow) in [
            ("GET", "/v1/demo/publish", "POST, OPTIONS"),
            ("POST", "/v1/demo/events", "GET, HEAD, OPTIONS"),
            ("DELETE", "/", "GET, HEAD, POST, OPTIONS"),
            ("PUT", "/metrics", "GET, HEAD, OPTIONS"),
            ("PATCH", "/v1/demo/publish", "POST, OPTIONS"),
            ("BREW", "/health/live", "GET, HEAD, OPTIONS"),
        ] {
            let answer = http.request(method, target, &[], b"");
            assert_eq!(answer.problem(), "bad_method");
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some(allow)),
                "{method} {target}"
            );
        }
        // Still the same connection.
        assert_eq!(http.request("GET", "/health/live", &[], b"").status, 200);
    });
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        socket.subscribe("t");
        let second =
            "POST /v1/demo/topics/t HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\nsmuggled";
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 1 1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Content-Length : 1\r\n",
            " Content-Length: 1\r\n",
            "X: a\r\n Content-Length: 1\r\n",
            "X: a\nContent-Length: 1\r\n",
            "X: a\rContent-Length: 1\r\n",
            "X: a\0b\r\nContent-Length: 1\r\n",
            "Content Length: 1\r\n",
            ": x\r\nContent-Length: 1\r\n",
            "Host: other\r\nContent-Length: 1\r\n",
        ] {
            let mut http = broker.http();
            http.send(format!("POST {TOPIC} HTTP/1.1\r\nHost: t\r\n{fields}\r\nx{second}"));
            let answer = http.response();
            assert!((400..=501).contains(&answer.status), "{fields:?}: {answer:?}");
            assert_eq!(answer.header("connection"), Some("close"), "{fields:?}");
            http.expect_end();
        }
        for body in [
            "1\r\nx\r\n0\r\n\r",
            "g\r\nx\r\n0\r\n\r\n",
            "1 \r\nx\r\n0\r\n\r\n",
            "-1\r\nx\r\n0\r\n\r\n",
            "1\nx\n0\n\n",
            "1\r\nxy\r\n0\r\n\r\n",
            "fffffffffffffffff\r\nx",
            "\r\n1\r\nx\r\n0\r\n\r\n",
            "0x1\r\nx\r\n0\r\n\r\n",
            "1;a\nb\r\nx\r\n0\r\n\r\n",
        ] {
            let mut http = broker.http();
            http.send(format!(
                "POST {TOPIC} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{body}{second}"
            ));
            assert_eq!(http.response().status / 100, 4, "{body:?}");
            http.expect_end();
        }
        socket.expect_silence();
    });
}

#[test]
fn garbage_is_answered_once_and_costs_a_connection_each() {
    on_each(|broker| {
        for (bytes, status) in [
            (b"\0\0\0\0".as_slice(), 400),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 400),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (b"GET / HTTP/1.2\r\nHost: t\r\n\r\n", 505),
            (b"GET / HTTP/3.0\r\nHost: t\r\n\r\n", 505),
            (b"GET /\r\n\r\n", 400),
            (b"GET  / HTTP/1.1\r\nHost: t\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\nHost: t\n\n", 400),
            (b"GET /\x7f HTTP/1.1\r\nHost: t\r\n\r\n", 400),
            (b"GET /\xff HTTP/1.1\r\nHost: t\r\n\r\n", 400),
            (b"GET x HTTP/1.1\r\nHost: t\r\n\r\n", 400),
            (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
            (b"GET / HTTP/1.1\r\nHost: t\r\nX: \x01\r\n\r\n", 400),
            (b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        ] {
            let mut http = broker.http();
            http.send(bytes);
            let answer = http.response();
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(
                (answer.status, answer.header("connection")),
                (status, Some("close")),
                "{shown}"
            );
            http.expect_end();
        }
        // A percent-encoding that is none, and a topic that is none, cost no connection.
        let mut http = broker.http();
        for target in [
            "/v1/demo/topics/%zz",
            "/v1/demo/topics/%ff",
            "/v1/demo/topics/%0a",
            "/v1/demo/topics/",
        ] {
            assert_eq!(http.request("POST", target, &[], b"x").status, 400, "{target}");
        }
        assert_eq!(http.request("GET", "/v1/demo/events?topics=%", &[], b"").status, 400);
        let absolute = http.request("GET", "http://t/health/live", &[("X", "y")], b"");
        assert_eq!(absolute.status / 100, if absolute.status == 200 { 2 } else { 4 });
    });
}

#[test]
fn sizes_over_their_limits_are_refused_at_the_limit() {
    on_each_with(
        |setup| setup.with("HTTP_TARGET_SIZE_MAX", "256").with("HTTP_HEAD_SIZE_MAX", "512"),
        |broker| {
            let target = |size: usize| format!("/{}", "x".repeat(size - 1));
            assert_eq!(broker.http().request("GET", &target(256), &[], b"").status, 404);
            for size in [257, 400, 10_000, 300_000] {
                let mut http = broker.http();
                http.send(format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", target(size)));
                let answer = http.response();
                assert_eq!(
                    (answer.status, answer.problem().as_str()),
                    (414, "target_too_long"),
                    "{size}"
                );
                http.expect_end();
            }
            let request = |size: usize| {
                let bare = "GET /health/live HTTP/1.1\r\nHost: t\r\nX: \r\n\r\n".len();
                let value = "y".repeat(size - bare);
                format!("GET /health/live HTTP/1.1\r\nHost: t\r\nX: {value}\r\n\r\n")
            };
            let mut http = broker.http();
            http.send(request(512));
            assert_eq!(http.response().status, 200);
            for size in [513, 20_000, 200_000] {
                let mut http = broker.http();
                http.send(request(size));
                let answer = http.response();
                assert_eq!(
                    (answer.status, answer.problem().as_str()),
                    (431, "headers_too_large"),
                    "{size}"
                );
                http.expect_end();
            }
            let mut http = broker.http();
            http.send(format!("GET / HTTP/1.1\r\nHost: t\r\n{}\r\n", "a:\r\n".repeat(110)));
            assert_eq!(http.response().status, 431);
        },
    );
}

#[test]
fn those_who_dawdle_are_told_and_closed() {
    on_each_with(
        |setup| {
            setup
                .with("HTTP_HEAD_TIMEOUT", "300ms")
                .with("HTTP_BODY_TIMEOUT", "400ms")
                .with("HTTP_IDLE_TIMEOUT", "500ms")
        },
        |broker| {
            let answered = |bytes: &[u8], code: Option<&str>| {
                let mut http = broker.http();
                http.send(bytes);
                if let Some(code) = code {
                    let answer = http.response();
                    assert_eq!((answer.status, answer.problem().as_str()), (408, code));
                    assert_eq!(answer.header("connection"), Some("close"));
                    assert!(answer.text().contains("http."), "names its key: {}", answer.text());
                }
                http.expect_end();
            };
            answered(b"GET / HT", Some("timeout"));
            answered(b"P", Some("timeout"));
            answered(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab", Some("timeout"));
            answered(
                b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
                Some("timeout"),
            );
            answered(b"", None);
            // A kept connection that goes quiet ends without a word.
            let mut http = broker.http();
            assert_eq!(http.request("GET", "/health/live", &[], b"").status, 200);
            http.expect_end();
            // Dripping does not help: the time counts from the first byte.
            let mut http = broker.http();
            let mut drip = http.stream().try_clone().unwrap();
            let dripper = std::thread::spawn(move || {
                use std::io::Write as _;
                drip.write_all(b"GET / HTTP/1.1\r\n").unwrap();
                // Ends when the socket says that it is shut.
                while drip.write_all(b"X: y\r\n").is_ok() && broker_would_wait() {}
            });
            assert!(matches!(http.try_response("GET").map(|a| a.status), None | Some(408 | 431)));
            let _ = http.stream().shutdown(std::net::Shutdown::Both);
            dripper.join().unwrap();
        },
    );
}

/// Leaves the processor for a moment; the dripper's pace, not a synchronisation.
fn broker_would_wait() -> bool {
    std::thread::yield_now();
    true
}

#[test]
fn an_upgrade_or_stream_waits_behind_pipelined_publishes() {
    on_each(|broker| {
        for topic in broker.topics("behind") {
            let mut bytes = post_bytes(&format!("/v1/demo/topics/{topic}"), "x").repeat(3);
            bytes.extend(get_bytes(&format!("/v1/demo/events?topics={topic}")));
            let mut http = broker.http();
            http.send(&bytes);
            for _ in 0..3 {
                assert_eq!(http.response().status, 200);
            }
            let mut stream = support::EventStream::begin(http);
            post(&mut broker.http(), &format!("/v1/demo/topics/{topic}"), b"seen");
            assert_eq!(json(stream.event().data)["data"], "seen");
        }
    });
}

#[test]
fn many_connections_come_and_go() {
    on_each(|broker| {
        let streams: Vec<_> = (0..300).map(|_| broker.connect()).collect();
        for stream in streams {
            let mut http = Http::new(stream);
            assert_eq!(http.request("GET", "/health/live", &[], b"").status, 200);
        }
        broker.await_metrics("all have left", |metrics| {
            metrics.count("fanwire_connections", &[("door", "http")]) <= 1
        });
    });
}
