//! One subscriber's connection as a state machine without a socket: bytes in, deliveries and
//! answers out.
//!
//! Flow: response head → (WebSocket: session welcome → topic welcomes) → live. Complete frames are
//! read in place; only an incomplete tail is kept.

use flate2::{Decompress, FlushDecompress, Status};

use crate::inbox::Inbox;
use crate::settings::{Door, Settings};
use crate::track::{Start, Track};
use crate::wire::chunked::Chunked;
use crate::wire::request::{WEBSOCKET_ACCEPT, subscribe_command};
use crate::wire::response::{self, Framing, Head};
use crate::wire::{sse, ws};

/// How far a subscriber has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not connected.
    Absent,
    /// The request is under way.
    Head,
    /// Upgraded; the session's welcome is awaited.
    Session,
    /// This many topic welcomes are awaited.
    Topics(u32),
    /// Subscribed to everything.
    Live,
}

/// One subscriber.
pub struct Subscriber {
    /// Number in this run.
    pub number: u32,
    /// How far it has come.
    pub phase: Phase,
    /// Its subscriptions, in the order of its topics.
    pub tracks: Vec<Track>,
    /// Earlier sessions' subscriptions, cut by us: (index among its topics, what came).
    pub past: Vec<(u32, Track)>,
    chunked: Option<Chunked>,
    /// Received bytes that do not make up a frame or event yet.
    tail: Vec<u8>,
    /// A fragmented message so far, and whether it is compressed.
    fragments: Option<Box<(Vec<u8>, bool)>>,
}

/// What the connections of one worker share.
pub struct Context<'a> {
    /// The run.
    pub settings: &'a Settings,
    /// Where deliveries go.
    pub inbox: Inbox<'a>,
    /// Whether publishing may have begun, so that a new subscription owes only what follows it.
    pub publishing: bool,
    joined: Vec<u8>,
    inflater: Decompress,
    inflated: Vec<u8>,
}

impl<'a> Context<'a> {
    /// The context of a worker that has not begun.
    #[must_use]
    pub fn new(settings: &'a Settings, inbox: Inbox<'a>) -> Context<'a> {
        Context {
            settings,
            inbox,
            publishing: false,
            joined: Vec::new(),
            inflater: Decompress::new(false),
            inflated: Vec::new(),
        }
    }

    fn inflate(&mut self, payload: &[u8]) -> Result<(), String> {
        // RFC 7692 §7.2.2: the sender removed these four bytes; no context is taken over.
        const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
        self.inflater.reset(false);
        self.inflated.clear();
        self.inflated.reserve(4 * payload.len() + 1024);
        for part in [payload, &TAIL] {
            let mut at = 0;
            while at < part.len() {
                let before = self.inflater.total_in();
                let status = self
                    .inflater
                    .decompress_vec(&part[at..], &mut self.inflated, FlushDecompress::Sync)
                    .map_err(|error| format!("a compressed message is damaged: {error}"))?;
                at += usize::try_from(self.inflater.total_in() - before).unwrap_or(usize::MAX);
                if status == Status::StreamEnd {
                    return Ok(());
                }
                if self.inflated.len() as u64 > ws::PAYLOAD_SIZE_MAX {
                    return Err("a compressed message is too large".into());
                }
                if self.inflated.len() == self.inflated.capacity() {
                    self.inflated.reserve(self.inflated.len());
                }
            }
        }
        Ok(())
    }
}

impl Subscriber {
    /// An absent subscriber.
    #[must_use]
    pub fn new(number: u32) -> Subscriber {
        Subscriber {
            number,
            phase: Phase::Absent,
            tracks: Vec::new(),
            past: Vec::new(),
            chunked: None,
            tail: Vec::new(),
            fragments: None,
        }
    }

    /// Whether a handshake is under way.
    #[must_use]
    pub fn is_arriving(&self) -> bool {
        !matches!(self.phase, Phase::Absent | Phase::Live)
    }

    /// Begins a handshake; the caller sends the request.
    pub fn begin(&mut self) {
        self.phase = Phase::Head;
        self.forget();
    }

    /// Leaves, by our own decision: the current session goes to the past.
    pub fn cut(&mut self) {
        let tracks = std::mem::take(&mut self.tracks);
        self.past.extend((0_u32..).zip(tracks));
        self.end();
    }

    /// The connection is gone; what was received stays.
    pub fn end(&mut self) {
        self.phase = Phase::Absent;
        self.forget();
    }

    fn forget(&mut self) {
        self.chunked = None;
        self.tail = Vec::new();
        self.fragments = None;
    }

    /// Takes received bytes; answers to the server are appended to `out`.
    ///
    /// # Errors
    /// Why the connection is of no more use: refused, closed by the server, or out of protocol.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if self.tail.is_empty() && self.chunked.is_none() {
            let used = self.consume(bytes, now_ns, context, out)?;
            self.tail.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut context.joined);
        joined.clear();
        joined.extend_from_slice(&self.tail);
        let mut is_done = false;
        if let Some(chunked) = &mut self.chunked {
            chunked.decode(bytes, &mut joined)?;
            is_done = chunked.is_done();
        } else {
            joined.extend_from_slice(bytes);
        }
        let used = self.consume(&joined, now_ns, context, out);
        if let Ok(used) = used {
            self.tail.clear();
            self.tail.extend_from_slice(&joined[used..]);
        }
        context.joined = joined;
        used?;
        if is_done { Err("the server ended the stream".into()) } else { Ok(()) }
    }

    fn consume(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, String> {
        if self.phase == Phase::Head {
            let Some(head) = response::parse(bytes)? else { return Ok(0) };
            self.accept(&head, &bytes[head.size..], now_ns, context)?;
            // The rest may be chunked, so it goes through the door again.
            self.tail.clear();
            self.receive(&bytes[head.size..], now_ns, context, out)?;
            // The recursion has kept its own tail; hand it back as unused.
            let kept = std::mem::take(&mut self.tail);
            if self.chunked.is_some() {
                // Decoded bytes differ from the raw ones, so they stay here.
                self.tail = kept;
                return Ok(bytes.len());
            }
            return Ok(bytes.len() - kept.len());
        }
        match context.settings.door {
            Door::Ws => self.frames(bytes, now_ns, context, out),
            _ => Ok(self.events(bytes, now_ns, context)),
        }
    }

    fn accept(
        &mut self,
        head: &Head,
        body: &[u8],
        now_ns: u64,
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        let is_websocket = context.settings.door == Door::Ws;
        let wanted = if is_websocket { 101 } else { 200 };
        if head.status != wanted {
            let body = String::from_utf8_lossy(&body[..body.len().min(200)]);
            return Err(format!("the server answered {} instead of {wanted}: {body}", head.status));
        }
        if is_websocket {
            if head.websocket_accept.as_deref() != Some(WEBSOCKET_ACCEPT) {
                return Err("Sec-WebSocket-Accept does not match the key".into());
            }
            if let Some(extensions) = &head.extensions
                && !(context.settings.deflate && extensions.contains("server_no_context_takeover"))
            {
                return Err(format!("unexpected extensions: {extensions}"));
            }
            self.phase = Phase::Session;
            return Ok(());
        }
        if !head.content_type.as_deref().is_some_and(|t| t.starts_with("text/event-stream")) {
            return Err(format!("the stream's type is {:?}", head.content_type));
        }
        self.chunked = (head.framing == Framing::Chunked).then(Chunked::default);
        let start = start(context, now_ns);
        self.tracks = vec![Track::new(start); context.settings.topics_per_subscriber as usize];
        self.phase = Phase::Live;
        Ok(())
    }

    fn events(&mut self, bytes: &[u8], now_ns: u64, context: &mut Context<'_>) -> usize {
        let mut events = sse::Events::new(bytes);
        for event in events.by_ref() {
            match event.data {
                sse::Data::Line(line) => {
                    context.inbox.take(self.number, &mut self.tracks, line, now_ns)
                }
                data @ sse::Data::Block(_) => {
                    context.inbox.take(self.number, &mut self.tracks, &data.joined(), now_ns)
                }
            };
        }
        events.used()
    }

    fn frames(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, String> {
        let mut used = 0;
        while let Some(frame) = ws::parse(&bytes[used..])? {
            used += frame.size;
            match frame.opcode {
                ws::opcode::TEXT | ws::opcode::BINARY | ws::opcode::CONTINUATION => {
                    self.message_frame(&frame, now_ns, context, out)?;
                }
                ws::opcode::PING => ws::write(out, ws::opcode::PONG, frame.payload),
                ws::opcode::PONG => {}
                ws::opcode::CLOSE => return Err(closed(frame.payload)),
                other => return Err(format!("unknown frame type {other}")),
            }
        }
        Ok(used)
    }

    fn message_frame(
        &mut self,
        frame: &ws::Frame<'_>,
        now_ns: u64,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let continues = frame.opcode == ws::opcode::CONTINUATION;
        if continues != self.fragments.is_some() {
            return Err("a fragmented message is out of sequence".into());
        }
        if frame.is_final && !continues {
            return self.message(frame.payload, frame.is_compressed, now_ns, context, out);
        }
        let parts =
            self.fragments.get_or_insert_with(|| Box::new((Vec::new(), frame.is_compressed)));
        parts.0.extend_from_slice(frame.payload);
        if parts.0.len() as u64 > ws::PAYLOAD_SIZE_MAX {
            return Err("a fragmented message is too large".into());
        }
        if frame.is_final
            && let Some(parts) = self.fragments.take()
        {
            return self.message(&parts.0, parts.1, now_ns, context, out);
        }
        Ok(())
    }

    fn message(
        &mut self,
        payload: &[u8],
        is_compressed: bool,
        now_ns: u64,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let welcome = if is_compressed {
            context.inflate(payload)?;
            context.inbox.take(self.number, &mut self.tracks, &context.inflated, now_ns)
        } else {
            context.inbox.take(self.number, &mut self.tracks, payload, now_ns)
        };
        let Some(topic) = welcome else { return Ok(()) };
        match self.phase {
            Phase::Session if topic == "main" => {
                for topic in context.settings.topics_of(self.number) {
                    let command = subscribe_command(&context.settings.topic(topic));
                    ws::write(out, ws::opcode::TEXT, command.as_bytes());
                }
                let count = context.settings.topics_per_subscriber;
                self.tracks = vec![Track::new(start(context, u64::MAX)); count as usize];
                self.phase = if count == 0 { Phase::Live } else { Phase::Topics(count) };
            }
            Phase::Topics(left) => self.topic_welcome(&topic, left, now_ns, context),
            _ => context.inbox.tally.other_frames += 1,
        }
        Ok(())
    }

    fn topic_welcome(&mut self, topic: &str, left: u32, now_ns: u64, context: &mut Context<'_>) {
        let mut topics = context.settings.topics_of(self.number);
        let Some(index) = topics.position(|t| context.settings.topic(t) == topic) else {
            context.inbox.tally.other_frames += 1;
            return;
        };
        // Messages may arrive before the welcome; what came is kept, what is owed starts here.
        self.tracks[index].confirm(start(context, now_ns));
        self.phase = if left == 1 { Phase::Live } else { Phase::Topics(left - 1) };
    }
}

fn start(context: &Context<'_>, now_ns: u64) -> Start {
    if context.publishing { Start::Confirmed(now_ns) } else { Start::First }
}

/// RFC 6455 §5.5.1: two bytes of code, then a reason.
fn closed(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => format!(
            "the server closed it: {} {}",
            u16::from_be_bytes(*code),
            String::from_utf8_lossy(reason)
        ),
        None => "the server closed it without a code".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::{Codec, Marker};
    use crate::settings::example;
    use crate::shared::Row;
    use crate::verdict::Kind;
    use flate2::{Compress, Compression, FlushCompress};
    use std::sync::atomic::Ordering;

    fn text(settings: &Settings, sequence: u64) -> String {
        let mut text = Vec::new();
        let marker = Marker { topic: 0, sequence, intended_ns: 1, sent_ns: 2 };
        Codec::new(settings.run, settings.size).encode(&marker, &mut text);
        String::from_utf8(text).unwrap()
    }

    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 126];
        frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// Feeds a stream cut in two at each place; all four messages must come, in order.
    fn check(settings: &Settings, stream: &[u8]) {
        for split in 0..=stream.len() {
            let row = Row::default();
            let mut context = Context::new(settings, Inbox::new(settings, &row));
            let mut subscriber = Subscriber::new(0);
            subscriber.begin();
            let mut out = Vec::new();
            for part in [&stream[..split], &stream[split..]] {
                let taken = subscriber.receive(part, 10, &mut context, &mut out);
                assert_eq!(taken, Ok(()), "split {split}");
            }
            assert_eq!(subscriber.phase, Phase::Live, "split {split}");
            assert_eq!(row.delivered.load(Ordering::Relaxed), 4, "split {split}");
            let tally = context.inbox.into_tally();
            assert!(tally.is_clean(), "split {split}: {:?}", tally.examples);
        }
    }

    #[test]
    fn websocket_streams_survive_every_split() {
        let settings = Settings { deflate: true, ..example() };
        let mut stream = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: \
            s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate; \
            server_no_context_takeover\r\n\r\n"
            .to_vec();
        let topic = settings.topic(0);
        for name in ["main", &topic] {
            let welcome = format!(r#"{{"topic":"{name}","messageType":"welcome","data":{{}}}}"#);
            stream.extend(server_frame(0x81, welcome.as_bytes()));
        }
        for sequence in 0..4 {
            let text = text(&settings, sequence);
            let json =
                format!(r#"{{"topic":"{topic}","messageType":"broadcast","data":"{text}"}}"#);
            match sequence {
                0 => stream.extend(server_frame(0x81, json.as_bytes())),
                1 => {
                    stream.extend(server_frame(0x01, &json.as_bytes()[..50]));
                    stream.extend(b"\x89\x00");
                    stream.extend(server_frame(0x80, &json.as_bytes()[50..]));
                }
                _ => stream.extend(server_frame(0xC2, &deflated(json.as_bytes()))),
            }
        }
        check(&settings, &stream);
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1000);
        let mut compress = Compress::new(Compression::default(), false);
        compress.compress_vec(bytes, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }

    #[test]
    fn event_streams_survive_every_split_chunked_or_not() {
        let settings = Settings { door: Door::Sse, ..example() };
        for coding in ["", "Transfer-Encoding: chunked\r\n"] {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
            let mut stream = format!("{head}{coding}\r\n").into_bytes();
            for sequence in 0..4 {
                let (topic, text) = (settings.topic(0), text(&settings, sequence));
                let event =
                    format!("id: 1\ndata: {{\"topic\":\"{topic}\",\"data\":\"{text}\"}}\n\n");
                // Chunk borders need not be event borders.
                for part in [&event[..60], &event[60..]] {
                    if coding.is_empty() {
                        stream.extend(part.as_bytes());
                    } else {
                        stream.extend(format!("{:x}\r\n{part}\r\n", part.len()).into_bytes());
                    }
                }
            }
            check(&settings, &stream);
        }
    }

    #[test]
    fn refusals_and_closes_are_named() {
        let settings = example();
        let row = Row::default();
        let mut context = Context::new(&settings, Inbox::new(&settings, &row));
        let mut refused = |stream: &[u8]| {
            let mut subscriber = Subscriber::new(0);
            subscriber.begin();
            subscriber.receive(stream, 1, &mut context, &mut Vec::new()).unwrap_err()
        };
        let busy = refused(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nwait");
        assert!(busy.contains("503") && busy.contains("wait"), "{busy}");
        let wrong = refused(b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: abc\r\n\r\n");
        assert!(wrong.contains("Sec-WebSocket-Accept"), "{wrong}");
        let good = b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let closed = refused(&[&good[..], b"\x88\x05\x03\xf0bye"].concat());
        assert!(closed.contains("1008 bye"), "{closed}");
        assert_eq!(context.inbox.tally.of(Kind::Corrupt), 0);
    }
}
