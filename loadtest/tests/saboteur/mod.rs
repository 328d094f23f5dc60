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
    /// Of what this return, counted from 0, has missed, replay nothing, and say that all came.
    Forget(u64),
    /// Replay the last message that this return had as well.
    Repeat(u64),
    /// Replay what this return has missed in the wrong order.
    Scramble(u64),
    /// Of what this return has missed, replay all but the first, and say so.
    TellLost(u64),
    /// Refuse this return once: 503, or a stream that only says when to come again.
    PutOff(u64),
    /// Refuse this and all later returns.
    PutOffFrom(u64),
}

const VICTIM: usize = 3;

/// The publish at a foreign path whose answer ends with its connection.
const ENDLESS: u64 = 7;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Ws,
    Sse,
    Raw,
    Buzz,
    /// Another broker's: the payload among much that is its own affair.
    Foreign,
}

struct Subscriber {
    stream: TcpStream,
    door: Door,
    topics: Vec<String>,
    /// A message held back, to be delivered after the next of its topic.
    held: Option<(String, Vec<u8>)>,
    /// Whether a WebSocket is told positions.
    positions: bool,
}

/// Everything published, in its order: its place in it is the position.
#[derive(Default)]
struct History {
    messages: Vec<(String, String)>,
    /// Topics that were asked for with a position and served.
    returns: u64,
    /// Requests with a position, refused ones too: counted as they come, so that none is skipped.
    arrivals: u64,
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
    history: Mutex<History>,
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
            history: Mutex::default(),
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
    fn join(
        &self,
        mut stream: &TcpStream,
        door: Door,
        positions: bool,
        topics: Vec<String>,
        hello: impl FnOnce() -> Vec<u8>,
    ) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::SeqCst);
        let mut subscribers = self.subscribers();
        // One that has gone already is noticed by its own thread.
        let _ = stream.write_all(&hello());
        let stream = stream.try_clone().unwrap();
        subscribers.insert(id, Subscriber { stream, door, topics, held: None, positions });
        id
    }

    /// What those topics' subscriber has missed since `position`, spoilt if it is its turn, and
    /// whether that is all.
    fn missed(&self, topics: &[String], position: &str) -> (Vec<(u64, String, String)>, bool) {
        let mut history = self.history.lock().unwrap();
        let number = history.returns;
        history.returns += 1;
        let mut from: u64 = position.strip_prefix("p").unwrap().parse().unwrap();
        if self.sabotage == Sabotage::Repeat(number) {
            from -= 1;
        }
        let numbered = (1..).zip(&history.messages).map(|(at, (t, p))| (at, t.clone(), p.clone()));
        let behind = numbered.skip_while(|(at, ..)| *at <= from);
        let mut missed: Vec<_> = behind.filter(|(_, topic, _)| topics.contains(topic)).collect();
        match self.sabotage {
            Sabotage::Forget(n) if n == number => missed.clear(),
            Sabotage::Scramble(n) if n == number => missed.reverse(),
            Sabotage::TellLost(n) if n == number => {
                missed.remove(0);
                return (missed, false);
            }
            _ => {}
        }
        (missed, true)
    }

    fn puts_off(&self) -> bool {
        let mut history = self.history.lock().unwrap();
        let number = history.arrivals;
        history.arrivals += 1;
        match self.sabotage {
            Sabotage::PutOff(n) => n == number,
            Sabotage::PutOffFrom(n) => n <= number,
            _ => false,
        }
    }
}

struct Request {
    method: String,
    path: String,
    last_event_id: Option<String>,
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
            return event_stream(stream, reader, state, door, query, request.last_event_id);
        } else if let Some(topics) = path.strip_prefix("/sub/") {
            let query = format!("topics={topics}");
            return event_stream(stream, reader, state, Door::Foreign, &query, None);
        } else if let Some(query) = path.strip_prefix("/?") {
            return event_stream(stream, reader, state, Door::Buzz, query, request.last_event_id);
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
    let (mut length, mut last_event_id) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "last-event-id" => last_event_id = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            "sec-websocket-key" => assert_eq!(value, "dGhlIHNhbXBsZSBub25jZQ=="),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, last_event_id, body })
}

fn respond(mut stream: &TcpStream, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
}

/// Any success, with a body that is no JSON, and once without a length; answers whether the
/// connection goes on.
fn respond_foreign(mut stream: &TcpStream, number: u64) -> bool {
    let status = ["200 OK", "201 Created", "202 Accepted"][usize::try_from(number % 3).unwrap()];
    let body = "queued messages: 1\r\n";
    let ends = number == ENDLESS;
    let length = format!("Content-Length: {}\r\n", body.len());
    let framing = if ends { "" } else { &length };
    let text = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n{framing}\r\n{body}");
    let _ = stream.write_all(text.as_bytes());
    if ends {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    !ends
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
            let own = path.strip_prefix("/v1/demo/topics/");
            let topic = own.or_else(|| path.strip_prefix("/pub/")).unwrap();
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
            let mut history = state.history.lock().unwrap();
            history.messages.push((topic.clone(), payload.get().to_owned()));
            let position = history.messages.len() as u64;
            drop(history);
            let sent = Sent { number, position, topic, payload: payload.get() };
            deliver(&mut subscribers, state.sabotage, &sent);
        }
    }
    drop(subscribers);
    match state.sabotage {
        Sabotage::Mute(n) | Sabotage::MuteAndDrop(n) if n == number => {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return false;
        }
        _ if is_refused => respond(stream, "503 Service Unavailable", "{\"title\":\"busy\"}"),
        _ if request.path.starts_with("/pub/") => return respond_foreign(stream, number),
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

/// A message on its way.
struct Sent<'a> {
    number: u64,
    position: u64,
    topic: &'a str,
    payload: &'a str,
}

fn deliver(subscribers: &mut BTreeMap<u64, Subscriber>, sabotage: Sabotage, sent: &Sent<'_>) {
    let Sent { number, position, topic, payload } = *sent;
    let takers = subscribers.values_mut().filter(|s| s.topics.iter().any(|t| t == topic));
    for (index, subscriber) in takers.enumerate() {
        let form = (subscriber.door, subscriber.positions);
        let good = frame(form, position, topic, payload);
        let is_victim = index == VICTIM;
        let changed = |from: &str, to: &str| {
            frame(form, position, &topic.replace(from, to), &payload.replace(from, to))
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
                frame(form, position, topic, &text)
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

fn frame((door, positions): (Door, bool), position: u64, topic: &str, payload: &str) -> Vec<u8> {
    match door {
        Door::Ws if positions => text_frame(&format!(
            r#"{{"topic":"{topic}","messageType":"broadcast","data":{payload},"id":"a","position":"p{position}"}}"#
        )),
        Door::Ws => text_frame(&format!(
            r#"{{"topic":"{topic}","messageType":"broadcast","data":{payload}}}"#
        )),
        Door::Sse => chunk(&format!(
            "id: p{position}\ndata: {{\"topic\":\"{topic}\",\"id\":\"a\",\"time\":12,\"data\":{payload}}}\n\n"
        )),
        Door::Raw => chunk(&format!("id: p{position}\ndata: {payload}\n\n")),
        Door::Foreign => chunk(&format!(
            ": {topic}\nid: 1785:{position}\nevent: message\nretry: 9\ndata: {payload}\n\n\
             event: lost\ndata: {{\"peers\":{position}}}\n\nid: 1785:{position}\n\n"
        )),
        Door::Buzz => {
            format!("id: p{position}\r\ndata: {}\r\n\r\n", payload.trim_matches('"')).into_bytes()
        }
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
    last_event_id: Option<String>,
) {
    let names = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("topics=").or_else(|| pair.strip_prefix("channels=")));
    let topics: Vec<String> = names.unwrap().split(',').map(str::to_owned).collect();
    let coding = if door == Door::Buzz { "" } else { "Transfer-Encoding: chunked\r\n" };
    let mut head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{coding}\r\n").into_bytes();
    let event = |text: &str| if door == Door::Buzz { text.into() } else { chunk(text) };
    if last_event_id.is_some() && state.puts_off() {
        head.extend(event("retry: 20\n\n"));
        let mut stream = stream;
        let _ = stream.write_all(&head);
        return;
    }
    let id = state.join(stream, door, false, topics.clone(), || {
        let Some(position) = last_event_id else {
            let published = state.history.lock().unwrap().messages.len();
            head.extend(event(&format!("retry: 150\nid: p{published}\n\n")));
            if door == Door::Foreign {
                head.extend(event(": hi\n\nevent: hello\ndata: {\"topics\":[]}\n\n"));
            }
            return head;
        };
        let (missed, is_all) = state.missed(&topics, &position);
        if !is_all {
            let lost = format!(r#"{{"reason":"too_old","topics":["{}"]}}"#, topics.join("\",\""));
            head.extend(event(&format!("event: lost\nid: {position}\ndata: {lost}\n\n")));
        }
        for (at, topic, payload) in missed {
            head.extend(frame((door, false), at, &topic, &payload));
        }
        head
    });
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
            greet(stream, state, false);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        _ => converse(stream, reader, state, path),
    }
}

/// Upgrades, welcomes and pings.
fn greet(stream: &TcpStream, state: &State, positions: bool) -> u64 {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend(welcome("main", "", ""));
    bytes.extend(b"\x89\x02hi");
    state.join(stream, Door::Ws, positions, Vec::new(), || bytes)
}

fn welcome(topic: &str, recovery: &str, position: &str) -> Vec<u8> {
    text_frame(&format!(
        r#"{{"topic":"{topic}","messageType":"welcome","data":{{"connection":{{"id":"ab"}}{recovery}}}{position}}}"#
    ))
}

fn converse(stream: &TcpStream, mut reader: BufReader<TcpStream>, state: &State, path: &str) {
    let id = greet(stream, state, path.contains("positions=1"));
    while let Some((opcode, payload)) = read_frame(&mut reader) {
        match opcode {
            1 => {
                let value: Value = serde_json::from_slice(&payload).unwrap();
                if !subscribe(stream, state, id, &value) {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    break;
                }
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

/// Obeys a `subscribe` or `resume`; answers whether the connection goes on.
fn subscribe(mut stream: &TcpStream, state: &State, id: u64, command: &Value) -> bool {
    let data = &command["data"];
    let wanted: Vec<(String, Option<String>)> = match command["type"].as_str() {
        Some("subscribe") => {
            vec![(string(data, "topic"), data["position"].as_str().map(str::to_owned))]
        }
        Some("resume") => {
            let topics = data["topics"].as_object().unwrap();
            topics.iter().map(|(t, p)| (t.clone(), p.as_str().map(str::to_owned))).collect()
        }
        other => panic!("no such command: {other:?}"),
    };
    if wanted.iter().any(|(_, position)| position.is_some()) && state.puts_off() {
        return false;
    }
    let mut subscribers = state.subscribers();
    let Some(subscriber) = subscribers.get_mut(&id) else { return false };
    for (topic, position) in wanted {
        let published = state.history.lock().unwrap().messages.len();
        let at = format!(r#","position":"p{published}""#);
        let mut bytes = Vec::new();
        if let Some(position) = position {
            let (missed, is_all) = state.missed(std::slice::from_ref(&topic), &position);
            let count = missed.len();
            let reason = if is_all { "" } else { r#""reason":"too_old","# };
            let recovery =
                format!(r#","recovery":{{"recovered":{is_all},{reason}"count":{count}}}"#);
            bytes.extend(welcome(&topic, &recovery, &at));
            for (at, topic, payload) in missed {
                bytes.extend(frame((Door::Ws, true), at, &topic, &payload));
            }
        } else {
            bytes.extend(welcome(&topic, "", if subscriber.positions { &at } else { "" }));
        }
        subscriber.topics.push(topic);
        let _ = stream.write_all(&bytes);
    }
    true
}

fn read_frame(reader: &mut BufReader<TcpStream>) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    reader.read_exact(&mut head).ok()?;
    assert_eq!(head[0] & 0xf0, 0x80, "final, no reserved bits");
    assert_eq!(head[1] & 0x80, 0x80, "clients mask");
    let mut length = usize::from(head[1] & 0x7f);
    assert!(length <= 126, "commands of this tool are short");
    if length == 126 {
        let mut long = [0; 2];
        reader.read_exact(&mut long).ok()?;
        length = u16::from_be_bytes(long).into();
    }
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Some((head[0] & 0x0f, payload))
}
