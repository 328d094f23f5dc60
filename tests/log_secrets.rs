//! The log of a run in which every door was tried with good and bad credentials: each line can be
//! read by a machine, and none shows a credential or a query that may hold one.

mod support;

use fanwire::stdx::clock;
use support::token::{
    ADMIN_SECRET, CLIENT_SECRET, EVERYTHING, admin_token, assert_unlogged, claims, client_token,
    hs256, hs256_header,
};
use support::{Setup, json, on_each_with, request_bytes};

const ADMIN_DOOR: &str = "adm-4f1c9a27e6b8d305";
const KEY: &str = "key-8f3a91c4d2e7b605";

fn setup(setup: Setup) -> Setup {
    let key = format!(
        "[[applications.keys]]\nsecret = \"{KEY}\"\nrights = [\"subscribe\", \"publish\", \"admin\"]\n"
    );
    let config = support::token::application("same_subject = \"allow\"") + &key;
    setup
        .config(&config)
        .with("LOG_FORMAT", "json")
        .with("LOG_LEVEL", "trace")
        .with("ADMIN_LISTEN", "127.0.0.1:0")
        .with("ADMIN_TOKEN", ADMIN_DOOR)
        .with("POLL_WAIT_MAX", "10ms")
}

#[test]
fn no_credential_reaches_the_log() {
    on_each_with(setup, |broker| {
        let began = clock::now();
        let forged =
            hs256("another-secret-7Tn2xVd0aJmUe9cL", &hs256_header(), &claims("eve", &EVERYTHING));
        let wrong_key = "key-8f3a91c4d2e7b606";
        let (client, admin) = (client_token("alice", &EVERYTHING), admin_token(&EVERYTHING));
        let credentials = [&*client, &*admin, &*forged, KEY, wrong_key, ADMIN_DOOR];
        let routes = [
            ("GET", "/v1/demo/topics"),
            ("GET", "/v1/demo/history?topic=a"),
            ("GET", "/v1/demo/poll?topics=a"),
            ("POST", "/v1/demo/topics/a"),
            ("POST", "/"),
            ("GET", "/apps/demo"),
            ("GET", "/nothing/here"),
        ];
        for credential in credentials {
            for (method, route) in routes {
                let join = if route.contains('?') { '&' } else { '?' };
                let bearer = format!("Bearer {credential}");
                for (target, fields) in [
                    (format!("{route}{join}access_token={credential}"), vec![]),
                    (format!("{route}{join}secret={credential}"), vec![]),
                    (route.to_owned(), vec![("Authorization", &*bearer)]),
                    (route.to_owned(), vec![("X-API-Key", credential)]),
                ] {
                    let mut http = broker.http();
                    http.send(request_bytes(method, &target, &fields, b"{}"));
                    assert!(http.head().is_some_and(|head| head.status != 500), "{target}");
                }
            }
            let bearer = format!("Bearer {credential}");
            for target in ["/metrics", "/v1/admin/status", "/v1/admin/tail?app=demo&topic=*"] {
                let mut http = broker.admin();
                http.send(request_bytes("GET", target, &[("Authorization", &bearer)], b""));
                let status = http.head().expect("an answer").status;
                assert_eq!(status, if credential == ADMIN_DOOR { 200 } else { 401 });
            }
            let mut stream = broker.http();
            let target = format!("/v1/demo/events?topics=a&access_token={credential}");
            stream.send(request_bytes("GET", &target, &[], b""));
            assert!(stream.head().is_some());
        }
        broker.await_log("refused");
        let log = broker.log();
        for line in log.lines() {
            assert!(json(line)["level"].is_string(), "{line}");
        }
        for credential in credentials.into_iter().chain([CLIENT_SECRET, ADMIN_SECRET]) {
            assert_unlogged(&log, credential);
        }
        assert!(!log.contains("access_token="), "a query in the log");
        // However much was refused: so many lines per second and shard.
        let refused = log.lines().filter(|line| line.contains("\"refused\"")).count();
        let seconds = clock::now().duration_since(began).as_secs();
        let said_max = 10 * u64::from(broker.variant.shards) * (seconds + 2);
        assert!(refused as u64 <= said_max, "{refused} lines of refusals in {seconds} s");
    });
}
