//! Response heads, read with httparse: status, body framing, the few headers that matter.

/// Most bytes of a response head.
pub const HEAD_SIZE_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// How a body is delimited, RFC 9112 §6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunks, ended by an empty one.
    Chunked,
    /// Everything until the connection ends.
    UntilClose,
}

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Bytes of the head, blank line included.
    pub size: usize,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the server will close after this response.
    pub closes: bool,
    /// Value of `Sec-WebSocket-Accept`.
    pub websocket_accept: Option<Vec<u8>>,
    /// Value of `Sec-WebSocket-Extensions`.
    pub extensions: Option<String>,
    /// Value of `Content-Type`.
    pub content_type: Option<String>,
}

impl Head {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Reads a head; `None` while it is incomplete.
///
/// # Errors
/// When the bytes are not an HTTP/1.1 response head, or it exceeds [`HEAD_SIZE_MAX`].
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_SIZE_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("the response head is too large"),
        Err(_) => return Err("the answer is not HTTP/1.1"),
    };
    let status = response.code.unwrap_or(0);
    let bodiless = status == 204 || status == 304 || (100..200).contains(&status);
    let framing = if bodiless { Framing::Length(0) } else { Framing::UntilClose };
    let mut head = Head {
        status,
        size,
        framing,
        closes: response.version == Some(0),
        websocket_accept: None,
        extensions: None,
        content_type: None,
    };
    for header in response.headers.iter() {
        read_header(&mut head, header, bodiless)?;
    }
    Ok(Some(head))
}

fn read_header(
    head: &mut Head,
    header: &httparse::Header<'_>,
    bodiless: bool,
) -> Result<(), &'static str> {
    let text = || String::from_utf8_lossy(header.value).into_owned();
    let name = header.name;
    if name.eq_ignore_ascii_case("content-length") && !bodiless {
        let length = text().trim().parse().map_err(|_bad| "Content-Length is not a number")?;
        if head.framing != Framing::Chunked {
            head.framing = Framing::Length(length);
        }
    } else if name.eq_ignore_ascii_case("transfer-encoding") && !bodiless {
        if text().to_ascii_lowercase().contains("chunked") {
            head.framing = Framing::Chunked;
        }
    } else if name.eq_ignore_ascii_case("connection") {
        head.closes |= text().to_ascii_lowercase().contains("close");
    } else if name.eq_ignore_ascii_case("sec-websocket-accept") {
        head.websocket_accept = Some(header.value.to_vec());
    } else if name.eq_ignore_ascii_case("sec-websocket-extensions") {
        head.extensions = Some(text());
    } else if name.eq_ignore_ascii_case("content-type") {
        head.content_type = Some(text());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, status: u16, framing: Framing, closes: bool) {
        for cut in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
        let head = parse(text.as_bytes()).unwrap().unwrap();
        let got = (head.status, head.framing, head.closes, head.size);
        assert_eq!(got, (status, framing, closes, text.len()));
    }

    #[test]
    fn framing_follows_the_headers() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", 200, Framing::Length(12), false);
        check("HTTP/1.1 204 No Content\r\n\r\n", 204, Framing::Length(0), false);
        let both = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
        check(both, 200, Framing::Chunked, false);
        check("HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n", 503, Framing::UntilClose, true);
        check("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, Framing::Length(0), true);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").is_err());
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &vec![b'a'; HEAD_SIZE_MAX]].concat();
        assert!(parse(&endless).is_err());
    }
}
