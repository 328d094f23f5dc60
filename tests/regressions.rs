//! Defects once found in the running broker, each as the client that met it.

#[path = "regressions/client.rs"]
mod client;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use client::{Broker, WebSocket, command, frame};

fn post(stream: &mut TcpStream, path: &str, body: &str) {
    let size = body.len();
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("sent");
}

#[test]
fn pongs_leave_in_the_order_of_their_pings() {
    let broker = Broker::start(1);
    let mut socket = WebSocket::open(&broker);
    let payloads: Vec<[u8; 1]> = (0..10).map(|n| [n]).collect();
    socket.send(&payloads.iter().flat_map(|payload| frame(9, payload)).collect::<Vec<_>>());
    for payload in payloads {
        assert_eq!(socket.receive(), (10, payload.to_vec()));
    }
}

#[test]
fn a_batch_over_the_outbound_limit_does_not_cut_off_a_subscriber_who_reads() {
    let broker = Broker::start(1);
    let mut socket = WebSocket::open(&broker);
    socket.subscribe("a");
    socket.subscribe("b");
    let data = "x".repeat(200_000);
    let message = |topic| format!(r#"{{"topic":"{topic}","data":"{data}"}}"#);
    // 1.6 MB for each topic; the outbound limit is 1 MiB.
    let messages: Vec<String> = ["a", "b"].iter().flat_map(|t| vec![message(t); 8]).collect();
    let body = format!(r#"{{"messages":[{}]}}"#, messages.join(","));
    post(&mut broker.connect(), "/v1/demo/publish", &body);
    for _ in 0..16 {
        let (opcode, payload) = socket.receive();
        assert_eq!(opcode, 1, "{}", String::from_utf8_lossy(&payload));
        assert!(payload.len() > data.len());
    }
}

#[test]
fn a_client_that_sends_all_its_requests_and_shuts_its_side_gets_every_answer() {
    const REQUEST_COUNT: usize = 600;
    let broker = Broker::start(1);
    let mut stream = broker.connect();
    let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(REQUEST_COUNT);
    let last = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut sender = stream.try_clone().expect("a descriptor");
    let sending = std::thread::spawn(move || {
        sender.write_all((requests + last).as_bytes()).expect("sent");
        sender.shutdown(Shutdown::Write).expect("open");
    });
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("answers, then the end");
    sending.join().expect("all was sent");
    let text = String::from_utf8(answers).expect("text");
    let mut rest = text.as_str();
    let mut answer_count = 0;
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let size = head.split_once("Content-Length: ").expect("a length").1;
        let size = size.lines().next().and_then(|size| size.parse().ok()).expect("a number");
        rest = after.get(size..).expect("a whole answer");
        answer_count += 1;
    }
    assert_eq!((answer_count, rest), (REQUEST_COUNT + 1, ""));
}

#[test]
fn a_second_broker_does_not_share_the_address_of_the_first() {
    let broker = Broker::start(1);
    let second = command(&broker.address.to_string(), 1).output().expect("the binary runs");
    assert!(!second.status.success());
    let errors = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(errors.contains("in use"), "{errors}");
}

#[test]
fn a_stop_answers_publishes_whose_home_has_no_connections() {
    // Whether the answers are outstanding when the stop comes is a matter of microseconds.
    for _ in 0..8 {
        let mut broker = Broker::start(2);
        let mut stream = broker.connect();
        let mut reader = stream.try_clone().expect("a descriptor");
        let publishing = std::thread::spawn(move || {
            let request = |n: usize| {
                format!("POST /v1/demo/topics/{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            };
            let requests = (0..8).map(request).collect::<Vec<_>>().concat();
            while stream.write_all(requests.as_bytes()).is_ok() {}
        });
        let reading = std::thread::spawn(move || {
            let mut answers = vec![0; 65536];
            while reader.read(&mut answers).is_ok_and(|size| size > 0) {}
            // Lets the publisher fail, so that the broker need not linger.
            let _ = reader.shutdown(Shutdown::Both);
        });
        std::thread::sleep(Duration::from_millis(100));
        let began = fanwire::stdx::clock::now();
        broker.stop();
        assert!(began.elapsed() < Duration::from_secs(5), "an answer never came");
        publishing.join().expect("it ends with its socket");
        reading.join().expect("it ends with its socket");
    }
}
