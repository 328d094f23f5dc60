//! Requests whose end a proxy and the broker might see at different places (RFC 9112 §11.2).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use crate::connect;

/// Fields and body of the outer request; `@` stands for the hidden one, `#` for the size of the body.
pub(crate) const ATTACKS: [&str; 19] = [
    // Two lengths.
    "Content-Length: 5\r\nContent-Length: #\r\n\r\nhello@",
    "Content-Length: #\r\nContent-Length: 5\r\n\r\nhello@",
    "Content-Length: 5, #\r\n\r\nhello@",
    "Content-Length: +5\r\n\r\nhello@",
    "Content-Length: 0x5\r\n\r\nhello@",
    "Content-Length : 5\r\n\r\nhello@",
    // A length and chunks.
    "Content-Length: #\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n@",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n@",
    // Chunks that not everyone sees.
    "Content-Length: #\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n@",
    "Content-Length: #\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n@",
    "Content-Length: #\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n@",
    "Content-Length: #\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n@",
    "Content-Length: #\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n@",
    "Content-Length: #\r\nX: x\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n@",
    "Content-Length: #\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n@",
    // Chunks whose size can be read in two ways.
    "Transfer-Encoding: chunked\r\n\r\n5;\nx\r\nhello\r\n0\r\n\r\n@",
    "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n@",
    "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloxx0\r\n\r\n@",
    "Transfer-Encoding: chunked\r\n\r\n00000000000000005\r\nhello\r\n0\n\r\n@",
];

/// Sends an attack that hides a publish to `topic`, and an ordinary request that ends the connection;
/// what was answered to all of it.
pub(crate) fn play(address: SocketAddr, attack: &str, topic: &str) -> String {
    let hidden = format!(
        "POST /v1/demo/topics/{topic} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nhidden"
    );
    let (_, body) = attack.split_once("\r\n\r\n").expect("a head and a body");
    let size = body.replace('@', &hidden).len();
    let rest = attack.replace('#', &size.to_string()).replace('@', &hidden);
    let request = format!(
        "POST /v1/demo/topics/outer HTTP/1.1\r\nHost: x\r\n{rest}\
         GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let mut socket = connect(address);
    // Who refuses the first part may close before all of it is written.
    let _ = socket.write_all(request.as_bytes());
    let mut answers = Vec::new();
    if let Err(error) = socket.read_to_end(&mut answers) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{attack:?}");
    }
    String::from_utf8_lossy(&answers).into_owned()
}
