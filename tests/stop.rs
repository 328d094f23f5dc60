//! The stop: who is told what, and how the process ends.

mod support;

use rustix::process::Signal;
use support::{EventStream, Setup, on_each_with, post};

/// Brokers that a test may end itself.
fn drivers() -> [Setup; 4] {
    [Setup::new("uring", 1), Setup::new("epoll", 1), Setup::new("uring", 3), Setup::new("epoll", 2)]
}

#[test]
fn everyone_is_told_and_the_process_ends_well() {
    for signal in [Signal::TERM, Signal::INT] {
        for setup in drivers() {
            let mut broker = setup.with("SERVER_STOP_TIMEOUT", "30s").start();
            let mut sockets = broker.websockets();
            let topics = broker.topics("t").join(",");
            let target = format!("/v1/demo/events?topics={topics}");
            let mut streams: Vec<_> =
                (0..4).map(|_| EventStream::open(broker.http(), &target)).collect();
            let mut idle = broker.http();
            assert_eq!(idle.request("GET", "/health/ready", &[], b"").status, 200);
            let mut silent = broker.http();
            broker.signal(signal);
            for socket in &mut sockets {
                let (code, reason) = socket.expect_close();
                assert_eq!(code, 1001, "{reason}");
            }
            for stream in &mut streams {
                assert_eq!(stream.try_event(), None);
                let retry = stream.bare_retry().expect("it is told when to return");
                assert!((2000..=5000).contains(&retry), "{retry}");
            }
            idle.expect_end();
            silent.expect_end();
            drop((idle, silent, streams, sockets));
            assert!(broker.wait().success());
            let log = broker.log();
            assert!(log.contains("drained"), "not by its timeout: {log}");
        }
    }
}

#[test]
fn a_subscriber_that_never_answers_does_not_hold_the_stop() {
    for setup in drivers() {
        let mut broker = setup.with("SERVER_STOP_TIMEOUT", "500ms").start();
        let _sockets = broker.websockets();
        broker.signal(Signal::TERM);
        assert!(broker.wait().success());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for setup in drivers() {
        let mut broker = setup.with("SERVER_STOP_TIMEOUT", "1h").start();
        let mut socket = broker.websocket();
        broker.signal(Signal::TERM);
        // The first has been taken note of when its close arrives.
        assert_eq!(socket.frame().opcode, 8);
        broker.signal(Signal::TERM);
        assert!(broker.wait().success());
        assert!(broker.log().contains("second signal"));
    }
}

#[test]
fn publishes_under_way_are_answered() {
    for round in 0..10 {
        for setup in drivers() {
            let mut broker = setup.with("SERVER_STOP_TIMEOUT", "30s").start();
            let topics = broker.topics("t");
            let requests: Vec<u8> = (0..40)
                .flat_map(|n| {
                    let topic = &topics[n % topics.len()];
                    let target = format!("/v1/demo/topics/{topic}");
                    format!("POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx")
                        .into_bytes()
                })
                .collect();
            let mut connections: Vec<_> = (0..4 + round).map(|_| broker.http()).collect();
            for http in &mut connections {
                http.send(&requests);
            }
            broker.signal(Signal::TERM);
            for http in &mut connections {
                // Whatever was taken in is answered in full; then the connection ends.
                while let Some(answer) = http.try_response("POST") {
                    assert!(matches!(answer.status, 200 | 503), "{answer:?}");
                }
            }
            drop(connections);
            assert!(broker.wait().success());
            let log = broker.log();
            assert!(log.contains("drained"), "a publish waited for a shard that had left: {log}");
        }
    }
}

#[test]
fn no_connection_is_taken_after_the_signal() {
    on_each_with(
        |setup| setup.with("SERVER_STOP_TIMEOUT", "1h"),
        |broker| {
            let mut socket = broker.websocket();
            broker.signal(Signal::TERM);
            assert_eq!(socket.frame().opcode, 8);
            let connected = std::net::TcpStream::connect(broker.address);
            if broker.variant.shards == 1 {
                assert!(connected.is_err(), "the listener is closed");
            }
        },
    );
}

#[test]
fn the_next_broker_takes_over_the_port() {
    for setup in drivers() {
        let mut first = setup.start();
        first.signal(Signal::TERM);
        assert!(first.wait().success());
        let second = setup.clone().listen(&first.address.to_string()).start();
        assert_eq!(second.address, first.address);
        post(&mut second.http(), "/v1/demo/topics/t", b"x");
        second.websocket().expect_silence();
    }
}
