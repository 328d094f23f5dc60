//! Reads the JSON objects of a token: strictly, as a tree.
//!
//! Invariants: one object and nothing behind it (RFC 8259), no member name twice at any depth
//! (RFC 7515 §4 and RFC 7519 §4 allow refusing it; two readers that choose differently could be
//! told two stories by one token), at most [`DEPTH_MAX`] nested arrays and objects. Numbers that no
//! `f64` holds and strings that are not Unicode are no JSON here.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Arrays and objects within each other, the outermost object counted.
pub(super) const DEPTH_MAX: usize = 16;

/// An object's members.
pub(super) type Object = Map<String, Value>;

/// The object that `text` is; `None` when it is not one.
pub(super) fn object(text: &[u8]) -> Option<Object> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth_left: DEPTH_MAX }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Builds a value, refusing what [`serde_json::Value`]'s own builder lets through.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    /// The builder of what lies inside.
    fn inside<E: Error>(self) -> Result<Strict, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Strict { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(inside)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inside)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_without_repetitions_is_read() {
        let nested =
            |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let cases = [
            ("{}".to_owned(), true),
            (" {\t\"a\" : [1, -2, 2.5e3, true, null, \"\\u00e9\"] }\r\n".to_owned(), true),
            (nested(DEPTH_MAX), true),
            (nested(DEPTH_MAX + 1), false),
            (nested(100_000), false),
            (r#"{"a":1,"a":1}"#.to_owned(), false),
            (r#"{"a":1,"\u0061":2}"#.to_owned(), false),
            (r#"{"x":[{"a":1,"a":1}]}"#.to_owned(), false),
            (r#"{"a":1}{"#.to_owned(), false),
            (r#"{"a":1} {}"#.to_owned(), false),
            ("[]".to_owned(), false),
            ("\"a\"".to_owned(), false),
            ("null".to_owned(), false),
            (String::new(), false),
            ("\u{feff}{}".to_owned(), false),
            ("{}\0".to_owned(), false),
            (r#"{"a":1e400}"#.to_owned(), false),
            (r#"{"a":"\ud800"}"#.to_owned(), false),
            ("{'a':1}".to_owned(), false),
            (r#"{"a":01}"#.to_owned(), false),
            (r#"{"a":NaN}"#.to_owned(), false),
            (r#"{"a":1,}"#.to_owned(), false),
        ];
        for (text, expected) in cases {
            let shown = &text[..text.len().min(60)];
            assert_eq!(object(text.as_bytes()).is_some(), expected, "{shown}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_none());
    }
}
