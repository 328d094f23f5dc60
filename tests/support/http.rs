//! A small HTTP/1.1 client that checks what it reads: heads end in CRLF, lengths are told.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

/// A response.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The one value of a field; a field that stands twice is a failure.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} stands twice: {self:?}");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// The `code` of a problem body, whose form is checked (RFC 9457).
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = super::json(&self.body);
        assert_eq!(problem["status"], self.status);
        let code = problem["code"].as_str().expect("a code").to_owned();
        assert_eq!(problem["type"], format!("urn:fanwire:problem:{code}"));
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        code
    }
}

/// One connection that speaks HTTP.
#[derive(Debug)]
pub(crate) struct Http {
    reader: BufReader<TcpStream>,
}

impl Http {
    pub(crate) fn new(stream: TcpStream) -> Http {
        Http { reader: BufReader::new(stream) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn into_reader(self) -> BufReader<TcpStream> {
        self.reader
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("the broker reads");
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self) {
        self.stream().shutdown(Shutdown::Write).expect("connected");
    }

    /// Sends a request and reads its response.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.send(request_bytes(method, target, headers, body));
        self.response_to(method)
    }

    /// Reads a response to anything but a HEAD.
    pub(crate) fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    pub(crate) fn response_to(&mut self, method: &str) -> Response {
        self.try_response(method).expect("a response before the end")
    }

    /// A response, or `None` when the broker closes (or resets) before one begins.
    pub(crate) fn try_response(&mut self, method: &str) -> Option<Response> {
        let mut response = self.head()?;
        if method == "HEAD" || response.status < 200 || matches!(response.status, 204 | 304) {
            return Some(response);
        }
        let size = response.header("content-length").map(str::parse::<usize>);
        if let Some(size) = size {
            response.body = vec![0; size.expect("a number")];
            self.reader.read_exact(&mut response.body).expect("the whole body");
        } else {
            assert_eq!(response.header("connection"), Some("close"), "no length: {response:?}");
            self.reader.read_to_end(&mut response.body).expect("a body until the end");
        }
        Some(response)
    }

    /// Only the head.
    pub(crate) fn head(&mut self) -> Option<Response> {
        let status_line = line(&mut self.reader)?;
        let (version, rest) = status_line.split_once(' ').expect("a status line");
        assert_eq!(version, "HTTP/1.1", "{status_line:?}");
        let status = rest.get(..3).and_then(|status| status.parse().ok());
        let mut response = Response {
            version: version.to_owned(),
            status: status.unwrap_or_else(|| panic!("{status_line:?}")),
            ..Response::default()
        };
        loop {
            let field = line(&mut self.reader).expect("a whole head");
            if field.is_empty() {
                return Some(response);
            }
            let (name, value) = field.split_once(": ").expect("name: value");
            response.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// The broker closes, having sent nothing more.
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// A line without its CRLF; `None` at the end of the stream.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    match reader.read_until(b'\n', &mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
    }
    if bytes.is_empty() {
        return None;
    }
    let line = bytes.strip_suffix(b"\r\n").unwrap_or_else(|| {
        panic!("a line without CRLF: {:?}", String::from_utf8_lossy(&bytes));
    });
    Some(String::from_utf8(line.to_vec()).expect("UTF-8"))
}

/// A request; a body adds its length.
pub(crate) fn request_bytes(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Posts a text and expects 200.
pub(crate) fn post(http: &mut Http, target: &str, body: &[u8]) -> Response {
    let response = http.request("POST", target, &[], body);
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    response
}
