//! Walks a validated text: a value is its kind, its exact bytes, and what it contains.
//!
//! A mark is the position of a bracket, a colon, a comma, or of a value's first byte outside of all
//! strings. Stepping over a value, however much it contains, costs one step. Nothing here can fail
//! on a validated text, and nothing panics on one.

use std::borrow::Cow;

use super::string::{content, is_blank};
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

/// A structural index of a validated text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    position: u32,
    /// How many marks the value that starts here has, its own brackets included; 1 for all but
    /// arrays and objects.
    span: u32,
}

/// A value in a validated text.
#[derive(Clone, Copy, Debug)]
pub struct Value<'text, 'scan> {
    text: &'text str,
    /// From this value's first mark on; what follows the value is among them.
    marks: &'scan [Mark],
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
    /// The value that starts at the first of these marks.
    pub(super) fn first(text: &'text str, marks: &'scan [Mark]) -> Value<'text, 'scan> {
        Value { text, marks }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.text.as_bytes().get(position(self.text, self.marks)) {
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
        let start = position(self.text, self.marks);
        let own_count = self.own_count();
        if own_count > 1 {
            return &self.text[start..=position(self.text, &self.marks[own_count - 1..])];
        }
        before_blanks(&self.text[start..position(self.text, &self.marks[own_count..])])
    }

    /// A string's characters, unescaped; `None` for any other kind.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'text, str>> {
        (self.kind() == Kind::String).then(|| content(self.raw()))?
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
        let mut members = self.members().ok_or(FieldError::NotObject)?;
        while let Some((key, value)) = members.next_raw() {
            let Some(place) = place(&names, key) else { continue };
            if found[place].replace(value).is_some() {
                return Err(FieldError::Duplicate(names[place]));
            }
        }
        Ok(found)
    }

    /// The marks between a container's brackets, the closing one included.
    fn inside(&self) -> &'scan [Mark] {
        &self.marks[1..self.own_count()]
    }

    fn own_count(&self) -> usize {
        self.marks.first().map_or(0, |mark| mark.span as usize)
    }
}

/// Which of `names` a key, a string literal, is. No name has anything to escape, so a literal that
/// reads like one is one; any other is one only by its escapes.
fn place(names: &[&'static str], key: &str) -> Option<usize> {
    let inner = key.get(1..key.len() - 1)?;
    names.iter().position(|name| *name == inner).or_else(|| {
        let key = inner.as_bytes().contains(&b'\\').then(|| content(key))??;
        names.iter().position(|name| *name == key)
    })
}

/// An object's members.
#[derive(Clone, Debug)]
pub struct Members<'text, 'scan> {
    text: &'text str,
    rest: &'scan [Mark],
}

impl<'text, 'scan> Members<'text, 'scan> {
    /// The next key, as the literal that it is, and the value.
    fn next_raw(&mut self) -> Option<(&'text str, Value<'text, 'scan>)> {
        // Key, colon, value, and the comma or bracket behind it.
        let [_, _, after_colon @ ..] = self.rest else { return None };
        let key = Value::first(self.text, self.rest).raw();
        let value = Value::first(self.text, after_colon);
        self.rest = after_colon.get(value.own_count() + 1..).unwrap_or_default();
        Some((key, value))
    }
}

impl<'text, 'scan> Iterator for Members<'text, 'scan> {
    /// The key's characters and the value.
    type Item = (Cow<'text, str>, Value<'text, 'scan>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.next_raw()?;
        Some((content(key)?, value))
    }
}

/// An array's elements.
#[derive(Clone, Debug)]
pub struct Elements<'text, 'scan> {
    text: &'text str,
    rest: &'scan [Mark],
}

impl<'text, 'scan> Iterator for Elements<'text, 'scan> {
    type Item = Value<'text, 'scan>;

    fn next(&mut self) -> Option<Self::Item> {
        // The value, and the comma or bracket behind it.
        let [_, _, ..] = self.rest else { return None };
        let value = Value::first(self.text, self.rest);
        self.rest = self.rest.get(value.own_count() + 1..).unwrap_or_default();
        Some(value)
    }
}

/// The position of the first mark; the text's end where there is none.
fn position(text: &str, marks: &[Mark]) -> usize {
    marks.first().map_or(text.len(), |mark| mark.position as usize)
}

/// A text up to the blanks that it ends with: between a value and the next mark there is nothing
/// else.
fn before_blanks(text: &str) -> &str {
    if text.as_bytes().last().is_none_or(|byte| !is_blank(*byte)) {
        return text;
    }
    let blank_count = text.bytes().rev().take_while(|byte| is_blank(*byte)).count();
    &text[..text.len() - blank_count]
}

/// Notes for each structural index of `text` how far its value goes.
pub(super) fn mark(marks: &mut Vec<Mark>, text: &[u8], structure: &[u32]) {
    marks.clear();
    marks.extend(structure.iter().map(|position| Mark { position: *position, span: 1 }));
    // Until its end is known, the span of what is open counts back to what it stands in.
    let mut innermost = 0;
    for (index, position) in (0_u32..).zip(structure) {
        // One bit tells `{` from `[`, and `}` from `]`.
        match text.get(*position as usize).map(|byte| byte | 0x20) {
            Some(b'{') => {
                marks[index as usize].span = index - innermost;
                innermost = index;
            }
            Some(b'}') => {
                let open = &mut marks[innermost as usize];
                let outer = innermost - open.span;
                open.span = index - innermost + 1;
                innermost = outer;
            }
            _ => {}
        }
    }
}
