//! What must hold of percent-decoding for any text: it decodes as a naive decoder does, byte by
//! byte, and what was encoded comes back.

use fanwire::proto::http1::{BadEncoding, Query, decode_query, decode_segment, segments};

/// Panics where the naive decoder disagrees.
pub(crate) fn check(data: &[u8]) {
    let encoded = data.iter().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let expected = str::from_utf8(data).map(str::to_owned).map_err(|_not_utf8| BadEncoding);
    assert_eq!(decode_segment(&encoded).map(Into::into), expected);
    assert_eq!(decode_query(&encoded.to_lowercase()).map(Into::into), expected);

    let Ok(text) = str::from_utf8(data) else { return };
    assert_eq!(decode_segment(text).ok().map(Into::into), naive(text, false));
    assert_eq!(decode_query(text).ok().map(Into::into), naive(text, true));
    check_pairs(text);
    let divided: Vec<&str> = segments(text).collect();
    assert_eq!(divided.join("/"), text.strip_prefix('/').unwrap_or(text));
    assert!(divided.iter().all(|segment| !segment.contains('/')));
}

fn check_pairs(text: &str) {
    let pairs: Vec<Option<(String, String)>> =
        Query::new(text).map(|pair| pair.ok().map(|(n, v)| (n.into(), v.into()))).collect();
    let mut expected = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let equals = pair.find('=');
        let name = naive(&pair[..equals.unwrap_or(pair.len())], true);
        let value = naive(equals.map_or("", |at| &pair[at + 1..]), true);
        expected.push(name.zip(value));
    }
    assert_eq!(pairs, expected);
}

fn naive(text: &str, plus_is_space: bool) -> Option<String> {
    let mut decoded = Vec::new();
    let mut parts = text.split('%');
    decoded.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    if plus_is_space {
        decoded.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    }
    for part in parts {
        let digits = part.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        let plus = |byte| if plus_is_space && byte == b'+' { b' ' } else { byte };
        decoded.extend(part[2..].bytes().map(plus));
    }
    String::from_utf8(decoded).ok()
}
