//! Clients behind proxies: whom `Forwarded`, `X-Forwarded-For` and the PROXY protocol name, and who
//! is believed. Address lists, rates and the list of connections go by the client.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use support::tls::{Certificate, Tls};
use support::token::{EVERYTHING, admin_token, application, bearer, client_token};
use support::{Broker, Http, PATIENCE, Setup, WebSocket, on_each_with, upgrade_bytes};

const PROXY: Ipv4Addr = Ipv4Addr::LOCALHOST;
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Clients from one network alone, through a proxy at [`PROXY`]; one listener with the PROXY protocol.
fn setup(setup: Setup) -> Setup {
    let rules = "client_source_address = [\"203.0.113.0/24\"]";
    let listener = "[[listeners]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n";
    setup
        .config(&format!("{}{listener}", application(rules)))
        .with("SERVER_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")
}

fn connect(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address of the loopback");
    socket.connect(&address.into()).expect("the broker listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    socket.into()
}

fn upgrade(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = bearer(&client_token("alice", &EVERYTHING));
    let mut all = vec![("Authorization", field.as_str())];
    all.extend_from_slice(fields);
    upgrade_bytes("/apps/demo", &all)
}

/// The address that a welcome tells, or the status of a refusal.
type Told = Result<String, u16>;

/// Who comes with which fields, and what it is told.
type Case<'a> = (Ipv4Addr, &'a [(&'a str, &'a str)], Told);

/// What is told to who sends these bytes first and these fields with its request.
fn address(stream: TcpStream, before: &[u8], fields: &[(&str, &str)]) -> Told {
    let mut http = Http::new(stream);
    http.send([before, &upgrade(fields)].concat());
    let mut http = Http::new(http.into_reader().into_inner());
    let mut first = [0; 12];
    http.stream().peek(&mut first).expect("an answer");
    if &first != b"HTTP/1.1 101" {
        return Err(http.head().expect("an answer").status);
    }
    let welcome = WebSocket::begin(http).value();
    Ok(welcome["data"]["connection"]["remoteAddress"].as_str().expect("an address").to_owned())
}

#[test]
fn a_trusted_proxys_word_counts_and_a_strangers_does_not() {
    on_each_with(setup, |broker| {
        let client = || Ok("203.0.113.9".to_owned());
        let cases: [Case<'_>; 9] = [
            (PROXY, &[("X-Forwarded-For", "203.0.113.9")], client()),
            (PROXY, &[("X-Forwarded-For", "198.51.100.1, 203.0.113.9, 10.0.0.7")], client()),
            (PROXY, &[("X-Forwarded-For", "203.0.113.9, 198.51.100.1")], Err(403)),
            (PROXY, &[("Forwarded", "for=203.0.113.9;proto=https")], client()),
            (
                PROXY,
                &[("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=203.0.113.9")],
                client(),
            ),
            (PROXY, &[("X-Forwarded-For", "nonsense")], Err(403)),
            (PROXY, &[], Err(403)),
            (STRANGER, &[("X-Forwarded-For", "203.0.113.9")], Err(403)),
            (STRANGER, &[("Forwarded", "for=203.0.113.9")], Err(403)),
        ];
        for (source, fields, expected) in cases {
            let found = address(connect(source, broker.address), b"", fields);
            assert_eq!(found, expected, "{source} {fields:?}");
        }
    });
}

#[test]
fn each_request_of_a_proxys_connection_has_its_own_client() {
    on_each_with(setup, |broker| {
        let mut http = Http::new(connect(PROXY, broker.address));
        let field = bearer(&client_token("alice", &EVERYTHING));
        let cases = [("203.0.113.9", 200), ("198.51.100.1", 403), ("203.0.113.8", 200), ("", 403)];
        for (client, status) in cases {
            let fields = [("Authorization", field.as_str()), ("X-Forwarded-For", client)];
            let answer = http.request("GET", "/v1/demo/presence?topic=t", &fields, b"");
            assert_eq!(answer.status, status, "{client}");
        }
    });
}

#[test]
fn the_list_of_connections_names_the_client() {
    on_each_with(setup, |broker| {
        let mut http = Http::new(connect(PROXY, broker.address));
        http.send(upgrade(&[("X-Forwarded-For", "203.0.113.9")]));
        let mut socket = WebSocket::begin(http);
        socket.value();
        let field = bearer(&admin_token(&EVERYTHING));
        let fields = [("Authorization", field.as_str())];
        let list = broker.http().request("GET", "/v1/demo/connections", &fields, b"");
        assert!(list.text().contains("203.0.113.9"), "{}", list.text());
        assert!(!list.text().contains("127.0.0.1"), "{}", list.text());
    });
}

#[test]
fn rates_of_an_address_are_the_clients() {
    let rules = "limits.connections_per_address = \"2/m burst 2\"";
    let broker = Setup::new("epoll", 1)
        .config(&application(rules))
        .with("SERVER_TRUSTED_PROXIES", "127.0.0.1")
        .start();
    let ask =
        |client: &str| address(connect(PROXY, broker.address), b"", &[("X-Forwarded-For", client)]);
    for client in ["203.0.113.9", "203.0.113.8"] {
        assert_eq!(ask(client), Ok(client.to_owned()));
        assert_eq!(ask(client), Ok(client.to_owned()));
        assert_eq!(ask(client), Err(429));
    }
}

#[test]
fn a_chosen_field_leaves_the_other_to_the_clients() {
    let broker =
        setup(Setup::new("epoll", 1)).with("SERVER_CLIENT_HEADER", "x-forwarded-for").start();
    let spoofed = [("Forwarded", "for=203.0.113.9"), ("X-Forwarded-For", "198.51.100.1")];
    assert_eq!(address(connect(PROXY, broker.address), b"", &spoofed), Err(403));
}

/// A header of version 2 (§2.2).
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let size = u16::try_from(block.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &size, block].concat()
}

/// Headers that name 203.0.113.9, in both versions, with and without additional fields.
fn naming_the_client() -> Vec<Vec<u8>> {
    let addresses = [203, 0, 113, 9, 10, 0, 0, 1, 1, 2, 3, 4];
    let fields = [addresses.as_slice(), &[3, 0, 4, 1, 2, 3, 4]].concat();
    vec![
        b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n".to_vec(),
        b"PROXY TCP6 ::ffff:203.0.113.9 ::1 56324 443\r\n".to_vec(),
        binary(0x21, 0x11, &addresses),
        binary(0x21, 0x11, &fields),
    ]
}

#[test]
fn the_proxy_protocol_names_the_client() {
    on_each_with(setup, |broker| {
        for header in naming_the_client() {
            let stream = connect(PROXY, broker.other(0));
            assert_eq!(address(stream, &header, &[]), Ok("203.0.113.9".to_owned()));
        }
        // Nobody is named: the proxy's own address stands, which is not among the allowed.
        let unnamed = [
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary(0x20, 0, b""),
            binary(0x21, 0, b""),
            binary(0x21, 0x31, &[b'/'; 216]),
        ];
        for header in unnamed {
            assert_eq!(address(connect(PROXY, broker.other(0)), &header, &[]), Err(403));
        }
        // A proxy behind the proxy is believed as one.
        let behind = b"PROXY TCP4 10.0.0.7 10.0.0.1 1 2\r\n";
        let fields = [("X-Forwarded-For", "203.0.113.9")];
        let stream = connect(PROXY, broker.other(0));
        assert_eq!(address(stream, behind, &fields), Ok("203.0.113.9".to_owned()));
    });
}

#[test]
fn a_header_may_come_byte_by_byte_and_must_come() {
    on_each_with(setup, |broker| {
        for header in naming_the_client() {
            let mut stream = connect(PROXY, broker.other(0));
            stream.set_nodelay(true).expect("a TCP socket");
            for byte in &header {
                stream.write_all(&[*byte]).expect("the broker reads");
            }
            assert_eq!(address(stream, b"", &[]), Ok("203.0.113.9".to_owned()));
        }
        let long = binary(0x21, 0x11, &[0; 8192]);
        for wrong in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"PROXY TCP4 x\r\n", &long] {
            let mut stream = connect(PROXY, broker.other(0));
            stream.write_all(wrong).expect("the broker reads");
            assert_eq!(stream.read(&mut [0; 64]).expect("an end"), 0);
        }
    });
}

#[test]
fn a_strangers_header_is_not_read_and_half_a_header_is_given_up() {
    let broker = setup(Setup::new("epoll", 1)).with("HTTP_HEAD_TIMEOUT", "300ms").start();
    let mut stream = connect(STRANGER, broker.other(0));
    let _ = stream.write_all(b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n");
    let ended = stream.read(&mut [0; 64]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    broker.await_log("server.trusted_proxies");
    for begun in [b"".as_slice(), b"PROXY TCP4 203"] {
        let mut stream = connect(PROXY, broker.other(0));
        stream.write_all(begun).expect("the broker reads");
        assert_eq!(stream.read(&mut [0; 64]).expect("an end"), 0);
    }
}

#[test]
fn the_proxy_protocol_stands_in_front_of_tls() {
    let certificate = Certificate::new(&["localhost"]);
    let entry = certificate.entry();
    let listener = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n\
         tls.certificates = [{entry}]\n"
    );
    let rules = "client_source_address = [\"203.0.113.0/24\"]";
    let tls = Tls::trusting(&[&certificate]);
    on_each_with(
        |setup| {
            let text = format!("{}{listener}", application(rules));
            setup.config(&text).with("SERVER_TRUSTED_PROXIES", "127.0.0.1")
        },
        |broker: &Broker| {
            for header in naming_the_client() {
                let mut stream = connect(PROXY, broker.other(0));
                stream.write_all(&header).expect("the broker reads");
                let (near, _) = tls.through(stream);
                let mut http = Http::new(near);
                http.send(upgrade(&[]));
                let welcome = WebSocket::begin(http).value();
                assert_eq!(welcome["data"]["connection"]["remoteAddress"], "203.0.113.9");
            }
        },
    );
}

#[test]
fn a_listener_for_proxies_needs_proxies() {
    let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n";
    let (_, log) = Setup::new("epoll", 1).config(text).try_start().expect_err("refused");
    assert!(log.contains("needs server.trusted_proxies"), "{log}");
}
