//! SIGHUP: what changes on a running broker, for whom, and what does not.

mod support;

#[path = "reload/operator.rs"]
mod operator;

use std::os::unix::fs::PermissionsExt as _;

use operator::Operator;
use serde_json::json;
use support::token::{self, ADMIN_SECRET, CLIENT_SECRET, EVERYTHING, bearer, client_token};
use support::{Broker, EventStream, Setup, WebSocket, post};

const STAYS: &str = "k7-Q2vXw9tRz4LmB8cNf";
const LEAKED: &str = "p3-Hs6YdJ1uEa5GoK0iZq";

/// An open `demo` with further keys of its own, and whatever stands before and behind it.
fn open(before: &str, own: &str) -> String {
    format!("{before}\n[[applications]]\nid = \"demo\"\nopen = true\n{own}\n")
}

fn api_key(secret: &str, rights: &str) -> String {
    format!("[[applications.keys]]\nsecret = \"{secret}\"\nrights = {rights}\n")
}

/// A closed `demo` with these API keys.
fn closed(keys: &[&str]) -> String {
    let keys: String =
        keys.iter().map(|key| api_key(key, "[\"subscribe\", \"publish\"]")).collect();
    format!("[[applications]]\nid = \"demo\"\n{keys}")
}

fn websocket(broker: &Broker, app: &str, key: &str) -> WebSocket {
    WebSocket::open(broker.connect(), &format!("/apps/{app}?secret={key}"))
}

fn stream(broker: &Broker, app: &str, key: &str) -> EventStream {
    EventStream::open(broker.http(), &format!("/v1/{app}/events?topics=t&secret={key}"))
}

fn status(broker: &Broker, app: &str, key: &str) -> u16 {
    let target = format!("/v1/{app}/topics/t?secret={key}");
    broker.http().request("POST", &target, &[], b"x").status
}

#[test]
fn an_api_key_that_is_gone_is_refused_at_once_and_its_sessions_end() {
    let operator = Operator::start(2, &closed(&[STAYS, LEAKED]));
    let broker = &operator.broker;
    let sockets = |key| (0..8).map(|_| websocket(broker, "demo", key)).collect::<Vec<_>>();
    let (mut staying, mut leaving) = (sockets(STAYS), sockets(LEAKED));
    let (mut kept, mut ended) = (stream(broker, "demo", STAYS), stream(broker, "demo", LEAKED));
    let mut poll = broker.http();
    poll.send(format!("GET /v1/demo/poll?topics=t&secret={LEAKED} HTTP/1.1\r\nHost: t\r\n\r\n"));
    // Each WebSocket has `main`, and each stream and the poll have `t`.
    broker.await_metrics("the poll waits", |metrics| {
        metrics.sum("fanwire_subscriptions", &[]) >= 19.0
    });
    let line = operator.reload(&closed(&[STAYS]));
    assert!(line.contains("applications[demo].keys[1]"), "{line}");
    for socket in &mut leaving {
        assert_eq!(socket.expect_close(), (3000, "The API key has been removed!".to_owned()));
    }
    assert_eq!(ended.try_event(), None);
    assert_eq!(poll.response().status, 200);
    assert_eq!((status(broker, "demo", LEAKED), status(broker, "demo", STAYS)), (401, 200));
    assert_eq!(support::json(kept.event().data)["data"], "x");
    staying.iter_mut().for_each(WebSocket::expect_silence);
    for key in [STAYS, LEAKED] {
        assert!(!broker.log().contains(key), "a key in the log");
    }
}

#[test]
fn an_api_key_with_other_rights_keeps_its_sessions_and_what_they_may_still_read() {
    let with = |topics: &str| {
        let key = api_key(STAYS, "[\"subscribe\", \"publish\"]");
        format!("[[applications]]\nid = \"demo\"\n{key}topics = {topics}\n")
    };
    let operator = Operator::start(2, &with("[\"a\", \"b\"]"));
    let broker = &operator.broker;
    let mut socket = websocket(broker, "demo", STAYS);
    socket.subscribe("a");
    socket.subscribe("b");
    operator.reload(&with("[\"a\", \"c\"]"));
    socket.subscribe("c");
    let mut http = broker.http();
    for topic in ["a", "c"] {
        post(&mut http, &format!("/v1/demo/topics/{topic}?secret={STAYS}"), b"x");
        assert_eq!(socket.value()["topic"], topic);
    }
    let refused = http.request("POST", &format!("/v1/demo/topics/b?secret={STAYS}"), &[], b"x");
    assert_eq!(refused.status, 403);
    socket.send(r#"{"type":"subscribe","data":{"topic":"b"}}"#);
    assert_eq!(socket.expect_close().0, 1008);
}

#[test]
fn an_application_that_is_no_longer_open_parts_with_whom_it_let_in_without_a_key() {
    let operator = Operator::start(2, &open("", &api_key(STAYS, "[\"subscribe\"]")));
    let mut anyone = operator.broker.websocket();
    let mut holder = websocket(&operator.broker, "demo", STAYS);
    operator.reload(&closed(&[STAYS]));
    assert_eq!(anyone.expect_close(), (3000, "The application is no longer open!".to_owned()));
    holder.expect_silence();
}

#[test]
fn a_token_key_that_is_gone_verifies_nothing_more_and_open_sessions_stay() {
    let with = |secret: &str| {
        let key = |list: &str, secret: &str| {
            format!("[[applications.{list}]]\nkey = \"{secret}\"\nalgorithms = [\"HS256\"]\n")
        };
        format!(
            "[[applications]]\nid = \"demo\"\n{}{}",
            key("auth_keys", CLIENT_SECRET),
            key("admin_keys", secret)
        )
    };
    let operator = Operator::start(2, &with(ADMIN_SECRET));
    let broker = &operator.broker;
    let backend = bearer(&token::admin_token(&EVERYTHING));
    let publish = || {
        let fields = [("Authorization", backend.as_str())];
        // On many connections, so that every shard has remembered it.
        let answers = (0..16)
            .map(|_| broker.http().request("POST", "/v1/demo/topics/t", &fields, b"x").status);
        answers.collect::<Vec<_>>()
    };
    let mut socket = token::enter(broker, "alice", &EVERYTHING);
    assert_eq!(publish(), [200; 16]);
    operator.reload(&with("Zt5Wq8Rb2Lk6Xn1Vc4Hj9Fd3Gs7Mp0Ty"));
    assert_eq!(publish(), [401; 16]);
    socket.expect_silence();
    // The other role's key stays, and so does what it lets in.
    let again = client_token("alice", &EVERYTHING);
    token::enter_with(broker, &again).expect_silence();
    operator.reload(&with(ADMIN_SECRET));
    assert_eq!(publish(), [200; 16]);
    assert!(!broker.log().contains(ADMIN_SECRET));
}

#[test]
fn an_application_comes_goes_and_returns() {
    let demo = open("", "");
    let both = format!(
        "{demo}[[applications]]\nid = \"later\"\n{}",
        api_key(STAYS, "[\"publish\", \"subscribe\"]")
    );
    let operator = Operator::start(3, &demo);
    let broker = &operator.broker;
    let mut witness = broker.websocket();
    assert_eq!(status(broker, "later", STAYS), 404);
    // Whoever comes while shards change over gets the one answer or the other.
    let hammered = |config: &str, before: u16, after: u16| {
        std::thread::scope(|scope| {
            let hammer = || {
                let knock = |number: u32| {
                    let target = format!("/v1/later/topics/t{}?secret={STAYS}", number % 64);
                    broker.http().request("POST", &target, &[], b"x").status
                };
                (0..u32::MAX).map(knock).find(|status| *status != before)
            };
            let hammers: Vec<_> = (0..4).map(|_| scope.spawn(hammer)).collect();
            operator.reload(config);
            for hammer in hammers {
                assert_eq!(hammer.join().expect("every request is answered"), Some(after));
            }
        });
    };
    hammered(&both, 404, 200);
    let mut socket = websocket(broker, "later", STAYS);
    let mut events = stream(broker, "later", STAYS);
    hammered(&demo, 200, 404);
    assert_eq!(socket.expect_close(), (1001, "The application has been removed!".to_owned()));
    while events.try_event().is_some() {}
    let history = |topic: &str| {
        let target = format!("/v1/later/history?topic={topic}&secret={STAYS}");
        let answer = broker.http().request("GET", &target, &[], b"");
        (answer.status, answer.body)
    };
    assert_eq!(history("t1").0, 404);
    hammered(&both, 404, 200);
    let (status, body) = history("t63");
    assert_eq!(status, 200);
    assert_eq!(
        support::json(&body)["messages"].as_array().map(Vec::len),
        Some(0),
        "it was forgotten"
    );
    websocket(broker, "later", STAYS).expect_silence();
    // What has a name in the metrics keeps it.
    let metrics = broker.metrics();
    let labels = [("application", "later"), ("door", "native")];
    assert!(metrics.sum("fanwire_publishes_total", &labels) > 0.0);
    witness.expect_silence();
}

#[test]
fn an_application_that_is_disabled_parts_with_its_clients() {
    let operator = Operator::start(2, &open("", ""));
    let mut socket = operator.broker.websocket();
    operator.reload(&open("", "enabled = false"));
    assert_eq!(socket.expect_close(), (1008, "The application has been disabled!".to_owned()));
    assert_eq!(operator.broker.http().request("POST", "/v1/demo/topics/t", &[], b"x").status, 403);
}

#[test]
fn limits_hold_at_once_for_those_who_are_connected() {
    let operator = Operator::start(2, &open("", ""));
    let broker = &operator.broker;
    let (mut large, mut fast) = (broker.websocket(), broker.websocket());
    let payload = "x".repeat(2000);
    let publish =
        json!({"type": "publish", "data": {"topic": "t", "payload": payload}}).to_string();
    large.send(&publish);
    assert_eq!(large.value()["topic"], "priv/acks");
    let limits = "limits = { realtime_payload_size_max = 1024, commands_per_connection = \"1/m burst 2\", \
                  publishes = \"1/m burst 1\", subscriptions_max = 3 }";
    operator.reload(&open("", limits));
    large.send(&publish);
    assert_eq!(large.expect_close().0, 1009);
    fast.subscribe("a");
    fast.subscribe("b");
    fast.send(r#"{"type":"subscribe","data":{"topic":"c"}}"#);
    assert_eq!(fast.expect_close().0, 1013);
    let mut http = broker.http();
    assert_eq!(post(&mut http, "/v1/demo/topics/t", b"x").status, 200);
    assert_eq!(http.request("POST", "/v1/demo/topics/t", &[], b"x").status, 429);
    // What was taken of a rate stays taken when another key changes.
    operator.reload(&open("", &format!("name = \"x\"\n{limits}")));
    assert_eq!(http.request("POST", "/v1/demo/topics/t", &[], b"x").status, 429);
    operator.reload(&open("", ""));
    assert_eq!(post(&mut http, "/v1/demo/topics/t", b"x").status, 200);
}

#[test]
fn times_hold_at_once_for_those_who_are_connected() {
    let operator = Operator::start(2, &open("", ""));
    let broker = &operator.broker;
    let mut silent = broker.websocket();
    let mut events = EventStream::open(broker.http(), "/v1/demo/events?topics=t");
    let times = "websocket.ping_interval = \"200ms\"\nsse.heartbeat_interval = \"100ms\"\n";
    operator.reload(&open(times, "limits.idle_timeout = \"600ms\""));
    assert_eq!(silent.frame().opcode, 9, "a ping that no default would have sent yet");
    assert_eq!(silent.expect_close().0, 1000);
    while events.parser.comment_count == 0 {
        assert!(events.read());
    }
}

#[test]
fn history_limits_hold_for_topics_that_exist() {
    let operator = Operator::start(2, &open("", "history.count_max = 5"));
    let broker = &operator.broker;
    let mut http = broker.http();
    for number in 0..5 {
        post(&mut http, "/v1/demo/topics/t", format!("{number}").as_bytes());
    }
    let kept = || {
        let answer = broker.http().request("GET", "/v1/demo/history?topic=t", &[], b"");
        support::json(&answer.body)["messages"].as_array().expect("a list").len()
    };
    assert_eq!(kept(), 5);
    operator.reload(&open("", "history.count_max = 2"));
    assert_eq!(kept(), 2);
    let family = "[[applications.topics]]\npatterns = [\"t\"]\nhistory_age_max = \"100ms\"";
    operator.reload(&open("", family));
    broker.await_metrics("the age limit", |metrics| {
        metrics.sum("fanwire_history_messages", &[]) <= 0.0
    });
    assert_eq!(kept(), 0);
    operator.reload(&open("", "history.count_max = 0"));
    post(&mut http, "/v1/demo/topics/t", b"unkept");
    assert_eq!(kept(), 0);
    operator.reload(&open("", ""));
    post(&mut http, "/v1/demo/topics/t", b"kept");
    assert_eq!(kept(), 1);
}

#[test]
fn a_file_that_is_no_good_changes_nothing_and_every_problem_is_told() {
    let operator = Operator::start(2, &closed(&[STAYS]));
    let broker = &operator.broker;
    let mut socket = websocket(broker, "demo", STAYS);
    let good = || {
        assert_eq!(status(broker, "demo", STAYS), 200);
        assert_eq!(status(broker, "demo", LEAKED), 401);
    };
    let lacking =
        format!("{}colour = \"red\"\n[http]\nidle_timeout = \"soon\"\n", closed(&[LEAKED]));
    let missing = "[[applications]]\nid = \"demo\"\n[[applications.keys]]\nsecret_file = \"/no/such/file\"\n\
                   rights = [\"publish\"]\n";
    let broken = format!("{}[[[", closed(&[LEAKED]));
    let placeholder = closed(&["changeme-changeme-changeme"]);
    for (config, parts) in [
        (lacking.as_str(), &["2 problems", "colour", "http.idle_timeout"][..]),
        (missing, &["1 problem", "secret_file: cannot read the file"]),
        (&broken, &["1 problem"]),
        (&placeholder, &["is a placeholder"]),
    ] {
        operator.write(config);
        let line = operator.refuse();
        for part in parts {
            assert!(line.contains(part), "{part:?} in {line}");
        }
        good();
    }
    std::fs::remove_file(operator.path()).expect("it is there");
    assert!(operator.refuse().contains("cannot read the configuration"));
    good();
    socket.expect_silence();
    operator.reload(&closed(&[LEAKED]));
    assert_eq!(socket.expect_close().0, 3000);
    assert_eq!(status(broker, "demo", LEAKED), 200);
    let log = broker.log();
    for secret in [STAYS, LEAKED, "changeme-changeme"] {
        assert!(!log.contains(secret), "a secret in the log: {log}");
    }
}

#[test]
fn secrets_in_files_are_read_again() {
    let folder = support::past::Folder::new();
    let file = std::path::Path::new(&folder.store()).with_file_name("key");
    let config = format!(
        "[[applications]]\nid = \"demo\"\n[[applications.keys]]\nsecret_file = \"{}\"\n\
         rights = [\"publish\"]\n",
        file.display()
    );
    std::fs::write(&file, format!("{LEAKED}\n")).expect("the folder is ours");
    let operator = Operator::start(2, &config);
    std::fs::write(&file, format!("{STAYS}\n")).expect("the folder is ours");
    operator.reload(&config);
    let broker = &operator.broker;
    assert_eq!((status(broker, "demo", LEAKED), status(broker, "demo", STAYS)), (401, 200));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o0)).expect("it is ours");
    if std::fs::read(&file).is_err() {
        // Root reads it all the same.
        assert!(operator.refuse().contains("cannot read the file"));
    }
    std::fs::remove_file(&file).expect("it is ours");
    assert!(operator.refuse().contains("cannot read the file"));
    assert_eq!(status(broker, "demo", STAYS), 200);
}

#[test]
fn what_needs_a_restart_is_named_each_time_and_not_applied() {
    let operator = Operator::start(1, &open("", ""));
    let config = open("shards.mesh.capacity = 7\nlog.format = \"json\"\n", "name = \"x\"");
    let line = operator.reload(&config);
    assert!(line.contains("applications[demo].name") && !line.contains("capacity"), "{line}");
    let warned = operator.await_lines("need a restart", 1);
    assert!(warned[0].contains("shards.mesh.capacity, log.format"), "{warned:?}");
    let line = operator.reload(&config);
    assert!(line.contains("live=nothing"), "{line}");
    let warned = operator.await_lines("need a restart", 2);
    assert!(warned[1].contains("shards.mesh.capacity, log.format"), "{warned:?}");
    operator.reload(&open("", "name = \"x\""));
    assert_eq!(operator.await_lines("need a restart", 2).len(), 2, "it is as it was");
}

#[test]
fn the_log_s_level_changes() {
    let config = |level: &str| open(&format!("log.level = \"{level}\""), "");
    let setup = Setup::new("auto", 1).with("LOG_LEVEL", "");
    let operator = Operator::start_as(setup, &config("warn"));
    let refused_count = || {
        let answer = operator.broker.http().request("GET", "/nowhere", &[], b"");
        assert_eq!(answer.status, 404);
        // Told by another thread than the shard's, and behind what that has told.
        std::fs::write(operator.path(), "[").expect("it is ours");
        operator.refuse();
        operator.broker.log().matches("unknown_route").count()
    };
    assert_eq!(refused_count(), 0);
    operator.reload(&config("info"));
    assert_eq!(refused_count(), 1);
    // That this one went well is below the level that it sets.
    operator.write(&config("warn"));
    operator.hang_up();
    operator.broker.await_metrics("the level", |_| {
        let known = operator.broker.log().matches("unknown_route").count();
        operator.broker.http().request("GET", "/nowhere", &[], b"");
        operator.broker.log().matches("unknown_route").count() == known
    });
    let known = operator.broker.log().matches("unknown_route").count();
    assert_eq!(refused_count(), known);
}

#[test]
fn signals_in_quick_succession_end_in_the_last_file_and_the_stop_in_between_is_heard() {
    let named = |number: u32| open("", &format!("name = \"{number}\""));
    let mut operator = Operator::start(2, &named(0));
    for number in 1..=20 {
        operator.write(&named(number));
        operator.hang_up();
        operator.hang_up();
    }
    // None is lost that came last: a fresh one has nothing left to do.
    let count = operator.reloaded_count();
    let line = operator.reload(&named(20));
    assert!(operator.reloaded_count() > count, "{line}");
    operator.hang_up();
    operator.broker.signal(rustix::process::Signal::TERM);
    operator.hang_up();
    assert!(operator.broker.wait().success());
    assert!(operator.broker.log().contains("stopped_by=\"drained\""), "{}", operator.broker.log());
}

#[test]
fn an_application_with_durable_topics_comes_goes_and_leaves_its_messages_in_the_store() {
    let folder = support::past::Folder::new();
    let demo = open(&format!("store.path = \"{}\"", folder.store()), "");
    let later = |own: &str| format!("{demo}[[applications]]\nid = \"later\"\nopen = true\n{own}\n");
    let durable = later("durable = true\nhistory.age_max = \"0s\"");
    let mut operator = Operator::start(2, &demo);
    operator.reload(&durable);
    let mut http = operator.broker.http();
    let mut publish = |text: &str| {
        let answer = post(&mut http, "/v1/later/topics/t", text.as_bytes());
        let position = support::json(&answer.body)["position"].as_str().map(str::to_owned);
        assert!(position.expect("a position").starts_with('s'), "it is the store's");
    };
    publish("0");
    operator.reload(&later("name = \"x\""));
    let waiting = operator.await_lines("need a restart", 1);
    assert!(waiting[0].contains("applications[later].durable"), "{waiting:?}");
    publish("1");
    operator.reload(&durable);
    operator.reload(&later("durable = true\nhistory.count_max = 2"));
    (2..40).for_each(|number| publish(&number.to_string()));
    operator.reload(&demo);
    operator.broker.signal(rustix::process::Signal::TERM);
    assert!(operator.broker.wait().success());
    let broker = Setup::new("auto", 1).config(&durable).start();
    let answer = broker.http().request("GET", "/v1/later/history?topic=t", &[], b"");
    let history = support::json(&answer.body);
    let messages = history["messages"].as_array().expect("a list");
    assert!(
        (2..=3).contains(&messages.len()),
        "the limit that came later, and an eighth: {history}"
    );
    let newest = messages.iter().max_by_key(|message| message["id"].as_str().map(str::to_owned));
    assert_eq!(newest.expect("some")["data"], "39");
}
