//! A provider of key sets as good or bad as a test wants it: a plain HTTP/1.1 server on a free port.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What every request is answered with from now on.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing until the answer is another one.
    Hold,
    /// These bytes, then silence on an open connection.
    Stall(Vec<u8>),
    /// These bytes, then one byte every 20 ms.
    Drip(Vec<u8>),
    /// These bytes, then chunks (RFC 9112 §7.1) until the client goes.
    Endless(Vec<u8>),
}

/// The provider; it lives as long as the process.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    answer: Arc<(Mutex<Answer>, Condvar)>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    pub(crate) fn start(answer: Answer) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let provider = Provider {
            address: listener.local_addr().expect("a bound socket"),
            answer: Arc::new((Mutex::new(answer), Condvar::new())),
            requests: Arc::default(),
        };
        let server = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(&stream));
            }
        });
        provider
    }

    pub(crate) fn answers(&self, answer: Answer) {
        let (current, changed) = &*self.answer;
        *current.lock().expect("no holder panics") = answer;
        changed.notify_all();
    }

    /// Heads of all requests so far; a connection counts as soon as it is accepted.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no holder panics").clone()
    }

    fn serve(&self, stream: &TcpStream) {
        let place = {
            let mut requests = self.requests.lock().expect("no holder panics");
            requests.push(String::new());
            requests.len() - 1
        };
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while lines.read_line(&mut head).is_ok_and(|size| size > 2) {}
        self.requests.lock().expect("no holder panics")[place] = head;
        let (current, changed) = &*self.answer;
        let current = current.lock().expect("no holder panics");
        let held = changed.wait_while(current, |answer| matches!(answer, Answer::Hold));
        let answer = held.expect("no holder panics").clone();
        // Errors mean that the client has gone, as it may.
        let _ = respond(stream, answer);
    }
}

fn respond(mut stream: &TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Hold => unreachable!("it has been waited for"),
        Answer::Bytes(bytes) => stream.write_all(&bytes),
        Answer::Stall(bytes) => {
            stream.write_all(&bytes)?;
            // Ends when the client closes.
            BufReader::new(stream).read_line(&mut String::new()).map(drop)
        }
        Answer::Drip(bytes) => {
            stream.write_all(&bytes)?;
            loop {
                stream.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Answer::Endless(bytes) => {
            stream.write_all(&bytes)?;
            let chunk = [b"2000\r\n", &[b' '; 0x2000][..], b"\r\n"].concat();
            loop {
                stream.write_all(&chunk)?;
            }
        }
    }
}

/// An answer with this status line's rest, header lines and body.
pub(crate) fn response(status: &str, fields: &str, body: &str) -> Answer {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}");
    Answer::Bytes(text.into_bytes())
}

/// A set of these keys that its provider calls fresh for `max_age_s`.
pub(crate) fn set(keys: &str, max_age_s: u32) -> Answer {
    response("200 OK", &format!("cache-control: max-age={max_age_s}\r\n"), &format!("keys {keys}"))
}
