//! What `/metrics` says after a scenario in which every number is known.

mod support;

use support::{EventStream, frame, on_each, on_each_with, post};

#[test]
fn the_page_is_well_formed() {
    on_each(|broker| {
        // The first may be asked for and answered in the very first turn.
        broker.metrics();
        let metrics = broker.metrics();
        metrics.check_histograms();
        assert_eq!(
            metrics.count("fanwire_build_info", &[("version", env!("CARGO_PKG_VERSION"))]),
            1
        );
        let started = metrics.sum("process_start_time_seconds", &[]);
        assert!(started > 1.5e9, "{started}");
        assert!(metrics.sum("process_resident_memory_bytes", &[]) > 1e6);
        assert!(metrics.sum("process_open_fds", &[]) > 5.0);
        assert!(metrics.count("fanwire_turns_total", &[]) > 0);
    });
}

#[test]
fn counts_are_true() {
    on_each(|broker| {
        let topic = "counted";
        let mut sockets: Vec<_> = (0..3).map(|_| broker.websocket()).collect();
        for socket in &mut sockets {
            socket.subscribe(topic);
        }
        let mut streams: Vec<_> = (0..2)
            .map(|_| {
                EventStream::open(broker.http(), &format!("/v1/demo/events?topics={topic},other"))
            })
            .collect();
        let mut http = broker.http();
        for n in 0..10 {
            post(&mut http, &format!("/v1/demo/topics/{topic}"), n.to_string().as_bytes());
        }
        let batch = br#"{"messages":[{"topics":["counted","nobody"],"data":1},{"topic":"other","data":2}]}"#;
        post(&mut http, "/v1/demo/publish", batch);
        post(&mut http, "/", br#"{"channel":"counted","data":"b"}"#);
        post(&mut http, "/api/topics/demo/publish", br#"{"topic":"counted","message":1}"#);
        sockets[0].send(r#"{"type":"publish","data":{"topic":"counted","payload":1}}"#);
        assert_eq!(http.request("POST", "/v1/demo/topics/a*", &[], b"").status, 400);
        assert_eq!(http.request("POST", "/v1/none/topics/a", &[], b"").status, 404);
        // 14 on `counted` to five subscribers, one on `other` to two.
        for (index, socket) in sockets.iter_mut().enumerate() {
            for _ in 0..14 + usize::from(index == 0) {
                socket.frame();
            }
        }
        for stream in &mut streams {
            for _ in 0..15 {
                stream.event();
            }
        }
        let metrics = broker.metrics();
        let publishes = |door| {
            metrics.count("fanwire_publishes_total", &[("application", "demo"), ("door", door)])
        };
        assert_eq!(
            ["native", "buzzpost", "realtime_http", "realtime_websocket"].map(publishes),
            [13, 1, 1, 1]
        );
        assert_eq!(metrics.count("fanwire_deliveries_total", &[]), 14 * 5 + 2);
        let demo = [("application", "demo")];
        assert_eq!(metrics.count("fanwire_application_deliveries_total", &demo), 14 * 5 + 2);
        assert_eq!(metrics.count("fanwire_application_sessions", &demo), 5);
        // Each delivery's time is told by its door, just after the flush that its client has seen.
        let timed = |metrics: &support::Metrics| {
            ["websocket", "sse", "poll"].map(|door| {
                metrics.count("fanwire_publish_to_flush_seconds_count", &[("door", door)])
            })
        };
        broker.await_metrics("times of all", |metrics| timed(metrics) == [14 * 3, 14 * 2 + 2, 0]);
        // Each socket is subscribed to `main` too.
        assert_eq!(metrics.count("fanwire_subscriptions", &[]), 3 * 2 + 2 * 2);
        let open = |door| metrics.count("fanwire_connections", &[("door", door)]);
        assert_eq!((open("websocket"), open("sse")), (3, 2));
        assert_eq!(
            metrics.count("fanwire_connections_upgraded_total", &[("door", "websocket")]),
            3
        );
        assert_eq!(metrics.count("fanwire_connections_upgraded_total", &[("door", "sse")]), 2);
        let refused = |code| metrics.count("fanwire_refusals_total", &[("code", code)]);
        assert_eq!((refused("bad_topic"), refused("unknown_application")), (1, 1));
        assert_eq!(metrics.count("fanwire_panics_total", &[]), 0);
        metrics.check_histograms();
    });
}

#[test]
fn what_waits_for_a_slow_reader_is_told_until_it_is_gone() {
    on_each(|broker| {
        let slow = EventStream::open(broker.http(), "/v1/demo/events?topics=slow&format=raw");
        let mut http = broker.http();
        let payload = vec![b'x'; 60_000];
        let waiting = |metrics: &support::Metrics| {
            let [blocked, bytes] =
                ["fanwire_connections_blocked", "fanwire_outbound_waiting_bytes"]
                    .map(|name| metrics.count(name, &[]));
            (blocked, bytes)
        };
        assert_eq!(waiting(&broker.metrics()), (0, 0));
        // Each look comes a second after the one before; by then the socket is full.
        for _ in 0..100 {
            post(&mut http, "/v1/demo/topics/slow", &payload);
            if broker.metrics().count("fanwire_sends_blocked_total", &[]) > 0 {
                break;
            }
        }
        let metrics = broker.await_metrics("bytes wait", |metrics| waiting(metrics).0 == 1);
        assert!(waiting(&metrics).1 > 0, "{metrics:?}");
        assert!(metrics.count("fanwire_connection_table_bytes", &[]) > 0);
        drop(slow);
        broker.await_metrics("nothing waits", |metrics| waiting(metrics) == (0, 0));
    });
}

#[test]
fn closes_are_counted_by_cause() {
    on_each_with(
        |setup| setup.with("HTTP_HEAD_TIMEOUT", "200ms"),
        |broker| {
            // Each cause twice.
            for _ in 0..2 {
                let mut socket = broker.websocket();
                socket.send_bytes(&frame(true, 8, b""));
                assert_eq!(socket.frame().opcode, 8);
                let mut socket = broker.websocket();
                socket.send("nonsense");
                assert_eq!(socket.expect_close().0, 1008);
                let mut socket = broker.websocket();
                socket.send_bytes(&frame(true, 3, b""));
                assert_eq!(socket.expect_close().0, 1002);
                let mut socket = broker.websocket();
                socket.send_bytes(&frame(true, 1, &vec![b' '; 70_000]));
                assert_eq!(socket.expect_close().0, 1009);
                drop(EventStream::open(broker.http(), "/v1/demo/events?topics=a"));
                let mut http = broker.http();
                http.send("GARBAGE\r\n\r\n");
                assert_eq!(http.response().status, 400);
                http.expect_end();
                let mut http = broker.http();
                http.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
                http.response();
                http.expect_end();
                let mut http = broker.http();
                http.send("GET / HT");
                assert_eq!(http.response().status, 408);
                http.expect_end();
                let mut http = broker.http();
                http.send(
                    "POST /v1/demo/topics/t HTTP/1.1\r\nHost: t\r\nContent-Length: 999999\r\n\r\n",
                );
                assert_eq!(http.response().status, 413);
                http.expect_end();
            }
            let expected = [
                ("websocket", "peer", 2),
                ("websocket", "policy", 2),
                ("websocket", "protocol", 2),
                ("websocket", "too_big", 2),
                ("sse", "peer", 2),
                ("http", "protocol", 2),
                ("http", "timeout", 2),
                ("http", "too_big", 2),
            ];
            let closed = |metrics: &support::Metrics, door, cause| {
                metrics
                    .count("fanwire_connections_closed_total", &[("door", door), ("cause", cause)])
            };
            let metrics =
                broker.await_metrics("every close is counted under its cause", |metrics| {
                    expected
                        .iter()
                        .all(|(door, cause, count)| closed(metrics, door, cause) == *count)
                });
            assert!(closed(&metrics, "http", "done") >= 2);
            // What was accepted is open or was closed; nothing is lost from the books.
            let all_closed = metrics.count("fanwire_connections_closed_total", &[]);
            let open = metrics.count("fanwire_connections", &[]);
            assert_eq!(metrics.count("fanwire_connections_accepted_total", &[]), all_closed + open);
        },
    );
}
