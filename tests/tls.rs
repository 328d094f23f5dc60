//! TLS in process: every door over it, who gets which certificate, what is refused, and that a slow
//! reader is one over TLS too.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use support::tls::{Certificate, Seen, Tls, entry};
use support::{
    Broker, ConfigFile, EventStream, Http, PATIENCE, Setup, WebSocket, on_each_with, post,
    request_bytes,
};

/// A listener of TLS beside the plain one, and `demo` with these settings.
fn config(certificates: &[&Certificate], listener: &str, demo: &str) -> String {
    let entries: Vec<String> = certificates.iter().map(|one| one.entry()).collect();
    let entries = entries.join(", ");
    format!(
        "websocket.message_size_max = \"4MiB\"\npublish.body_size_max = \"4MiB\"\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\ntls.certificates = [{entries}]\n{listener}\n\
         [[applications]]\nid = \"demo\"\nopen = true\n{demo}\n"
    )
}

fn on_tls(demo: &str, test: impl Fn(&Broker, &Tls)) {
    let certificate = Certificate::new(&["localhost"]);
    let tls = Tls::trusting(&[&certificate]);
    on_each_with(|setup| setup.config(&config(&[&certificate], "", demo)), |b| test(b, &tls));
}

fn connected(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.other(0)).expect("the broker listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    stream
}

/// One request that is answered, and what its connection was.
fn ask(broker: &Broker, tls: &Tls) -> Result<Seen, String> {
    let (near, seen) = tls.through(connected(broker));
    let request = request_bytes("GET", "/health/live", &[("Connection", "close")], b"");
    // Where the handshake fails, the tunnel may be gone already.
    let _ = (&near).write_all(&request);
    let mut http = Http::new(near);
    let head = http.head();
    let mut rest = Vec::new();
    let _ = http.into_reader().read_to_end(&mut rest);
    let seen = seen.lock().expect("no holder panics").clone();
    match (head, &seen.error) {
        (Some(head), None) => {
            assert_eq!(head.status, 200);
            Ok(seen)
        }
        (_, error) => Err(error.clone().unwrap_or_default()),
    }
}

#[test]
fn every_door_works_over_tls() {
    on_tls("", |broker, tls| {
        let connect = || tls.connect(broker.other(0));
        let mut socket = WebSocket::open(connect(), "/apps/demo");
        socket.subscribe("t");
        let mut events = EventStream::open(Http::new(connect()), "/v1/demo/events?topics=t");
        let mut http = Http::new(connect());
        let poll = std::thread::spawn({
            let mut poller = Http::new(connect());
            let from = post(&mut http, "/v1/demo/topics/t", b"first");
            let position = support::json(&from.body)["position"].as_str().map(str::to_owned);
            let target = format!("/v1/demo/poll?topics=t&since={}", position.expect("a position"));
            move || poller.request("GET", &target, &[], b"")
        });
        assert_eq!(socket.value()["data"], "first");
        assert_eq!(support::json(events.event().data)["data"], "first");
        assert_eq!(post(&mut http, "/v1/demo/topics/t", b"second").status, 200);
        assert_eq!(socket.value()["data"], "second");
        assert_eq!(support::json(events.event().data)["data"], "second");
        let polled = poll.join().expect("an answer");
        assert!(polled.text().contains("second"), "{}", polled.text());
    });
}

#[test]
fn a_message_of_a_mebibyte_passes_both_ways() {
    let limits = "limits.realtime_payload_size_max = \"2MiB\"\n\
        limits.native_payload_size_max = \"2MiB\"\nlimits.outbound_size_max = \"16MiB\"";
    on_tls(limits, |broker, tls| {
        let mut socket = WebSocket::open(tls.connect(broker.other(0)), "/apps/demo");
        socket.subscribe("t");
        let big = "A".repeat(1 << 20);
        socket.send(
            &json!({"type": "publish", "data": {"topic": "t", "payload": big, "id": "1"}})
                .to_string(),
        );
        let mut seen = Vec::new();
        for _ in 0..2 {
            let value = socket.value();
            seen.push(value["messageType"].as_str().map(str::to_owned).expect("a type"));
            if value["messageType"] == "broadcast" {
                assert_eq!(value["data"]["payload"], big);
            }
        }
        seen.sort();
        assert_eq!(seen, ["ack", "broadcast"]);
        let mut http = Http::new(tls.connect(broker.other(0)));
        assert_eq!(post(&mut http, "/v1/demo/topics/t", big.as_bytes()).status, 200);
        assert_eq!(socket.value()["data"], big);
    });
}

#[test]
fn the_clients_name_chooses_among_the_certificates() {
    let first = Certificate::new(&["localhost"]);
    let second = Certificate::new(&["a.example", "*.b.example"]);
    let broker = Setup::new("epoll", 1).config(&config(&[&first, &second], "", "")).start();
    let tls = Tls::trusting(&[&first, &second]);
    for (name, expected) in [
        ("localhost", &first),
        ("a.example", &second),
        ("A.Example", &second),
        ("x.b.example", &second),
    ] {
        let seen = ask(&broker, &tls.named(name)).expect("a handshake");
        assert_eq!(seen.certificate.as_ref(), Some(&expected.der), "{name}");
    }
    // Others get the first, which is not valid for them.
    for name in ["b.example", "y.x.b.example", "c.example"] {
        let error = ask(&broker, &tls.named(name)).expect_err("another's certificate");
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
}

#[test]
fn versions_protocols_and_resumption() {
    let certificate = Certificate::new(&["localhost"]);
    let all = [&certificate];
    let broker = Setup::new("epoll", 1).config(&config(&all, "", "")).start();
    for (version, expected) in
        [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)]
    {
        let tls = Tls::with_versions(&all, &[version]).offering(&["h2", "http/1.1"]);
        let seen = ask(&broker, &tls).expect("a handshake");
        assert_eq!((seen.version, seen.resumed), (Some(expected), false));
        assert_eq!(seen.alpn.as_deref(), Some(b"http/1.1".as_slice()));
        assert!(seen.closed, "the end is told");
        let again = ask(&broker, &tls).expect("a handshake");
        assert!(again.resumed, "{expected:?}");
    }
    let other = Tls::trusting(&all).offering(&["h2"]);
    let error = ask(&broker, &other).expect_err("no protocol in common");
    assert!(error.contains("NoApplicationProtocol"), "{error}");

    let strict = config(&all, "tls.min_version = \"1.3\"", "");
    let broker = Setup::new("epoll", 1).config(&strict).start();
    assert!(ask(&broker, &Tls::with_versions(&all, &[&TLS13])).is_ok());
    let error = ask(&broker, &Tls::with_versions(&all, &[&TLS12])).expect_err("too old");
    assert!(error.contains("ProtocolVersion"), "{error}");
}

#[test]
fn plain_http_is_told_to_speak_tls() {
    on_tls("", |broker, _| {
        let mut http = Http::new(connected(broker));
        let answer = http.request("GET", "/health/live", &[], b"");
        assert_eq!((answer.status, answer.problem()), (400, "bad_request".to_owned()));
        assert!(answer.text().contains("https://"), "{}", answer.text());
        assert_eq!(http.into_reader().read(&mut [0; 8]).expect("an end"), 0);
    });
}

#[test]
fn garbage_ends_with_an_alert_and_nobody_else_is_harmed() {
    on_tls("", |broker, tls| {
        let mut healthy = WebSocket::open(tls.connect(broker.other(0)), "/apps/demo");
        healthy.subscribe("t");
        let hello_then_garbage = [b"\x16\x03\x01\x00\x05".as_slice(), &[0xff; 64]].concat();
        let oversized = [b"\x16\x03\x01\xff\xff".as_slice(), &[1; 128]].concat();
        for garbage in [vec![0; 40], vec![0x80; 300], hello_then_garbage, oversized] {
            let mut stream = connected(broker);
            stream.write_all(&garbage).expect("the broker reads");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an end");
            let is_alert = matches!(answer.first(), None | Some(&21));
            assert!(is_alert, "no alert (RFC 8446 §5.1): {answer:?}");
        }
        assert_eq!(post(&mut broker.http(), "/v1/demo/topics/t", b"x").status, 200);
        assert_eq!(healthy.value()["data"], "x");
    });
}

#[test]
fn a_handshake_that_stops_is_given_up() {
    let certificate = Certificate::new(&["localhost"]);
    let settings = config(&[&certificate], "", "");
    let setup = Setup::new("epoll", 1).config(&settings).with("HTTP_HEAD_TIMEOUT", "300ms");
    let broker = setup.start();
    for begun in [b"".as_slice(), b"\x16", b"\x16\x03\x01\x01\x00\x01\x00"] {
        let mut stream = connected(&broker);
        stream.write_all(begun).expect("the broker reads");
        assert_eq!(stream.read(&mut [0; 8]).expect("an end"), 0, "{begun:?}");
    }
    broker.await_metrics("nobody is left", |metrics| {
        metrics.count("fanwire_connections", &[("door", "http")]) == 1
    });
}

#[test]
fn a_cut_connection_is_the_peers_end() {
    on_tls("", |broker, tls| {
        let far = connected(broker);
        let own = far.try_clone().expect("a socket");
        let (near, _) = tls.through(far);
        let mut socket = WebSocket::open(near, "/apps/demo");
        socket.subscribe("t");
        own.shutdown(std::net::Shutdown::Both).expect("connected");
        broker.await_metrics("it is gone", |metrics| {
            metrics.count("fanwire_connections", &[("door", "websocket")]) == 0
        });
    });
}

#[test]
fn a_slow_reader_over_tls_catches_up_with_everything() {
    let demo = "limits.outbound_size_max = \"64KiB\"\n\
        [[applications.topics]]\npatterns = [\"recover*\"]\nslow_consumer = \"recover\"\n\
        history_count_max = 10_000\nhistory_size_max = \"64MiB\"";
    let certificate = Certificate::new(&["localhost"]);
    let tls = Tls::trusting(&[&certificate]);
    on_each_with(
        |setup| {
            let setup = setup.config(&config(&[&certificate], "", demo));
            setup.with("SHARDS_SOCKET_SEND_SIZE", "8KiB")
        },
        |broker| {
            let mut slow = WebSocket::open(tls.connect(broker.other(0)), "/apps/demo?positions=1");
            slow.subscribe("recover");
            let mut http = broker.http();
            for number in 0..400 {
                let body = format!("{number}:{}", "f".repeat(10_000));
                assert_eq!(post(&mut http, "/v1/demo/topics/recover", body.as_bytes()).status, 200);
            }
            for number in 0..400 {
                let value = slow.value();
                let text = value["data"].as_str().expect("text");
                assert!(text.starts_with(&format!("{number}:")), "{number}: {}", &text[..20]);
            }
            let metrics = broker.metrics();
            let blocked = metrics.count("fanwire_sends_blocked_total", &[])
                + metrics.count("fanwire_sends_short_total", &[]);
            assert!(blocked > 0, "it never was slow");
        },
    );
}

#[test]
fn a_slow_reader_over_tls_is_closed_where_its_topic_says_so() {
    let demo = "limits.outbound_size_max = \"64KiB\"";
    on_tls(demo, |broker, tls| {
        let mut slow = WebSocket::open(tls.connect(broker.other(0)), "/apps/demo");
        slow.subscribe("t");
        let mut http = broker.http();
        let body = "f".repeat(50_000);
        let mut sent = 0;
        // It is counted only once it is over; until then the log knows.
        while !broker.log().contains("slow consumer closed") {
            // A shard that is behind with its inbox may refuse some.
            let answer = http.request("POST", "/v1/demo/topics/t", &[], body.as_bytes());
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
            sent += 1;
            assert!(sent < 2000, "never closed");
        }
        // What was begun is whole, then comes the reason.
        let mut got = 0;
        let close = loop {
            let frame = slow.frame();
            if frame.opcode == 8 {
                break frame.payload;
            }
            got += 1;
        };
        assert!(got < sent, "nothing was dropped");
        assert_eq!(close[..2], 1013_u16.to_be_bytes());
    });
}

#[test]
fn certificates_that_do_not_fit_are_refused_at_the_start() {
    let good = Certificate::new(&["localhost"]);
    let other = Certificate::new(&["localhost"]);
    let path = |name: &str| good.folder().join(name);
    std::fs::write(path("empty.pem"), "").expect("a file");
    let (chain, key) = (good.chain(), good.key());
    let cases = [
        (chain.clone(), other.key(), "key_file: is not the key of the first certificate"),
        (chain.clone(), path("missing.pem"), "key_file: cannot read the file"),
        (path("missing.pem"), key.clone(), "certificate_file: cannot read the file"),
        (path("empty.pem"), key.clone(), "certificate_file: holds no certificate in PEM"),
        (key.clone(), key, "certificate_file: holds no certificate in PEM"),
        (chain.clone(), chain, "key_file: holds no private key in PEM"),
    ];
    for (chain, key, problem) in cases {
        let entry = entry(&chain, &key);
        let text =
            format!("[[listeners]]\naddress = \"127.0.0.1:0\"\ntls.certificates = [{entry}]\n");
        let (status, log) = Setup::new("epoll", 1).config(&text).try_start().expect_err("refused");
        assert!(!status.success());
        assert!(log.contains(problem), "{problem:?} is not in:\n{log}");
        assert!(!log.contains("PRIVATE KEY-"), "{log}");
    }
}

#[test]
fn a_reload_reads_certificates_again_and_open_connections_stay() {
    let (former, new) = (Certificate::new(&["localhost"]), Certificate::new(&["localhost"]));
    let file = ConfigFile::write(&config(&[&former], "", ""));
    let broker = Setup::new("auto", 2).config_path(&file.path).start();
    let [trusts_former, trusts_new] = [&former, &new].map(|one| Tls::trusting(&[one]));
    let mut socket = WebSocket::open(trusts_former.connect(broker.other(0)), "/apps/demo");
    socket.subscribe("t");

    let chain = std::fs::read(former.chain()).expect("it was written");
    std::fs::write(former.chain(), "no certificate").expect("the folder is ours");
    broker.signal(Signal::HUP);
    broker.await_log("not reloaded");
    ask(&broker, &trusts_former).expect("the former certificate");
    std::fs::write(former.chain(), chain).expect("the folder is ours");

    for (from, to) in [(new.chain(), former.chain()), (new.key(), former.key())] {
        std::fs::copy(from, to).expect("the folder is ours");
    }
    broker.signal(Signal::HUP);
    broker.await_log("reloaded live=");
    ask(&broker, &trusts_new).expect("the new certificate");
    // A client without a ticket: a session that is resumed has no certificate.
    let stranger = Tls::trusting(&[&former]);
    assert!(ask(&broker, &stranger).is_err(), "the former certificate is still served");
    post(&mut broker.http(), "/v1/demo/topics/t", b"still here");
    assert_eq!(socket.value()["data"], "still here");
}
