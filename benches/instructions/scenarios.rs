//! What is counted.

use crate::broker::{self, Broker};
use crate::client::{DEFLATED_BINARY, EventStream, Publisher, TEXT, WebSocket};

const TOPIC: &str = "bench";
const SUBSCRIBER_COUNT: usize = 1_000;
/// Sockets that take turns subscribing, so that none has more topics than an ordinary one.
const SUBSCRIBING_COUNT: usize = 250;
const PIPELINE_LEN: usize = 16;
const BATCH_LEN: usize = 64;
const PAYLOAD_SIZE: usize = 200;

const OFFERS_DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// One thing to do, ready to be done again; it returns when all that it causes has arrived.
type Round = Box<dyn FnMut()>;

/// Something whose cost is one figure.
pub(crate) struct Scenario {
    /// Its name in the baseline.
    pub(crate) name: &'static str,
    /// What one of the counted things is.
    pub(crate) unit: &'static str,
    /// Things counted per round.
    pub(crate) per_round: usize,
    /// Rounds of the short and of the long run. The short one also warms up; the difference is to
    /// be large enough that chance (when a signal or a timer comes) vanishes in it.
    pub(crate) rounds: [usize; 2],
    /// Sets up what every run needs.
    pub(crate) begin: fn(&Broker) -> Round,
}

pub(crate) const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "delivery-websocket",
        unit: "delivery",
        per_round: SUBSCRIBER_COUNT,
        rounds: [100, 600],
        begin: |broker| {
            let publisher = Publisher::open(broker.server, &single(""), 1);
            fan_out(publisher, (0..SUBSCRIBER_COUNT).map(|_| websocket(broker, "", TEXT)).collect())
        },
    },
    Scenario {
        name: "delivery-deflate",
        unit: "delivery",
        per_round: SUBSCRIBER_COUNT,
        rounds: [100, 600],
        begin: |broker| {
            let body =
                format!("{{\"topic\":\"{TOPIC}\",\"message\":{},\"compress\":true}}", payload());
            let request = request("/api/topics/demo/publish", "", &body);
            let subscriber = |_| websocket(broker, OFFERS_DEFLATE, DEFLATED_BINARY);
            let subscribers = (0..SUBSCRIBER_COUNT).map(subscriber).collect();
            fan_out(Publisher::open(broker.server, &request, 1), subscribers)
        },
    },
    Scenario {
        name: "delivery-sse",
        unit: "delivery",
        per_round: SUBSCRIBER_COUNT,
        rounds: [100, 600],
        begin: |broker| {
            let publisher = Publisher::open(broker.server, &single(""), 1);
            fan_out(publisher, (0..SUBSCRIBER_COUNT).map(|_| event_stream(broker)).collect())
        },
    },
    Scenario {
        name: "publish",
        unit: "publish",
        per_round: 1,
        rounds: [500, 4_500],
        begin: |broker| publish(broker, &single(""), 1, 1),
    },
    Scenario {
        name: "publish-token",
        unit: "publish",
        per_round: 1,
        rounds: [500, 4_500],
        begin: |broker| {
            let field = format!("Authorization: Bearer {}\r\n", broker::token());
            publish(broker, &single(&field), 1, 1)
        },
    },
    Scenario {
        name: "publish-pipelined",
        unit: "publish",
        per_round: PIPELINE_LEN,
        rounds: [100, 1_100],
        begin: |broker| publish(broker, &single(""), PIPELINE_LEN, PIPELINE_LEN),
    },
    Scenario {
        name: "publish-batch",
        unit: "message",
        per_round: BATCH_LEN,
        rounds: [100, 600],
        begin: |broker| {
            let message = format!("{{\"topic\":\"{TOPIC}\",\"data\":{}}}", payload());
            let body = format!("{{\"messages\":[{}]}}", vec![message; BATCH_LEN].join(","));
            publish(broker, &request("/v1/demo/publish", "", &body), 1, BATCH_LEN)
        },
    },
    Scenario {
        name: "handshake",
        unit: "connection",
        per_round: 1,
        rounds: [200, 1_200],
        begin: |broker| {
            let server = broker.server;
            Box::new(move || WebSocket::open(server, "").close())
        },
    },
    Scenario {
        name: "subscription",
        unit: "subscription",
        per_round: 1,
        rounds: [500, 3_500],
        begin: |broker| {
            let open = |_| WebSocket::open(broker.server, "");
            let mut sockets: Vec<WebSocket> = (0..SUBSCRIBING_COUNT).map(open).collect();
            let mut numbers = 0..;
            Box::new(move || {
                let number: usize = numbers.next().expect("endless");
                sockets[number % SUBSCRIBING_COUNT].subscribe(&format!("{TOPIC}/{number:06}"));
            })
        },
    },
];

/// Each round one publish, and its delivery to everyone.
fn fan_out(mut publisher: Publisher, mut subscribers: Vec<Round>) -> Round {
    Box::new(move || {
        publisher.publish();
        for receive in &mut subscribers {
            receive();
        }
    })
}

/// Each round so many requests, and so many deliveries to one subscriber.
fn publish(broker: &Broker, request: &[u8], request_count: usize, message_count: usize) -> Round {
    let mut receive = websocket(broker, "", TEXT);
    let receive_all: Round = Box::new(move || (0..message_count).for_each(|_| receive()));
    fan_out(Publisher::open(broker.server, request, request_count), vec![receive_all])
}

/// A WebSocket's way to receive one delivery, which is a frame that begins with `first`.
fn websocket(broker: &Broker, fields: &str, first: u8) -> Round {
    let mut socket = WebSocket::open(broker.server, fields);
    socket.subscribe(TOPIC);
    Box::new(move || socket.receive(first))
}

fn event_stream(broker: &Broker) -> Round {
    let mut stream = EventStream::open(broker.server, TOPIC);
    Box::new(move || stream.receive())
}

/// A JSON payload of [`PAYLOAD_SIZE`] bytes.
fn payload() -> String {
    let frame = "{\"text\":\"\"}";
    frame.replace(":\"", &format!(":\"{}", "x".repeat(PAYLOAD_SIZE - frame.len())))
}

/// A publish of one message, `fields` being further lines of its head.
fn single(fields: &str) -> Vec<u8> {
    request(&format!("/v1/demo/topics/{TOPIC}"), fields, &payload())
}

fn request(path: &str, fields: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {size}\r\n\r\n{body}"
    )
    .into_bytes()
}
