//! One topic, one order: the same for every subscriber on every shard and door.

mod support;

use support::{Broker, EventStream, WebSocket, json, on_each, position};

const PUBLISHER_COUNT: usize = 6;
const PUBLISH_COUNT: usize = 150;
const TOTAL: usize = PUBLISHER_COUNT * PUBLISH_COUNT;

/// What a subscriber saw: publisher, its number, and where a position was told, the offset.
type Seen = Vec<(usize, usize, Option<u64>)>;

#[test]
fn everyone_sees_one_order_and_publishers_keep_theirs() {
    on_each(|broker| {
        for topic in broker.topics("order") {
            let sockets: Vec<WebSocket> = broker
                .websockets()
                .into_iter()
                .chain((0..3).map(|_| WebSocket::open(broker.connect(), "/apps/demo?positions=1")))
                .map(|mut socket| {
                    socket.subscribe(&topic);
                    socket
                })
                .collect();
            let other = broker.topics("order-too").join(",");
            let streams: Vec<EventStream> = [
                format!("/v1/demo/events?topics={topic}"),
                format!("/v1/demo/events?topics={topic},{other}"),
                format!("/v1/demo/events?format=raw&topics={topic}"),
                format!("/?channels={topic}"),
            ]
            .iter()
            .map(|target| EventStream::open(broker.http(), target))
            .collect();
            let topic = topic.as_str();
            let seen: Vec<Seen> = std::thread::scope(|scope| {
                let readers: Vec<_> = sockets
                    .into_iter()
                    .map(|socket| scope.spawn(move || read_socket(socket)))
                    .chain(
                        streams.into_iter().map(|stream| scope.spawn(move || read_stream(stream))),
                    )
                    .collect();
                for publisher in 0..PUBLISHER_COUNT {
                    scope.spawn(move || publish(broker, topic, publisher));
                }
                readers.into_iter().map(|reader| reader.join().expect("reads all")).collect()
            });
            check(&seen);
        }
    });
}

fn check(seen: &[Seen]) {
    let order = |seen: &Seen| seen.iter().map(|(p, n, _)| (*p, *n)).collect::<Vec<_>>();
    let first = order(&seen[0]);
    for other in seen {
        assert!(order(other) == first, "two subscribers saw two orders");
        let offsets: Vec<u64> = other.iter().filter_map(|(_, _, offset)| *offset).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "offsets increase");
    }
    for publisher in 0..PUBLISHER_COUNT {
        let own: Vec<usize> =
            first.iter().filter(|(p, _)| *p == publisher).map(|(_, n)| *n).collect();
        assert_eq!(own, (0..PUBLISH_COUNT).collect::<Vec<_>>(), "publisher {publisher}");
    }
}

/// Every door in turn; all but the last pipeline.
fn publish(broker: &Broker, topic: &str, publisher: usize) {
    let body = |n: usize| format!("[{publisher},{n}]");
    if publisher.is_multiple_of(3) {
        let mut socket = broker.websocket();
        for n in 0..PUBLISH_COUNT {
            socket.send(&format!(
                r#"{{"type":"publish","data":{{"topic":"{topic}","payload":{}}}}}"#,
                body(n)
            ));
        }
        for _ in 0..PUBLISH_COUNT {
            assert_eq!(socket.value()["topic"], "priv/acks");
        }
        return;
    }
    let mut http = broker.http();
    let mut last = 0;
    for n in 0..PUBLISH_COUNT {
        let body = body(n);
        let (target, body) = match (publisher + n) % 4 {
            0 => (format!("/v1/demo/topics/{topic}"), body),
            1 => ("/".to_owned(), format!(r#"{{"channel":"{topic}","data":{body}}}"#)),
            2 => (
                "/v1/demo/publish".to_owned(),
                format!(r#"{{"messages":[{{"topic":"{topic}","data":{body}}}]}}"#),
            ),
            _ => (
                "/api/topics/demo/publish".to_owned(),
                format!(r#"{{"topic":"{topic}","message":{body}}}"#),
            ),
        };
        http.send(format!(
            "POST {target} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        if publisher == PUBLISHER_COUNT - 1 {
            last = answered(&mut http, last);
        }
    }
    if publisher < PUBLISHER_COUNT - 1 {
        (0..PUBLISH_COUNT).fold(0, |last, _| answered(&mut http, last));
    }
}

fn answered(http: &mut support::Http, last: u64) -> u64 {
    let answer = http.response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = json(&answer.body);
    let receipt = if body["results"].is_array() { &body["results"][0] } else { &body };
    let (_, offset) = position(receipt["position"].as_str().expect("a position"));
    assert!(offset > last, "answers come in the order of their publishes");
    offset
}

fn read_socket(mut socket: WebSocket) -> Seen {
    let read = |_| {
        let message = socket.value();
        let data = &message["data"];
        let data = if data.is_array() { data } else { &data["payload"] };
        let offset = message["position"].as_str().map(|text| position(text).1);
        pair(data, offset)
    };
    (0..TOTAL).map(read).collect()
}

fn read_stream(mut stream: EventStream) -> Seen {
    let read = |_| {
        let event = stream.event();
        let data = json(&event.data);
        // A cursor over several homes has several entries and is no offset.
        let offset = (event.id.matches('-').count() == 1).then(|| position(&event.id).1);
        pair(if data.is_array() { &data } else { &data["data"] }, offset)
    };
    (0..TOTAL).map(read).collect()
}

fn pair(data: &serde_json::Value, offset: Option<u64>) -> (usize, usize, Option<u64>) {
    let number =
        |index: usize| usize::try_from(data[index].as_u64().expect("a number")).expect("small");
    (number(0), number(1), offset)
}
