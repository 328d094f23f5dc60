//! Administration by HTTP: what is there, ending it, and who may.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::token::{
    self, CLIENT_SECRET, EVERYTHING, admin_token, application, bearer, client_token, enter,
    enter_with, hs256, hs256_header, now_s,
};
use support::{Broker, EventStream, Response, WebSocket, on_each_with, request_bytes};

const CLOSED: &str = "Closed by an administrator!";
const REVOKED: &str = "The token was revoked!";

fn on_demo(test: impl Fn(&Broker)) {
    on_each_with(|setup| setup.config(&application("same_subject = \"allow\"")), test);
}

fn ask(broker: &Broker, method: &str, target: &str, body: &str) -> Response {
    token::ask(broker, method, target, &admin_token(&EVERYTHING), body)
}

/// The body of a 200.
fn answer(broker: &Broker, method: &str, target: &str, body: &str) -> Value {
    let answer = ask(broker, method, target, body);
    assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    support::json(&answer.body)
}

fn get(broker: &Broker, target: &str) -> Value {
    answer(broker, "GET", target, "")
}

fn stream(broker: &Broker, subject: &str, topics: &str) -> EventStream {
    let mut http = broker.http();
    let field = bearer(&client_token(subject, &[]));
    let target = format!("/v1/demo/events?topics={topics}");
    http.send(request_bytes("GET", &target, &[("Authorization", &field)], b""));
    EventStream::begin(http)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no count: {value}"))
}

#[test]
fn counts_follow_what_comes_and_goes() {
    on_demo(|broker| {
        let before = get(broker, "/v1/demo");
        assert_eq!(before["connections"], json!({"websocket": 0, "sse": 0, "poll": 0}));
        let mut sockets: Vec<_> = (0..5).map(|_| enter(broker, "alice", &[])).collect();
        let _streams = [stream(broker, "bob", "x,y"), stream(broker, "carol", "x")];
        let arrived = get(broker, "/v1/demo");
        assert_eq!(arrived["connections"], json!({"websocket": 5, "sse": 2, "poll": 0}));
        for (index, socket) in sockets.iter_mut().enumerate() {
            socket.subscribe("shared");
            socket.subscribe(&format!("own-{index}"));
        }
        let now = get(broker, "/v1/demo");
        let more = |name: &str| count(&now[name]) - count(&arrived[name]);
        assert_eq!((more("subscriptions"), more("topics")), (10, 6), "{arrived} {now}");
        assert_eq!(now["connections"], arrived["connections"]);
        let members: BTreeSet<_> = now.as_object().expect("an object").keys().collect();
        assert_eq!(
            members,
            BTreeSet::from(["connections", "subscriptions", "topics"].map(|name| {
                now.as_object().and_then(|object| object.get_key_value(name)).expect("a member").0
            }))
        );
    });
}

#[test]
fn topics_are_listed_by_name_page_by_page() {
    on_demo(|broker| {
        let mut sockets: Vec<_> = (0..3).map(|_| enter(broker, "alice", &[])).collect();
        let mut expected = Vec::new();
        for number in 0..25_usize {
            let topic = format!("zz-{number:02}");
            let subscribers = 1 + number % sockets.len();
            for socket in &mut sockets[..subscribers] {
                socket.subscribe(&topic);
            }
            expected.push(json!({"topic": topic, "subscribers": subscribers}));
        }
        for limit in [1, 7, 24, 25, 1000] {
            let mut found = Vec::new();
            // What sorts before is the sessions' own.
            let mut after = "zz".to_owned();
            loop {
                let page = get(broker, &format!("/v1/demo/topics?limit={limit}&after={after}"));
                let topics = page["topics"].as_array().expect("a list").clone();
                assert!(topics.len() <= limit, "{page}");
                found.extend(topics);
                match page["next"].as_str() {
                    Some(next) => next.clone_into(&mut after),
                    None => break,
                }
            }
            assert_eq!(found, expected, "{limit}");
        }
        for target in ["limit=0", "limit=1001", "limit=x", "limit=-1", "after="] {
            let answer = ask(broker, "GET", &format!("/v1/demo/topics?{target}"), "");
            assert_eq!(answer.status, 400, "{target}: {}", answer.text());
        }
    });
}

/// All connections by pages of `limit`.
fn connections(broker: &Broker, query: &str, limit: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = get(broker, &format!("/v1/demo/connections?limit={limit}{query}{after}"));
        let list = page["connections"].as_array().expect("a list").clone();
        assert!(list.len() <= limit, "{page}");
        found.extend(list);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

fn ids(list: &[Value]) -> BTreeSet<&str> {
    let ids: BTreeSet<_> = list.iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert_eq!(ids.len(), list.len(), "one stands twice");
    ids
}

#[test]
fn connections_are_listed_page_by_page_and_by_subject() {
    on_demo(|broker| {
        let alice: Vec<_> = (0..7).map(|_| enter(broker, "alice", &[])).collect();
        let bob = enter(broker, "bob", &[]);
        let _stream = stream(broker, "carol", "x,y");
        for limit in [1, 2, 8, 9, 1000] {
            let all = connections(broker, "", limit);
            assert_eq!(all.len(), 9, "{limit}");
            let known = ids(&all);
            assert!(alice.iter().chain([&bob]).all(|socket| known.contains(socket.id.as_str())));
            let of_alice = connections(broker, "&subject=alice", limit);
            assert_eq!(ids(&of_alice), alice.iter().map(|socket| socket.id.as_str()).collect());
        }
        let carol = connections(broker, "&subject=carol", 10);
        assert_eq!(carol.len(), 1);
        let entry = &carol[0];
        assert_eq!(
            [&entry["subject"], &entry["door"], &entry["remoteAddress"], &entry["topics"]],
            [&json!("carol"), &json!("sse"), &json!("127.0.0.1"), &json!(2)]
        );
        assert!(connections(broker, "&subject=nobody", 10).is_empty());
        let answer = ask(broker, "GET", "/v1/demo/connections?after=x", "");
        assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_field"));
    });
}

#[test]
fn one_connection_is_shown_with_what_it_may_and_does() {
    on_demo(|broker| {
        let permissions = ["realtime:subscriber:read:topic:secure/*", "other:thing"];
        let mut socket = enter(broker, "alice", &permissions);
        socket.subscribe("zz");
        socket.subscribe("secure/a");
        let found = get(broker, &format!("/v1/demo/connections/{}", socket.id));
        assert_eq!(
            [&found["id"], &found["subject"], &found["door"], &found["remoteAddress"]],
            [&json!(socket.id), &json!("alice"), &json!("websocket"), &json!("127.0.0.1")]
        );
        assert_eq!(found["permissions"], json!(permissions));
        let topics = found["topics"].as_array().expect("a list");
        assert_eq!(topics, &["main", "secure/a", "zz"].map(Value::from), "{found}");
        assert_eq!(found["topicCount"], 3);
    });
}

#[test]
fn a_connection_that_is_not_there_is_not_found() {
    on_demo(|broker| {
        let gone = {
            let mut socket = enter(broker, "alice", &[]);
            let id = socket.id.clone();
            answer(broker, "DELETE", &format!("/api/connections/demo/{id}"), "");
            assert_eq!(socket.expect_close(), (1008, CLOSED.to_owned()));
            id
        };
        let live = enter(broker, "alice", &[]);
        let mut forged = live.id.clone();
        let last = if forged.ends_with('0') { "1" } else { "0" };
        forged.replace_range(forged.len() - 1.., last);
        for id in [gone.as_str(), &forged, "x", "0", &"0".repeat(32), &"f".repeat(32), "%00"] {
            for (method, target) in [
                ("GET", format!("/v1/demo/connections/{id}")),
                ("DELETE", format!("/api/connections/demo/{id}")),
            ] {
                let answer = ask(broker, method, &target, "");
                let code = (answer.status, answer.problem());
                assert_eq!(code, (404, "unknown_connection".to_owned()), "{method} {target}");
            }
        }
    });
}

#[test]
fn closing_one_leaves_the_others() {
    on_demo(|broker| {
        let mut sockets: Vec<_> = (0..6).map(|_| enter(broker, "alice", &[])).collect();
        let mut closed = sockets.remove(3);
        let target = format!("/api/connections/demo/{}", closed.id);
        assert_eq!(answer(broker, "DELETE", &target, ""), json!({"connections": 1}));
        assert_eq!(closed.expect_close(), (1008, CLOSED.to_owned()));
        sockets.iter_mut().for_each(WebSocket::expect_silence);
    });
}

#[test]
fn closing_all_closes_every_door_of_the_application() {
    on_demo(|broker| {
        let mut sockets: Vec<_> = (0..6).map(|_| enter(broker, "alice", &[])).collect();
        let mut streams = [stream(broker, "bob", "x"), stream(broker, "carol", "x")];
        let told = answer(broker, "DELETE", "/api/connections/demo", "");
        assert_eq!(told, json!({"connections": 8}));
        for socket in &mut sockets {
            assert_eq!(socket.expect_close(), (1008, CLOSED.to_owned()));
        }
        for stream in &mut streams {
            assert_eq!(stream.try_event(), None);
        }
        let told = answer(broker, "DELETE", "/api/connections/demo", "");
        assert_eq!(told, json!({"connections": 0}));
        enter(broker, "alice", &[]).expect_silence();
    });
}

#[test]
fn a_subject_s_subscriptions_end_where_the_patterns_match() {
    on_demo(|broker| {
        let mut alice: Vec<_> = (0..3).map(|_| enter(broker, "alice", &[])).collect();
        let mut bob = enter(broker, "bob", &[]);
        for socket in alice.iter_mut().chain([&mut bob]) {
            socket.subscribe("room/1");
            socket.subscribe("room/2");
            socket.subscribe("hall");
        }
        let order = json!({"topicPatterns": ["room/*", "!room/2"], "subject": "alice"}).to_string();
        let told = answer(broker, "POST", "/api/topics/demo/unsubscribe", &order);
        assert_eq!(told, json!({"subscriptions": 3}));
        for topic in ["room/1", "room/2", "hall"] {
            answer(broker, "POST", &format!("/v1/demo/topics/{topic}"), "x");
        }
        let message =
            |topic: &str| json!({"topic": topic, "messageType": "broadcast", "data": "x"});
        let sorted = |socket: &mut WebSocket, count: usize| {
            let mut all: Vec<_> = (0..count).map(|_| socket.value()).collect();
            all.sort_by_key(|value| value["topic"].to_string());
            socket.expect_silence();
            all
        };
        for socket in &mut alice {
            assert_eq!(sorted(socket, 2), [message("hall"), message("room/2")]);
        }
        assert_eq!(sorted(&mut bob, 3), [message("hall"), message("room/1"), message("room/2")]);
        // One's own topics are no one's to take away.
        let order = json!({"topicPatterns": ["priv/*"], "subject": "alice"}).to_string();
        let told = answer(broker, "POST", "/api/topics/demo/unsubscribe", &order);
        assert_eq!(told, json!({"subscriptions": 0}));
        answer(broker, "POST", "/v1/demo/topics/priv/alice", "x");
        assert_eq!(alice[0].value(), message("priv/alice"));
    });
}

#[test]
fn orders_that_are_not_understood_change_nothing() {
    on_demo(|broker| {
        let many = json!({"topicPatterns": vec!["a"; 51], "subject": "alice"}).to_string();
        let most = json!({"topicPatterns": vec!["a"; 50], "subject": "alice"}).to_string();
        for (target, body, status) in [
            ("/api/topics/demo/unsubscribe", most.as_str(), 200),
            ("/api/topics/demo/unsubscribe", &many, 400),
            ("/api/topics/demo/unsubscribe", "", 400),
            ("/api/topics/demo/unsubscribe", "{}", 400),
            ("/api/topics/demo/unsubscribe", r#"{"topicPatterns":[],"subject":"a"}"#, 400),
            ("/api/topics/demo/unsubscribe", r#"{"topicPatterns":["a"]}"#, 400),
            ("/api/topics/demo/unsubscribe", r#"{"topicPatterns":[1],"subject":"a"}"#, 400),
            ("/v1/demo/revocations", "{}", 400),
            ("/v1/demo/revocations", r#"{"subject":"a","tokenId":"b"}"#, 400),
            ("/v1/demo/revocations", r#"{"subject":7}"#, 400),
            ("/v1/demo/revocations", r#"{"subject":"alice","until":1}"#, 400),
            ("/v1/demo/revocations", r#"{"subject":"alice","until":"x"}"#, 400),
        ] {
            let answer = ask(broker, "POST", target, body);
            assert_eq!(answer.status, status, "{target} {body}: {}", answer.text());
        }
        enter(broker, "alice", &[]).expect_silence();
    });
}

#[test]
fn every_route_takes_the_permission_it_says() {
    let routes = [
        ("POST", "/api/topics/demo/unsubscribe", "subscribers"),
        ("DELETE", "/api/connections/demo", "connections"),
        ("DELETE", "/api/connections/demo/x", "connections"),
        ("GET", "/v1/demo", "application"),
        ("GET", "/v1/demo/topics", "application"),
        ("GET", "/v1/demo/presence?topic=t", "application"),
        ("GET", "/v1/demo/connections", "connections"),
        ("GET", "/v1/demo/connections/x", "connections"),
        ("POST", "/v1/demo/revocations", "connections"),
    ];
    on_demo(|broker| {
        for (method, target, managed) in routes {
            for what in ["subscribers", "connections", "application", "everything", "*"] {
                let token = admin_token(&[&format!("realtime:admin:manage:{what}")]);
                let answer = token::ask(broker, method, target, &token, "");
                let is_refused = answer.status == 403;
                assert_eq!(is_refused, what != managed, "{target} {what}: {}", answer.text());
            }
            let token = admin_token(&EVERYTHING[1..2]);
            assert_eq!(token::ask(broker, method, target, &token, "").problem(), "forbidden");
        }
    });
}

fn token_of(subject: &str, token_id: &str, issued_at: u64) -> String {
    let claims = json!({"sub": subject, "jti": token_id, "iat": issued_at, "exp": issued_at + 600});
    hs256(CLIENT_SECRET, &hs256_header(), &claims)
}

fn upgrade_status(broker: &Broker, token: &str) -> u16 {
    let mut http = broker.http();
    http.send(support::upgrade_bytes(&format!("/apps/demo?access_token={token}"), &[]));
    http.head().expect("an answer").status
}

#[test]
fn a_revoked_subject_s_sessions_end_on_every_shard_and_its_tokens_are_refused() {
    on_demo(|broker| {
        let old = token_of("alice", "t1", now_s() - 1);
        let mut alice: Vec<_> = (0..6).map(|_| enter_with(broker, &old)).collect();
        let mut bob = enter(broker, "bob", &[]);
        let mut events = stream(broker, "alice", "x");
        let told = answer(broker, "POST", "/v1/demo/revocations", r#"{"subject":"alice"}"#);
        assert_eq!(told, json!({"connections": 7}));
        for socket in &mut alice {
            assert_eq!(socket.expect_close(), (3000, REVOKED.to_owned()));
        }
        assert_eq!(events.try_event(), None);
        bob.expect_silence();
        // Many tries, so that every shard is asked.
        for _ in 0..12 {
            assert_eq!(upgrade_status(broker, &old), 401);
        }
        let newer = token_of("alice", "t2", now_s() + 5);
        for _ in 0..12 {
            assert_eq!(upgrade_status(broker, &newer), 101, "issued later");
        }
    });
}

#[test]
fn a_revoked_token_takes_no_other_with_it() {
    on_demo(|broker| {
        let (first, second) = (token_of("alice", "t1", now_s()), token_of("alice", "t2", now_s()));
        let mut revoked: Vec<_> = (0..4).map(|_| enter_with(broker, &first)).collect();
        let mut kept: Vec<_> = (0..4).map(|_| enter_with(broker, &second)).collect();
        let until = now_s() + 600;
        let body = json!({"tokenId": "t1", "until": until}).to_string();
        let told = answer(broker, "POST", "/v1/demo/revocations", &body);
        assert_eq!(told, json!({"connections": 4}));
        for socket in &mut revoked {
            assert_eq!(socket.expect_close(), (3000, REVOKED.to_owned()));
        }
        kept.iter_mut().for_each(WebSocket::expect_silence);
        for _ in 0..12 {
            assert_eq!(upgrade_status(broker, &first), 401);
            assert_eq!(upgrade_status(broker, &second), 101);
        }
    });
}

#[test]
fn administrators_of_one_application_do_not_reach_another() {
    let other = "[[applications]]\nid = \"other\"\nopen = true\n";
    let config = application("") + other;
    on_each_with(
        |setup| setup.config(&config),
        |broker| {
            let mut socket = WebSocket::open(broker.connect(), "/apps/other");
            let told = answer(broker, "DELETE", "/api/connections/demo", "");
            assert_eq!(told, json!({"connections": 0}));
            let target = format!("/api/connections/demo/{}", socket.id);
            assert_eq!(ask(broker, "DELETE", &target, "").problem(), "unknown_connection");
            assert_eq!(ask(broker, "DELETE", "/api/connections/other", "").status, 401);
            socket.expect_silence();
        },
    );
}
