//! Real nginx and `HAProxy` in front of the real binary: every door works through them, the client's own
//! address is judged, and no request hides in another.

#[path = "reverse_proxies/front.rs"]
mod front;
#[path = "reverse_proxies/smuggling.rs"]
mod smuggling;
mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use front::{Front, Kind, Route};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use support::token::{application, client_token};
use support::{Broker, Http, PATIENCE, Setup, WebSocket, upgrade_bytes};

/// Where clients come from; the proxies come from 127.0.0.1.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SPOOFED: &str = "127.0.0.3";

fn setup() -> Setup {
    Setup::new("auto", 2).with("SERVER_TRUSTED_PROXIES", "127.0.0.1")
}

/// Runs `test` through each way of each proxy that this machine has.
fn through_each(setup: &Setup, test: impl Fn(&Broker, &Front)) {
    let broker = setup.start();
    for kind in [Kind::Nginx, Kind::Haproxy] {
        match Front::start(kind, Route { http: broker.address, proxied: None }) {
            Ok(front) => test(&broker, &front),
            Err(missing) => missing.skip(),
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((CLIENT, 0)).into()).expect("an address of the loopback");
    socket.connect(&address.into()).expect("the proxy listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    socket.set_tcp_nodelay(true).expect("a TCP socket");
    socket.into()
}

fn publish(front: &Front, topic: &str, payload: &str) -> Value {
    let mut http = Http::new(connect(front.address));
    let target = format!("/v1/demo/topics/{topic}");
    let answer = http.request("POST", &target, &[], payload.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    support::json(&answer.body)
}

#[test]
fn a_websocket_passes() {
    through_each(&setup(), |_, front| {
        let mut socket = WebSocket::open(connect(front.address), "/apps/demo");
        socket.subscribe("news");
        publish(front, "news", "through a proxy");
        let value = socket.value();
        assert_eq!(value["data"], "through a proxy", "{value}");
    });
}

#[test]
fn events_pass_as_they_happen() {
    through_each(&setup(), |_, front| {
        let mut http = Http::new(connect(front.address));
        http.send(support::request_bytes("GET", "/v1/demo/events?topics=live", &[], b""));
        let head = http.head().expect("a head before any event");
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        let mut reader = http.into_reader();
        for number in 0..3 {
            let payload = format!("event {number}");
            publish(front, "live", &payload);
            // The proxy may put its chunks' sizes between the lines.
            front::read_until(&mut reader, &format!("\"data\":\"{payload}\""));
        }
    });
}

#[test]
fn a_long_poll_passes() {
    through_each(&setup(), |_, front| {
        let since = publish(front, "polled", "first")["position"].clone();
        let since = since.as_str().expect("a position");
        let target = format!("/v1/demo/poll?topics=polled&since={since}&wait=20");
        let mut http = Http::new(connect(front.address));
        http.send(support::request_bytes("GET", &target, &[], b""));
        publish(front, "polled", "second");
        let answer = support::json(http.response().body);
        assert_eq!(answer["messages"][0]["data"], "second", "{answer}");
    });
}

#[test]
fn the_clients_own_address_is_judged_and_told() {
    let settings = format!("client_source_address = [\"{CLIENT}\"]");
    let setup = setup().config(&application(&settings));
    through_each(&setup, |_, front| {
        let token = client_token("alice", &[]);
        let mut http = Http::new(connect(front.address));
        http.send(upgrade_bytes(&format!("/apps/demo?access_token={token}"), &[]));
        let welcome = WebSocket::begin(http).value();
        let told = welcome.to_string();
        assert!(told.contains(&CLIENT.to_string()), "{told}");
    });
}

#[test]
fn what_a_client_says_of_its_address_is_not_believed() {
    let settings = format!("client_source_address = [\"{SPOOFED}\"]");
    let setup = setup().config(&application(&settings));
    through_each(&setup, |broker, front| {
        let token = client_token("alice", &[]);
        let target = format!("/v1/demo/events?topics=t&access_token={token}");
        let claims = [("X-Forwarded-For", SPOOFED)];
        for address in [front.address, broker.address] {
            let mut http = Http::new(connect(address));
            http.send(support::request_bytes("GET", &target, &claims, b""));
            let head = http.head().expect("an answer");
            assert_eq!(head.status, 403, "{address}");
        }
    });
}

#[test]
fn haproxy_tells_the_clients_address_by_the_proxy_protocol() {
    let proxied = front::free_address();
    let settings = format!("client_source_address = [\"{CLIENT}\"]");
    let listener = format!("[[listeners]]\naddress = \"{proxied}\"\nproxy_protocol = true\n");
    let config = format!("{}\n{listener}", application(&settings));
    let broker = setup().config(&config).start();
    for kind in [Kind::HaproxyV1, Kind::HaproxyV2] {
        let route = Route { http: broker.address, proxied: Some(proxied) };
        let front = match Front::start(kind, route) {
            Ok(front) => front,
            Err(missing) => return missing.skip(),
        };
        let token = client_token("alice", &[]);
        let mut http = Http::new(connect(front.address));
        http.send(upgrade_bytes(&format!("/apps/demo?access_token={token}"), &[]));
        let told = WebSocket::begin(http).value().to_string();
        assert!(told.contains(&CLIENT.to_string()), "{kind:?}: {told}");
    }
}

#[test]
fn no_request_hides_in_another() {
    through_each(&setup(), |broker, front| {
        let port = front.address.port();
        for (number, attack) in smuggling::ATTACKS.iter().enumerate() {
            let hidden = format!("hidden-{number}-{port}");
            let answers = smuggling::play(front.address, attack, &hidden);
            // One that the proxy saw as a request of its own was answered as such.
            for id in ids(broker, &hidden) {
                assert!(answers.contains(&id), "{attack:?} hides a publish: {answers}");
            }
            // Whoever comes next over the same connection to the broker gets the answer to its own.
            let topic = format!("innocent-{number}-{port}");
            let told = publish(front, &topic, "mine");
            assert_eq!(ids(broker, &topic), [told["id"].as_str().expect("an id")], "{attack:?}");
        }
    });
}

/// The ids of a topic's messages.
fn ids(broker: &Broker, topic: &str) -> Vec<String> {
    let target = format!("/v1/demo/history?topic={topic}");
    let answer = broker.http().request("GET", &target, &[], b"");
    let history = support::json(&answer.body);
    let messages = history["messages"].as_array().expect("messages").iter();
    messages.map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
}
