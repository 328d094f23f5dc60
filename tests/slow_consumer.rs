//! Those who do not read: closed when their queue meets the limit, at nobody else's cost.

mod support;

use std::io::Write as _;

use support::{Broker, EventStream, json, on_each_with, post};

const LIMITED: &str =
    "[[applications]]\nid = \"demo\"\nopen = true\nlimits.outbound_size_max = \"300KiB\"\n";

/// More than the kernel's buffers on both sides and the queue together.
const FLOOD_SIZE: usize = 24 << 20;
const MESSAGE_SIZE: usize = 60_000;

/// Each shard has a healthy subscriber that is waited for, so that no shard falls behind with its
/// inbox when the machine is busy.
fn flood(broker: &Broker, topic: &str, healthy: &mut [support::WebSocket]) {
    let mut http = broker.http();
    let body = "f".repeat(MESSAGE_SIZE);
    for n in 0..FLOOD_SIZE / MESSAGE_SIZE {
        let text = format!("{n}:{body}");
        post(&mut http, &format!("/v1/demo/topics/{topic}"), text.as_bytes());
        // The healthy miss nothing and are not held up.
        for socket in &mut *healthy {
            let got = socket.value();
            assert!(got["data"].as_str().expect("a text").starts_with(&format!("{n}:")));
        }
    }
}

#[test]
fn who_does_not_read_is_closed_and_the_others_lose_nothing() {
    on_each_with(
        |setup| setup.config(LIMITED),
        |broker| {
            let topic = &broker.topics("flood")[0];
            let slow_count = 4_u64;
            let mut slow: Vec<_> = (0..slow_count)
                .map(|_| {
                    let mut socket = broker.websocket();
                    socket.subscribe(topic);
                    socket
                })
                .collect();
            let stream =
                EventStream::open(broker.http(), &format!("/v1/demo/events?topics={topic}"));
            let mut healthy = broker.websockets();
            for socket in &mut healthy {
                socket.subscribe(topic);
            }
            let before = broker.resident_size();
            flood(broker, topic, &mut healthy);
            let grown = broker.resident_size().saturating_sub(before);
            assert!(grown < 16 << 20, "{grown} bytes more for five who do not read");

            // Each is told, when it reads at last: whole frames, then 1013 or a reset.
            for socket in &mut slow {
                let mut last = None;
                while let Some(frame) = socket.try_frame() {
                    last = Some(frame);
                }
                let last = last.expect("something was sent");
                if last.opcode == 8 {
                    assert_eq!(&last.payload[..2], &1013_u16.to_be_bytes());
                }
            }
            let mut stream = stream;
            let mut count = 0;
            while let Some(event) = stream.try_event() {
                assert!(
                    json(&event.data)["data"].as_str().unwrap().starts_with(&format!("{count}:"))
                );
                count += 1;
            }
            assert!(count < FLOOD_SIZE / MESSAGE_SIZE, "the stream was cut");
            drop((slow, stream));
            let metrics = broker.await_metrics("all five are counted", |metrics| {
                metrics.count("fanwire_slow_consumers_total", &[]) == slow_count + 1
            });
            let closed = |door| {
                let labels = [("door", door), ("cause", "slow_consumer")];
                metrics.count("fanwire_connections_closed_total", &labels)
            };
            assert_eq!((closed("websocket"), closed("sse")), (slow_count, 1));
            for socket in &mut healthy {
                socket.expect_silence();
            }
        },
    );
}

#[test]
fn who_never_reads_again_is_gone_after_the_close_timeout() {
    on_each_with(
        |setup| setup.config(LIMITED).with("WEBSOCKET_CLOSE_TIMEOUT", "200ms"),
        |broker| {
            let topic = &broker.topics("flood")[0];
            let mut stuck = broker.websocket();
            stuck.subscribe(topic);
            let mut healthy = broker.websockets();
            for socket in &mut healthy {
                socket.subscribe(topic);
            }
            flood(broker, topic, &mut healthy);
            broker.await_metrics("only the healthy are left", |metrics| {
                let left = metrics.count("fanwire_connections", &[("door", "websocket")]);
                left == healthy.len() as u64
            });
            drop(stuck);
        },
    );
}

#[test]
fn a_publisher_that_reads_no_answers_is_paused_and_resumed() {
    on_each_with(
        |setup| setup,
        |broker| {
            let request =
                "POST /v1/demo/topics/p HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx";
            let chunk = request.repeat(1000);
            let mut stream = broker.connect();
            stream.set_nonblocking(true).unwrap();
            // Writes until the socket takes no more: the broker has stopped reading.
            let mut written = 0;
            let mut refused = 0;
            let before = broker.resident_size();
            while refused < 50 {
                let rest = &chunk.as_bytes()[written % chunk.len()..];
                match stream.write(rest) {
                    Ok(size) => (written, refused) = (written + size, 0),
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                        // A request on another connection gives the broker a turn.
                        assert_eq!(
                            broker.http().request("GET", "/health/live", &[], b"").status,
                            200
                        );
                        refused += 1;
                    }
                }
                assert!(written < 256 << 20, "it reads for ever");
            }
            let grown = broker.resident_size().saturating_sub(before);
            assert!(grown < 16 << 20, "{grown} bytes for answers that nobody reads");
            // Once it reads, every request is answered.
            stream.set_nonblocking(false).unwrap();
            let rest = written % request.len();
            let missing = if rest == 0 { "" } else { &request[rest..] };
            let mut finisher = stream.try_clone().unwrap();
            let missing = missing.to_owned();
            let finishing =
                std::thread::spawn(move || finisher.write_all(missing.as_bytes()).unwrap());
            let mut http = support::Http::new(stream);
            for n in 0..written.div_ceil(request.len()) {
                assert_eq!(http.response().status, 200, "answer {n}");
            }
            finishing.join().unwrap();
            http.end();
            http.expect_end();
        },
    );
}

#[test]
fn socket_buffers_are_as_configured() {
    on_each_with(
        |setup| setup.with("SHARDS_SOCKET_SEND_SIZE", "8KiB"),
        |broker| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.expect("a socket");
            socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
            socket.connect(&broker.address.into()).expect("the broker listens");
            let _reader =
                EventStream::open(support::Http::new(socket.into()), "/v1/demo/events?topics=b");
            let before = broker.metrics().count("fanwire_sent_bytes_total", &[]);
            let mut http = broker.http();
            let body = "b".repeat(100_000);
            for _ in 0..5 {
                post(&mut http, "/v1/demo/topics/b", body.as_bytes());
            }
            // The kernel's own choice would have taken all of it.
            let metrics = broker.await_metrics("a send was short", |metrics| {
                metrics.count("fanwire_sends_short_total", &[]) > 0
            });
            let taken = metrics.count("fanwire_sent_bytes_total", &[]) - before;
            assert!(taken < 200_000, "{taken} bytes were taken");
        },
    );
}
