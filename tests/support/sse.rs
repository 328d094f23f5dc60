//! A reader of event streams by the letter of WHATWG HTML §9.2.5 and §9.2.6.

use std::io::{BufReader, Read as _};
use std::net::TcpStream;

use super::{Http, Response};

/// A dispatched event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SseEvent {
    pub(crate) kind: String,
    pub(crate) data: String,
    /// The last event id at its dispatch.
    pub(crate) id: String,
    /// `retry:` fields seen since the event before.
    pub(crate) retry: Option<u64>,
}

/// The parser: bytes in, events out. Comments are counted.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    began: bool,
    data: Option<String>,
    kind: String,
    id: String,
    retry: Option<u64>,
    pub(crate) comment_count: usize,
}

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) {
        for byte in bytes {
            match byte {
                b'\n' if std::mem::take(&mut self.after_cr) => {}
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    self.take_line(&line, events);
                }
                _ => {
                    self.after_cr = false;
                    self.line.push(*byte);
                }
            }
        }
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<SseEvent>) {
        let line = std::str::from_utf8(line).expect("event streams are UTF-8");
        let line = if self.began { line } else { line.strip_prefix('\u{feff}').unwrap_or(line) };
        self.began = true;
        if line.is_empty() {
            return self.dispatch(events);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comment_count += 1,
            "data" => {
                let data = self.data.get_or_insert_default();
                data.push_str(value);
                data.push('\n');
            }
            "event" => value.clone_into(&mut self.kind),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            // The standard ignores other fields; this broker has no reason to send any.
            other => panic!("an unknown field: {other:?} in {line:?}"),
        }
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let kind = std::mem::take(&mut self.kind);
        let retry = self.retry.take();
        // A block without data is no event; what it says of `retry` goes with it.
        let Some(mut data) = self.data.take() else { return };
        data.pop();
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        events.push(SseEvent { kind, data, id: self.id.clone(), retry });
    }
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct EventStream {
    pub(crate) head: Response,
    pub(crate) parser: Parser,
    reader: BufReader<TcpStream>,
    events: std::collections::VecDeque<SseEvent>,
    /// Comments up to the last event.
    comments_passed: usize,
}

impl EventStream {
    /// Asks for a stream and reads its head, which must be a 200.
    pub(crate) fn open(mut http: Http, target: &str) -> EventStream {
        http.send(super::http::request_bytes(
            "GET",
            target,
            &[("Accept", "text/event-stream")],
            b"",
        ));
        EventStream::begin(http)
    }

    /// Reads the head of a stream that has been asked for.
    pub(crate) fn begin(mut http: Http) -> EventStream {
        let head = http.head().expect("a head");
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let reader = http.into_reader();
        EventStream {
            head,
            parser: Parser::default(),
            reader,
            events: [].into(),
            comments_passed: 0,
        }
    }

    /// The next event; a stream that ends instead is a failure.
    pub(crate) fn event(&mut self) -> SseEvent {
        self.try_event().expect("an event before the end of the stream")
    }

    /// A `retry:` that came after the last event, in no block yet.
    pub(crate) fn bare_retry(&self) -> Option<u64> {
        self.parser.retry
    }

    /// The last event id of a stream that has brought one and no event yet.
    pub(crate) fn id_before_events(&mut self) -> String {
        while self.parser.id.is_empty() {
            assert!(self.read(), "an id before the end of the stream");
        }
        assert_eq!(self.events, [], "an id-only block is no event");
        self.parser.id.clone()
    }

    /// The next event, or `None` at the end of the stream.
    pub(crate) fn try_event(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.comments_passed = self.parser.comment_count;
                return Some(event);
            }
            if !self.read() {
                return None;
            }
            // Heartbeats keep a read from ever ending in its timeout.
            let since_event = self.parser.comment_count.saturating_sub(self.comments_passed);
            assert!(since_event < 4, "heartbeats, and no event");
        }
    }

    /// Reads once; false at the end.
    pub(crate) fn read(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let size = match self.reader.read(&mut bytes) {
            Ok(size) => size,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no event: {error}"),
        };
        let mut events = Vec::new();
        self.parser.feed(&bytes[..size], &mut events);
        self.events.extend(events);
        size > 0
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }
}

#[test]
fn the_parser_follows_the_standard() {
    let text = "\u{feff}: hi\r\nid: 1\rdata\n\ndata:a\r\ndata: b\n\r\nid:2\n\nevent: x\ndata:  c\r\rdata: cut";
    for size in 1..=text.len() {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        text.as_bytes().chunks(size).for_each(|piece| parser.feed(piece, &mut events));
        let event = |kind: &str, data: &str, id: &str| SseEvent {
            kind: kind.to_owned(),
            data: data.to_owned(),
            id: id.to_owned(),
            retry: None,
        };
        let expected =
            [event("message", "", "1"), event("message", "a\nb", "1"), event("x", " c", "2")];
        assert_eq!(events, expected);
        assert_eq!(parser.comment_count, 1);
    }
}
