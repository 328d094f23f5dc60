//! Clients that connect, say what makes them one of their kind, and then are silent.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Connections from one source address: of its 28,000 ports so few that the kernel finds a free one at
/// once.
const PER_ADDRESS: usize = 4_000;
/// Longest answer of a broker that is read here, in bytes.
const ANSWER_SIZE_MAX: usize = 8 * 1024;
/// How long a broker may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The topic of those who subscribe: 40 bytes.
pub(super) const TOPIC: &str = "capacity/abcdefghij-klmnopqrst-uvwxyz012";

/// A kind of connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) enum Kind {
    /// A WebSocket that has been welcomed and subscribes to nothing.
    Idle,
    /// A WebSocket with one subscription.
    Subscribed,
    /// An event stream of one topic.
    EventStream,
}

impl Kind {
    /// All, in the order in which they are measured.
    pub(in crate::server) const ALL: [Kind; 3] = [Kind::Idle, Kind::Subscribed, Kind::EventStream];

    /// Its name in texts.
    pub(in crate::server) fn name(self) -> &'static str {
        match self {
            Kind::Idle => "WebSocket",
            Kind::Subscribed => "WebSocket, one topic",
            Kind::EventStream => "event stream, one topic",
        }
    }
}

/// Opens `count` connections of a kind, the first of them number `from`. All ask before the first
/// answer is read, so that a busy machine's wakes are waited for once and not once each.
pub(super) fn open(
    server: SocketAddr,
    kind: Kind,
    from: usize,
    count: usize,
) -> std::io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    for number in from..from + count {
        let stream = connect(server, number)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        streams.push(stream);
    }
    for (request, mark) in steps(kind) {
        for stream in &mut streams {
            stream.write_all(&request)?;
        }
        for stream in &mut streams {
            read_until(stream, mark)?;
        }
    }
    Ok(streams)
}

/// What a client of this kind sends, each with what the answer holds.
fn steps(kind: Kind) -> Vec<(Vec<u8>, &'static [u8])> {
    const UPGRADE: &[u8] = b"GET /apps/demo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let upgrade = (UPGRADE.to_vec(), &b"\"welcome\""[..]);
    match kind {
        Kind::Idle => vec![upgrade],
        Kind::Subscribed => vec![upgrade, (subscribe(), TOPIC.as_bytes())],
        Kind::EventStream => {
            let request =
                format!("GET /v1/demo/events?topics={TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            vec![(request.into_bytes(), b"text/event-stream")]
        }
    }
}

/// A subscribe in a final text frame, masked with zeros (RFC 6455 §5.2).
fn subscribe() -> Vec<u8> {
    let text = format!(r#"{{"type":"subscribe","data":{{"topic":"{TOPIC}"}}}}"#);
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126);
    let length = length.expect("a short constant");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// Publishes one message of 200 bytes to the topic.
pub(super) fn publish(server: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect(server, 0)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let data = "x".repeat(200);
    let request = format!(
        "POST /v1/demo/topics/{TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{data}",
        data.len()
    );
    stream.write_all(request.as_bytes())?;
    read_until(&mut stream, b"HTTP/1.1 2")
}

/// So many pairs of plain connected sockets.
pub(super) fn pairs(count: usize) -> std::io::Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    (0..count)
        .map(|number| {
            let client = connect(address, number)?;
            Ok((client, listener.accept()?.0))
        })
        .collect()
}

fn connect(server: SocketAddr, number: usize) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), None)?;
    let last = u8::try_from(1 + number / PER_ADDRESS).unwrap_or(u8::MAX);
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    socket.connect_timeout(&server.into(), ANSWER_TIMEOUT)?;
    Ok(socket.into())
}

fn read_until(stream: &mut TcpStream, mark: &[u8]) -> std::io::Result<()> {
    let mut answer = [0; ANSWER_SIZE_MAX];
    let mut size = 0;
    while memchr::memmem::find(&answer[..size], mark).is_none() {
        match stream.read(&mut answer[size..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => size += read,
        }
    }
    Ok(())
}
