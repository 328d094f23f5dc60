//! The HTTP/1.1 decoder: vectors of the RFCs, and what request smuggling is made of.
//!
//! Every vector also goes through the oracles of `fuzz/checks/http1.rs` and is divided at each byte.

use std::fmt::Write as _;

use fanwire::model::refusal::Refusal::{self, BadRequest, BadVersion, NotImplemented};
use fanwire::proto::http1::{Decoded, Decoder, Framing, Progress, Scratch, SizeLimit, Terms};
use proptest::prelude::*;

#[path = "../fuzz/checks/http1.rs"]
mod oracle;

use oracle::{BODY, Event, LIMITS, events};

/// The events of a stream, after they were found to be the same at every division in two.
fn decoded(stream: &[u8]) -> Vec<Event> {
    oracle::check(stream);
    let whole = events([stream]);
    for place in 0..=stream.len() {
        let (start, end) = stream.split_at(place);
        assert_eq!(events([start, end]), whole, "divided at {place}");
    }
    whole
}

/// Method, path and content of every request, then the refusal if one ended the stream.
fn check(stream: impl AsRef<[u8]>, requests: &[(&str, &str, &str)], refusal: Option<Refusal>) {
    let shown = String::from_utf8_lossy(stream.as_ref()).into_owned();
    let mut found = Vec::new();
    let mut found_refusal = None;
    for event in decoded(stream.as_ref()) {
        match event {
            Event::Request { line: [method, _, path, ..], body, .. } => {
                found.push((method, path, String::from_utf8(body).expect("text")));
            }
            Event::Refused(refused, _) => found_refusal = Some(refused.refusal),
        }
    }
    let found: Vec<_> =
        found.iter().map(|(m, p, b)| (m.as_str(), p.as_str(), b.as_str())).collect();
    assert_eq!((&found[..], found_refusal), (requests, refusal), "{shown}");
}

/// A POST with these header lines and this after its empty line.
fn post(headers: &str, rest: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n{rest}")
}

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_request_is_read_whole() {
    let stream =
        b"\r\n\r\nPUT /a/b?c=d?e HTTP/1.1\r\nHost: example.com:8080\r\nX-a:\t b c \t\r\nx-A:\r\n\
                   Content-Length: 3\r\n\r\nabc";
    let expected = Event::Request {
        line: ["PUT", "/a/b?c=d?e", "/a/b", "c=d?e", "HTTP/1.1"].map(str::to_owned),
        headers: [
            ("Host", "example.com:8080"),
            ("X-a", "b c"),
            ("x-A", ""),
            ("Content-Length", "3"),
        ]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .to_vec(),
        framing: Framing::Length(3),
        flags: [true, false, false],
        body: b"abc".to_vec(),
        end: stream.len(),
    };
    assert_eq!(decoded(stream), [expected]);
}

#[test]
fn requests_follow_each_other() {
    let stream = format!(
        "{}{NEXT}\r\n{}{NEXT}GET /cut HTTP/1.1\r\nHos",
        post("Content-Length: 5\r\n", "a\r\n\r\n"),
        post(
            "Transfer-Encoding: chunked\r\n",
            "3;x=\"y\"\r\nabc\r\nA \t;z\r\n0123456789\r\n000\r\nT: u\r\n\r\n"
        ),
    );
    let next = ("GET", "/next", "");
    let requests = [("POST", "/a", "a\r\n\r\n"), next, ("POST", "/a", "abc0123456789"), next];
    check(stream, &requests, None);
}

#[test]
fn targets_are_taken_in_three_forms() {
    for (target, path) in [
        ("/", "/"),
        ("//a/../b;c=%00", "//a/../b;c=%00"),
        ("/?a", "/"),
        ("http://h/x?y", "/x"),
        ("HTTPS://H", "/"),
        ("http://h?q", "/"),
    ] {
        let stream = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        check(stream, &[("GET", path, "")], None);
    }
    check("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", &[("OPTIONS", "*", "")], None);
}

#[test]
fn request_lines_that_are_none_are_refused() {
    for (line, refusal) in [
        ("GET /", BadRequest),
        ("GET / ", BadRequest),
        (" GET / HTTP/1.1", BadRequest),
        ("GET  / HTTP/1.1", BadRequest),
        ("GET /  HTTP/1.1", BadRequest),
        ("GET / HTTP/1.1 ", BadRequest),
        ("GET\t/ HTTP/1.1", BadRequest),
        ("GET /a b HTTP/1.1", BadRequest),
        ("GET /a\rb HTTP/1.1", BadRequest),
        ("GET / HTTP/1.1\r", BadRequest),
        ("GET / http/1.1", BadRequest),
        ("GET / HTTP/11", BadRequest),
        ("GET / HTTP/1.10", BadRequest),
        ("GET / HTTP/1.2", BadVersion),
        ("GET / HTTP/0.9", BadVersion),
        ("PRI * HTTP/2.0", BadVersion),
        ("G<T / HTTP/1.1", BadRequest),
        ("GET * HTTP/1.1", BadRequest),
        ("GET a HTTP/1.1", BadRequest),
        ("GET /a#b HTTP/1.1", BadRequest),
        ("GET /a\\b HTTP/1.1", BadRequest),
        ("GET /é HTTP/1.1", BadRequest),
        ("GET /\x7f HTTP/1.1", BadRequest),
        ("GET ftp://h/ HTTP/1.1", BadRequest),
        ("GET http:///a HTTP/1.1", BadRequest),
        ("GET http://u@h/ HTTP/1.1", BadRequest),
        ("GET http://other/ HTTP/1.1", BadRequest),
        ("CONNECT h:80 HTTP/1.1", NotImplemented),
        ("ABCDEFGHIJKLMNOP / HTTP/1.1", NotImplemented),
    ] {
        check(format!("{line}\r\nHost: h\r\n\r\n{NEXT}"), &[], Some(refusal));
    }
    check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[], Some(BadRequest));
    check(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", &[], Some(BadRequest));
    check("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", &[], Some(BadRequest));
    check("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", &[], Some(BadRequest));
    check("\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", &[], Some(BadRequest));
}

#[test]
fn hosts() {
    for host in ["h", "a.b-c_d~:1", "[::1]", "[2001:db8::1]:65535", "127.0.0.1:", "%41", "a,b"] {
        check(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), &[("GET", "/", "")], None);
    }
    for headers in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: h\r\nHost: h\r\n",
        "host: h\r\nHOST: i\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@h\r\n",
        "Host: h:x\r\n",
        "Host: h:123456\r\n",
        "Host: [::1\r\n",
        "Host: [x]\r\n",
        "Host: []\r\n",
        "Host: [::1]x\r\n",
        "Host: :80\r\n",
        "Host: é\r\n",
        "Hosts: h\r\n",
    ] {
        check(format!("GET / HTTP/1.1\r\n{headers}\r\n{NEXT}"), &[], Some(BadRequest));
    }
}

/// Each of these was, somewhere, the way past a proxy: two readers of the same bytes disagreed.
#[test]
fn nothing_smuggles_a_request() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (headers, rest) in [
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "abcde"),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "abcdef"),
        ("Content-Length: 5, 5\r\n", "abcde"),
        ("Content-Length: +5\r\n", "abcde"),
        ("Content-Length: -0\r\n", ""),
        ("Content-Length: 0x5\r\n", "abcde"),
        ("Content-Length: 5 5\r\n", "abcde"),
        ("Content-Length: 5a\r\n", "abcde"),
        ("Content-Length: a\r\n", "abcde"),
        ("Content-Length:\r\n", ""),
        ("Content-Length: \r\n", ""),
        ("Content-Length: \u{661}\r\n", "a"),
        ("Content-Length: 18446744073709551616\r\n", ""),
        ("Content-Length : 5\r\n", "abcde"),
        ("Content-Length\t: 5\r\n", "abcde"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", ""),
        ("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding:\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding\r\n: chunked\r\n", "0\r\n\r\n"),
        (" Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("X: y\r\n\tz\r\n", ""),
        ("X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("X: y\r\r\n", ""),
        ("X: y\n", ""),
        ("\n", ""),
        ("X: \0\r\n", ""),
        ("X: a\x0bb\r\n", ""),
        ("X: \x7f\r\n", ""),
        ("X\0: a\r\n", ""),
        ("X y: a\r\n", ""),
        ("(X): a\r\n", ""),
        ("é: a\r\n", ""),
        (": a\r\n", ""),
        ("X\r\n", ""),
        (chunked, "\r\n0\r\n\r\n"),
        (chunked, "g\r\n"),
        (chunked, "0x1\r\na\r\n0\r\n\r\n"),
        (chunked, "+1\r\na\r\n0\r\n\r\n"),
        (chunked, " 1\r\na\r\n0\r\n\r\n"),
        (chunked, "1 \r\na\r\n0\r\n\r\n"),
        (chunked, "1 2\r\na\r\n0\r\n\r\n"),
        (chunked, "1\na\r\n0\r\n\r\n"),
        (chunked, "1\ra\r\n0\r\n\r\n"),
        (chunked, "1;a\nb\r\na\r\n0\r\n\r\n"),
        (chunked, "1;a\rb\r\na\r\n0\r\n\r\n"),
        (chunked, "1;\0\r\na\r\n0\r\n\r\n"),
        (chunked, ";\r\n"),
        (chunked, ";\r\n\r\n"),
        (chunked, "\r\n\r\n"),
        (chunked, "1\r\nab\r\n0\r\n\r\n"),
        (chunked, "1\r\na\n0\r\n\r\n"),
        (chunked, "1\r\na0\r\n\r\n"),
        (chunked, "00000000000000001\r\na\r\n0\r\n\r\n"),
        (chunked, "0\r\n\n"),
        (chunked, "0\r\nX\r\n\r\n"),
        (chunked, "0\r\nX : y\r\n\r\n"),
        (chunked, "0\r\n X: y\r\n\r\n"),
        (chunked, "0\r\nX: y\n\r\n"),
        (chunked, "0\r\nX: y\r\n z\r\n\r\n"),
        (chunked, "0\r\nX: \0\r\n\r\n"),
        (chunked, "0\r\n\rX"),
    ] {
        check(post(headers, &format!("{rest}{NEXT}")), &[], Some(BadRequest));
    }
    let old = format!("POST /a HTTP/1.0\r\nConnection: keep-alive\r\n{chunked}\r\n0\r\n\r\n{NEXT}");
    check(old, &[], Some(BadRequest));
    check(post("Transfer-Encoding: gzip, chunked\r\n", NEXT), &[], Some(NotImplemented));
    check(post("Transfer-Encoding: cHuNkEd\r\n", "0\r\n\r\n"), &[("POST", "/a", "")], None);
    check(post("Content-Length: 0005\r\n", "abcde"), &[("POST", "/a", "abcde")], None);
}

#[test]
fn nothing_is_read_behind_the_last_request() {
    let get = |version: &str, headers: &str| {
        format!("GET / HTTP/{version}\r\nHost: h\r\n{headers}\r\n{NEXT}")
    };
    let (one, both) = ([("GET", "/", "")], [("GET", "/", ""), ("GET", "/next", "")]);
    check(get("1.1", "Connection: close\r\n"), &one, None);
    check(get("1.1", "Connection: x, CLOSE ,keep-alive\r\n"), &one, None);
    check(get("1.1", "Connection: keep-alive\r\nConnection: close\r\n"), &one, None);
    check(get("1.1", "Connection: closed\r\n"), &both, None);
    check(get("1.0", ""), &one, None);
    check(get("1.0", "Connection: Keep-Alive\r\n"), &both, None);
    check("GET / HTTP/1.0\r\n\r\n", &one, None);
}

#[test]
fn upgrades_need_both_fields_and_the_version() {
    for (version, headers, expected) in [
        ("1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", true),
        ("1.1", "Connection: Upgrade\r\n", false),
        ("1.1", "Upgrade: websocket\r\n", false),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false),
    ] {
        let stream = format!("GET / HTTP/{version}\r\nHost: h\r\n{headers}\r\n");
        let events = decoded(stream.as_bytes());
        let [Event::Request { flags, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(flags[2], expected, "{stream}");
    }
}

#[test]
fn limits_are_met_exactly() {
    let target = |size: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(size - 1));
    let target_size_max = LIMITS.target.size_max;
    assert!(matches!(decoded(target(target_size_max).as_bytes())[..], [Event::Request { .. }]));
    for size in [target_size_max + 1, target_size_max + 40, 5000] {
        check(target(size), &[], Some(Refusal::TargetTooLong));
    }
    check("A".repeat(5000), &[], Some(Refusal::TargetTooLong));

    let head = |size: usize| {
        let start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
        format!("{start}{}\r\n\r\n", "a".repeat(size - start.len() - 4))
    };
    check(head(LIMITS.head.size_max), &[("GET", "/", "")], None);
    check(head(LIMITS.head.size_max + 1), &[], Some(Refusal::HeadersTooLarge));
    check(head(5000), &[], Some(Refusal::HeadersTooLarge));

    let fields =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a:b\r\n".repeat(count - 1));
    check(fields(64), &[("GET", "/", "")], None);
    check(fields(65), &[], Some(Refusal::HeadersTooLarge));
}

#[test]
fn bodies_are_limited_before_they_are_taken() {
    let size_max = BODY.size_max;
    let body = "b".repeat(size_max);
    check(post(&format!("Content-Length: {size_max}\r\n"), &body), &[("POST", "/a", &body)], None);
    let (half, rest) = body.split_at(1000);
    let chunks = format!("3E8\r\n{half}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
    check(post("Transfer-Encoding: chunked\r\n", &chunks), &[("POST", "/a", &body)], None);

    let too_large = |size: &str| {
        format!("the body has {size} bytes or more; at most {size_max} are taken (http.body)")
    };
    for (headers, rest, size) in [
        ("Content-Length: 2049\r\n", "", "2049"),
        (
            "Content-Length: 18446744073709551615\r\nExpect: 100-continue\r\n",
            "",
            "18446744073709551615",
        ),
        ("Transfer-Encoding: chunked\r\n", "801\r\n", "2049"),
        ("Transfer-Encoding: chunked\r\n", "1\r\na\r\n800\r\n", "2049"),
        (
            "Transfer-Encoding: chunked\r\n",
            "1\r\na\r\nffffffffffffffff\r\n",
            "18446744073709551615",
        ),
    ] {
        let events = decoded(post(headers, rest).as_bytes());
        let [Event::Refused(refused, terms)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((refused.refusal, &refused.detail), (Refusal::BodyTooLarge, &too_large(size)));
        assert_eq!(*terms, Terms::CLOSING);
    }

    let long = "x".repeat(5000);
    let chunked = "Transfer-Encoding: chunked\r\n";
    check(post(chunked, &format!("0;{long}\r\n\r\n")), &[], Some(BadRequest));
    check(post(chunked, &format!("0\r\nX: {long}\r\n\r\n")), &[], Some(Refusal::HeadersTooLarge));
}

#[test]
fn a_request_that_is_not_admitted_ends_the_stream() {
    let stream = format!("HEAD /refused HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{NEXT}");
    let events = decoded(stream.as_bytes());
    let [Event::Refused(refused, terms)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(refused.refusal, Refusal::UnknownRoute);
    assert_eq!(*terms, Terms { head_only: true, ..Terms::CLOSING });
}

/// What each piece of a stream makes: `c`ontinue, `r`equest, `x` refused, `.` more needed.
fn outcomes(pieces: &[&str]) -> String {
    let (mut decoder, mut scratch) = (Decoder::new(), Scratch::default());
    let mut outcomes = String::new();
    for piece in pieces {
        let (consumed, decoded) =
            decoder.decode(piece.as_bytes(), &mut scratch, &LIMITS, |_| Ok(BODY));
        assert_eq!(consumed, piece.len());
        outcomes.push(match decoded {
            Decoded::NeedMore => '.',
            Decoded::Continue => 'c',
            Decoded::Request(_) => 'r',
            Decoded::Refused(..) => 'x',
        });
    }
    outcomes
}

#[test]
fn a_peer_that_waits_is_told_to_go_on_once() {
    let expect = "Expect: 100-Continue\r\n";
    let head = post(&format!("Content-Length: 3\r\n{expect}"), "");
    let (start, end) = head.split_at(20);
    assert_eq!(outcomes(&[&head, "a", "bc"]), "c.r");
    assert_eq!(outcomes(&[start, end, "abc"]), ".cr");
    assert_eq!(outcomes(&[&format!("{head}a"), "bc"]), ".r");
    assert_eq!(outcomes(&[&format!("{head}abc")]), "r");
    assert_eq!(
        outcomes(&[&post(&format!("Transfer-Encoding: chunked\r\n{expect}"), ""), "0\r\n\r\n"]),
        "cr"
    );
    assert_eq!(outcomes(&[&post(expect, "")]), "r");
    assert_eq!(outcomes(&[&post(&format!("Content-Length: 0\r\n{expect}"), "")]), "r");
    assert_eq!(outcomes(&[&head.replace("1.1", "1.0"), "abc"]), ".r");
    check(post("Expect: 200-ok\r\n", ""), &[], Some(Refusal::ExpectationFailed));
}

#[test]
fn an_idle_decoder_holds_nothing_and_a_busy_one_says_what() {
    assert!(size_of::<Decoder>() <= 16);
    let (mut decoder, mut scratch) = (Decoder::new(), Scratch::default());
    let mut step = |piece: &str| {
        decoder.decode(piece.as_bytes(), &mut scratch, &LIMITS, |_| Ok(BODY));
        (decoder.progress(), decoder.is_idle(), decoder.buffered_size() > 0)
    };
    assert_eq!(step(NEXT), (Progress::Idle, true, false));
    assert_eq!(step("\r\n"), (Progress::Idle, true, false));
    assert_eq!(step("G"), (Progress::Head, false, true));
    assert_eq!(
        step("ET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na"),
        (Progress::Body, false, true)
    );
    assert_eq!(step("b"), (Progress::Idle, true, false));
    assert_eq!(step("GET / HTTP/1.0\r\n\r\n"), (Progress::Ended, false, false));
    assert_eq!(step(NEXT), (Progress::Ended, false, false));
}

#[test]
fn a_large_content_length_reserves_little() {
    let (mut decoder, mut scratch) = (Decoder::new(), Scratch::default());
    let limit = SizeLimit { size_max: usize::MAX, key: "http.body" };
    let head = post("Content-Length: 1000000000000\r\n", "abc");
    decoder.decode(head.as_bytes(), &mut scratch, &LIMITS, |_| Ok(limit));
    assert_eq!(decoder.progress(), Progress::Body);
    assert!(decoder.buffered_size() < 80_000, "{}", decoder.buffered_size());
}

#[test]
fn a_whole_request_is_borrowed_from_the_input() {
    let stream = post("Content-Length: 3\r\nX: y\r\n", "abc");
    let (mut decoder, mut scratch) = (Decoder::new(), Scratch::default());
    let (_, decoded) = decoder.decode(stream.as_bytes(), &mut scratch, &LIMITS, |_| Ok(BODY));
    let Decoded::Request(request) = decoded else { panic!("{decoded:?}") };
    let range = stream.as_bytes().as_ptr_range();
    assert!(range.contains(&request.body.as_ptr()));
    assert!(range.contains(&request.head.headers.get("x").unwrap().as_ptr()));
}

#[test]
fn header_fields_are_found_by_name() {
    let stream = post("A: 1\r\nB: \r\na: 2\r\nC: \u{e9}\r\n", "").replace('\u{e9}', "\u{fffd}");
    let mut stream = stream.into_bytes();
    let place = stream.windows(3).position(|bytes| bytes == "\u{fffd}".as_bytes()).unwrap();
    stream.splice(place..place + 3, [0xe9]);
    let (mut decoder, mut scratch) = (Decoder::new(), Scratch::default());
    let (_, decoded) = decoder.decode(&stream, &mut scratch, &LIMITS, |_| Ok(BODY));
    let Decoded::Request(request) = decoded else { panic!("{decoded:?}") };
    let headers = request.head.headers;
    assert_eq!(headers.count(), 5);
    assert_eq!(headers.get("A"), Some(&b"1"[..]));
    assert_eq!(headers.get_all("a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!((headers.text("b"), headers.text("C"), headers.text("d")), (Some(""), None, None));
    assert_eq!((headers.single("HOST"), headers.single("d")), (Ok(Some("h")), Ok(None)));
    assert_eq!(headers.single("A").unwrap_err().detail, "A stands more than once");
    assert_eq!(headers.single("C").unwrap_err().detail, "C is not UTF-8");
}

/// A request as a peer may send it: method, path, extra fields, content and, if chunked, the cuts.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    chunk_size: Option<usize>,
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: h\r\n", self.method, self.path);
        for (name, value) in &self.fields {
            write!(head, "X{name}:{value}\r\n").expect("a string takes all");
        }
        let Some(chunk_size) = self.chunk_size else {
            write!(head, "Content-Length: {}\r\n\r\n", self.body.len())
                .expect("a string takes all");
            return [head.as_bytes(), &self.body].concat();
        };
        let mut bytes = (head + "Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in self.body.chunks(chunk_size) {
            bytes.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    (
        "[A-Z]{1,15}".prop_filter("refused", |method| method != "CONNECT"),
        "/[a-z0-9/%?&=+._-]{0,100}",
        prop::collection::vec(("[a-zA-Z0-9-]{0,20}", "[ -~\u{e9}\t]{0,20}"), 0..8),
        prop::collection::vec(any::<u8>(), 0..600),
        prop::option::of(1..300_usize),
    )
        .prop_map(|(method, path, fields, body, chunk_size)| Sent {
            method,
            path,
            fields,
            body,
            chunk_size,
        })
        .prop_filter("the caller refuses it", |sent| !sent.path.starts_with("/refused"))
}

proptest! {
    #[test]
    fn what_is_sent_arrives(
        requests in prop::collection::vec(sent(), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = requests.iter().map(Sent::bytes).collect::<Vec<_>>().concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let events = events(cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]));
        prop_assert_eq!(events.len(), requests.len());
        for (event, sent) in events.into_iter().zip(requests) {
            let Event::Request { line: [method, target, ..], headers, body, .. } = event else {
                panic!("{event:?}");
            };
            prop_assert_eq!((method, target, body), (sent.method, sent.path, sent.body));
            let fields = sent.fields.into_iter().map(|(name, value)| {
                (format!("X{name}"), value.trim_matches([' ', '\t']).as_bytes().to_vec())
            });
            prop_assert_eq!(&headers[1..headers.len() - 1], &fields.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_stream_with_bytes_changed_is_read_alike_at_every_division(
        request in sent(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\r\n\0 :;,\t0aZ\xff".to_vec())), 1..4),
    ) {
        let mut stream = request.bytes();
        for (place, byte) in changes {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        oracle::check(&stream);
    }
}
