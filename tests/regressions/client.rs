//! The real binary on a free port, and the least of a client that shows its defects.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Broker {
    /// Starts one with so many shards, and waits until it listens.
    pub(crate) fn start(shards: u16) -> Broker {
        let mut process = command("127.0.0.1:0", shards).spawn().expect("the binary runs");
        let stdout = process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a greeting");
        let address = line.trim().rsplit('/').next().expect("an address");
        let address = address.parse().unwrap_or_else(|_| panic!("no address in {line:?}"));
        Broker { process, address }
    }

    /// A connection on which nothing is waited for longer than 10 seconds.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
        stream
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(&mut self) {
        let id = i32::try_from(self.process.id()).expect("a process id");
        let id = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is ours");
        self.process.wait().expect("it is ours");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary with a clean environment, told where to listen.
pub(crate) fn command(listen: &str, shards: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    command.env_clear().args(["--listen", listen, "--shards", &shards.to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// An upgraded WebSocket whose welcome was read.
pub(crate) struct WebSocket {
    stream: TcpStream,
}

impl WebSocket {
    pub(crate) fn open(broker: &Broker) -> WebSocket {
        let mut stream = broker.connect();
        let request = "GET /apps/demo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let mut socket = WebSocket { stream };
        socket.receive();
        socket
    }

    pub(crate) fn subscribe(&mut self, topic: &str) {
        let command = format!(r#"{{"type":"subscribe","data":{{"topic":"{topic}"}}}}"#);
        self.send(&frame(1, command.as_bytes()));
        self.receive();
    }

    pub(crate) fn send(&mut self, frames: &[u8]) {
        self.stream.write_all(frames).expect("sent");
    }

    /// The next frame's opcode and payload.
    pub(crate) fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).expect("a frame");
        let size = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.array())),
            127 => u64::from_be_bytes(self.array()),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(size).expect("a size")];
        self.stream.read_exact(&mut payload).expect("a payload");
        (head[0] & 15, payload)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).expect("a length");
        bytes
    }
}

/// A client's frame of at most 125 bytes, masked with zero.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let size = u8::try_from(payload.len()).expect("short");
    let mut frame = vec![0x80 | opcode, 0x80 | size, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}
