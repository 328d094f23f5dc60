//! JSON string literals: reading their characters, writing them (RFC 8259 §7).

use std::borrow::Cow;

use memchr::memchr;

/// The blanks of RFC 8259 §2.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Appends `text` as a string literal with its quotes. Escapes what must be escaped and nothing
/// else: `"`, `\` and the control characters below U+0020.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(place) = first_to_escape(rest) {
        out.extend_from_slice(&rest[..place]);
        escape(out, rest[place]);
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Bytes that are looked at in one step where none is to be escaped.
const STEP_SIZE: usize = 16;

fn first_to_escape(text: &[u8]) -> Option<usize> {
    // Without a way out in the middle, so that a step's bytes can be asked at once.
    let is_plain = |step: &&[u8]| !step.iter().fold(false, |any, byte| any | must_escape(*byte));
    let plain_size = text.chunks_exact(STEP_SIZE).take_while(is_plain).count() * STEP_SIZE;
    let rest = &text[plain_size..];
    let place = rest.iter().position(|byte| must_escape(*byte))?;
    Some(plain_size + place)
}

fn must_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend(
                [byte >> 4, byte & 0xf].map(|digit| b"0123456789abcdef"[usize::from(digit)]),
            );
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// The characters of a string literal with its quotes; borrows where nothing is escaped.
///
/// `None` for what is no string literal, or one that no sequence of characters is: a lone surrogate.
#[must_use]
pub fn characters(literal: &str) -> Option<Cow<'_, str>> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    if inner.bytes().any(|byte| byte < b' ') {
        return None;
    }
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return memchr(b'"', inner.as_bytes()).is_none().then_some(Cow::Borrowed(inner));
    }
    unescape(inner).map(Cow::Owned)
}

/// The characters of a literal in a validated text, where nothing but escapes can be amiss.
pub(super) fn content(literal: &str) -> Option<Cow<'_, str>> {
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    if inner.as_bytes().contains(&b'\\') {
        return unescape(inner).map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

fn unescape(mut rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    while let Some(place) = rest.find(['\\', '"']) {
        let (plain, marked) = rest.split_at(place);
        text.push_str(plain);
        let (character, after) = escaped_character(marked.strip_prefix('\\')?)?;
        text.push(character);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// The character that stands behind a backslash, and what follows it.
fn escaped_character(text: &str) -> Option<(char, &str)> {
    let (kind, rest) = text.split_at_checked(1)?;
    let character = match kind {
        "\"" => '"',
        "\\" => '\\',
        "/" => '/',
        "b" => '\u{8}',
        "f" => '\u{c}',
        "n" => '\n',
        "r" => '\r',
        "t" => '\t',
        "u" => return code_point(rest),
        _ => return None,
    };
    Some((character, rest))
}

/// `XXXX`, or `XXXX\uXXXX` where the first is a high surrogate (RFC 8259 §7).
fn code_point(text: &str) -> Option<(char, &str)> {
    let (first, rest) = hexadecimal(text)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, rest));
    }
    let (second, rest) = hexadecimal(rest.strip_prefix("\\u")?)?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    let code = 0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00));
    Some((char::from_u32(code)?, rest))
}

fn hexadecimal(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let code = digits.chars().try_fold(0, |code, digit| Some(code << 4 | digit.to_digit(16)?))?;
    Some((code, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape_into(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_control_character_is_escaped() {
        assert_eq!(escaped(""), r#""""#);
        assert_eq!(escaped("plain é 😀 \u{7f}\u{2028}/"), "\"plain é 😀 \u{7f}\u{2028}/\"");
        assert_eq!(
            escaped("\0\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\"),
            r#""\u0000\u0001\b\t\n\u000b\f\r\u001f\"\\""#
        );
    }

    #[test]
    fn an_escape_is_found_wherever_it_stands() {
        for size in 0..2 * STEP_SIZE + 2 {
            for place in 0..size {
                let mut text = "x".repeat(size);
                assert_eq!(escaped(&text), format!("\"{text}\""));
                text.replace_range(place..=place, "\\");
                let (before, after) = text.split_at(place);
                assert_eq!(escaped(&text), format!("\"{before}\\{after}\""));
            }
        }
    }

    #[test]
    fn characters_of_literals() {
        for (literal, expected) in [
            (r#""""#, Some("")),
            (r#""a/é""#, Some("a/é")),
            (r#""\"\\\/\b\f\n\r\t""#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (r#""\u00e9\u00E9\uD83D\uDE00\u0000!""#, Some("éé😀\0!")),
            (r#""\ud800""#, None),
            (r#""\udc00""#, None),
            (r#""\ud800\ud800""#, None),
            (r#""\ud800x""#, None),
            (r#""\u12""#, None),
            (r#""\u+123""#, None),
            (r#""\u123é""#, None),
            (r#""\x""#, None),
            (r#""\é""#, None),
            (r#""\""#, None),
            (r#""a"b""#, None),
            (r#""a"b\n""#, None),
            ("\"\n\"", None),
            ("\"", None),
            ("", None),
            ("a", None),
        ] {
            assert_eq!(characters(literal).as_deref(), expected, "{literal}");
        }
        assert!(matches!(characters("\"plain\""), Some(Cow::Borrowed("plain"))));
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(text in any::<String>()) {
            let literal = escaped(&text);
            prop_assert_eq!(&serde_json::from_str::<String>(&literal).unwrap(), &text);
            prop_assert_eq!(characters(&literal).map(Cow::into_owned), Some(text));
        }

        #[test]
        fn literals_read_as_serde_json_reads_them(
            inner in r#"(\\["\\/bfnrtux]|\\u[dD][89a-fA-F][0-9a-f]{2}|\\u[0-9a-fA-F]{4}|[ -~é😀]){0,12}"#
        ) {
            let literal = format!("\"{inner}\"");
            let expected = serde_json::from_str::<String>(&literal).ok();
            prop_assert_eq!(characters(&literal).map(Cow::into_owned), expected);
        }
    }
}
