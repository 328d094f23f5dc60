//! What must hold of the JSON scanner for any bytes; used by the fuzz target and by tests.
//!
//! The oracle is `serde_json`: the same texts are valid, and every value has the same raw bytes and
//! every string the same characters.

use fanwire::proto::json::{JsonError, Kind, Scanner, Value};
use serde_json::value::RawValue;

use crate::objects::Pairs;

/// Below the depth at which `serde_json` gives up (128).
pub(crate) const DEPTH_MAX: usize = 64;

/// Panics where the oracle disagrees.
pub(crate) fn check(data: &[u8]) {
    let mut scanner = Scanner::new(DEPTH_MAX);
    match scanner.scan(data) {
        Ok(document) => {
            let text = str::from_utf8(data).expect("a valid text is UTF-8");
            let raw: &RawValue = serde_json::from_str(text).expect("serde_json agrees");
            check_value(document.root(), raw.get());
        }
        Err(JsonError::TooDeep { .. }) => assert!(depth(data) > DEPTH_MAX),
        Err(JsonError::NumberRange { position }) => check_out_of_range(&data[position..]),
        Err(JsonError::BadUtf8 { position }) => {
            let error = str::from_utf8(data).expect_err("the error says so");
            assert_eq!(error.valid_up_to(), position);
        }
        Err(_) => {
            assert!(
                serde_json::from_slice::<serde_json::Value>(data).is_err(),
                "refused valid JSON"
            );
        }
    }
}

fn check_value(value: Value<'_, '_>, raw: &str) {
    assert_eq!(value.raw(), raw);
    match value.kind() {
        Kind::Object => check_members(value, raw),
        Kind::Array => {
            let expected: Vec<&RawValue> = serde_json::from_str(raw).expect("an array");
            let elements: Vec<_> = value.elements().expect("an array").collect();
            assert_eq!(elements.len(), expected.len());
            for (element, expected) in elements.into_iter().zip(expected) {
                check_value(element, expected.get());
            }
        }
        Kind::String => {
            let expected: String = serde_json::from_str(raw).expect("a string");
            assert_eq!(value.as_str().as_deref(), Some(expected.as_str()));
        }
        Kind::Number => {
            assert!(raw.parse::<f64>().expect("a number").is_finite());
            assert_eq!(value.as_u64(), serde_json::from_str(raw).ok());
        }
        Kind::Bool => assert_eq!(value.as_bool(), serde_json::from_str(raw).ok()),
        Kind::Null => assert!(value.is_null() && raw == "null"),
    }
}

fn check_members(value: Value<'_, '_>, raw: &str) {
    let Pairs(expected) = serde_json::from_str(raw).expect("an object");
    let members: Vec<_> = value.members().expect("an object").collect();
    assert_eq!(members.len(), expected.len());
    for ((key, value), (expected_key, expected)) in members.into_iter().zip(expected) {
        assert_eq!(key, expected_key);
        check_value(value, expected.get());
    }
}

fn check_out_of_range(rest: &[u8]) {
    let size = rest.iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count();
    let number = str::from_utf8(&rest[..size]).expect("ASCII");
    assert!(number.parse::<f64>().expect("a number").is_infinite());
}

/// The deepest nesting of brackets outside of strings.
fn depth(data: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in data {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
