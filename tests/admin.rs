//! The admin door: who comes in, what is there, and that it answers when nothing else does.

mod support;

use std::net::TcpStream;

use rustix::process::Signal;
use support::{Http, Metrics, Response, Setup, json, on_each_with, post};

const TOKEN: &str = "adm-4f1c9a27e6b8d305";

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn get(http: &mut Http, target: &str, token: Option<&str>) -> Response {
    let value = token.map(bearer);
    let fields: Vec<_> = value.iter().map(|value| ("Authorization", value.as_str())).collect();
    http.request("GET", target, &fields, b"")
}

fn with_door(setup: Setup) -> Setup {
    setup.with("ADMIN_LISTEN", "127.0.0.1:0").with("ADMIN_TOKEN", TOKEN)
}

fn metrics(admin: &mut Http) -> Metrics {
    let answer = get(admin, "/metrics", Some(TOKEN));
    assert_eq!(answer.status, 200);
    Metrics::parse(answer.text())
}

#[test]
fn the_token_opens_everything_but_health() {
    on_each_with(with_door, |broker| {
        let mut admin = broker.admin();
        assert_eq!(get(&mut admin, "/health/live", None).status, 200);
        assert_eq!(json(get(&mut admin, "/health/ready", None).body)["status"], "ready");
        for target in ["/metrics", "/v1/demo", "/", "/nothing"] {
            for wrong in
                [None, Some(""), Some("adm-4f1c9a27e6b8d306"), Some("adm-4f1c9a27e6b8d3055")]
            {
                let answer = get(&mut admin, target, wrong);
                assert_eq!((answer.status, &*answer.problem()), (401, "unauthorized"), "{target}");
            }
        }
        assert_eq!(get(&mut admin, "/metrics", Some(TOKEN)).status, 200);
        // Not even its holder reaches an application here.
        for target in ["/v1/demo", "/", "/v1/demo/events?topics=a", "/apps/demo"] {
            assert_eq!(get(&mut admin, target, Some(TOKEN)).problem(), "unknown_route", "{target}");
        }
        let value = bearer(TOKEN);
        let fields = [("Authorization", value.as_str())];
        let answer = admin.request("POST", "/metrics", &fields, b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(admin.request("HEAD", "/metrics", &fields, b"").status, 200);
        // The token is none at the main door.
        let mut http = broker.http();
        assert_eq!(get(&mut http, "/v1/demo/topics", Some(TOKEN)).status, 401);
        assert!(!broker.log().contains(TOKEN));
    });
}

#[test]
fn without_a_token_it_is_for_this_machine_only() {
    let broker = Setup::new("epoll", 1).with("ADMIN_LISTEN", "127.0.0.1:0").start();
    let mut admin = broker.admin();
    for host in ["127.0.0.1:8481", "localhost"] {
        admin.send(format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(admin.response().status, 200);
    }
    admin.send("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    let answer = admin.response();
    assert_eq!((answer.status, &*answer.problem()), (403, "origin_forbidden"));
    let setup = Setup::new("epoll", 1).with("ADMIN_LISTEN", "0.0.0.0:0");
    let (_, log) = setup.try_start().expect_err("reachable by everyone");
    assert!(log.contains("admin.listen: 0.0.0.0:0 can be reached from other machines"), "{log}");
    drop(setup.with("ADMIN_TOKEN", TOKEN).start());
}

#[test]
fn it_answers_while_the_main_door_is_full_and_has_a_limit_of_its_own() {
    let setup = |setup: Setup| with_door(setup).with("SHARDS_CONNECTIONS_MAX", "3");
    on_each_with(setup, |broker| {
        // Enough to fill every shard, wherever the kernel puts them.
        let held: Vec<TcpStream> = (0..64).map(|_| broker.connect()).collect();
        let shards = u64::from(broker.variant.shards);
        let mut first = broker.admin();
        let mut seen = metrics(&mut first);
        while seen.count("fanwire_connections", &[("door", "http")]) < 3 * shards {
            seen = metrics(&mut first);
        }
        assert!(seen.count("fanwire_accepts_shed_total", &[]) > 0);
        assert_eq!(seen.count("fanwire_connections", &[("door", "admin")]), 1);
        let mut inside: Vec<Http> = (0..15).map(|_| broker.admin()).collect();
        for http in &mut inside {
            assert_eq!(get(http, "/health/live", None).status, 200);
        }
        broker.admin().expect_end();
        drop((inside, held));
    });
}

#[test]
fn it_answers_while_the_broker_drains_and_is_not_waited_for() {
    let setup = |setup: Setup| {
        with_door(setup).with("SERVER_STOP_DELAY", "0s").with("SERVER_STOP_TIMEOUT", "30s")
    };
    on_each_with(setup, |broker| {
        let mut admin = broker.admin();
        // Held open by a request whose body does not come, until its client gives up.
        let mut slow = broker.http();
        slow.send("POST /v1/demo/topics/a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab");
        assert_eq!(get(&mut admin, "/health/ready", None).status, 200);
        broker.signal(Signal::TERM);
        while get(&mut admin, "/health/ready", None).status != 503 {}
        assert_eq!(get(&mut admin, "/metrics", Some(TOKEN)).status, 200);
        drop(slow);
        // With its last client the broker ends, although the admin connection is open.
        admin.expect_end();
    });
}

#[test]
fn a_taken_default_is_a_warning_and_a_taken_choice_an_error() {
    let first = with_door(Setup::new("epoll", 1)).start();
    let taken = first.admin_address().to_string();
    let setup = Setup::new("epoll", 1).with("ADMIN_LISTEN", taken);
    let (_, log) = setup.try_start().expect_err("the address is taken");
    assert!(log.contains("admin.listen") && log.contains("in use"), "{log}");
    // Whoever of the two comes second finds the default taken, be it by another broker of this machine.
    // A variable that is set to nothing is not set.
    let default = || Setup::new("epoll", 1).with("ADMIN_LISTEN", "").start();
    let (one, other) = (default(), default());
    other.await_log("no admin door: its default address cannot be had");
    post(&mut one.http(), "/v1/demo/topics/a", b"1");
    post(&mut other.http(), "/v1/demo/topics/a", b"1");
}

#[test]
fn the_main_door_shows_metrics_where_a_key_says_so() {
    for (choice, listen, expected) in [
        ("loopback", "127.0.0.1:0", 200),
        ("loopback", "0.0.0.0:0", 404),
        ("always", "0.0.0.0:0", 200),
        ("never", "127.0.0.1:0", 404),
    ] {
        let config = "[[applications]]\nid = \"demo\"\nopen = false\n\
                      [[applications.keys]]\nsecret = \"k-8f3a91c4d2e7b605\"\nrights = [\"publish\"]\n";
        let setup = with_door(Setup::new("epoll", 1)).with("SERVER_METRICS_PUBLIC", choice);
        let broker = setup.listen(listen).config(config).start();
        assert_eq!(broker.http().request("GET", "/metrics", &[], b"").status, expected, "{choice}");
        assert_eq!(get(&mut broker.admin(), "/metrics", Some(TOKEN)).status, 200);
        assert_eq!(broker.http().request("GET", "/health/ready", &[], b"").status, 200);
    }
}

#[test]
fn a_further_listener_that_others_reach_hides_the_metrics_from_all_of_them() {
    let config = "listeners = [{ address = \"0.0.0.0:0\" }]\n\
                  [[applications]]\nid = \"demo\"\nopen = false\n\
                  [[applications.keys]]\nsecret = \"k-8f3a91c4d2e7b605\"\nrights = [\"publish\"]\n";
    let broker = with_door(Setup::new("epoll", 2)).config(config).start();
    for _ in 0..4 {
        let answer = broker.http().request("GET", "/metrics", &[], b"");
        assert_eq!(answer.problem(), "unknown_route");
    }
    assert_eq!(get(&mut broker.admin(), "/metrics", Some(TOKEN)).status, 200);
}
