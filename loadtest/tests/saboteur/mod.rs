//! A tiny broker that speaks the doors the load test uses: correct by default, and able to spoil
//! exactly one thing. One lock around everything gives the total order a real broker must have.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use serde_json::value::RawValue;

/// What to spoil. The number is the publish, counted from 0; deliveries are spoilt for one
/// subscriber only, the fourth in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Nothing.
    None,
    /// Do not deliver it.
    Drop(u64),
    /// Do not deliver this and any later one.
    DropFrom(u64),
    /// Deliver it twice.
    Double(u64),
    /// Deliver it again after the next one.
    DoubleLate(u64),
    /// Deliver it after the next one.
    Swap(u64),
    /// Change one byte of the payload.
    CorruptPayload(u64),
    /// Deliver it under another topic's name.
    CorruptTopic(u64),
    /// Change one character of the envelope, so that it is no JSON any more.
    CorruptEnvelope(u64),
    /// Answer 503 and do not deliver: correct.
    Refuse(u64),
    /// Answer 503 and deliver.
    RefuseAndDeliver(u64),
    /// Deliver, but close the publisher's connection instead of answering: correct.
    Mute(u64),
    /// Neither deliver nor answer: correct.
    MuteAndDrop(u64),
    /// Close the subscriber's connection.
    Disconnect(u64),
    /// Answer 401 to this WebSocket handshake, counted from 0.
    RefuseToken(u64),
    /// Never answer this WebSocket handshake.
    Stall(u64),
    /// Close this WebSocket right after its welcome.
    CloseWelcomed(u64),
    /// Deliver 60 ms late while there are more connections than this.
    Sluggish(usize),
}

const VICTIM: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Ws,
    Sse,
    Raw,
    Buzz,
}

struct Subscriber {
    stream: TcpStream,
    door: Door,
    topics: Vec<String>,
    /// A message held back, to be delivered after the next of its topic.
    held: Option<(String, Vec<u8>)>,
}

/// The broker. It ends with the test process.
pub(crate) struct Saboteur {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    sabotage: Sabotage,
    subscribers: Mutex<BTreeMap<u64, Subscriber>>,
    next_id: AtomicU64,
    publishes: AtomicU64,
    pongs: AtomicU64,
    /// Tokens of the WebSocket handshakes, in the order they came.
    tokens: Mutex<Vec<String>>,
}

impl Saboteur {
    pub(crate) fn start(sabotage: Sabotage) -> Saboteur {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            sabotage,
            subscribers: Mutex::default(),
            next_id: AtomicU64::new(0),
            publishes: AtomicU64::new(0),
            pongs: AtomicU64::new(0),
            tokens: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Saboteur { port, state }
    }

    /// Pongs received from subscribers.
    pub(crate) fn pongs(&self) -> u64 {
        self.state.pongs.load(Ordering::SeqCst)
    }

    /// Tokens that WebSocket handshakes have brought, in the order they came; empty where there
    /// was none.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.state.tokens.lock().unwrap().clone()
    }

    /// A new private key for this broker's run, in a file; the caller removes it.
    pub(crate) fn key_file(&self) -> PathBuf {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let document = BASE64_STANDARD.encode(pair.to_pkcs8v1().unwrap());
        let name = format!("loadtest-key-{}-{}.pem", std::process::id(), self.port);
        let path = std::env::temp_dir().join(name);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{document}\n-----END PRIVATE KEY-----\n");
        std::fs::write(&path, pem).unwrap();
        path
    }
}

impl State {
    fn subscribers(&self) -> MutexGuard<'_, BTreeMap<u64, Subscriber>> {
        self.subscribers.lock().unwrap()
    }

    /// Greets and joins under the lock, so that no message can come before the greeting.
    fn join(&self, mut stream: &TcpStream, door: Door, topics: Vec<String>, hello: &[u8]) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::SeqCst);
        let mut subscribers = self.subscribers();
        // One that has gone already is noticed by its own thread.
        let _ = stream.write_all(hello);
        let stream = stream.try_clone().unwrap();
        subscribers.insert(id, Subscriber { stream, door, topics, held: None });
        id
    }
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

fn serve(stream: &TcpStream, state: &Arc<State>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        let path = request.path.as_str();
        if request.method == "POST" {
            if !publish(stream, state, &request) {
                return;
            }
        } else if path.starts_with("/apps/demo") {
            return websocket(stream, reader, state, path);
        } else if let Some(query) = path.strip_prefix("/v1/demo/events?") {
            let door = if query.contains("format=raw") { Door::Raw } else { Door::Sse };
            return event_stream(stream, reader, state, door, query);
        } else if let Some(query) = path.strip_prefix("/?") {
            return event_stream(stream, reader, state, Door::Buzz, query);
        } else {
            respond(stream, "404 Not Found", "{\"title\":\"no such door\"}");
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "sec-websocket-key" => assert_eq!(value, "dGhlIHNhbXBsZSBub25jZQ=="),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, body })
}

fn respond(mut stream: &TcpStream, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
}

/// Answers whether the connection goes on.
fn publish(stream: &TcpStream, state: &State, request: &Request) -> bool {
    let text = std::str::from_utf8(&request.body).unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    let messages: Vec<(String, Box<RawValue>)> = match request.path.as_str() {
        "/" => vec![(string(&value, "channel"), raw(&value["data"]))],
        "/api/topics/demo/publish" => vec![(string(&value, "topic"), raw(&value["message"]))],
        "/v1/demo/publish" => {
            let items = value["messages"].as_array().unwrap();
            items.iter().map(|item| (string(item, "topic"), raw(&item["data"]))).collect()
        }
        path => {
            let topic = path.strip_prefix("/v1/demo/topics/").unwrap();
            vec![(topic.to_owned(), raw(&value))]
        }
    };
    let mut subscribers = state.subscribers();
    if let Sabotage::Sluggish(count) = state.sabotage
        && subscribers.len() > count
    {
        thread::sleep(Duration::from_millis(60));
    }
    let number = state.publishes.fetch_add(1, Ordering::SeqCst);
    let is_refused = match state.sabotage {
        Sabotage::Refuse(n) | Sabotage::RefuseAndDeliver(n) => n == number,
        _ => false,
    };
    let is_kept = match state.sabotage {
        Sabotage::Refuse(n) | Sabotage::MuteAndDrop(n) => n == number,
        _ => false,
    };
    if !is_kept {
        for (topic, payload) in &messages {
            deliver(&mut subscribers, state.sabotage, number, topic, payload.get());
        }
    }
    drop(subscribers);
    match state.sabotage {
        Sabotage::Mute(n) | Sabotage::MuteAndDrop(n) if n == number => {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return false;
        }
        _ if is_refused => respond(stream, "503 Service Unavailable", "{\"title\":\"busy\"}"),
        _ => respond(stream, "202 Accepted", "{\"id\":\"1\"}"),
    }
    true
}

fn string(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn deliver(
    subscribers: &mut BTreeMap<u64, Subscriber>,
    sabotage: Sabotage,
    number: u64,
    topic: &str,
    payload: &str,
) {
    let takers = subscribers.values_mut().filter(|s| s.topics.iter().any(|t| t == topic));
    for (index, subscriber) in takers.enumerate() {
        let good = frame(subscriber.door, topic, payload);
        let is_victim = index == VICTIM;
        let changed = |from: &str, to: &str| {
            frame(subscriber.door, &topic.replace(from, to), &payload.replace(from, to))
        };
        let held = subscriber.held.take_if(|(of, _)| of == topic).map_or(Vec::new(), |held| held.1);
        let bytes = match sabotage {
            Sabotage::Drop(n) if is_victim && n == number => Vec::new(),
            Sabotage::DropFrom(n) if is_victim && n <= number => Vec::new(),
            Sabotage::Double(n) if is_victim && n == number => [good.clone(), good].concat(),
            Sabotage::DoubleLate(n) if is_victim && n == number => {
                subscriber.held = Some((topic.to_owned(), good.clone()));
                good
            }
            Sabotage::Swap(n) if is_victim && n == number => {
                subscriber.held = Some((topic.to_owned(), good));
                Vec::new()
            }
            Sabotage::CorruptPayload(n) if is_victim && n == number => {
                // The last letter of the padding, whatever it is.
                let mut text = payload.to_owned();
                let last = text.remove(text.len() - 2);
                text.insert(text.len() - 1, if last == '!' { '?' } else { '!' });
                frame(subscriber.door, topic, &text)
            }
            Sabotage::CorruptTopic(n) if is_victim && n == number => changed("-000000", "-000001"),
            Sabotage::CorruptEnvelope(n) if is_victim && n == number => {
                let at = good.windows(9).position(|w| w == b"\"topic\":\"").unwrap();
                let mut bad = good;
                bad[at] = b'\'';
                bad
            }
            Sabotage::Disconnect(n) if is_victim && n == number => {
                let _ = subscriber.stream.shutdown(std::net::Shutdown::Both);
                Vec::new()
            }
            _ => good,
        };
        send(&subscriber.stream, &[bytes, held].concat());
    }
}

/// Two writes, so that the reader meets incomplete frames. A subscriber that has gone is noticed
/// by its own thread.
fn send(mut stream: &TcpStream, bytes: &[u8]) {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let _ = stream.write_all(first).and_then(|()| stream.write_all(second));
}

fn frame(door: Door, topic: &str, payload: &str) -> Vec<u8> {
    match door {
        Door::Ws => text_frame(&format!(
            r#"{{"topic":"{topic}","messageType":"broadcast","data":{payload}}}"#
        )),
        Door::Sse => chunk(&format!(
            "id: 7.9\ndata: {{\"topic\":\"{topic}\",\"id\":\"a\",\"time\":12,\"data\":{payload}}}\n\n"
        )),
        Door::Raw => chunk(&format!("id: 7.9\ndata: {payload}\n\n")),
        Door::Buzz => format!("data: {}\r\n\r\n", payload.trim_matches('"')).into_bytes(),
    }
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    if let Ok(length @ 0..=125) = u8::try_from(text.len()) {
        bytes.push(length);
    } else {
        bytes.push(126);
        bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    }
    bytes.extend(text.as_bytes());
    bytes
}

fn event_stream(
    stream: &TcpStream,
    mut reader: BufReader<TcpStream>,
    state: &State,
    door: Door,
    query: &str,
) {
    let names = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("topics=").or_else(|| pair.strip_prefix("channels=")));
    let topics = names.unwrap().split(',').map(str::to_owned).collect();
    let coding = if door == Door::Buzz { "" } else { "Transfer-Encoding: chunked\r\n" };
    let mut head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{coding}\r\n").into_bytes();
    head.extend(if door == Door::Buzz { b": hi\n\n".to_vec() } else { chunk(": hi\n\n") });
    let id = state.join(stream, door, topics, &head);
    let _ = reader.read(&mut [0]);
    state.subscribers().remove(&id);
}

fn websocket(stream: &TcpStream, mut reader: BufReader<TcpStream>, state: &State, path: &str) {
    let number = {
        let mut tokens = state.tokens.lock().unwrap();
        let token = path.split_once("access_token=").map_or("", |(_, token)| token);
        tokens.push(token.to_owned());
        tokens.len() as u64 - 1
    };
    match state.sabotage {
        Sabotage::RefuseToken(n) if n == number => {
            respond(stream, "401 Unauthorized", "{\"code\":\"unauthorized\"}");
        }
        Sabotage::Stall(n) if n == number => _ = reader.read(&mut [0]),
        Sabotage::CloseWelcomed(n) if n == number => {
            greet(stream, state);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        _ => converse(stream, reader, state),
    }
}

/// Upgrades, welcomes and pings.
fn greet(stream: &TcpStream, state: &State) -> u64 {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend(welcome("main"));
    bytes.extend(b"\x89\x02hi");
    state.join(stream, Door::Ws, Vec::new(), &bytes)
}

fn welcome(topic: &str) -> Vec<u8> {
    text_frame(&format!(
        r#"{{"topic":"{topic}","messageType":"welcome","data":{{"connection":{{"id":"ab"}}}}}}"#
    ))
}

fn converse(mut stream: &TcpStream, mut reader: BufReader<TcpStream>, state: &State) {
    let id = greet(stream, state);
    while let Some((opcode, payload)) = read_frame(&mut reader) {
        match opcode {
            1 => {
                let value: Value = serde_json::from_slice(&payload).unwrap();
                assert_eq!(value["type"], "subscribe");
                let topic = string(&value["data"], "topic");
                let mut subscribers = state.subscribers();
                let Some(subscriber) = subscribers.get_mut(&id) else { break };
                subscriber.topics.push(topic.clone());
                let _ = stream.write_all(&welcome(&topic));
            }
            10 => {
                assert_eq!(payload, b"hi");
                state.pongs.fetch_add(1, Ordering::SeqCst);
            }
            _ => break,
        }
    }
    state.subscribers().remove(&id);
}

fn read_frame(reader: &mut BufReader<TcpStream>) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    reader.read_exact(&mut head).ok()?;
    assert_eq!(head[0] & 0xf0, 0x80, "final, no reserved bits");
    assert_eq!(head[1] & 0x80, 0x80, "clients mask");
    let length = usize::from(head[1] & 0x7f);
    assert!(length <= 125, "commands of this tool are short");
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Some((head[0] & 0x0f, payload))
}
