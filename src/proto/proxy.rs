//! The PROXY protocol, versions 1 (text) and 2 (binary), sans I/O: what a proxy that passes on bytes
//! says first about whom it passes them on for (`HAProxy`, "The PROXY protocol", 2020/03/05).
//!
//! The decoder is a function of all bytes that have come so far, so it keeps nothing. It refuses at
//! the first byte that no header begins with, and never asks for more than [`HEADER_SIZE_MAX`].
//! Additional fields (TLV, §2.2) are passed over, their checksum included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header that is taken in, in bytes. Addresses take up to 232; the rest is additional fields.
pub const HEADER_SIZE_MAX: usize = 4096;

/// Longest text header, line end included (§2.1).
const LINE_SIZE_MAX: usize = 107;

/// What every binary header begins with (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8; 6] = b"PROXY ";

/// Bytes of a binary header in front of its addresses.
const FIXED_SIZE: usize = 16;

/// A header that is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its bytes; the connection's own follow them.
    pub size: usize,
    /// The client; `None` where the proxy names none (`LOCAL`, `UNKNOWN`, a Unix socket), and the
    /// connection's own peer stands.
    pub client: Option<SocketAddr>,
}

/// Why the bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// They begin as no header does.
    Absent,
    /// A text header that breaks §2.1.
    BadLine,
    /// A binary header that breaks §2.2.
    BadBlock,
    /// Longer than [`HEADER_SIZE_MAX`].
    TooLong,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fault::Absent => "the connection does not begin with a PROXY protocol header",
            Fault::BadLine => "a malformed PROXY protocol header, version 1",
            Fault::BadBlock => "a malformed PROXY protocol header, version 2",
            Fault::TooLong => "a PROXY protocol header of more than 4096 bytes",
        })
    }
}

impl std::error::Error for Fault {}

/// Reads the header that `bytes`, all of the connection so far, begin with. `None`: more is needed.
///
/// # Errors
/// They begin with none.
pub fn decode(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let begins = |word: &[u8]| {
        let size = word.len().min(bytes.len());
        bytes[..size] == word[..size]
    };
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(WORD) {
        text(bytes)
    } else {
        Err(Fault::Absent)
    }
}

fn text(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let window = &bytes[..bytes.len().min(LINE_SIZE_MAX)];
    let Some(end) = memchr::memmem::find(window, b"\r\n") else {
        return if window.len() == LINE_SIZE_MAX { Err(Fault::BadLine) } else { Ok(None) };
    };
    let line = str::from_utf8(&window[WORD.len()..end]).map_err(|_not_text| Fault::BadLine)?;
    Ok(Some(Header { size: end + 2, client: client_of_line(line)? }))
}

fn client_of_line(line: &str) -> Result<Option<SocketAddr>, Fault> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // §2.1: whatever follows is ignored.
        return Ok(None);
    }
    let mut word = || words.next().ok_or(Fault::BadLine);
    let (source, destination) = (word()?, word()?);
    let (port, destination_port) = (word()?, word()?);
    let both = match family {
        "TCP4" => address::<Ipv4Addr>(source).zip(address::<Ipv4Addr>(destination)),
        "TCP6" => address::<Ipv6Addr>(source).zip(address::<Ipv6Addr>(destination)),
        _ => None,
    };
    let ports = self::port(port).zip(self::port(destination_port));
    match (both, ports, words.next()) {
        (Some((address, _)), Some((port, _)), None) => Ok(Some(SocketAddr::new(address, port))),
        _ => Err(Fault::BadLine),
    }
}

fn address<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<A>().ok().map(Into::into)
}

/// §2.1: decimal, no leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_plain)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_SIZE) else {
        // A wrong version is known before its addresses are there.
        let is_2 = bytes.get(SIGNATURE.len()).is_none_or(|byte| byte >> 4 == 2);
        return if is_2 { Ok(None) } else { Err(Fault::BadBlock) };
    };
    let block_size = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let size = FIXED_SIZE + block_size;
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Fault::BadBlock),
    };
    let family = fixed[13];
    if !is_local && block_size < addresses_size(family).ok_or(Fault::BadBlock)? {
        return Err(Fault::BadBlock);
    }
    if size > HEADER_SIZE_MAX {
        return Err(Fault::TooLong);
    }
    let Some(block) = rest.get(..block_size) else { return Ok(None) };
    let client = if is_local { None } else { client_of_block(family, block) };
    Ok(Some(Header { size, client }))
}

/// Bytes of both addresses (§2.2); `None` for what is no stream of a family that there is.
fn addresses_size(family: u8) -> Option<usize> {
    match family {
        0x00 => Some(0),
        0x11 => Some(12),
        0x21 => Some(36),
        0x31 => Some(216),
        _ => None,
    }
}

fn client_of_block(family: u8, block: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes([*block.get(at)?, *block.get(at + 1)?]));
    match family {
        0x11 => {
            let source: [u8; 4] = *block.first_chunk()?;
            Some(SocketAddr::new(Ipv4Addr::from(source).into(), port(8)?))
        }
        0x21 => {
            let source: [u8; 16] = *block.first_chunk()?;
            Some(SocketAddr::new(Ipv6Addr::from(source).into(), port(32)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let size = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &size, block].concat()
    }

    fn header(client: &str, size: usize) -> Header {
        Header { size, client: client.parse().ok() }
    }

    /// The same verdict however the bytes are cut: more is asked for until there is one, and it stays.
    fn check(bytes: &[u8], expected: Result<Option<Header>, Fault>) {
        let mut verdict = None;
        for size in 0..=bytes.len() {
            match (decode(&bytes[..size]), verdict) {
                (Ok(None), None) => {}
                (now, None) => verdict = Some(now),
                (now, Some(before)) => assert_eq!(now, before, "{bytes:?} at {size}"),
            }
        }
        assert_eq!(verdict.unwrap_or(Ok(None)), expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn text_headers() {
        let good = [
            ("PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n", "203.0.113.9:56324"),
            ("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", "[2001:db8::7]:1"),
            ("PROXY UNKNOWN\r\n", ""),
            ("PROXY UNKNOWN ffff:f::1 nonsense  \r\n", ""),
        ];
        for (line, client) in good {
            check(line.as_bytes(), Ok(Some(header(client, line.len()))));
            check(
                format!("{line}GET / HTTP/1.1\r\n").as_bytes(),
                Ok(Some(header(client, line.len()))),
            );
        }
        let bad = [
            "PROXY TCP4 203.0.113.9 10.0.0.1 56324\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 56324 443 \r\n",
            "PROXY TCP4  203.0.113.9 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 056324 443\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 203.0.113.9 10.0.0.1 1 1\r\n",
            "PROXY UDP4 203.0.113.9 10.0.0.1 1 1\r\n",
            "PROXY \r\n",
        ];
        for line in bad {
            check(line.as_bytes(), Err(Fault::BadLine));
        }
        check(format!("PROXY UNKNOWN{}", " ".repeat(200)).as_bytes(), Err(Fault::BadLine));
        for absent in ["GET / HTTP/1.1\r\n", "proxy TCP4", "PROXX", "\r\n\r\nX", "\x16\x03\x01"] {
            check(absent.as_bytes(), Err(Fault::Absent));
        }
    }

    #[test]
    fn binary_headers() {
        let four = [203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 4, 1, 187];
        check(&block(0x21, 0x11, &four), Ok(Some(header("203.0.113.9:56324", 28))));
        let fields = [four.as_slice(), &[4, 0, 2, 7, 7]].concat();
        check(&block(0x21, 0x11, &fields), Ok(Some(header("203.0.113.9:56324", 33))));
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six[33] = 80;
        check(&block(0x21, 0x21, &six), Ok(Some(header("[2001:db8::7]:80", 52))));
        check(&block(0x21, 0x31, &[b'/'; 216]), Ok(Some(header("", 232))));
        check(&block(0x21, 0x00, b""), Ok(Some(header("", 16))));
        check(&block(0x20, 0x00, b""), Ok(Some(header("", 16))));
        check(&block(0x20, 0xff, b"ignored"), Ok(Some(header("", 23))));
        let bad = [
            block(0x11, 0x11, &four),
            block(0x22, 0x11, &four),
            block(0x21, 0x12, &four),
            block(0x21, 0x41, &four),
            block(0x21, 0x11, &four[..11]),
            block(0x21, 0x21, &six[..35]),
            block(0x21, 0x31, &[0; 215]),
        ];
        for bytes in bad {
            check(&bytes, Err(Fault::BadBlock));
        }
        check(&block(0x21, 0x11, &[0; HEADER_SIZE_MAX]), Err(Fault::TooLong));
        let longest = block(0x21, 0x00, &[0; HEADER_SIZE_MAX - FIXED_SIZE]);
        check(&longest, Ok(Some(header("", HEADER_SIZE_MAX))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_whole_and_byte_by_byte(
            client: SocketAddr, fields in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            let (ip, port) = (client.ip(), client.port());
            let family = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {family} {ip} {ip} {port} 1\r\n");
            let plain = Some(SocketAddr::new(ip, port));
            check(line.as_bytes(), Ok(Some(Header { size: line.len(), client: plain })));
            let octets = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let family = if ip.is_ipv4() { 0x11 } else { 0x21 };
            let addresses = [&octets[..], &octets, &port.to_be_bytes(), &[0, 1], &fields].concat();
            let bytes = block(0x21, family, &addresses);
            check(&bytes, Ok(Some(Header { size: bytes.len(), client: plain })));
        }

        #[test]
        fn any_bytes_have_one_verdict_and_enough_of_them_have_some(
            head in prop_oneof![Just(&b"PROXY "[..]), Just(&SIGNATURE[..]), Just(&b""[..])],
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = [head, &rest].concat();
            let verdict = (0..=bytes.len())
                .map(|size| decode(&bytes[..size]))
                .find(|verdict| *verdict != Ok(None));
            if let Some(verdict) = verdict {
                check(&bytes, verdict);
            }
            bytes.resize(HEADER_SIZE_MAX, 0);
            prop_assert_ne!(decode(&bytes), Ok(None));
        }
    }
}
