//! Sockets that systemd passes: who serves them, and what is refused.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::support::{Broker, Http, PATIENCE, Setup};

const ANY_PORT: &str = "127.0.0.1:0";

/// A listening socket as `ReusePort=yes` makes it.
fn listener(address: &str) -> (TcpListener, SocketAddr) {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("Linux knows it");
    socket.bind(&address.into()).expect("a free port");
    socket.listen(16).expect("it is bound");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// A setup with so many sockets at one address.
fn with_sockets(mut setup: Setup, count: usize) -> (Setup, SocketAddr) {
    let (first, address) = listener(ANY_PORT);
    setup = setup.pass(first);
    for _ in 1..count {
        setup = setup.pass(listener(&address.to_string()).0);
    }
    (setup, address)
}

#[test]
fn each_shard_serves_one_of_the_passed_sockets() {
    for (driver, shards) in [("uring", 2), ("epoll", 2), ("epoll", 1)] {
        let (setup, address) = with_sockets(Setup::new(driver, shards), usize::from(shards));
        let broker = setup.start();
        assert_eq!(broker.address, address);
        broker.await_log("server.listen is not used");
        broker.check_every_shard_delivers();
    }
}

#[test]
fn who_comes_between_two_brokers_is_served_by_the_next() {
    for driver in ["uring", "epoll"] {
        // The setup holds the sockets as systemd does.
        let (setup, address) = with_sockets(Setup::new(driver, 1), 1);
        let mut first = setup.start();
        first.signal(Signal::TERM);
        assert!(first.wait().success());
        let stream = TcpStream::connect(address).expect("it waits in the kernel's queue");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        let _second = setup.start();
        assert_eq!(Http::new(stream).request("GET", "/health/ready", &[], b"").status, 200);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let two_addresses =
        || Setup::new("epoll", 2).pass(listener(ANY_PORT).0).pass(listener(ANY_PORT).0);
    let bound = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let exposed = || Setup::new("epoll", 1).pass(listener("0.0.0.0:0").0);
    let datagrams = || UdpSocket::bind(ANY_PORT).expect("a free port");
    let named = |setup: Setup| setup.variable("LISTEN_FDNAMES", "fanwire.socket");
    let cases = [
        (with_sockets(Setup::new("epoll", 2), 1).0, "1 sockets for 2 shards"),
        (with_sockets(Setup::new("epoll", 1), 3).0, "3 sockets for 1 shards"),
        (two_addresses(), "give all of them one address"),
        (named(Setup::new("epoll", 1).pass(bound())), "`fanwire.socket` is no listening TCP"),
        (Setup::new("epoll", 1).pass(datagrams()), "`unknown` is no listening TCP"),
        (exposed(), "application `demo` is open to everyone"),
    ];
    for (setup, expected) in cases {
        let (status, log) = setup.try_start().expect_err("it must be refused");
        assert!(!status.success() && log.contains(expected), "{expected} in {log}");
        assert!(log.contains("taking over the sockets that systemd passed: "), "{log}");
    }
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let of_another = Setup::new("epoll", 1).variable("LISTEN_PID", "1");
    let broker: Broker = of_another.variable("LISTEN_FDS", "1").start();
    assert_eq!(broker.http().request("GET", "/health/ready", &[], b"").status, 200);
    assert!(!broker.log().contains("systemd"));
}

#[test]
fn systemd_socket_activate_starts_it_with_the_first_client() {
    let address = listener(ANY_PORT).1.to_string();
    let started = Command::new("systemd-socket-activate")
        .args(["--listen", &address, "--fdname", "fanwire.socket"])
        .args([env!("CARGO_BIN_EXE_fanwire"), "--shards", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            let required = std::env::var_os("FANWIRE_REQUIRE_ALL").is_some_and(|v| v == "1");
            assert!(!required, "systemd-socket-activate is required: {error}");
            eprintln!("skipped: systemd-socket-activate cannot be run: {error}");
            return;
        }
    };
    let mut errors = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("text");
    assert!(line.starts_with("Listening on "), "{line}");
    let stream = TcpStream::connect(&address).expect("systemd listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    let ready = Http::new(stream).request("GET", "/health/ready", &[], b"");
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    assert_eq!(ready.status, 200);
}
