//! Tokens: a good one opens every door of its role by header and by query, and is who it says.

mod support;

use serde_json::{Value, json};
use support::door::{DOORS, Takes, Way};
use support::token::{
    self, ADMIN_SECRET, CLIENT_SECRET, EVERYTHING, application, assert_unlogged, bearer, claims,
    client_token, enter, enter_with, hs256, hs256_header, now_s,
};
use support::{Broker, WebSocket, on_each_with};

const API_KEY: &str = "key-that-may-do-everything-1";

fn config() -> String {
    format!(
        "{}[[applications.keys]]\nsecret = \"{API_KEY}\"\nrights = [\"subscribe\", \"publish\", \
         \"admin\"]\n",
        application("same_subject = \"allow\"")
    )
}

fn on_demo(test: impl Fn(&Broker)) {
    on_each_with(|setup| setup.config(&config()).with("LOG_LEVEL", "trace"), test);
}

#[test]
fn a_token_of_the_right_role_opens_every_door_by_header_and_by_query() {
    on_demo(|broker| {
        let client = client_token("alice", &EVERYTHING);
        let admin = token::admin_token(&EVERYTHING);
        for door in DOORS {
            for (token, role) in [(&client, Takes::Clients), (&admin, Takes::Backends)] {
                let may = door.takes == Takes::Both || door.takes == role;
                let status = if may { door.welcome_status() } else { 401 };
                for way in [Way::Header, Way::Query] {
                    let answer = door.knock(broker, token, way);
                    assert_eq!(answer.status, status, "{door:?} {role:?}: {}", answer.text());
                }
            }
        }
        let log = broker.log();
        assert_unlogged(&log, &client);
        assert_unlogged(&log, &admin);
    });
}

#[test]
fn the_scheme_is_read_in_any_case_and_other_schemes_are_for_others() {
    on_demo(|broker| {
        let token = token::admin_token(&EVERYTHING);
        let status = |field: &str| {
            broker.http().request("GET", "/v1/demo", &[("Authorization", field)], b"").status
        };
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(status(&format!("{scheme} {token}")), 200, "{scheme}");
        }
        for field in [format!("Basic {token}"), token.clone(), "Bearer".to_owned()] {
            assert_eq!(status(&field), 401);
        }
    });
}

#[test]
fn more_than_one_credential_is_one_too_many() {
    on_demo(|broker| {
        let client = client_token("alice", &EVERYTHING);
        let admin = token::admin_token(&EVERYTHING);
        let in_query = format!("access_token={admin}");
        let authorization = bearer(&admin);
        let header = ("Authorization", authorization.as_str());
        for door in DOORS {
            for (query, fields) in [
                (in_query.as_str(), vec![header]),
                (&format!("{in_query}&access_token={client}"), vec![]),
                (&in_query, vec![("X-API-Key", API_KEY)]),
                (&in_query, vec![("X-Secret", API_KEY)]),
                (&format!("{in_query}&secret={API_KEY}"), vec![]),
                ("", vec![header, header]),
                (&format!("secret={API_KEY}"), vec![header]),
            ] {
                let answer = door.knock_with(broker, query, &fields);
                assert_eq!(answer.status, 400, "{door:?}: {}", answer.text());
                if door.method != "HEAD" {
                    assert_eq!(answer.problem(), "bad_request");
                }
            }
        }
    });
}

#[test]
fn a_token_s_subject_and_permissions_are_who_the_client_is() {
    on_demo(|broker| {
        for (name, value, shown) in [
            ("permissions", json!(["a", "realtime:publisher:write:topic:*"]), None),
            ("scp", json!(["realtime:publisher:write:topic:*"]), None),
            (
                "scope",
                json!("openid realtime:publisher:write:topic:t"),
                Some(json!(["openid", "realtime:publisher:write:topic:t"])),
            ),
        ] {
            let mut claims = json!({"sub": "user0@example.com", "exp": now_s() + 60});
            claims[name] = value.clone();
            let mut socket = enter_with(broker, &hs256(CLIENT_SECRET, &hs256_header(), &claims));
            socket.subscribe("t");
            socket.send(r#"{"type":"publish","data":{"topic":"t","payload":1,"id":"m"}}"#);
            let mut got = [socket.value(), socket.value()];
            got.sort_by_key(|message| message["topic"] == "t");
            let client = json!({
                "connectionId": socket.id,
                "subject": "user0@example.com",
                "permissions": shown.unwrap_or(value),
            });
            let ack = json!({"topic": "priv/acks", "messageType": "ack", "data": {"data": "m"}});
            let echo = json!({
                "topic": "t",
                "messageType": "broadcast",
                "data": {"client": client, "payload": 1, "id": "m"},
            });
            assert_eq!(got, [ack, echo], "{name}");
        }
    });
}

#[test]
fn the_first_claim_that_names_permissions_counts_alone() {
    let write = "realtime:publisher:write:topic:*";
    on_demo(|broker| {
        for (extra, may) in [
            (json!({"permissions": [], "scp": [write], "scope": write}), false),
            (json!({"scp": [], "scope": write}), false),
            (json!({"scope": write}), true),
            (json!({"permissions": [write], "scp": []}), true),
            (json!({}), false),
        ] {
            let mut claims = json!({"sub": "bob", "exp": now_s() + 60});
            let members = claims.as_object_mut().expect("an object");
            members.extend(extra.as_object().expect("an object").clone());
            let token = hs256(ADMIN_SECRET, &hs256_header(), &claims);
            let answer = token::ask(broker, "POST", "/v1/demo/topics/t", &token, "x");
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{extra}");
        }
    });
}

#[test]
fn what_is_sent_to_a_subject_reaches_each_of_its_connections_on_every_shard() {
    on_demo(|broker| {
        let token = client_token("alice", &[]);
        let mut sockets: Vec<WebSocket> = (0..6).map(|_| enter_with(broker, &token)).collect();
        let mut stranger = enter(broker, "bob", &[]);
        let admin = token::admin_token(&EVERYTHING);
        let answer = token::ask(broker, "POST", "/v1/demo/topics/priv/alice", &admin, "to all");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = sockets[0].id.clone();
        let answer =
            token::ask(broker, "POST", &format!("/v1/demo/topics/priv/{id}"), &admin, "one");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let message = |topic: &str, data: &str| -> Value {
            json!({"topic": topic, "messageType": "broadcast", "data": data})
        };
        // Two topics have no order between them: their homes may be two shards.
        let both = [sockets[0].value(), sockets[0].value()];
        let (to_all, one) =
            (message("priv/alice", "to all"), message(&format!("priv/{id}"), "one"));
        assert!(both.contains(&to_all) && both.contains(&one), "{both:?}");
        for socket in &mut sockets[1..] {
            assert_eq!(socket.value(), to_all);
        }
        sockets.iter_mut().for_each(WebSocket::expect_silence);
        stranger.expect_silence();
    });
}

#[test]
fn leeway_forgives_clocks_and_no_more() {
    for (leeway, forgiven) in [("0s", false), ("120s", true)] {
        let settings = format!("token_leeway = \"{leeway}\"");
        on_each_with(
            |setup| setup.config(&application(&settings)),
            |broker| {
                for (name, at) in [("exp", now_s() - 30), ("nbf", now_s() + 30)] {
                    let mut claims = claims("alice", &EVERYTHING);
                    claims[name] = at.into();
                    let token = hs256(ADMIN_SECRET, &hs256_header(), &claims);
                    let status = token::ask(broker, "GET", "/v1/demo", &token, "").status;
                    assert_eq!(status, if forgiven { 200 } else { 401 }, "{name} {leeway}");
                }
            },
        );
    }
}
