//! One subscriber's connection as a state machine without a socket: bytes in, deliveries and
//! answers out.
//!
//! Flow: response head → (WebSocket: session welcome → topic welcomes) → live. Complete frames are
//! read in place; only an incomplete tail is kept.

use crate::context::Context;
use crate::inbox::Taken;
use crate::marker::Codec;
use crate::memory::Memory;
use crate::settings::Door;
use crate::track::Track;
use crate::wire::chunked::Chunked;
use crate::wire::notice::Welcome;
use crate::wire::request::{self, WEBSOCKET_ACCEPT};
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
    /// What it remembers between connections, if it returns to where it was.
    pub memory: Option<Box<Memory>>,
    chunked: Option<Chunked>,
    /// Received bytes that do not make up a frame or event yet.
    tail: Vec<u8>,
    /// A fragmented message so far, and whether it is compressed.
    fragments: Option<Box<(Vec<u8>, bool)>>,
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
            memory: None,
            chunked: None,
            tail: Vec::new(),
            fragments: None,
        }
    }

    /// A subscriber that returns to where it was after each connection.
    #[must_use]
    pub fn with_memory(number: u32, subscriptions: usize) -> Subscriber {
        let memory = Some(Box::new(Memory::new(subscriptions)));
        Subscriber { memory, ..Subscriber::new(number) }
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
        if !self.is_returning() {
            let count = context.settings.topics_per_subscriber as usize;
            self.tracks = vec![Track::new(context.start(now_ns)); count];
        }
        self.phase = Phase::Live;
        Ok(())
    }

    fn events(&mut self, bytes: &[u8], now_ns: u64, context: &mut Context<'_>) -> usize {
        let mut events = sse::Events::new(bytes);
        for event in events.by_ref() {
            self.event(&event, now_ns, context);
        }
        events.used()
    }

    fn event(&mut self, event: &sse::Event<'_>, now_ns: u64, context: &mut Context<'_>) {
        let is_foreign = context.settings.paths.stream.is_some();
        match event.data {
            None => {}
            Some(data) if is_foreign && !carries_message(event.name, data) => {
                context.inbox.tally.other_frames += 1;
            }
            Some(data) if !is_foreign && event.name == Some(b"lost") => {
                let (inbox, tracks) = (&mut context.inbox, &mut self.tracks);
                inbox.take_lost(self.number, tracks, &data.joined(), now_ns);
            }
            Some(sse::Data::Line(line)) => self.data(line, now_ns, context),
            Some(data) => self.data(&data.joined(), now_ns, context),
        }
        if let Some(memory) = &mut self.memory {
            memory.retry_ms = event.retry_ms.or(memory.retry_ms);
            if let Some(id) = event.id {
                // Opaque, but text: what is not came damaged, and the server will refuse it.
                memory.cursor = Some(String::from_utf8_lossy(id).into_owned());
            }
        }
    }

    fn data(&mut self, text: &[u8], now_ns: u64, context: &mut Context<'_>) {
        let taken = context.inbox.take(self.number, &mut self.tracks, text, now_ns);
        self.remember(&taken);
    }

    fn remember(&mut self, taken: &Taken<'_>) {
        if let (Some(memory), Taken::Delivered { index, sent_ns, position }) =
            (&mut self.memory, taken)
        {
            memory.delivered(*index, *sent_ns, position.as_deref());
        }
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
        let text = if is_compressed {
            context.inflate(payload)?;
            &context.inflated
        } else {
            payload
        };
        let taken = context.inbox.take(self.number, &mut self.tracks, text, now_ns);
        self.remember(&taken);
        match taken {
            Taken::Welcome(welcome) => self.welcome(&welcome, now_ns, context, out),
            Taken::Lost(lost) => {
                for name in lost.topics() {
                    let index = context.settings.index_of_name(self.number, name);
                    if let (Some(memory), Some(index)) = (&mut self.memory, index) {
                        memory.lost(index, &lost);
                    }
                }
            }
            Taken::Nothing | Taken::Delivered { .. } => {}
        }
        Ok(())
    }

    fn welcome(
        &mut self,
        welcome: &Welcome,
        now_ns: u64,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) {
        match self.phase {
            Phase::Session if welcome.topic == "main" => self.session_welcome(context, out),
            Phase::Topics(left) => self.topic_welcome(welcome, left, now_ns, context),
            _ => context.inbox.tally.other_frames += 1,
        }
    }

    /// Subscribes to everything, from where it had come.
    fn session_welcome(&mut self, context: &Context<'_>, out: &mut Vec<u8>) {
        let settings = context.settings;
        let names: Vec<String> =
            settings.topics_of(self.number).map(|t| settings.topic(t)).collect();
        let none = vec![None; names.len()];
        let positions = self.memory.as_ref().map_or(&none, |memory| &memory.positions);
        for command in request::subscribe_commands(&names, positions) {
            ws::write(out, ws::opcode::TEXT, command.as_bytes());
        }
        if !self.is_returning() {
            self.tracks = vec![Track::new(context.start(u64::MAX)); names.len()];
        }
        let count = settings.topics_per_subscriber;
        self.phase = if count == 0 { Phase::Live } else { Phase::Topics(count) };
    }

    /// Whether it goes on where an earlier connection was cut.
    fn is_returning(&self) -> bool {
        self.memory.is_some() && !self.tracks.is_empty()
    }

    fn topic_welcome(
        &mut self,
        welcome: &Welcome,
        left: u32,
        now_ns: u64,
        context: &mut Context<'_>,
    ) {
        let Some(index) = context.settings.index_of_name(self.number, &welcome.topic) else {
            context.inbox.tally.other_frames += 1;
            return;
        };
        match &mut self.memory {
            Some(memory) => {
                if memory.welcomed(index, welcome) {
                    context.inbox.tally.lost_statements += 1;
                    self.tracks[index].told_lost(now_ns);
                }
            }
            // Messages may arrive before the welcome; what came is kept, what is owed starts here.
            None => self.tracks[index].confirm(context.start(now_ns)),
        }
        self.phase = if left == 1 { Phase::Live } else { Phase::Topics(left - 1) };
    }
}

/// Another broker may speak of itself in events that it names; what carries a test message is judged
/// whatever its name.
fn carries_message(name: Option<&[u8]>, data: sse::Data<'_>) -> bool {
    let (sse::Data::Line(bytes) | sse::Data::Block(bytes)) = data;
    name.is_none_or(|name| name == b"message") || Codec::has_tag(bytes)
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
#[path = "subscriber_tests.rs"]
mod tests;
