//! The opening handshake, server side (RFC 6455 §4.2).
//!
//! Knows no HTTP parser: the caller says what the request line was and looks header fields up.
//! No subprotocol is ever chosen, which RFC 6455 §4.2.2 allows whatever a client offers. Origins,
//! paths and rights are the caller's.

use tungstenite::handshake::derive_accept_key;

use super::extension::{self, Deflate};
use crate::model::refusal::{Refusal, Refused};

/// The one version there is (RFC 6455 §4.1).
const VERSION: &[u8] = b"13";

/// Header fields that go with the 426 of [`Refusal::BadWebSocketVersion`] (RFC 6455 §4.2.2,
/// RFC 9110 §15.5.22).
pub const VERSION_REFUSED_FIELDS: [(&str, &str); 3] =
    [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket"), ("Connection", "Upgrade")];

/// A handshake that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// What was agreed on compression, if anything.
    pub deflate: Option<Deflate>,
    accept_key: String,
}

impl Accepted {
    /// The window to compress for, in bits (9–15), if permessage-deflate was agreed.
    pub fn window(&self) -> Option<u8> {
        self.deflate.map(|deflate| deflate.window)
    }

    /// Appends the whole 101 response (RFC 6455 §4.2.2).
    pub fn append_response(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\n\
              Upgrade: websocket\r\n\
              Connection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(self.accept_key.as_bytes());
        if let Some(deflate) = self.deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            deflate.append_answer(out);
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// Decides on a request: `get` is whether its method is GET, `http11` whether its version is
/// HTTP/1.1. `field` gives every value of the field of that lower-case name, in order.
/// `window_max` (9–15) allows permessage-deflate with windows up to that; `None` declines it.
///
/// # Errors
/// [`Refusal::BadWebSocketVersion`] for a version other than 13, to be answered with
/// [`VERSION_REFUSED_FIELDS`]; [`Refusal::BadHandshake`] for everything else that breaks
/// RFC 6455 §4.2.1.
pub fn decide<'h, I>(
    get: bool,
    http11: bool,
    field: impl Fn(&'static str) -> I,
    window_max: Option<u8>,
) -> Result<Accepted, Refused>
where
    I: Iterator<Item = &'h [u8]>,
{
    ensure(get, "the method of a WebSocket handshake is GET")?;
    ensure(http11, "a WebSocket handshake needs HTTP/1.1")?;
    ensure(field("host").next().is_some(), "Host is missing")?;
    ensure(lists(field("upgrade"), b"websocket"), "Upgrade does not name websocket")?;
    ensure(lists(field("connection"), b"upgrade"), "Connection does not name Upgrade")?;
    check_version(field("sec-websocket-version"))?;
    let accept_key = accept_key(field("sec-websocket-key"))?;
    let deflate = match window_max {
        Some(window_max) => negotiate(field("sec-websocket-extensions"), window_max),
        None => None,
    };
    Ok(Accepted { deflate, accept_key })
}

/// Whether a request asks for WebSocket at all; one that does is answered as a handshake.
pub fn is_asked<'h>(upgrade: impl Iterator<Item = &'h [u8]>) -> bool {
    lists(upgrade, b"websocket")
}

fn ensure(holds: bool, detail: &str) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused::new(Refusal::BadHandshake, detail)) }
}

/// Whether a comma list over any number of lines has the token, in any case.
fn lists<'h>(mut values: impl Iterator<Item = &'h [u8]>, token: &[u8]) -> bool {
    values.any(|value| {
        value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
    })
}

fn check_version<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Result<(), Refused> {
    let Some(first) = values.next() else {
        return Err(Refused::new(Refusal::BadHandshake, "Sec-WebSocket-Version is missing"));
    };
    if first.trim_ascii() == VERSION && values.next().is_none() {
        return Ok(());
    }
    let shown: String = String::from_utf8_lossy(first).chars().take(20).collect();
    Err(Refused::new(Refusal::BadWebSocketVersion, format!("Sec-WebSocket-Version is {shown:?}")))
}

fn accept_key<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Result<String, Refused> {
    match (values.next().map(<[u8]>::trim_ascii), values.next()) {
        (Some(key), None) if is_key(key) => Ok(derive_accept_key(key)),
        (None, _) => Err(Refused::new(Refusal::BadHandshake, "Sec-WebSocket-Key is missing")),
        (_, Some(_)) => {
            Err(Refused::new(Refusal::BadHandshake, "Sec-WebSocket-Key is there more than once"))
        }
        _ => {
            Err(Refused::new(Refusal::BadHandshake, "Sec-WebSocket-Key is not 16 bytes of base64"))
        }
    }
}

/// Whether it is 16 bytes in base64 (RFC 6455 §4.2.1): 22 characters and the padding.
fn is_key(key: &[u8]) -> bool {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(base64)
}

/// Every decline is silent. RFC 6455 §9.1 would have a value outside the grammar fail the
/// connection; a client is better served without compression than not at all.
fn negotiate<'h>(values: impl Iterator<Item = &'h [u8]>, window_max: u8) -> Option<Deflate> {
    extension::negotiate(values, window_max).unwrap_or(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = Vec<(&'a str, &'a str)>;

    /// The request of RFC 6455 §1.3.
    fn example() -> Fields<'static> {
        vec![
            ("host", "server.example.com"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("origin", "http://example.com"),
            ("sec-websocket-protocol", "chat, superchat"),
            ("sec-websocket-version", "13"),
        ]
    }

    fn ask(
        get: bool,
        http11: bool,
        fields: &Fields<'_>,
        max: Option<u8>,
    ) -> Result<String, Refusal> {
        let field = |name| {
            fields.iter().filter(move |field| field.0 == name).map(|field| field.1.as_bytes())
        };
        decide(get, http11, field, max).map_err(|refused| refused.refusal).map(|accepted| {
            let mut out = Vec::new();
            accepted.append_response(&mut out);
            String::from_utf8(out).unwrap()
        })
    }

    const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn the_example_of_rfc_6455() {
        assert_eq!(ask(true, true, &example(), Some(15)), Ok(RESPONSE.into()));
    }

    #[test]
    fn the_request_line_counts() {
        assert_eq!(ask(false, true, &example(), None), Err(Refusal::BadHandshake));
        assert_eq!(ask(true, false, &example(), None), Err(Refusal::BadHandshake));
    }

    #[test]
    fn every_field_is_needed() {
        for name in ["host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version"]
        {
            let mut fields = example();
            fields.retain(|field| field.0 != name);
            assert_eq!(ask(true, true, &fields, None), Err(Refusal::BadHandshake), "{name}");
        }
    }

    #[test]
    fn values_are_judged_one_by_one() {
        let (ok, bad, version) =
            (Ok(RESPONSE.into()), Err(Refusal::BadHandshake), Err(Refusal::BadWebSocketVersion));
        let cases = [
            ("upgrade", "WebSocket", &ok),
            ("upgrade", "h2c, websocket", &ok),
            ("upgrade", "websockets", &bad),
            ("connection", "keep-alive, Upgrade", &ok),
            ("connection", "keep-alive,UPGRADE ", &ok),
            ("connection", "keep-alive", &bad),
            ("sec-websocket-version", " 13", &ok),
            ("sec-websocket-version", "8", &version),
            ("sec-websocket-version", "13, 8", &version),
            ("sec-websocket-version", "013", &version),
            ("sec-websocket-version", "", &version),
            ("sec-websocket-key", "", &bad),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ", &bad),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZ===", &bad),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=-", &bad),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25j____", &bad),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZTE=", &bad),
        ];
        for (name, value, expected) in cases {
            let mut fields = example();
            fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value);
            assert_eq!(&ask(true, true, &fields, None), expected, "{name}: {value}");
        }
    }

    #[test]
    fn lists_go_on_over_lines_and_single_values_do_not() {
        let mut fields = example();
        fields.insert(0, ("connection", "keep-alive"));
        fields.insert(0, ("upgrade", "h2c"));
        assert_eq!(ask(true, true, &fields, None), Ok(RESPONSE.into()));
        for (name, value, expected) in [
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==", Refusal::BadHandshake),
            ("sec-websocket-version", "13", Refusal::BadWebSocketVersion),
        ] {
            let mut fields = example();
            fields.push((name, value));
            assert_eq!(ask(true, true, &fields, None), Err(expected), "{name} twice");
        }
    }

    #[test]
    fn compression_is_answered_where_it_is_on() {
        let mut fields = example();
        fields.push(("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"));
        assert_eq!(ask(true, true, &fields, None), Ok(RESPONSE.into()));
        let answer = RESPONSE.replace(
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover\r\n\r\n",
        );
        assert_eq!(ask(true, true, &fields, Some(15)), Ok(answer));
        fields.push(("sec-websocket-extensions", "permessage-deflate;"));
        assert_eq!(ask(true, true, &fields, Some(15)), Ok(RESPONSE.into()), "declined, no error");
    }
}
