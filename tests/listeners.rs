//! Further listeners: Unix sockets, which every shard accepts from, and more TCP addresses.

mod support;

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use support::tls::{Certificate, Tls};
use support::{EventStream, Http, PATIENCE, Setup, WebSocket, on_each_with, post};

/// A folder that is removed with its content.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fanwire-unix-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("fanwire.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn listener(path: &Path) -> String {
    format!("[[listeners]]\naddress = \"unix:{}\"\n", path.display())
}

/// A Unix socket under the clients of TCP: reading and writing are the same.
fn connect(path: &Path) -> TcpStream {
    let stream = UnixStream::connect(path).expect("the broker listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    TcpStream::from(OwnedFd::from(stream))
}

#[test]
fn every_door_works_over_a_unix_socket_on_every_shard() {
    let folder = Folder::new();
    let path = folder.socket();
    on_each_with(
        |setup| setup.config(&listener(&path)),
        |broker| {
            let mut sockets: Vec<WebSocket> = Vec::new();
            let is_there =
                |shard, sockets: &[WebSocket]| sockets.iter().any(|socket| socket.shard() == shard);
            // Which shard accepts is a race among them; each wins one in a while.
            for _ in 0..500 {
                if (0..broker.variant.shards).all(|shard| is_there(shard, &sockets)) {
                    break;
                }
                let mut socket = WebSocket::open(connect(&path), "/apps/demo");
                if !is_there(socket.shard(), &sockets) {
                    socket.subscribe("t");
                    sockets.push(socket);
                }
            }
            assert_eq!(sockets.len(), usize::from(broker.variant.shards));
            let mut events =
                EventStream::open(Http::new(connect(&path)), "/v1/demo/events?topics=t");
            let big = "A".repeat(60_000);
            let mut http = Http::new(connect(&path));
            for _ in 0..20 {
                assert_eq!(post(&mut http, "/v1/demo/topics/t", big.as_bytes()).status, 200);
                for socket in &mut sockets {
                    assert_eq!(socket.value()["data"], big);
                }
                assert_eq!(support::json(events.event().data)["data"], big);
            }
        },
    );
}

#[test]
fn a_unix_socket_has_its_permissions_and_replaces_one_that_nobody_serves() {
    let folder = Folder::new();
    let path = folder.socket();
    drop(UnixListener::bind(&path).expect("a socket that is left behind"));
    let setup = Setup::new("epoll", 1).config(&(listener(&path) + "mode = \"0600\"\n"));
    for _ in 0..2 {
        let broker = setup.start();
        assert_eq!(broker.others, [format!("http+unix://{}", path.display())]);
        let permissions = std::fs::metadata(&path).expect("a socket").permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
        let answer = Http::new(connect(&path)).request("GET", "/health/live", &[], b"");
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn a_unix_socket_that_is_served_or_is_something_else_is_left_alone() {
    let folder = Folder::new();
    let path = folder.socket();
    let setup = Setup::new("epoll", 1).config(&listener(&path));
    let broker = setup.start();
    let (status, log) = setup.try_start().expect_err("two cannot serve it");
    assert!(!status.success() && log.contains("another process listens there"), "{log}");
    let answer = Http::new(connect(&path)).request("GET", "/health/live", &[], b"");
    assert_eq!(answer.status, 200);
    drop(broker);
    let file = folder.0.join("file");
    std::fs::write(&file, "kept").expect("a file");
    let setup = Setup::new("epoll", 1).config(&listener(&file));
    let (_, log) = setup.try_start().expect_err("a file");
    assert!(log.contains("a file that is no socket is there"), "{log}");
    assert_eq!(std::fs::read(&file).expect("a file"), b"kept");
}

#[test]
fn a_unix_sockets_peer_counts_as_loopback_and_may_be_a_trusted_proxy() {
    let folder = Folder::new();
    let path = folder.socket();
    let broker = Setup::new("epoll", 1)
        .config(&listener(&path))
        .with("SERVER_TRUSTED_PROXIES", "127.0.0.1")
        .start();
    for (fields, expected) in
        [(vec![], "127.0.0.1"), (vec![("X-Forwarded-For", "203.0.113.9")], "203.0.113.9")]
    {
        let mut http = Http::new(connect(&path));
        http.send(support::upgrade_bytes("/apps/demo", &fields));
        let welcome = WebSocket::begin(http).value();
        assert_eq!(welcome["data"]["connection"]["remoteAddress"], expected);
    }
    drop(broker);
}

#[test]
fn tls_is_spoken_over_a_unix_socket_too() {
    let folder = Folder::new();
    let path = folder.socket();
    let certificate = Certificate::new(&["localhost"]);
    let text = format!("{}tls.certificates = [{}]\n", listener(&path), certificate.entry());
    let _broker = Setup::new("uring", 1)
        .config(&text)
        .try_start()
        .or_else(|_no_uring| Setup::new("epoll", 1).config(&text).try_start());
    let (near, _) = Tls::trusting(&[&certificate]).through(connect(&path));
    WebSocket::open(near, "/apps/demo").subscribe("t");
}

#[test]
fn more_addresses_are_listened_on_and_open_applications_keep_to_loopback() {
    on_each_with(
        |setup| {
            setup.config(
                "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
                 [[listeners]]\naddress = \"[::1]:0\"\n",
            )
        },
        |broker| {
            for index in 0..3 {
                let stream = TcpStream::connect(broker.other(index)).expect("the broker listens");
                let mut http = Http::new(stream);
                assert_eq!(http.request("GET", "/health/live", &[], b"").status, 200);
            }
        },
    );
    let exposed = "[[listeners]]\naddress = \"0.0.0.0:0\"\n";
    let (_, log) = Setup::new("epoll", 1).config(exposed).try_start().expect_err("refused");
    assert!(log.contains("listeners[0].address") && log.contains("open to"), "{log}");
}

#[test]
fn nonsense_is_told_with_its_key() {
    let cases = [
        ("address = \"localhost:80\"", "listeners[0].address"),
        ("address = \"[::1]:81\"\n[[listeners]]\naddress = \"[::1]:81\"", "is listed twice"),
        ("address = \"unix:relative.sock\"", "absolute"),
        ("mode = \"0999\"\naddress = \"127.0.0.1:0\"", "listeners[0].mode"),
        ("tls.min_version = \"1.3\"\naddress = \"127.0.0.1:0\"", "without a certificate"),
        ("tls.certificates = [{}]\naddress = \"127.0.0.1:0\"", "certificate_file: is needed"),
        ("adress = \"127.0.0.1:0\"", "address"),
    ];
    for (text, problem) in cases {
        let text = format!("[[listeners]]\n{text}\n");
        let (_, log) = Setup::new("epoll", 1).config(&text).try_start().expect_err("refused");
        assert!(log.contains(problem), "{problem:?} is not in:\n{log}");
    }
}
