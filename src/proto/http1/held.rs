//! A whole request kept beyond its read, because it cannot be served yet.

use super::decoder::Request;
use super::head::Index;

/// A request that owns its bytes. Serving it later is serving [`Held::request`].
#[derive(Debug)]
pub struct Held {
    /// The head, then the body's content.
    bytes: Vec<u8>,
    index: Index,
}

impl Held {
    pub(super) fn new(head: &[u8], index: &Index, body: &[u8]) -> Held {
        let mut bytes = Vec::with_capacity(head.len() + body.len());
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(body);
        Held { bytes, index: index.clone() }
    }

    /// The request as it was decoded.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        let (head, body) = self.bytes.split_at(self.index.head_size());
        Request::new(head, &self.index, body)
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::http1::{Decoded, Decoder, Limits, Scratch, SizeLimit};

    fn check(input: &[u8], first_read_size: usize) {
        let limits = Limits {
            target: SizeLimit { size_max: 100, key: "" },
            head: SizeLimit { size_max: 1000, key: "" },
        };
        let (mut decoder, mut scratch) = (Decoder::new(), Scratch::default());
        let mut at = 0;
        for end in [first_read_size, input.len()] {
            let bytes = &input[at..end];
            let (used, decoded) = decoder.decode(bytes, &mut scratch, &limits, |_head| {
                Ok(SizeLimit { size_max: 100, key: "" })
            });
            at += used;
            if let Decoded::Request(request) = decoded {
                let held = request.hold();
                let kept = held.request();
                assert_eq!(kept.body, b"body", "split at {first_read_size}");
                assert_eq!((kept.head.path, kept.head.query), ("/a", "b=c"));
                assert_eq!(kept.head.headers.text("x-one"), Some("1"));
                assert_eq!(kept.head.terms(), request.head.terms());
                return;
            }
        }
        panic!("no request with a first read of {first_read_size}");
    }

    #[test]
    fn a_held_request_is_the_request_however_it_arrived() {
        let head = "POST /a?b=c HTTP/1.1\r\nHost: t\r\nX-One: 1\r\n";
        let length = format!("{head}Content-Length: 4\r\n\r\nbody");
        let chunked =
            format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3\r\nody\r\n0\r\n\r\n");
        for input in [length, chunked] {
            for split in 0..=input.len() {
                check(input.as_bytes(), split);
            }
        }
    }
}
