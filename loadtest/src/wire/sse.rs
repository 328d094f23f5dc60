//! Event streams, WHATWG HTML §9.2.6: bytes in, each block's data, id, name and `retry` out.
//!
//! Lines end in LF or CRLF; a lone CR, which no broker writes, is treated as part of the line and
//! so shows up as a corrupt payload. An event whose blank line has not come is left for the next
//! call, so nothing is kept here.

/// Events found in a buffer, and how many bytes they took.
pub struct Events<'a> {
    bytes: &'a [u8],
    used: usize,
}

/// One block that says anything; without data it dispatches nothing, but its id counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The data: one line borrowed, or the whole block when it has several `data` lines.
    pub data: Option<Data<'a>>,
    /// The last `id` field, if there was one.
    pub id: Option<&'a [u8]>,
    /// The `event` field, if there was one: not a plain message then.
    pub name: Option<&'a [u8]>,
    /// The last `retry` field that is a number, milliseconds.
    pub retry_ms: Option<u64>,
}

/// An event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// The value of the only `data` line.
    Line(&'a [u8]),
    /// The block's bytes; [`Data::joined`] puts its `data` lines together.
    Block(&'a [u8]),
}

impl Data<'_> {
    /// The lines joined by LF.
    #[must_use]
    pub fn joined(&self) -> Vec<u8> {
        match self {
            Data::Line(line) => line.to_vec(),
            Data::Block(block) => {
                let lines = block.split(|&b| b == b'\n').map(trim_cr).filter_map(|line| {
                    let (name, value) = field(line);
                    (name == b"data").then_some(value)
                });
                lines.collect::<Vec<_>>().join(&b'\n')
            }
        }
    }
}

impl<'a> Events<'a> {
    /// Over a buffer that starts at an event's beginning.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Events<'a> {
        Events { bytes, used: 0 }
    }

    /// Bytes up to the end of the last complete event.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        loop {
            let (block, size) = next_block(&self.bytes[self.used..])?;
            self.used += size;
            if let Some(event) = read_block(block) {
                return Some(event);
            }
        }
    }
}

/// The lines before the first blank line, and the size with it.
fn next_block(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut start = 0;
    loop {
        let end = start + memchr::memchr(b'\n', &bytes[start..])?;
        if trim_cr(&bytes[start..end]).is_empty() {
            return Some((&bytes[..start], end + 1));
        }
        start = end + 1;
    }
}

fn read_block(block: &[u8]) -> Option<Event<'_>> {
    let mut event = Event::default();
    let mut start = 0;
    while let Some(length) = memchr::memchr(b'\n', &block[start..]) {
        let line = trim_cr(&block[start..start + length]);
        start += length + 1;
        match field(line) {
            (b"data", value) if event.data.is_none() => event.data = Some(Data::Line(value)),
            (b"data", _) => event.data = Some(Data::Block(block)),
            // WHATWG HTML §9.2.6: an id with a NUL is ignored.
            (b"id", value) if !value.contains(&0) => event.id = Some(value),
            (b"event", value) => event.name = Some(value),
            (b"retry", value) => event.retry_ms = digits(value).or(event.retry_ms),
            _ => {}
        }
    }
    (event != Event::default()).then_some(event)
}

/// WHATWG HTML §9.2.6: anything but ASCII digits is ignored.
fn digits(value: &[u8]) -> Option<u64> {
    let is_number = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

fn field(line: &[u8]) -> (&[u8], &[u8]) {
    // The colon stands within the first few bytes of every field that matters.
    let Some(colon) = line.iter().take(8).position(|&b| b == b':') else {
        return (if line.len() < 8 { line } else { b"" }, b"");
    };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: &[u8]) -> Vec<String> {
        let text = |data: Data<'_>| String::from_utf8(data.joined()).unwrap();
        Events::new(bytes).filter_map(|event| event.data.map(text)).collect()
    }

    #[test]
    fn fields_comments_and_line_ends() {
        assert_eq!(data(b"data: a\n\ndata:b\n\n"), ["a", "b"]);
        assert_eq!(data(b": hello\n\nretry: 5\nid: 7\ndata:  c\r\n\r\n"), [" c"]);
        assert_eq!(data(b"data: a\ndata\ndata: b\nid: 1\n\n"), ["a\n\nb"]);
        assert_eq!(data(b"data: a: b\nfoo: x\n\n"), ["a: b"]);
        assert_eq!(data(b"event: x\nid: 3\n\n"), Vec::<String>::new());
        let mut events = Events::new(b"event: x\nid: 3\ndata: 1\n\n");
        let event = events.next().unwrap();
        assert_eq!((event.id, event.name), (Some(&b"3"[..]), Some(&b"x"[..])));
    }

    #[test]
    fn ids_and_retries_count_without_data() {
        let read = |bytes| Events::new(bytes).map(|e| (e.id, e.retry_ms)).collect::<Vec<_>>();
        assert_eq!(read(b": hello\n\nid: 7\n\n"), [(Some(&b"7"[..]), None)]);
        assert_eq!(read(b"retry: 250\nid\n\n"), [(Some(&b""[..]), Some(250))]);
        assert_eq!(read(b"retry: 1\nretry: +2\nretry: 3x\n\n"), [(None, Some(1))]);
        assert_eq!(read(b"id: a\0b\ndata: 1\n\n"), [(None, None)]);
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let stream = b": hi\r\n\r\nid: 1\ndata: one\n\ndata: t\ndata: wo\r\n\r\ndata: three\n\n";
        for split in 0..=stream.len() {
            let mut first = Events::new(&stream[..split]);
            let mut got: Vec<_> = first.by_ref().map(|e| e.data.unwrap().joined()).collect();
            let rest = Events::new(&stream[first.used()..]);
            got.extend(rest.map(|e| e.data.unwrap().joined()));
            assert_eq!(got, [&b"one"[..], b"t\nwo", b"three"], "split {split}");
        }
    }
}
