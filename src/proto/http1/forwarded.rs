//! The client's address as trusted proxies tell it: `Forwarded` (RFC 7239) or `X-Forwarded-For`.
//!
//! Each proxy appends whom it was asked by, so the list is read from its right end: proxies that are
//! trusted are passed over, and the first address that is not is the client. What stands left of it
//! came from the client and may be anything; it is never looked at, so it cannot make an honest list
//! unreadable. Where an element that has to be read is malformed, or names nobody (`unknown`,
//! `_hidden`), nothing is known.

use std::net::{IpAddr, Ipv6Addr};

use smallvec::SmallVec;

use super::head::Headers;
use crate::model::proxies::{ClientField, TrustedProxies};

/// Whom a trusted proxy names as the client of a request with these fields; `None` = nobody, and the
/// proxy's own address stands. `Forwarded` wins over `X-Forwarded-For`, unless one of them is chosen.
/// If every address is a trusted proxy's, the furthest one counts.
pub fn client_address(headers: &Headers<'_>, proxies: &TrustedProxies) -> Option<IpAddr> {
    let field = proxies.field();
    if field != ClientField::XForwardedFor {
        let values = values(headers, "forwarded");
        if !values.is_empty() || field == ClientField::Forwarded {
            return first_untrusted(&values, forwarded_for, proxies);
        }
    }
    first_untrusted(&values(headers, "x-forwarded-for"), node, proxies)
}

/// Lines of one field, last first; together they are one list (RFC 9110 §5.3).
type Values<'a> = SmallVec<[&'a [u8]; 4]>;

fn values<'a>(headers: &Headers<'a>, name: &str) -> Values<'a> {
    let mut values: Values<'a> = headers.get_all(name).collect();
    values.reverse();
    values
}

fn first_untrusted(
    values: &Values<'_>,
    address: fn(&str) -> Option<IpAddr>,
    proxies: &TrustedProxies,
) -> Option<IpAddr> {
    let mut furthest = None;
    for element in values.iter().flat_map(|value| FromRight(Some(value))) {
        let element = str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
        // RFC 9110 §5.6.1: a recipient passes over empty elements.
        if element.is_empty() {
            continue;
        }
        let address = address(element)?.to_canonical();
        furthest = Some(address);
        if !proxies.trusts(address) {
            break;
        }
    }
    furthest
}

/// The elements of a list, from its right end. A comma inside a quoted string divides nothing; read
/// in this direction, a quote that a client left open hides nothing that was appended to it.
struct FromRight<'a>(Option<&'a [u8]>);

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let mut is_quoted = false;
        let comma = rest.iter().rposition(|byte| {
            is_quoted ^= *byte == b'"';
            *byte == b',' && !is_quoted
        });
        self.0 = comma.map(|at| &rest[..at]);
        Some(comma.map_or(rest, |at| &rest[at + 1..]))
    }
}

/// The address of one element: `for=192.0.2.60;proto=http` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.split_once('=')?;
        if !name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for") {
            continue;
        }
        let value = value.trim_matches([' ', '\t']);
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None => value,
        };
        // RFC 7239 §4: each parameter at most once.
        if found.replace(node(value)?).is_some() {
            return None;
        }
    }
    found
}

/// An address with or without a port: `192.0.2.60`, `192.0.2.60:80`, `[2001:db8::1]:80`
/// (RFC 7239 §6), and `2001:db8::1`, as `X-Forwarded-For` writes it.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(address.into());
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port) = text.split_once(':')?;
    let address = address.parse().ok().map(IpAddr::V4)?;
    is_port(port).then_some(address)
}

/// A port or a name in its place (RFC 7239 §6.3: `obfport`).
fn is_port(text: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(named),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Decoded, Decoder, Limits, Scratch, SizeLimit};
    use super::*;
    use crate::model::address::AddressList;

    fn proxies(field: ClientField) -> TrustedProxies {
        TrustedProxies::new(AddressList::new(["10.0.0.0/8", "2001:db8:1::/48"]).unwrap(), field)
    }

    fn read(field: ClientField, lines: &str) -> Option<IpAddr> {
        let request = format!("GET / HTTP/1.1\r\nHost: t\r\n{lines}\r\n");
        let limit = SizeLimit { size_max: 8192, key: "" };
        let limits = Limits { target: limit, head: limit };
        let (mut decoder, mut scratch) = (Decoder::default(), Scratch::default());
        let (_, decoded) = decoder.decode(request.as_bytes(), &mut scratch, &limits, |_| Ok(limit));
        let Decoded::Request(request) = decoded else { panic!("{lines:?}") };
        client_address(&request.head.headers, &proxies(field))
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        let cases = [
            ("", None),
            ("X-Forwarded-For: 203.0.113.9\r\n", Some("203.0.113.9")),
            ("X-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.0.0.2\r\n", Some("203.0.113.9")),
            ("X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.0.0.2\r\n", Some("203.0.113.9")),
            ("X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", Some("10.0.0.1")),
            ("X-Forwarded-For: garbage, 203.0.113.9\r\n", Some("203.0.113.9")),
            ("X-Forwarded-For: 203.0.113.9, garbage\r\n", None),
            ("X-Forwarded-For: 203.0.113.9, garbage, 10.0.0.2\r\n", None),
            ("X-Forwarded-For: unknown\r\n", None),
            ("X-Forwarded-For: \r\n", None),
            ("X-Forwarded-For: 203.0.113.9,, ,\r\n", Some("203.0.113.9")),
            ("X-Forwarded-For: 203.0.113.9:1234\r\n", Some("203.0.113.9")),
            ("X-Forwarded-For: 2001:db8::7\r\n", Some("2001:db8::7")),
            ("X-Forwarded-For: [2001:db8::7]:80, 2001:db8:1::1\r\n", Some("2001:db8::7")),
            ("X-Forwarded-For: ::ffff:203.0.113.9\r\n", Some("203.0.113.9")),
            ("X-Forwarded-For: 203.0.113.9:99999\r\n", None),
            ("X-Forwarded-For: 203.0.113.256\r\n", None),
            ("Forwarded: for=203.0.113.9\r\n", Some("203.0.113.9")),
            ("Forwarded: For=\"203.0.113.9:80\";proto=https;by=_x\r\n", Some("203.0.113.9")),
            ("Forwarded: for=\"[2001:db8::7]:_p\", for=10.0.0.1\r\n", Some("2001:db8::7")),
            ("Forwarded: for=\", for=203.0.113.9\r\n", Some("203.0.113.9")),
            ("Forwarded: by=\"a,b\";for=203.0.113.9\r\n", Some("203.0.113.9")),
            ("Forwarded: for=unknown\r\n", None),
            ("Forwarded: for=203.0.113.9, for=_hidden\r\n", None),
            ("Forwarded: proto=https\r\n", None),
            ("Forwarded: for=203.0.113.9;for=203.0.113.8\r\n", None),
            ("Forwarded: 203.0.113.9\r\n", None),
            (
                "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 198.51.100.1\r\n",
                Some("203.0.113.9"),
            ),
            ("Forwarded: for=nonsense\r\nX-Forwarded-For: 198.51.100.1\r\n", None),
        ];
        for (lines, expected) in cases {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(read(ClientField::Any, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_chosen_field_is_the_only_one_that_counts() {
        let both = "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 198.51.100.1\r\n";
        let address = |text: &str| Some(text.parse().unwrap());
        assert_eq!(read(ClientField::Forwarded, both), address("203.0.113.9"));
        assert_eq!(read(ClientField::XForwardedFor, both), address("198.51.100.1"));
        let other = "X-Forwarded-For: 198.51.100.1\r\n";
        assert_eq!(read(ClientField::Forwarded, other), None);
    }

    proptest! {
        /// Whatever a client sends, the address that its proxy appends is the one that counts.
        #[test]
        fn nothing_a_client_writes_hides_what_is_appended(
            sent in "[ -~\t]{0,40}", hops in 0_usize..3
        ) {
            let trusted = ", 10.1.2.3".repeat(hops);
            let line = format!("X-Forwarded-For: {sent}, 203.0.113.9{trusted}\r\n");
            prop_assert_eq!(read(ClientField::Any, &line), "203.0.113.9".parse().ok());
            let trusted = ", for=10.1.2.3".repeat(hops);
            let line = format!("Forwarded: {sent}, for=203.0.113.9{trusted}\r\n");
            prop_assert_eq!(read(ClientField::Any, &line), "203.0.113.9".parse().ok());
        }
    }
}
