//! Source addresses: from which networks clients and backends may come, and at which door.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use support::token::{EVERYTHING, admin_token, application, bearer, client_token};
use support::{Broker, Http, PATIENCE, WebSocket, on_each_with, request_bytes, upgrade_bytes};

/// Addresses of the loopback network, all of them this machine's.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const BEYOND: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

fn connect_from(broker: &Broker, source: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address of the loopback");
    socket.connect(&broker.address.into()).expect("the broker listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    socket.into()
}

/// The status with which a request is met, whatever follows.
fn status(broker: &Broker, source: Ipv4Addr, request: &[u8]) -> u16 {
    let mut http = Http::new(connect_from(broker, source));
    http.send(request);
    let head = http.head().expect("an answer");
    if head.status == 403 {
        let size = head.header("content-length").and_then(|size| size.parse().ok());
        let mut body = vec![0; size.expect("a length")];
        std::io::Read::read_exact(&mut http.into_reader(), &mut body).expect("the whole body");
        let answer = support::Response { body, ..head };
        assert_eq!(answer.problem(), "source_forbidden");
        return 403;
    }
    head.status
}

/// Requests of clients: a WebSocket, a stream, a look at who is there.
fn of_clients() -> Vec<(Vec<u8>, u16)> {
    let field = bearer(&client_token("alice", &EVERYTHING));
    let fields = [("Authorization", field.as_str())];
    vec![
        (upgrade_bytes("/apps/demo", &fields), 101),
        (request_bytes("GET", "/v1/demo/events?topics=t", &fields, b""), 200),
        (request_bytes("GET", "/?channels=t", &fields, b""), 200),
        (request_bytes("GET", "/v1/demo/presence?topic=t", &fields, b""), 200),
    ]
}

/// Requests of backends: publishing by every route, administration.
fn of_backends() -> Vec<(Vec<u8>, u16)> {
    let field = bearer(&admin_token(&EVERYTHING));
    let fields = [("Authorization", field.as_str())];
    let post = |target: &str, body: &[u8]| (request_bytes("POST", target, &fields, body), 200);
    vec![
        post("/v1/demo/topics/t", b"x"),
        post("/", br#"{"channel":"t","data":"x"}"#),
        post("/v1/demo/publish", br#"{"messages":[{"topic":"t","data":1}]}"#),
        post("/api/topics/demo/publish", br#"{"topic":"t","message":1}"#),
        post("/api/topics/demo/unsubscribe", br#"{"topicPatterns":["x"],"subject":"x"}"#),
        post("/v1/demo/revocations", br#"{"tokenId":"x"}"#),
        (request_bytes("GET", "/v1/demo", &fields, b""), 200),
        (request_bytes("DELETE", "/api/connections/demo", &fields, b""), 200),
    ]
}

fn check(clients: &str, backends: &str, cases: &[(Ipv4Addr, bool, bool)]) {
    let settings = format!(
        "same_subject = \"allow\"\nclient_source_address = {clients}\n\
         admin_source_address = {backends}"
    );
    on_each_with(
        |setup| setup.config(&application(&settings)),
        |broker| {
            for (source, is_client, is_backend) in cases {
                for (requests, may) in [(of_clients(), is_client), (of_backends(), is_backend)] {
                    for (request, welcome) in requests {
                        let line = String::from_utf8_lossy(&request[..40]).into_owned();
                        let expected = if *may { welcome } else { 403 };
                        assert_eq!(status(broker, *source, &request), expected, "{source} {line}");
                    }
                }
            }
        },
    );
}

#[test]
fn without_a_list_everyone_may_come() {
    check("[]", "[]", &[(HERE, true, true), (THERE, true, true), (BEYOND, true, true)]);
}

#[test]
fn clients_and_backends_have_lists_of_their_own() {
    let cases = [(HERE, true, false), (THERE, false, true), (BEYOND, false, false)];
    check("[\"127.0.0.1\"]", "[\"127.0.0.2/32\"]", &cases);
}

#[test]
fn a_denial_counts_whatever_else_matches() {
    let cases = [(HERE, true, true), (THERE, false, true), (BEYOND, true, false)];
    check("[\"!127.0.0.2\", \"127.0.0.0/8\"]", "[\"127.0.0.0/8\", \"!127.9.0.0/16\"]", &cases);
}

#[test]
fn a_list_of_denials_lets_everyone_else_in() {
    let cases = [(HERE, true, true), (THERE, false, true), (BEYOND, true, true)];
    check("[\"!127.0.0.2\"]", "[]", &cases);
}

#[test]
fn who_may_not_come_learns_nothing_of_credentials() {
    let settings = "client_source_address = [\"192.0.2.0/24\"]";
    on_each_with(
        |setup| setup.config(&application(settings)),
        |broker| {
            for fields in [vec![], vec![("Authorization", "Bearer x")]] {
                let request = upgrade_bytes("/apps/demo", &fields);
                assert_eq!(status(broker, HERE, &request), 403);
            }
        },
    );
}

#[test]
fn addresses_of_another_family_do_not_match() {
    check("[\"::/0\"]", "[\"!::/0\"]", &[(HERE, false, true)]);
}

#[test]
fn the_welcome_tells_the_address_that_was_judged() {
    on_each_with(
        |setup| setup.config(&application("client_source_address = [\"127.0.0.2\"]")),
        |broker| {
            let token = client_token("alice", &[]);
            let mut http = Http::new(connect_from(broker, THERE));
            http.send(upgrade_bytes(&format!("/apps/demo?access_token={token}"), &[]));
            let welcome = WebSocket::begin(http).value();
            assert_eq!(welcome["data"]["connection"]["remoteAddress"], "127.0.0.2");
        },
    );
}
