//! A WebSocket client (RFC 6455) that writes any frame it is told to and checks every frame it reads.

use std::io::{BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use tungstenite::handshake::derive_accept_key;

use super::{Http, Response, json};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A frame as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) rsv1: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    pub(crate) head: Response,
    /// The connection's id, from the welcome.
    pub(crate) id: String,
    reader: BufReader<TcpStream>,
}

impl WebSocket {
    /// Opens and reads the session's welcome.
    pub(crate) fn open(stream: TcpStream, target: &str) -> WebSocket {
        WebSocket::open_with(stream, target, &[])
    }

    pub(crate) fn open_with(
        stream: TcpStream,
        target: &str,
        headers: &[(&str, &str)],
    ) -> WebSocket {
        let mut http = Http::new(stream);
        http.send(upgrade_bytes(target, headers));
        let mut socket = WebSocket::begin(http);
        let welcome = socket.value();
        assert_eq!(
            (&welcome["topic"], &welcome["messageType"]),
            (&"main".into(), &"welcome".into())
        );
        let id = welcome["data"]["connection"]["id"].as_str().expect("an id");
        id.clone_into(&mut socket.id);
        socket
    }

    /// Reads the response to an upgrade, which must be a valid 101.
    pub(crate) fn begin(mut http: Http) -> WebSocket {
        let head = http.head().expect("a response");
        assert_eq!(head.status, 101, "{head:?}");
        let accept = derive_accept_key(KEY.as_bytes());
        assert_eq!(head.header("sec-websocket-accept"), Some(accept.as_str()));
        assert_eq!(head.header("upgrade"), Some("websocket"));
        // A proxy between may spell it its own way (RFC 9110 §7.6.1: compared without case).
        let connection = head.header("connection").map(str::to_ascii_lowercase);
        assert_eq!(connection.as_deref(), Some("upgrade"));
        WebSocket { head, id: String::new(), reader: http.into_reader() }
    }

    /// The shard that owns the connection, by its id's first four digits.
    pub(crate) fn shard(&self) -> u16 {
        u16::from_str_radix(&self.id[..4], 16).expect("hex")
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the broker reads");
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.send_bytes(&frame(true, 1, text.as_bytes()));
    }

    /// Subscribes and reads the topic's welcome.
    pub(crate) fn subscribe(&mut self, topic: &str) -> Value {
        self.send(&serde_json::json!({"type": "subscribe", "data": {"topic": topic}}).to_string());
        let welcome = self.value();
        assert_eq!(welcome["topic"], topic, "{welcome}");
        assert_eq!(welcome["messageType"], "welcome");
        welcome
    }

    /// A frame, or `None` at the end of the stream.
    pub(crate) fn try_frame(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        match self.reader.read_exact(&mut head) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return None;
            }
            Err(error) => panic!("no frame: {error}"),
        }
        assert_eq!(head[0] & 0x30, 0, "reserved bits");
        assert_eq!(head[1] & 0x80, 0, "servers do not mask (RFC 6455 §5.1)");
        let size = match head[1] {
            126 => {
                let size = u64::from(u16::from_be_bytes(self.exactly()));
                assert!(size > 125, "the shortest length is used (RFC 6455 §5.2)");
                size
            }
            127 => {
                let size = u64::from_be_bytes(self.exactly());
                assert!(size > 0xffff, "the shortest length is used (RFC 6455 §5.2)");
                size
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(size).expect("a size")];
        self.reader.read_exact(&mut payload).expect("a whole frame");
        let (fin, rsv1, opcode) = (head[0] & 0x80 != 0, head[0] & 0x40 != 0, head[0] & 0x0f);
        assert!(opcode < 8 || (fin && payload.len() <= 125), "control frames (RFC 6455 §5.5)");
        Some(Frame { fin, rsv1, opcode, payload })
    }

    fn exactly<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).expect("a whole frame");
        bytes
    }

    pub(crate) fn frame(&mut self) -> Frame {
        self.try_frame().expect("a frame before the end")
    }

    /// The next frame, which must be a whole, uncompressed text.
    pub(crate) fn text(&mut self) -> String {
        let frame = self.frame();
        let shown = String::from_utf8_lossy(&frame.payload);
        assert_eq!((frame.fin, frame.rsv1, frame.opcode), (true, false, 1), "{shown}");
        String::from_utf8(frame.payload).expect("text is UTF-8")
    }

    pub(crate) fn value(&mut self) -> Value {
        json(self.text())
    }

    /// The next frame must be a close; answers it and sees the stream end.
    pub(crate) fn expect_close(&mut self) -> (u16, String) {
        let close = self.frame();
        assert_eq!(close.opcode, 8, "{:?}", String::from_utf8_lossy(&close.payload));
        let (code, reason) = close.payload.split_first_chunk::<2>().expect("a code");
        let reason = String::from_utf8(reason.to_vec()).expect("a reason is UTF-8");
        // The broker may have gone already.
        let _ = self.reader.get_mut().write_all(&frame(true, 8, code));
        assert_eq!(self.try_frame(), None, "nothing follows a close");
        (u16::from_be_bytes(*code), reason)
    }

    /// A ping goes out and the next frame is its pong: everything sent before has been handled.
    pub(crate) fn expect_silence(&mut self) {
        self.send_bytes(&frame(true, 9, b"silence"));
        let pong = self.frame();
        let shown = String::from_utf8_lossy(&pong.payload).into_owned();
        assert_eq!((pong.opcode, shown.as_str()), (10, "silence"));
    }
}

/// An upgrade request.
pub(crate) fn upgrade_bytes(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    all.extend_from_slice(headers);
    super::http::request_bytes("GET", target, &all, b"")
}

/// A masked frame.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(u8::from(fin) << 7 | opcode, payload)
}

/// A masked frame with any first byte.
pub(crate) fn raw_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        size @ 0..=125 => bytes.push(0x80 | u8::try_from(size).expect("small")),
        size @ 126..=0xffff => {
            bytes.push(0x80 | 0x7e);
            bytes.extend_from_slice(&u16::try_from(size).expect("fits").to_be_bytes());
        }
        size => {
            bytes.push(0x80 | 0x7f);
            bytes.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    let mask = [0x5a, 0xc3, 0x00, 0x9f];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    bytes
}
