//! A blocking echo server, one thread per connection, that leaves everything to `proto::ws`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fanwire::proto::ws::{
    Deflater, Event, Inflater, Limits, Opcode, Reader, WINDOW_MAX, frame, handshake,
};

/// Section 9 sends 16 MiB.
const LIMITS: Limits = Limits { message_size_max: 64 << 20 };

/// Longer than any case is silent.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Room for one read, and the most that a request head may take.
const READ_SIZE: usize = 64 * 1024;

/// The running server.
pub(crate) struct Echo {
    port: u16,
    stopping: Arc<AtomicBool>,
    acceptor: JoinHandle<()>,
}

impl Echo {
    /// Listens on a free port of the loopback.
    pub(crate) fn start() -> Echo {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let stopping = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopping);
        let acceptor = std::thread::spawn(move || accept(&listener, &seen));
        Echo { port, stopping, acceptor }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Accepts no more; connections end with their clients.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it still listens");
        self.acceptor.join().expect("accepting does not panic");
    }
}

fn accept(listener: &TcpListener, stopping: &AtomicBool) {
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        // A case that drops its connection is judged by the suite, not here.
        std::thread::spawn(move || serve(stream).ok());
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let mut input = vec![0; READ_SIZE];
    let (mut echo, mut at, mut end) = upgrade(&mut stream, &mut input)?;
    loop {
        let goes_on = echo.read(&mut input[at..end]);
        stream.write_all(&echo.out)?;
        echo.out.clear();
        if !goes_on {
            return close(&mut stream, &mut input);
        }
        (at, end) = (0, stream.read(&mut input)?);
        if end == 0 {
            return Ok(());
        }
    }
}

/// The server closes first (RFC 6455 §7.1.1), yet reads what is on its way, so that no reset
/// overtakes the close frame.
fn close(stream: &mut TcpStream, input: &mut [u8]) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    while stream.read(input)? > 0 {}
    Ok(())
}

/// Answers the request; where in `input` lies what came after it.
fn upgrade(stream: &mut TcpStream, input: &mut [u8]) -> io::Result<(Connection, usize, usize)> {
    let mut end = 0;
    loop {
        let read = stream.read(&mut input[end..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        end += read;
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(parsed) = request.parse(&input[..end]) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if let httparse::Status::Complete(head_size) = parsed {
            let (connection, response) = decide(&request)?;
            stream.write_all(&response)?;
            return Ok((connection, head_size, end));
        }
    }
}

fn decide(request: &httparse::Request<'_, '_>) -> io::Result<(Connection, Vec<u8>)> {
    let field = |name: &'static str| {
        let named = request.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value)
    };
    let (get, http11) = (request.method == Some("GET"), request.version == Some(1));
    let accepted = handshake::decide(get, http11, field, Some(WINDOW_MAX))
        .map_err(|refused| io::Error::other(refused.detail))?;
    let mut response = Vec::new();
    accepted.append_response(&mut response);
    Ok((Connection::new(accepted.window()), response))
}

/// One connection's codec and what it owes.
struct Connection {
    reader: Reader,
    inflater: Inflater,
    deflater: Deflater,
    window: Option<u8>,
    out: Vec<u8>,
}

impl Connection {
    fn new(window: Option<u8>) -> Connection {
        Connection {
            reader: Reader::new(window.is_some()),
            inflater: Inflater::new(),
            deflater: Deflater::default(),
            window,
            out: Vec::new(),
        }
    }

    /// Echoes what the input completes; whether the connection goes on.
    fn read(&mut self, input: &mut [u8]) -> bool {
        let mut at = 0;
        loop {
            let (used, event) = self.reader.read(&mut input[at..], &LIMITS, &mut self.inflater);
            at += used;
            let (opcode, payload) = match event {
                Event::NeedMore => return true,
                Event::Text(text) => (Opcode::Text, text.as_bytes()),
                Event::Binary(bytes) => (Opcode::Binary, bytes),
                Event::Ping(bytes) => {
                    frame::append_pong(&mut self.out, bytes);
                    continue;
                }
                Event::Pong(_) => continue,
                Event::Close(received) => {
                    frame::append_close_answer(&mut self.out, received);
                    return false;
                }
                Event::Fail(close) => {
                    frame::append_close(&mut self.out, &close);
                    return false;
                }
            };
            match self.window {
                Some(window) => {
                    self.deflater.append_frame(&mut self.out, window, opcode, payload);
                }
                None => frame::append(&mut self.out, opcode, true, false, payload),
            }
        }
    }
}
