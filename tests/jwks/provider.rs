//! A provider of key sets on this machine that does what it is told, and keys that it knows.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::token::compact;

/// A key of P-256 with a name.
pub(crate) struct Key {
    pub(crate) id: &'static str,
    signer: EcdsaKeyPair,
}

impl Key {
    pub(crate) fn generate(id: &'static str) -> Key {
        let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness");
        Key { id, signer }
    }

    /// As a member of a key set (RFC 7518 §6.2.1); an uncompressed point is 4, x, y.
    pub(crate) fn jwk(&self) -> Value {
        let point = self.signer.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        })
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.id}).to_string();
        compact(header.as_bytes(), claims.to_string().as_bytes(), |signed| {
            let signature = self.signer.sign(&SystemRandom::new(), signed).expect("randomness");
            signature.as_ref().to_vec()
        })
    }
}

/// A key set document.
pub(crate) fn key_set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// What a fetch is met with.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// 200 with this document.
    Serves(String),
    /// This status with no document.
    Fails(u16),
    /// 302 to there.
    SendsTo(String),
    /// Accepts, reads, and says nothing until the mood changes.
    Stalls,
    /// Begins a response and then sends a byte now and then, without an end.
    Drips,
    /// Cuts the connection.
    HangsUp,
}

struct State {
    mood: Mutex<Mood>,
    changed: Condvar,
    fetch_count: AtomicUsize,
    ended: AtomicBool,
}

/// A provider that listens until it is dropped.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

impl Provider {
    pub(crate) fn start(mood: Mood) -> Provider {
        Provider::start_at("127.0.0.1:0", mood)
    }

    /// One that listens at a known address, as one that died there did.
    pub(crate) fn start_at(address: &str, mood: Mood) -> Provider {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            mood: Mutex::new(mood),
            changed: Condvar::new(),
            fetch_count: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.meet(stream));
            }
        });
        Provider { address, state, acceptor: Some(acceptor) }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    pub(crate) fn turn(&self, mood: Mood) {
        *self.state.mood.lock().expect("no holder panics") = mood;
        self.state.changed.notify_all();
    }

    /// Fetches that have begun.
    pub(crate) fn fetch_count(&self) -> usize {
        self.state.fetch_count.load(Ordering::SeqCst)
    }

    /// Waits until so many fetches have begun.
    pub(crate) fn await_fetches(&self, count: usize) {
        let deadline = fanwire::stdx::clock::now() + PATIENCE;
        while self.fetch_count() < count {
            assert!(fanwire::stdx::clock::now() < deadline, "nobody fetches");
            std::thread::yield_now();
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.turn(Mood::HangsUp);
        // Wakes the acceptor, which ends and frees the port.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn meet(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|size| size > 0) {
            if line.ends_with("\r\n\r\n") {
                self.fetch_count.fetch_add(1, Ordering::SeqCst);
                self.answer(reader.into_inner());
                return;
            }
        }
    }

    fn answer(&self, mut stream: TcpStream) {
        let mood = self.mood.lock().expect("no holder panics");
        let stalls = |mood: &mut Mood| matches!(mood, Mood::Stalls);
        let mood = self.changed.wait_while(mood, stalls).expect("no holder panics").clone();
        let answer = match mood {
            Mood::Serves(document) => format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{document}",
                document.len()
            ),
            Mood::Fails(status) => {
                format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            }
            Mood::SendsTo(place) => format!(
                "HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            ),
            Mood::Drips => return self.drip(stream),
            Mood::Stalls | Mood::HangsUp => return,
        };
        // Whoever asked may have given up.
        let _ = stream.write_all(answer.as_bytes());
    }

    /// A byte whenever the reader has had time to hope.
    fn drip(&self, mut stream: TcpStream) {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"keys\":[";
        let mut sent = stream.write_all(head);
        while sent.is_ok() && !self.ended.load(Ordering::SeqCst) {
            let pause = std::time::Duration::from_millis(50);
            stream.set_read_timeout(Some(pause)).expect("a TCP socket");
            match std::io::Read::read(&mut stream, &mut [0]) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    sent = stream.write_all(b" ");
                }
                // The reader has gone.
                _ => return,
            }
        }
    }
}
