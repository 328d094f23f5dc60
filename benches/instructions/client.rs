//! The clients of a scenario: blocking, each call returns when its answer is here. They check what
//! makes a figure mean what it says (statuses, kinds of frames), not the protocol.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::broker::{PATIENCE, Server};

/// Bits of a frame's first byte (RFC 6455 §5.2, RFC 7692 §6).
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const DEFLATED_BINARY: u8 = 0xc2;
const CLOSE: u8 = 0x88;

/// A socket whose other end sleeps whenever something is sent.
struct Connection {
    server: Server,
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn open(server: Server) -> Connection {
        server.settle();
        let socket = TcpStream::connect(server.address).expect("the broker accepts");
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("longer than nothing");
        Connection { server, reader: BufReader::new(socket) }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.server.settle();
        self.reader.get_mut().write_all(bytes).expect("the broker reads");
    }

    /// Reads a response's head, which must have this status.
    fn read_head(&mut self, status: &str) -> Vec<String> {
        let lines = self.reader.by_ref().lines().map(|line| line.expect("the broker answers"));
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        assert_eq!(head[0].split(' ').nth(1), Some(status), "{head:?}");
        head
    }

    fn read_exact(&mut self, bytes: &mut [u8]) {
        self.reader.read_exact(bytes).expect("the broker sends it whole");
    }
}

/// A connection that sends the same request again and again.
pub(crate) struct Publisher {
    connection: Connection,
    requests: Vec<u8>,
    request_count: usize,
    body: Vec<u8>,
}

impl Publisher {
    /// `requests` in one write, `request_count` of them.
    pub(crate) fn open(server: Server, request: &[u8], request_count: usize) -> Publisher {
        let requests = request.repeat(request_count);
        Publisher {
            connection: Connection::open(server),
            requests,
            request_count,
            body: Vec::new(),
        }
    }

    /// Sends them and reads all answers.
    pub(crate) fn publish(&mut self) {
        self.connection.write(&self.requests);
        for _ in 0..self.request_count {
            let head = self.connection.read_head("200");
            let size = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
            self.body.resize(size.and_then(|size| size.parse().ok()).expect("a length"), 0);
            self.connection.read_exact(&mut self.body);
        }
    }
}

/// A welcomed WebSocket.
pub(crate) struct WebSocket {
    connection: Connection,
    payload: Vec<u8>,
}

impl WebSocket {
    /// Connects, upgrades and reads the welcome; `fields` are further lines of the request's head.
    pub(crate) fn open(server: Server, fields: &str) -> WebSocket {
        let mut connection = Connection::open(server);
        let upgrade = format!(
            "GET /apps/demo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {fields}\r\n"
        );
        connection.write(upgrade.as_bytes());
        connection.read_head("101");
        let mut websocket = WebSocket { connection, payload: Vec::new() };
        websocket.receive(TEXT);
        websocket
    }

    /// Subscribes and reads that welcome.
    pub(crate) fn subscribe(&mut self, topic: &str) {
        let text = format!("{{\"type\":\"subscribe\",\"data\":{{\"topic\":\"{topic}\"}}}}");
        self.send(TEXT, text.as_bytes());
        self.receive(TEXT);
        let welcome = format!("\"topic\":\"{topic}\",\"messageType\":\"welcome\"");
        let received = String::from_utf8_lossy(&self.payload);
        assert!(received.contains(&welcome), "no welcome: {received}");
    }

    /// Reads one frame, which must begin with this byte.
    pub(crate) fn receive(&mut self, first: u8) {
        let mut head = [0; 2];
        self.connection.read_exact(&mut head);
        let size = match head[1] {
            126 => {
                let mut size = [0; 2];
                self.connection.read_exact(&mut size);
                u16::from_be_bytes(size)
            }
            127.. => panic!("a frame larger than any scenario's"),
            size => size.into(),
        };
        self.payload.resize(size.into(), 0);
        self.connection.read_exact(&mut self.payload);
        assert_eq!(head[0], first, "{}", String::from_utf8_lossy(&self.payload));
    }

    /// Says goodbye and waits for the broker to hang up.
    pub(crate) fn close(mut self) {
        self.send(CLOSE, &1000_u16.to_be_bytes());
        self.receive(CLOSE);
        let rest = self.connection.reader.read(&mut [0]).expect("an end");
        assert_eq!(rest, 0, "more after the close");
        self.connection.server.settle();
    }

    fn send(&mut self, first: u8, payload: &[u8]) {
        // A mask of zeros leaves the payload as it is.
        let size = u8::try_from(payload.len()).ok().filter(|size| *size < 126).expect("short");
        let frame = [&[first, 0x80 | size, 0, 0, 0, 0], payload].concat();
        self.connection.write(&frame);
    }
}

/// An open event stream.
pub(crate) struct EventStream {
    connection: Connection,
    line: Vec<u8>,
}

impl EventStream {
    /// Opens it on one topic.
    pub(crate) fn open(server: Server, topic: &str) -> EventStream {
        let mut connection = Connection::open(server);
        let request = format!("GET /v1/demo/events?topics={topic} HTTP/1.1\r\nHost: x\r\n\r\n");
        connection.write(request.as_bytes());
        connection.read_head("200");
        EventStream { connection, line: Vec::new() }
    }

    /// Reads one event.
    pub(crate) fn receive(&mut self) {
        let mut has_data = false;
        loop {
            self.line.clear();
            let read = self.connection.reader.read_until(b'\n', &mut self.line);
            assert!(read.expect("the stream goes on") > 0, "the broker closed the stream");
            has_data |= self.line.starts_with(b"data:");
            if has_data && self.line == b"\n" {
                return;
            }
        }
    }
}
