//! What must hold of the HTTP/1.1 decoder for any bytes; used by the fuzz target and by tests.
//!
//! Two oracles: the same bytes divided differently give the same events, and a naive reader, which
//! knows only CRLF, Content-Length and chunks, divides the bytes into the same requests.

use fanwire::model::refusal::{Refusal, Refused};
use fanwire::proto::http1::{
    Decoded, Decoder, Framing, Limits, Progress, Request, Scratch, SizeLimit, Terms,
};

/// Small limits, so that short inputs meet them.
pub(crate) const LIMITS: Limits = Limits {
    target: SizeLimit { size_max: 256, key: "http.target" },
    head: SizeLimit { size_max: 1024, key: "http.head" },
};
/// Most bytes of a body.
pub(crate) const BODY: SizeLimit = SizeLimit { size_max: 2048, key: "http.body" };

/// What came out, owned. That the peer waits for a 100 depends on timing and is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A request and where it ended in the stream.
    Request {
        /// Method, target, path, query and version.
        line: [String; 5],
        /// Name and value.
        headers: Vec<(String, Vec<u8>)>,
        /// How the body was delimited.
        framing: Framing,
        /// Keeps alive, expects 100, wants an upgrade.
        flags: [bool; 3],
        /// The content.
        body: Vec<u8>,
        /// Position behind its last byte.
        end: usize,
    },
    /// The refusal that ended the stream.
    Refused(Refused, Terms),
}

/// Decodes a stream that arrives in these pieces. Requests to `/refused` are not admitted.
pub(crate) fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut scratch = Scratch::default();
    let mut events = Vec::new();
    let mut position = 0;
    for mut piece in pieces {
        while !piece.is_empty() {
            let mut admitted_count = 0;
            let (consumed, decoded) = decoder.decode(piece, &mut scratch, &LIMITS, |head| {
                admitted_count += 1;
                if head.path == "/refused" {
                    return Err(Refused::new(Refusal::UnknownRoute, "by the caller"));
                }
                Ok(BODY)
            });
            assert!(admitted_count <= 1);
            position += consumed;
            match decoded {
                Decoded::NeedMore | Decoded::Continue => assert_eq!(consumed, piece.len()),
                Decoded::Request(request) => events.push(event(&request, position)),
                Decoded::Refused(refused, terms) => {
                    assert!(!terms.keep_alive);
                    assert_eq!(consumed, piece.len());
                    events.push(Event::Refused(refused, terms));
                }
            }
            check_state(&decoder, position);
            piece = &piece[consumed..];
        }
    }
    events
}

fn check_state(decoder: &Decoder, position: usize) {
    let is_holding = matches!(decoder.progress(), Progress::Head | Progress::Body);
    assert_eq!(decoder.buffered_size() > 0, is_holding);
    // What is held grows with what arrived (doubling, plus one reservation), not with promises.
    assert!(decoder.buffered_size() <= 2048 + 3 * position.min(8192) + BODY.size_max);
}

fn event(request: &Request<'_>, end: usize) -> Event {
    let head = &request.head;
    let line = [
        head.method.to_string(),
        head.target.to_owned(),
        head.path.to_owned(),
        head.query.to_owned(),
        format!("{:?}", head.version),
    ];
    let headers = head.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec()));
    Event::Request {
        line,
        headers: headers.collect(),
        framing: head.framing,
        flags: [head.keep_alive, head.expects_continue, head.wants_upgrade],
        body: request.body.to_vec(),
        end,
    }
}

/// Panics where an oracle disagrees.
pub(crate) fn check(data: &[u8]) {
    let whole = events([data]);
    assert_eq!(events(data.chunks(1)), whole, "byte by byte");
    let size = data.iter().fold(data.len(), |sum, byte| sum.wrapping_mul(31) + usize::from(*byte));
    assert_eq!(events(data.chunks(2 + size % 61)), whole, "in pieces");
    let (start, end) = data.split_at(size % (data.len() + 1));
    assert_eq!(events([start, end]), whole, "in two");
    check_division(data, &whole);
}

/// Reads the same stream as a simple proxy would.
fn check_division(data: &[u8], events: &[Event]) {
    let mut start = 0;
    for (index, event) in events.iter().enumerate() {
        let Event::Request { line, headers, flags, body, end, .. } = event else {
            assert_eq!(index + 1, events.len(), "nothing follows a refusal");
            continue;
        };
        while data[start..].starts_with(b"\r\n") {
            start += 2;
        }
        let head_size = find(&data[start..*end], b"\r\n\r\n").expect("a head ends") + 4;
        let head = &data[start..start + head_size];
        let (lengths, codings) = naive_head(head, line, headers);
        let after_head = &data[start + head_size..*end];
        match (&lengths[..], &codings[..]) {
            ([], []) => assert!(after_head.is_empty() && body.is_empty()),
            ([length], []) => {
                assert_eq!(length.parse::<usize>().ok(), Some(body.len()));
                assert_eq!(after_head, body);
            }
            ([], [coding]) => {
                assert!(coding.eq_ignore_ascii_case("chunked"));
                assert_eq!(naive_chunks(after_head), (body.clone(), after_head.len()));
            }
            _ => panic!("ambiguous framing was let through"),
        }
        start = *end;
        assert!(flags[0] || index + 1 == events.len(), "nothing follows a closing request");
    }
}

/// Checks lines one by one; gives the values of all Content-Length and Transfer-Encoding fields.
fn naive_head(
    head: &[u8],
    line: &[String; 5],
    headers: &[(String, Vec<u8>)],
) -> (Vec<String>, Vec<String>) {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.strip_suffix("\r\n\r\n").expect("ends so").split("\r\n");
    let [method, target, _, _, version] = line;
    assert_eq!(lines.next(), Some(format!("{method} {target} {version}").as_str()));
    let (mut lengths, mut codings, mut hosts_count, mut count) = (Vec::new(), Vec::new(), 0, 0);
    for (line, (name, value)) in lines.zip(headers) {
        let (naive_name, naive_value) = line.split_once(':').expect("a field has a colon");
        let naive_value = naive_value.trim_matches([' ', '\t']);
        assert_eq!(naive_name, name);
        assert!(naive_value.chars().map(u32::from).eq(value.iter().map(|byte| u32::from(*byte))));
        assert!(!naive_name.is_empty() && !naive_name.contains([' ', '\t']));
        assert!(!naive_value.contains(|c: char| c < ' ' && c != '\t' || c == '\u{7f}'));
        match naive_name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(naive_value.to_owned()),
            "transfer-encoding" => codings.push(naive_value.to_owned()),
            "host" => hosts_count += 1,
            _ => {}
        }
        count += 1;
    }
    assert_eq!(count, headers.len());
    assert!(hosts_count == 1 || (hosts_count == 0 && version == "HTTP/1.0"));
    assert!(codings.is_empty() || version == "HTTP/1.1");
    (lengths, codings)
}

/// The content of a chunked body and how many bytes it took.
fn naive_chunks(data: &[u8]) -> (Vec<u8>, usize) {
    let mut content = Vec::new();
    let mut position = 0;
    loop {
        let line_size = find(&data[position..], b"\r\n").expect("a size line ends");
        let line = str::from_utf8(&data[position..position + line_size]).unwrap_or_default();
        let digits = line.split([';', ' ', '\t']).next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| {
            // An extension may hold bytes that are no UTF-8; the digits before it are ASCII.
            let digits = &data[position..position + line_size];
            let count = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            usize::from_str_radix(str::from_utf8(&digits[..count]).expect("ASCII"), 16)
                .expect("fits")
        });
        position += line_size + 2;
        if size == 0 {
            break;
        }
        content.extend_from_slice(&data[position..position + size]);
        assert_eq!(&data[position + size..position + size + 2], b"\r\n");
        position += size + 2;
    }
    loop {
        let line_size = find(&data[position..], b"\r\n").expect("a trailer line ends");
        position += line_size + 2;
        if line_size == 0 {
            return (content, position);
        }
    }
}

fn find(data: &[u8], pattern: &[u8]) -> Option<usize> {
    data.windows(pattern.len()).position(|window| window == pattern)
}
