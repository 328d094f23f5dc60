//! Following live: messages of topics, one user's sessions, the load; and the commands that show it.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::token::{EVERYTHING, application, bearer, client_token};
use support::{
    Broker, ConfigFile, EventStream, Http, Setup, json, on_each_with, post, request_bytes,
};

const TOKEN: &str = "adm-4f1c9a27e6b8d305";

fn with_door(setup: Setup) -> Setup {
    setup.with("ADMIN_LISTEN", "127.0.0.1:0").with("ADMIN_TOKEN", TOKEN)
}

fn follow(broker: &Broker, target: &str) -> EventStream {
    let value = bearer(TOKEN);
    let mut http = broker.admin();
    http.send(request_bytes("GET", target, &[("Authorization", &value)], b""));
    EventStream::begin(http)
}

/// The next event's value; anything but what is followed is a failure.
fn event(stream: &mut EventStream) -> Value {
    let event = stream.event();
    assert_eq!(event.kind, "event", "{event:?}");
    json(event.data)
}

/// Events up to the first for which `is_it` holds, which is returned.
fn until(stream: &mut EventStream, is_it: impl Fn(&Value) -> bool) -> Value {
    loop {
        let value = event(stream);
        if is_it(&value) {
            return value;
        }
    }
}

#[test]
fn a_tail_shows_what_is_published_and_its_payload_only_when_asked() {
    on_each_with(with_door, |broker| {
        let mut bare = follow(broker, "/v1/admin/tail?app=demo&topic=t*");
        let mut full = follow(broker, "/v1/admin/tail?app=demo&topic=t*&payload=true");
        // Each home has answered a publish behind the beginning: it knows of the followers.
        let topics = broker.topics("t");
        let mut http = broker.http();
        for topic in &topics {
            post(&mut http, "/v1/demo/topics/other", b"not to be seen");
            let target = format!("/v1/demo/topics/{topic}");
            let receipt = json(post(&mut http, &target, b"\"secret\"\n").body);
            let seen = until(&mut bare, |message| message["size"] != 5);
            assert_eq!(seen["topic"], **topic);
            assert_eq!((&seen["id"], &seen["position"]), (&receipt["id"], &receipt["position"]));
            assert_eq!((&seen["size"], &seen["door"]), (&json!(9), &json!("http")));
            assert!(seen["payload"].is_null() && seen["time"].as_str().unwrap().ends_with('Z'));
            let seen = until(&mut full, |message| message["size"] != 5);
            assert_eq!(
                (&seen["payload"], &seen["truncated"]),
                (&json!("\"secret\"\n"), &json!(false))
            );
        }
        let mut socket = broker.websocket();
        socket.send(r#"{"type":"publish","data":{"topic":"t-long","payload":1}}"#);
        let seen = until(&mut full, |message| message["topic"] == "t-long");
        assert_eq!((&seen["door"], &seen["payload"]), (&json!("websocket"), &json!("1")));
        post(&mut http, "/v1/demo/topics/t-long", "é".repeat(3000).as_bytes());
        let seen = until(&mut full, |message| message["size"] == 6000);
        assert_eq!(
            (&seen["payload"], &seen["truncated"]),
            (&json!("é".repeat(2048)), &json!(true))
        );
    });
}

#[test]
fn what_a_follower_has_no_room_for_is_told_as_a_number() {
    let broker = with_door(Setup::new("epoll", 1)).start();
    let mut tail = follow(&broker, "/v1/admin/tail?app=demo&topic=*&payload=true");
    let mut http = broker.http();
    let message = format!(r#"{{"topic":"t","data":"{}"}}"#, "x".repeat(3000));
    let body = format!(r#"{{"messages":[{}]}}"#, vec![&*message; 1000].join(","));
    let total = 12 * 1000;
    for _ in 0..12 {
        post(&mut http, "/v1/demo/publish", body.as_bytes());
    }
    let (mut seen, mut dropped) = (0, 0);
    while seen + dropped < total {
        let event = tail.event();
        match &*event.kind {
            "event" => seen += 1,
            "dropped" => dropped += json(event.data)["events"].as_u64().expect("a number"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(seen + dropped, total);
    assert!(dropped > 0 && seen >= 1024, "{seen} seen, {dropped} dropped");
}

#[test]
fn a_trace_tells_what_happens_to_a_connection() {
    on_each_with(with_door, |broker| {
        for mut socket in broker.websockets() {
            let topic = "traced";
            let id = socket.id.clone();
            let mut trace = follow(broker, &format!("/v1/admin/trace?app=demo&subject={id}"));
            let connected = event(&mut trace);
            assert_eq!(
                (&connected["event"], &connected["door"]),
                (&json!("connected"), &json!("websocket"))
            );
            assert_eq!(
                (&connected["connection"], &connected["shard"]),
                (&json!(id), &json!(socket.shard()))
            );
            // Whoever comes later is told of it, too, and the first is not told again.
            let mut later = follow(broker, &format!("/v1/admin/trace?app=demo&subject={id}"));
            assert_eq!(event(&mut later)["event"], "connected");
            drop(later);
            socket.subscribe(topic);
            let subscribed = event(&mut trace);
            assert_eq!(
                (&subscribed["event"], &subscribed["topics"]),
                (&json!("subscribed"), &json!([topic]))
            );
            let mut http = broker.http();
            for _ in 0..3 {
                post(&mut http, "/v1/demo/topics/traced", b"1");
                socket.frame();
            }
            let mut delivered = 0;
            while delivered < 3 {
                let value = event(&mut trace);
                assert_eq!(value["event"], "delivered");
                delivered += value["messages"].as_u64().expect("a number");
            }
            assert_eq!(delivered, 3);
            socket.send("nonsense");
            socket.expect_close();
            let closing = event(&mut trace);
            assert_eq!((&closing["event"], &closing["code"]), (&json!("closing"), &json!(1008)));
            assert_eq!(closing["reason"], "Invalid message format!");
            drop(socket);
            let closed = event(&mut trace);
            assert_eq!((&closed["event"], &closed["number"]), (&json!("closed"), &json!(104)));
        }
    });
}

#[test]
fn a_trace_follows_a_subject_over_connections_and_tells_refusals() {
    let setup = with_door(Setup::new("epoll", 1));
    let broker = setup.config(&application("same_subject = \"allow\"")).start();
    let mut trace = follow(&broker, "/v1/admin/trace?app=demo&subject=alice");
    let token = |subject: &str| bearer(&client_token(subject, &EVERYTHING[..1]));
    let open = |subject: &str| {
        let mut http = broker.http();
        let fields =
            [("Authorization", token(subject)), ("Accept", "text/event-stream".to_owned())];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        http.send(request_bytes("GET", "/v1/demo/events?topics=a", &fields, b""));
        EventStream::begin(http)
    };
    let _bob = open("bob");
    let alice = open("alice");
    assert_eq!(event(&mut trace)["event"], "connected");
    assert_eq!(event(&mut trace)["topics"], json!(["a"]));
    for subject in ["bob", "alice"] {
        let value = token(subject);
        let mut http: Http = broker.http();
        let answer = http.request("POST", "/v1/demo/topics/a", &[("Authorization", &value)], b"1");
        assert_eq!(answer.problem(), "forbidden");
        // Nobody is known by a request without a token, whoever was served before on its connection.
        assert_eq!(http.request("POST", "/v1/demo/topics/a", &[], b"1").status, 401);
    }
    let refused = event(&mut trace);
    assert_eq!((&refused["event"], &refused["number"]), (&json!("refused"), &json!(20)));
    drop(alice);
    assert_eq!(event(&mut trace)["cause"], "peer");
}

#[test]
fn the_load_names_the_busy_topics() {
    on_each_with(with_door, |broker| {
        let mut socket = broker.websocket();
        socket.subscribe("busy");
        let mut load = follow(broker, "/v1/admin/load");
        let first = load.event();
        assert_eq!(first.kind, "load");
        let first = json(first.data);
        assert_eq!(
            first["shards"].as_array().map(Vec::len),
            Some(usize::from(broker.variant.shards))
        );
        broker.topics("warm");
        let mut http = broker.http();
        for _ in 0..20 {
            post(&mut http, "/v1/demo/topics/busy", b"1");
        }
        let (mut published, mut delivered) = (0, 0);
        while published < 20 || delivered < 20 {
            let status = json(load.event().data);
            let topics = status["topics"].as_array().expect("topics");
            for topic in topics.iter().filter(|topic| topic["topic"] == "busy") {
                assert_eq!(topic["application"], "demo");
                published += topic["published"].as_u64().expect("a number");
                delivered += topic["delivered"].as_u64().expect("a number");
            }
        }
        assert_eq!((published, delivered), (20, 20));
    });
}

#[test]
fn wrong_questions_are_refused() {
    let broker = with_door(Setup::new("epoll", 1)).start();
    let value = bearer(TOKEN);
    let mut admin = broker.admin();
    for (target, code) in [
        ("/v1/admin/tail", "bad_field"),
        ("/v1/admin/tail?app=demo", "bad_field"),
        ("/v1/admin/tail?app=none&topic=a", "unknown_application"),
        ("/v1/admin/tail?app=demo&topic=a&payload=perhaps", "bad_field"),
        ("/v1/admin/trace?app=demo", "bad_field"),
        ("/v1/admin/nothing", "unknown_route"),
    ] {
        let answer = admin.request("GET", target, &[("Authorization", &value)], b"");
        assert_eq!(answer.problem(), code, "{target}");
        assert_eq!(admin.request("GET", target, &[], b"").status, 401);
    }
    let status = admin.request("GET", "/v1/admin/status", &[("Authorization", &value)], b"");
    assert_eq!(json(status.body)["stage"], "running");
}

#[test]
fn without_a_token_only_open_applications_are_shown() {
    let config = "[[applications]]\nid = \"open\"\nopen = true\n[[applications]]\nid = \"closed\"\n\
                  [[applications.keys]]\nsecret = \"key-8f3a91c4d2e7b605\"\nrights = [\"publish\"]\n";
    let setup = Setup::new("epoll", 1).with("ADMIN_LISTEN", "127.0.0.1:0");
    let broker = setup.with("BUZZPOST_APPLICATION", "open").config(config).start();
    for route in ["tail?topic=a", "trace?subject=a"] {
        for (app, status) in [("open", 200), ("closed", 403)] {
            let mut admin = broker.admin();
            let target = format!("/v1/admin/{route}&app={app}");
            admin.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            assert_eq!(admin.head().expect("an answer").status, status, "{target}");
        }
    }
    let mut admin = broker.admin();
    admin.send("GET /v1/admin/load HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut load = EventStream::begin(admin);
    load.event();
    let mut http = broker.http();
    let key = [("X-API-Key", "key-8f3a91c4d2e7b605")];
    for _ in 0..3 {
        assert_eq!(http.request("POST", "/v1/closed/topics/hidden", &key, b"1").status, 200);
    }
    post(&mut http, "/v1/open/topics/shown", b"1");
    let topics = loop {
        let status = json(load.event().data);
        if status["topics"].as_array().is_some_and(|topics| !topics.is_empty()) {
            break status["topics"].clone();
        }
    };
    assert_eq!(topics.as_array().map(Vec::len), Some(1), "{topics}");
    assert_eq!(topics[0]["topic"], "shown");
}

/// A command on the admin door; its token comes by the variable.
fn command(broker: &Broker, arguments: &[&str]) -> Child {
    let url = format!("http://{}/", broker.admin_address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    command.arg(arguments[0]).args(["--url", &url]).args(&arguments[1..]);
    command.env("FANWIRE_ADMIN_TOKEN", TOKEN).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

#[test]
fn the_commands_show_it() {
    let broker = with_door(Setup::new("epoll", 2)).start();
    let top = command(&broker, &["top", "--once", "--json"]);
    let rates = json(top.wait_with_output().expect("it ends").stdout);
    assert_eq!(rates["shards"].as_array().map(Vec::len), Some(2), "{rates}");
    assert!(rates["shards"][0]["busy"].as_f64().is_some_and(|busy| (0.0..=1.5).contains(&busy)));
    let picture = command(&broker, &["top", "--once"]).wait_with_output().expect("it ends").stdout;
    let picture = String::from_utf8(picture).expect("UTF-8");
    assert!(picture.contains("SHARD") && picture.contains("demo") && !picture.contains('\u{1b}'));

    let mut tail = command(&broker, &["tail", "--count", "1", "demo", "seen/*"]);
    let mut http = broker.http();
    // Until it listens, nothing is shown.
    let status = loop {
        post(&mut http, "/v1/demo/topics/seen/it", b"hidden");
        if let Some(status) = tail.try_wait().expect("our child") {
            break status;
        }
    };
    let output = tail.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        status.success() && text.contains(" seen/it ") && text.ends_with(" 6 B http\n"),
        "{text}"
    );
    assert!(!text.contains("hidden"));

    let mut socket = broker.websocket();
    let mut trace = command(&broker, &["trace", &socket.id.clone()]);
    let mut lines = BufReader::new(trace.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("UTF-8");
    assert!(next().contains(" connected "));
    socket.subscribe("a");
    assert!(next().contains(" subscribed shard="));
    let pid = i32::try_from(trace.id()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a process id"), Signal::TERM).expect("it runs");
    assert!(trace.wait().expect("our child").success());

    let mut stranger = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    let url = format!("http://{}/", broker.admin_address());
    let output = stranger.args(["top", "--url", &url]).env_remove("FANWIRE_ADMIN_TOKEN").output();
    let output = output.expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("FANWIRE_ADMIN_TOKEN"), "{said}");
}

#[test]
fn without_a_token_a_tail_ends_when_its_application_is_closed() {
    let closed = "[[applications]]\nid = \"demo\"\n\
                  [[applications.keys]]\nsecret = \"k-8f3a91c4d2e7b605\"\nrights = [\"publish\"]\n";
    let file = ConfigFile::write("[[applications]]\nid = \"demo\"\nopen = true\n");
    let setup = Setup::new("epoll", 2).with("ADMIN_LISTEN", "127.0.0.1:0");
    let broker = setup.config_path(&file.path).start();
    let mut http = broker.admin();
    http.send("GET /v1/admin/tail?app=demo&topic=* HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut tail = EventStream::begin(http);
    post(&mut broker.http(), "/v1/demo/topics/t", b"seen");
    assert_eq!(event(&mut tail)["size"], 4);
    std::fs::write(&file.path, closed).expect("the file is ours");
    broker.signal(Signal::HUP);
    assert_eq!(tail.try_event(), None, "the tail goes on");
}
