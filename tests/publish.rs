//! Publishing by HTTP: every route, body and limit; nothing refused is delivered.

mod support;

use support::{Http, Response, json, on_each, position, post};

fn send(http: &mut Http, target: &str, kind: Option<&str>, body: &[u8]) -> Response {
    match kind {
        Some(kind) => http.request("POST", target, &[("Content-Type", kind)], body),
        None => http.request("POST", target, &[], body),
    }
}

#[test]
fn every_route_delivers_and_answers_with_a_receipt() {
    on_each(|broker| {
        for topic in broker.topics("r") {
            let mut socket = broker.websocket();
            socket.subscribe(&topic);
            let mut http = broker.http();
            let mut last = 0;
            for (target, body) in [
                (format!("/v1/demo/topics/{topic}"), "7".to_owned()),
                ("/".to_owned(), format!(r#"{{"channel":"{topic}","data":"7"}}"#)),
                (
                    "/api/topics/demo/publish".to_owned(),
                    format!(r#"{{"topic":"{topic}","message":"7"}}"#),
                ),
                (
                    "/v1/demo/publish".to_owned(),
                    format!(r#"{{"messages":[{{"topic":"{topic}","data":"7"}}]}}"#),
                ),
            ] {
                // Only the first asks for the Content-Type; curl's default means nothing anywhere.
                let kind = Some("application/x-www-form-urlencoded");
                let answer = send(&mut http, &target, kind, body.as_bytes());
                assert_eq!(answer.status, 200, "{target}: {}", answer.text());
                let body = json(&answer.body);
                let receipt =
                    if target.ends_with("v1/demo/publish") { &body["results"][0] } else { &body };
                let keys: Vec<_> = receipt.as_object().unwrap().keys().collect();
                assert_eq!(keys, ["id", "position"]);
                let (_, offset) = position(receipt["position"].as_str().unwrap());
                assert!(offset > last);
                last = offset;
                let expected =
                    format!(r#"{{"topic":"{topic}","messageType":"broadcast","data":"7"}}"#);
                assert_eq!(
                    socket.text(),
                    expected,
                    "a string is the same payload as its characters"
                );
            }
        }
    });
}

#[test]
fn json_keeps_its_bytes_and_text_becomes_a_string() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        socket.subscribe("t");
        let mut http = broker.http();
        for text in [
            "0",
            "-0",
            "-0.0",
            "1e5",
            "1E+5",
            "1.0",
            "1.10",
            "1e-400",
            "12345678901234567890123",
            "0.1000000000000000055511151231257827",
            "true",
            "null",
            "[]",
            "[ ]",
            "{}",
            "{ }",
            r#"{"z":1,"a":2,"z":3}"#,
            "[1 ,2]",
            "\t[1,\r\n 2]\n ",
            r#""\/""#,
            r#""\u0041\u000a""#,
            "\"\u{2028}\u{7f}\"",
            r#"{"__proto__":{"\u0000":1}}"#,
        ] {
            for kind in
                ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"]
            {
                let answer = send(&mut http, "/v1/demo/topics/t", Some(kind), text.as_bytes());
                assert_eq!(answer.status, 200, "{text}: {}", answer.text());
                let expected =
                    format!(r#"{{"topic":"t","messageType":"broadcast","data":{text}}}"#);
                assert_eq!(socket.text(), expected);
            }
            let body = format!(r#"{{"message":{text},"topic":"t"}}"#);
            post(&mut http, "/api/topics/demo/publish", body.as_bytes());
            let trimmed = text.trim_matches(|c| " \t\r\n".contains(c));
            let expected = format!(r#"{{"topic":"t","messageType":"broadcast","data":{trimmed}}}"#);
            assert_eq!(socket.text(), expected);
        }
        for (kind, body, data) in [
            (None, "", ""),
            (Some("application/json"), "", ""),
            (None, "{\"not\":\"json\"}", "{\"not\":\"json\"}"),
            (
                Some("text/plain"),
                "tab\t \"q\" \\ / \u{0}\u{1f}\u{7f} é😀\u{2028}",
                "tab\t \"q\" \\ / \u{0}\u{1f}\u{7f} é😀\u{2028}",
            ),
            (Some("application/octet-stream"), " spaces ", " spaces "),
        ] {
            assert_eq!(send(&mut http, "/v1/demo/topics/t", kind, body.as_bytes()).status, 200);
            assert_eq!(socket.value()["data"], data);
        }
    });
}

#[test]
fn what_is_not_utf_8_or_not_json_is_refused() {
    on_each(|broker| {
        let mut socket = broker.websocket();
        socket.subscribe("t");
        let mut http = broker.http();
        for body in
            [b"\xff".as_slice(), b"ab\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
        {
            let answer = send(&mut http, "/v1/demo/topics/t", None, body);
            assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_utf8"), "{body:?}");
            let quoted = [b"\"", body, b"\""].concat();
            let answer = send(&mut http, "/v1/demo/topics/t", Some("application/json"), &quoted);
            assert_eq!(answer.status, 400, "{body:?}");
        }
        for body in [
            "{",
            "nul",
            "01",
            "1 2",
            "'a'",
            "{a:1}",
            "[1,]",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "1e400",
            "NaN",
            "\u{feff}1",
            " ",
            "+1",
            ".5",
            "1.",
            "\"a",
        ] {
            let answer =
                send(&mut http, "/v1/demo/topics/t", Some("application/json"), body.as_bytes());
            assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_json"), "{body:?}");
        }
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        let answer =
            send(&mut http, "/v1/demo/topics/t", Some("application/json"), deep.as_bytes());
        assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_json"));
        for (target, body, code) in [
            ("/", "", "bad_json"),
            ("/", "[]", "bad_field"),
            ("/", r#"{"channel":"t"}"#, "bad_field"),
            ("/", r#"{"channel":["t"],"data":1}"#, "bad_field"),
            ("/", r#"{"channel":"t","channel":"t","data":1}"#, "bad_field"),
            ("/", r#"{"channel":"","data":1}"#, "bad_topic"),
            ("/", r#"{"channel":"a,b","data":1}"#, "bad_topic"),
            ("/api/topics/demo/publish", r#"{"topic":"t"}"#, "bad_field"),
            ("/api/topics/demo/publish", r#"{"message":1}"#, "bad_field"),
            ("/api/topics/demo/publish", r#"{"topic":1,"message":1}"#, "bad_field"),
            (
                "/api/topics/demo/publish",
                r#"{"topic":"t","message":1,"compress":"yes"}"#,
                "bad_field",
            ),
            ("/api/topics/demo/publish", r#"{"topic":"a\u0000","message":1}"#, "bad_topic"),
        ] {
            let answer = send(&mut http, target, None, body.as_bytes());
            assert_eq!((answer.status, answer.problem().as_str()), (400, code), "{target} {body}");
        }
        socket.expect_silence();
    });
}

/// A request's body whose payload has that many bytes.
type Body<'a> = &'a dyn Fn(usize) -> String;

#[test]
fn limits_hold_to_the_byte() {
    const NATIVE: usize = 256 * 1024;
    const REALTIME: usize = 5 * 1024;
    on_each(|broker| {
        let mut socket = broker.websocket();
        socket.subscribe("t");
        let text = |size: usize| "x".repeat(size);
        let string = |size: usize| format!("\"{}\"", text(size - 2));
        let cases: [(&str, usize, Body<'_>); 4] = [
            ("/v1/demo/topics/t", NATIVE, &text),
            ("/", NATIVE, &|size| format!(r#"{{"channel":"t","data":{}}}"#, string(size))),
            ("/v1/demo/publish", NATIVE, &|size| {
                format!(r#"{{"messages":[{{"topic":"t","data":{}}}]}}"#, string(size))
            }),
            ("/api/topics/demo/publish", REALTIME, &|size| {
                format!(r#"{{"topic":"t","message":{}}}"#, string(size))
            }),
        ];
        for (target, limit, body) in cases {
            for size in [limit - 1, limit] {
                post(&mut broker.http(), target, body(size).as_bytes());
                assert!(socket.value()["data"].as_str().unwrap().len() >= size - 2);
            }
            let answer = send(&mut broker.http(), target, None, body(limit + 1).as_bytes());
            assert_eq!(answer.status, 413, "{target}");
            let problem = answer.problem();
            assert!(
                ["payload_too_large", "body_too_large"].contains(&problem.as_str()),
                "{problem}"
            );
            let detail = json(&answer.body)["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(&limit.to_string()), "names the limit: {detail}");
            assert!(detail.contains("payload_size_max"), "names the key: {detail}");
            if problem == "payload_too_large" {
                assert!(detail.contains(&(limit + 1).to_string()), "names the size: {detail}");
            }
            // Far over, with the whole body under way: the answer still arrives.
            let answer = send(&mut broker.http(), target, None, body(6 << 20).as_bytes());
            assert_eq!(answer.status, 413, "{target}");
        }
        socket.expect_silence();
    });
}

#[test]
fn a_batch_is_delivered_whole_or_not_at_all() {
    on_each(|broker| {
        let topics = broker.topics("b");
        let mut socket = broker.websocket();
        for topic in topics.iter().map(String::as_str).chain(["x", "y"]) {
            socket.subscribe(topic);
        }
        let mut http = broker.http();
        let list = serde_json::to_string(&topics).unwrap();
        let body = format!(
            r#"{{"messages":[{{"topics":{list},"data":{{"n": 1}}}},{{"topic":"x","data":2}},{{"topics":["y","y"],"data":3}}]}}"#
        );
        let answer = post(&mut http, "/v1/demo/publish", body.as_bytes());
        let results = json(&answer.body)["results"].as_array().unwrap().clone();
        assert_eq!(results.len(), topics.len() + 3);
        for (index, topic) in topics.iter().enumerate() {
            let (home, _) = position(results[index]["position"].as_str().unwrap());
            assert_eq!(usize::from(home), index, "{topic}");
        }
        let mut got: Vec<String> = (0..topics.len() + 3).map(|_| socket.text()).collect();
        got.sort();
        let envelope = |topic: &str, data: &str| {
            format!(r#"{{"topic":"{topic}","messageType":"broadcast","data":{data}}}"#)
        };
        let mut expected: Vec<String> =
            topics.iter().map(|topic| envelope(topic, r#"{"n": 1}"#)).collect();
        expected.extend([envelope("x", "2"), envelope("y", "3"), envelope("y", "3")]);
        expected.sort();
        assert_eq!(got, expected);

        let large = format!(r#""{}""#, "z".repeat(256 * 1024));
        let many = vec![r#"{"topic":"x","data":0}"#; 1025].join(",");
        for (second, status, code) in [
            (r#"{"topic":"a*","data":1}"#, 400, "bad_topic"),
            (r#"{"topic":"","data":1}"#, 400, "bad_topic"),
            (r#"{"topic":"x"}"#, 400, "bad_field"),
            (r#"{"topics":[],"data":1}"#, 400, "bad_field"),
            (r#"{"topics":["x",7],"data":1}"#, 400, "bad_field"),
            (r#"{"topic":"x","topics":["y"],"data":1}"#, 400, "bad_field"),
            ("7", 400, "bad_field"),
            ("{", 400, "bad_json"),
            (format!(r#"{{"topic":"x","data":{large}}}"#).as_str(), 413, "payload_too_large"),
            (many.as_str(), 400, "too_many"),
        ] {
            let body =
                format!(r#"{{"messages":[{{"topic":"x","data":"must not arrive"}},{second}]}}"#);
            let answer = send(&mut http, "/v1/demo/publish", None, body.as_bytes());
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (status, code),
                "{}",
                &second[..second.len().min(60)]
            );
        }
        socket.expect_silence();
        let full = vec![r#"{"topic":"nobody","data":0}"#; 1024].join(",");
        let answer =
            post(&mut http, "/v1/demo/publish", format!(r#"{{"messages":[{full}]}}"#).as_bytes());
        assert_eq!(json(&answer.body)["results"].as_array().unwrap().len(), 1024);
    });
}

#[test]
fn topics_in_the_path_are_decoded_once() {
    on_each(|broker| {
        let mut http = broker.http();
        for (path, topic) in [
            ("a%20b", "a b"),
            ("a+b", "a+b"),
            ("a/b//c/", "a/b//c/"),
            ("a%2Fb", "a/b"),
            ("%C3%A9", "é"),
            ("%2525", "%25"),
            ("a%3Fb", "a?b"),
            ("a?ignored=1", "a"),
            (".%2E/x", "../x"),
            ("a&b=c;d", "a&b=c;d"),
        ] {
            let mut socket = broker.websocket();
            socket.subscribe(topic);
            post(&mut http, &format!("/v1/demo/topics/{path}"), b"x");
            assert_eq!(socket.value()["topic"], topic, "{path}");
        }
        let longest = "é".repeat(127) + "x";
        let encoded: String =
            longest.bytes().fold(String::new(), |all, byte| format!("{all}%{byte:02x}"));
        post(&mut http, &format!("/v1/demo/topics/{encoded}"), b"x");
        for path in [
            "",
            "a%2Cb",
            "a,b",
            "a*",
            "%2A",
            "!a",
            "a%00",
            "a%0d%0ab",
            "a%7F",
            "%C2%85",
            &"x".repeat(256),
        ] {
            let answer = send(&mut http, &format!("/v1/demo/topics/{path}"), None, b"x");
            assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_topic"), "{path}");
        }
    });
}
