//! Walks a validated text: a value is its kind, its exact bytes, and what it contains.
//!
//! A structural index is the position of a bracket, a colon, a comma, or of a value's first byte
//! outside of all strings. Skipping a nested value costs one step per index in it. Nothing here can
//! fail on a validated text, and nothing panics on one.

use std::borrow::Cow;

use super::string::{characters, is_blank};
use crate::model::refusal::{Refusal, Refused};

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number of any size and form.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// A value in a validated text.
#[derive(Clone, Copy, Debug)]
pub struct Value<'text, 'scan> {
    text: &'text str,
    /// From this value's first structural index to the end of the text's.
    structure: &'scan [u32],
    /// How many of them are this value's own.
    own_count: usize,
    start: usize,
    end: usize,
}

/// Why an object's fields cannot be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldError {
    /// The value is no object.
    NotObject,
    /// A field that is read stands twice: which one counts depends on the reader (RFC 8259 §4).
    Duplicate(&'static str),
}

impl From<FieldError> for Refused {
    fn from(error: FieldError) -> Refused {
        let detail = match error {
            FieldError::NotObject => "the JSON is not an object".to_owned(),
            FieldError::Duplicate(name) => format!("the field {name} stands more than once"),
        };
        Refused::new(Refusal::BadField, detail)
    }
}

impl<'text, 'scan> Value<'text, 'scan> {
    /// The value that starts at the first of these indexes.
    pub(super) fn first(text: &'text str, structure: &'scan [u32]) -> Value<'text, 'scan> {
        let start = position(structure, 0, text.len());
        let own_count = own_count(text.as_bytes(), structure);
        let is_container = matches!(text.as_bytes().get(start), Some(b'{' | b'['));
        let end = if is_container {
            position(structure, own_count - 1, text.len()) + 1
        } else {
            // Up to the next index there is the rest of the value, then blanks.
            let next = position(structure, own_count, text.len());
            start
                + text[start..next]
                    .trim_end_matches(|c: char| c.is_ascii() && is_blank(c as u8))
                    .len()
        };
        Value { text, structure, own_count, start, end }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.text.as_bytes().get(self.start) {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Its exact bytes, without blanks around them.
    #[must_use]
    pub fn raw(&self) -> &'text str {
        &self.text[self.start..self.end]
    }

    /// A string's characters, unescaped; `None` for any other kind.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'text, str>> {
        characters(self.raw())
    }

    /// `None` for any kind but a bool.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.raw() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// A number without fraction and exponent, if 64 bits hold it; `None` for any other value.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if self.kind() == Kind::Number { self.raw().parse().ok() } else { None }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// An object's members in their order, repeated keys included; `None` for any other kind.
    #[must_use]
    pub fn members(&self) -> Option<Members<'text, 'scan>> {
        (self.kind() == Kind::Object).then(|| Members { text: self.text, rest: self.inside() })
    }

    /// An array's elements in their order; `None` for any other kind.
    #[must_use]
    pub fn elements(&self) -> Option<Elements<'text, 'scan>> {
        (self.kind() == Kind::Array).then(|| Elements { text: self.text, rest: self.inside() })
    }

    /// The named fields of an object in one pass; a field that is absent is `None`. Others are
    /// passed over.
    ///
    /// # Errors
    /// The value is no object, or one of the named fields stands twice.
    pub fn fields<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<[Option<Value<'text, 'scan>>; N], FieldError> {
        let mut found = [None; N];
        for (key, value) in self.members().ok_or(FieldError::NotObject)? {
            let Some(place) = names.iter().position(|name| *name == key) else { continue };
            if found[place].replace(value).is_some() {
                return Err(FieldError::Duplicate(names[place]));
            }
        }
        Ok(found)
    }

    /// The indexes between a container's brackets, the closing one included.
    fn inside(&self) -> &'scan [u32] {
        &self.structure[1..self.own_count]
    }
}

/// An object's members.
#[derive(Clone, Debug)]
pub struct Members<'text, 'scan> {
    text: &'text str,
    rest: &'scan [u32],
}

impl<'text, 'scan> Iterator for Members<'text, 'scan> {
    /// The key's characters and the value.
    type Item = (Cow<'text, str>, Value<'text, 'scan>);

    fn next(&mut self) -> Option<Self::Item> {
        // Key, colon, value, and the comma or bracket behind it.
        let [_, _, after_colon @ ..] = self.rest else { return None };
        let key = Value::first(self.text, self.rest).as_str()?;
        let value = Value::first(self.text, after_colon);
        self.rest = after_colon.get(value.own_count + 1..).unwrap_or_default();
        Some((key, value))
    }
}

/// An array's elements.
#[derive(Clone, Debug)]
pub struct Elements<'text, 'scan> {
    text: &'text str,
    rest: &'scan [u32],
}

impl<'text, 'scan> Iterator for Elements<'text, 'scan> {
    type Item = Value<'text, 'scan>;

    fn next(&mut self) -> Option<Self::Item> {
        // The value, and the comma or bracket behind it.
        let [_, _, ..] = self.rest else { return None };
        let value = Value::first(self.text, self.rest);
        self.rest = self.rest.get(value.own_count + 1..).unwrap_or_default();
        Some(value)
    }
}

/// The position that an index names; the text's end behind the last one.
fn position(structure: &[u32], index: usize, text_size: usize) -> usize {
    structure.get(index).map_or(text_size, |position| *position as usize)
}

/// How many indexes belong to the value that starts at the first one.
fn own_count(text: &[u8], structure: &[u32]) -> usize {
    let mut depth = 0_usize;
    for (index, position) in structure.iter().enumerate() {
        match text.get(*position as usize) {
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    structure.len()
}
