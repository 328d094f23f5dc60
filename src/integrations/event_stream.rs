//! Reads server-sent events (WHATWG HTML §9.2.5 and §9.2.6) as their bytes arrive, sans I/O.
//!
//! Invariants: any split of the bytes gives the same events; what is kept between two pieces is at
//! most `EVENT_SIZE_MAX`. It does not connect, reconnect or wait.

use std::time::Duration;

/// Most bytes that one event, or one line of it, may have; a broker that sends more is refused.
const EVENT_SIZE_MAX: usize = 16 * 1024 * 1024;

/// An event that was dispatched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its type; `message` where the stream names none.
    pub kind: String,
    /// Its lines, joined by LF.
    pub data: String,
}

/// An event that is larger than this reader takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge;

/// The reader of one stream, over all of its connections.
#[derive(Debug, Default)]
pub struct EventStream {
    line: Vec<u8>,
    /// A line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// The connection's first line, which a byte order mark may precede, has been taken.
    began: bool,
    kind: String,
    /// Each line with an LF behind it.
    data: String,
    id: String,
    last_event_id: String,
    retry: Option<Duration>,
}

impl EventStream {
    /// Takes the next bytes; whole events are appended to `events`.
    ///
    /// # Errors
    /// When an event exceeds 16 MiB. The stream cannot be read further.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', rest);
            self.line.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if self.line.len() + self.data.len() > EVENT_SIZE_MAX {
                return Err(TooLarge);
            }
            let Some(end) = end else { break };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            events.extend(self.take_line(&line));
        }
        Ok(())
    }

    /// A new connection follows: an unfinished event is dropped, what was learned stays.
    pub fn reconnect(&mut self) {
        let id = self.last_event_id.clone();
        let last_event_id = std::mem::take(&mut self.last_event_id);
        *self = EventStream { id, last_event_id, retry: self.retry, ..EventStream::default() };
    }

    /// What a reconnect names as `Last-Event-ID`; empty for none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The wait before a reconnect that the server last asked for.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Event> {
        let is_first = !std::mem::replace(&mut self.began, true);
        let mark = b"\xef\xbb\xbf";
        let line = if is_first { line.strip_prefix(mark).unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.kind),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // No digits, or more than fit, are no time.
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            // A comment (no field's name) or a field that the standard does not know.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id);
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        // The LF behind the last line; without one there was no `data` at all.
        data.pop()?;
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Event { kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a stream of `bytes` tells, cut into pieces at `cuts`.
    fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<(String, String)>, String, Option<u128>) {
        let mut stream = EventStream::default();
        let mut events = Vec::new();
        let mut start = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            stream.feed(&bytes[start..cut], &mut events).unwrap();
            start = cut;
        }
        let events = events.into_iter().map(|event| (event.kind, event.data)).collect();
        (events, stream.last_event_id, stream.retry.map(|retry| retry.as_millis()))
    }

    /// Reads `text` whole and in every split into two and into single bytes.
    fn check(text: impl AsRef<[u8]>, events: &[(&str, &str)], id: &str, retry: Option<u128>) {
        let bytes = text.as_ref();
        let events: Vec<_> =
            events.iter().map(|(kind, data)| ((*kind).to_owned(), (*data).to_owned())).collect();
        let expected = (events, id.to_owned(), retry);
        for cut in 0..=bytes.len() {
            assert_eq!(read(bytes, &[cut]), expected, "{} at {cut}", bytes.escape_ascii());
        }
        let all: Vec<_> = (0..bytes.len()).collect();
        assert_eq!(read(bytes, &all), expected, "{} byte by byte", bytes.escape_ascii());
    }

    #[test]
    fn lines_end_with_cr_lf_or_both() {
        let two = [("message", "a\nb"), ("message", "c")];
        for end in ["\n", "\r", "\r\n"] {
            let text = "data: a|data: b||data: c||".replace('|', end);
            check(text, &two, "", None);
        }
        check("data: a\rdata: b\n\r\ndata: c\r\n\r", &two, "", None);
        check("data: a\r\n\ndata: c\n\r", &[("message", "a"), ("message", "c")], "", None);
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        check("data:a\ndata:  b\n\n", &[("message", "a\n b")], "", None);
        check("data\n\n", &[("message", "")], "", None);
        check("data\ndata\n\n", &[("message", "\n")], "", None);
        check("event: x\ndata: a\n\ndata: b\n\n", &[("x", "a"), ("message", "b")], "", None);
        check("event: x\n\ndata: b\n\n", &[("message", "b")], "", None);
        check(":\n: data: no\nDATA: no\nother: no\n\ndata: a\n\n", &[("message", "a")], "", None);
        check("data: a:b: c\n\n", &[("message", "a:b: c")], "", None);
        check("data: unfinished\n", &[], "", None);
        check("data: é€😀\n\n", &[("message", "é€😀")], "", None);
        check(b"data: \xff\n\n", &[("message", "\u{fffd}")], "", None);
    }

    #[test]
    fn an_id_holds_from_its_events_dispatch_on() {
        check("id: 1\ndata: a\n\n", &[("message", "a")], "1", None);
        check("id: 1\n\n", &[], "1", None);
        check("id: 1\n\nid: 2\ndata: unfinished\n", &[], "1", None);
        check("id: 1\n\nid\n\n", &[], "", None);
        check("id: 1\n\nid: 2\0\n\n", &[], "1", None);
    }

    #[test]
    fn a_retry_is_digits() {
        check("retry: 1500\n", &[], "", Some(1500));
        check("retry: 1\nretry: 1.5\nretry: -1\nretry:\nretry: 2s\n", &[], "", Some(1));
        check("retry: 99999999999999999999\n", &[], "", None);
    }

    #[test]
    fn one_byte_order_mark_is_passed_over() {
        let mark = "\u{feff}";
        check(format!("{mark}data: a\n\n"), &[("message", "a")], "", None);
        check(format!("{mark}{mark}data: a\n\n"), &[], "", None);
        check(format!("data: a\n\n{mark}data: b\n\n"), &[("message", "a")], "", None);
        check(format!("{mark}\ndata: a\n\n"), &[("message", "a")], "", None);
    }

    #[test]
    fn a_reconnect_drops_the_unfinished_and_keeps_the_rest() {
        let mut stream = EventStream::default();
        let mut events = Vec::new();
        stream
            .feed(b"retry: 5\nid: 1\ndata: a\n\nid: 2\nevent: x\ndata: b\r", &mut events)
            .unwrap();
        stream.reconnect();
        assert_eq!((stream.last_event_id(), stream.retry()), ("1", Some(Duration::from_millis(5))));
        events.clear();
        stream.feed("\n\u{feff}".as_bytes(), &mut events).unwrap();
        stream.reconnect();
        stream.feed("\u{feff}data: c\n\n".as_bytes(), &mut events).unwrap();
        let expected = [Event { kind: "message".to_owned(), data: "c".to_owned() }];
        assert_eq!((&*events, stream.last_event_id()), (&expected[..], "1"));
    }

    #[test]
    fn an_event_is_bounded_as_a_line_and_as_lines() {
        let mut events = Vec::new();
        let line = [b"data:".as_slice(), &vec![b'x'; EVENT_SIZE_MAX - 5]].concat();
        let mut stream = EventStream::default();
        assert_eq!(stream.feed(&line, &mut events), Ok(()));
        assert_eq!(stream.feed(b"x", &mut events), Err(TooLarge));
        let mut stream = EventStream::default();
        assert_eq!(stream.feed(&line, &mut events), Ok(()));
        assert_eq!(stream.feed(b"\ndata:\n", &mut events), Err(TooLarge));
        assert_eq!(events, []);
    }
}
