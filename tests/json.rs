//! The JSON scanner against a table and against `serde_json`.

use fanwire::model::refusal::{Refusal, Refused};
use fanwire::proto::json::{FieldError, JsonError, Kind, Scanner};
use proptest::prelude::*;

#[path = "../fuzz/checks/objects.rs"]
mod objects;
#[path = "../fuzz/checks/json.rs"]
mod oracle;

fn error(text: impl AsRef<[u8]>) -> Option<JsonError> {
    oracle::check(text.as_ref());
    Scanner::new(oracle::DEPTH_MAX).scan(text.as_ref()).err()
}

#[test]
fn valid_texts_are_accepted() {
    for text in [
        "0",
        "-0",
        "1",
        "-1.5e+3",
        "null",
        " \t\r\n true \n",
        "\"\"",
        "[]",
        "{}",
        "[ ]",
        "{ }",
        "[1,[2,{\"a\":[]}],{}]",
        "\"\u{7f}\u{2028}é😀\"",
        "{\"\":\"\"}",
        "123456789012345678901234567890",
        "0e99999999999",
        "1e-400",
        "-9223372036854775809",
        "\"\\ud83d\\ude00\"",
        "[\"\\\\\",\"\\\"\",\"]\",\"}\"]",
        "{\"a\\u0062\":1,\"a\\u0062\":2}",
    ] {
        let expected = serde_json::from_str::<&serde_json::value::RawValue>(text).is_err();
        assert_eq!(error(text).is_some(), expected, "{text}");
    }
    let deepest = "[".repeat(oracle::DEPTH_MAX) + &"]".repeat(oracle::DEPTH_MAX);
    assert_eq!(error(deepest), None);
}

#[test]
fn what_is_refused_is_named() {
    let depth_max = oracle::DEPTH_MAX;
    let too_deep = "[".repeat(depth_max + 1) + &"]".repeat(depth_max + 1);
    let surrogate = Some(JsonError::LoneSurrogate);
    for (text, expected) in [
        ("", Some(JsonError::Empty)),
        (" \r\n\t", Some(JsonError::Empty)),
        ("1e400", Some(JsonError::NumberRange { position: 0 })),
        ("[ -1.5E+999 ]", Some(JsonError::NumberRange { position: 2 })),
        ("\"\\ud800\"", surrogate),
        ("\"\\udc00\"", surrogate),
        ("{\"a\":\"\\ud800\\ud800\"}", surrogate),
        ("{\"\\udfff\":1}", surrogate),
        (&too_deep, Some(JsonError::TooDeep { depth_max })),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    assert_eq!(error(b"\"ab\xff\""), Some(JsonError::BadUtf8 { position: 3 }));
    assert_eq!(error(b"\"\xed\xa0\x80\""), Some(JsonError::BadUtf8 { position: 1 }));
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "{",
        "[",
        "}",
        "]",
        ",",
        ":",
        "\"",
        "'a'",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:2}",
        "{\"a\":1 \"b\":2}",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "tru",
        "truee",
        "nul",
        "True",
        "\"\n\"",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u123\"",
        "\"\\\\\\u123g\"",
        "1 2",
        "{}{}",
        "[]]",
        "\u{feff}1",
        "1\u{c}",
        "\u{a0}1",
        "1//",
        "\"a\"b",
        "\"\0\"",
        "\0",
        "1\0",
        "[1}",
        "{\"a\":1]",
    ] {
        let error = error(text);
        assert!(
            matches!(error, Some(JsonError::Syntax { .. } | JsonError::TrailingData { .. })),
            "{text:?}: {error:?}"
        );
    }
}

#[test]
fn errors_become_refusals() {
    for (text, refusal, detail) in [
        (&b"1e400"[..], Refusal::BadJson, "the number at byte 0 is out of a 64-bit float's range"),
        (b"\xff", Refusal::BadUtf8, "no UTF-8 at byte 0"),
        (b"", Refusal::BadJson, "the JSON text is empty"),
    ] {
        let error = Scanner::new(8).scan(text).unwrap_err();
        assert_eq!(Refused::from(error), Refused::new(refusal, detail));
    }
}

#[test]
fn fields_are_taken_in_one_pass_with_their_exact_bytes() {
    let text =
        r#" { "topic" : "a\u0062" , "n": [ 1.50, 1e2 ] ,"x":{"topic":1},"x":0,"flag":true }"#;
    let mut scanner = Scanner::new(8);
    let document = scanner.scan(text.as_bytes()).unwrap();
    let [topic, n, flag, absent] =
        document.root().fields(["topic", "n", "flag", "absent"]).unwrap();
    assert_eq!(topic.unwrap().as_str().as_deref(), Some("ab"));
    assert_eq!(topic.unwrap().raw(), r#""a\u0062""#);
    assert_eq!(n.unwrap().raw(), "[ 1.50, 1e2 ]");
    assert_eq!(n.unwrap().kind(), Kind::Array);
    assert_eq!(flag.unwrap().as_bool(), Some(true));
    assert!(absent.is_none());
    assert_eq!(document.root().fields(["x"]).unwrap_err(), FieldError::Duplicate("x"));
    assert_eq!(n.unwrap().fields(["x"]).unwrap_err(), FieldError::NotObject);
}

#[test]
fn a_key_written_in_another_way_is_the_same_key() {
    let mut scanner = Scanner::new(8);
    let document = scanner.scan(br#"{"topic":1,"t\u006fpic":2}"#).unwrap();
    assert_eq!(document.root().fields(["topic"]).unwrap_err(), FieldError::Duplicate("topic"));
}

#[test]
fn raw_text_outlives_the_scanner() {
    let text = br#"{"data":[1, 2]}"#.to_vec();
    let raw = {
        let mut scanner = Scanner::new(8);
        let [data] = scanner.scan(&text).unwrap().root().fields(["data"]).unwrap();
        data.unwrap().raw()
    };
    assert_eq!(raw, "[1, 2]");
}

#[test]
fn a_scanner_is_as_new_after_any_text() {
    let mut scanner = Scanner::new(8);
    let large = format!("[{}1]", "1,".repeat(100_000));
    for text in
        [large.as_str(), "[1", "\"a", "{\"a\":1e999}", "[[[[[[[[[[", large.as_str(), "[1, 2 ]"]
    {
        let is_valid = serde_json::from_str::<serde_json::Value>(text).is_ok();
        assert_eq!(scanner.scan(text.as_bytes()).is_ok(), is_valid);
    }
    assert_eq!(scanner.scan(b" [1, 2 ] ").unwrap().root().raw(), "[1, 2 ]");
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,80}".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::vec((".{0,8}", inner), 0..8)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn values_as_serde_json_writes_them(value in json_value()) {
        oracle::check(value.to_string().as_bytes());
        oracle::check(serde_json::to_string_pretty(&value).unwrap().as_bytes());
    }

    #[test]
    fn values_with_one_byte_changed(value in json_value(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = value.to_string().into_bytes();
        let place = place.index(text.len());
        text[place] = byte;
        oracle::check(&text);
    }

    #[test]
    fn texts_of_json_pieces(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"\\u", "d83d", "\\ude00", "\\", "1", "-", ".",
            "e", "E+", "0", "true", "false", "null", " ", "\n", "\t", "\"\\n\"", "é", "\u{b}", "400",
        ]), 0..24)) {
        oracle::check(pieces.concat().as_bytes());
    }

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
        oracle::check(&data);
    }
}
