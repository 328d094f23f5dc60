//! Topic names: what is a legal name, and what its prefix means.

use std::sync::Arc;

/// Longest topic name, in bytes.
pub const TOPIC_SIZE_MAX: usize = 255;

/// A legal topic name: 1–255 bytes of UTF-8 without control characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// Why a name is not a topic's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicError {
    /// No byte at all.
    Empty,
    /// Over [`TOPIC_SIZE_MAX`] bytes.
    TooLong,
    /// Holds a control character (C0, DEL or C1).
    Control,
    /// Holds `*` or `,` or starts with `!`, which the native routes keep for patterns and lists.
    Reserved,
}

impl TopicError {
    /// The sentence for the peer.
    pub const fn text(self) -> &'static str {
        match self {
            TopicError::Empty => "a topic's name has at least 1 byte",
            TopicError::TooLong => "a topic's name has at most 255 bytes of UTF-8",
            TopicError::Control => "a topic's name holds no control characters",
            TopicError::Reserved => {
                "a topic's name holds no `*` or `,` and does not start with `!` here"
            }
        }
    }
}

/// What a name's prefix means (protocols.md §1.3, §1.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicClass {
    /// Anyone of the application may subscribe.
    Public,
    /// `secure/…`: needs the right to read it.
    Secure,
    /// `priv/…`: a connection's or subject's own; never subscribed to by request.
    Private,
}

impl TopicName {
    /// Checks a name against the rules of every door.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn new(name: &str) -> Result<TopicName, TopicError> {
        check(name)?;
        Ok(TopicName(Arc::from(name)))
    }

    /// Checks a name against the stricter rules of the native routes too.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn native(name: &str) -> Result<TopicName, TopicError> {
        let found = check(name)?;
        if name.starts_with('!') || found & RESERVED != 0 {
            return Err(TopicError::Reserved);
        }
        Ok(TopicName(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What its prefix means.
    pub fn class(&self) -> TopicClass {
        if self.0.starts_with("priv/") {
            TopicClass::Private
        } else if self.0.starts_with("secure/") {
            TopicClass::Secure
        } else {
            TopicClass::Public
        }
    }
}

/// What a byte of a name may mean: it is not visible ASCII, of which none is a control character.
const INVISIBLE: u8 = 1;
/// It is `*` or `,`.
const RESERVED: u8 = 2;

const MEANING: [u8; 256] = {
    let mut meaning = [INVISIBLE; 256];
    let mut byte = 0x20_u8;
    while byte <= 0x7e {
        meaning[byte as usize] = if matches!(byte, b'*' | b',') { RESERVED } else { 0 };
        byte += 1;
    }
    meaning
};

/// Checks the rules of every door; what its bytes mean, together.
fn check(name: &str) -> Result<u8, TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty);
    }
    if name.len() > TOPIC_SIZE_MAX {
        return Err(TopicError::TooLong);
    }
    let found = name.bytes().fold(0, |found, byte| found | MEANING[usize::from(byte)]);
    // Most names need not be decoded.
    if found & INVISIBLE != 0 && name.chars().any(char::is_control) {
        return Err(TopicError::Control);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_the_rules_edges() {
        let long = "é".repeat(127) + "x";
        let too_long = "é".repeat(128);
        let cases = [
            ("", Err(TopicError::Empty), Err(TopicError::Empty)),
            ("a", Ok(()), Ok(())),
            (long.as_str(), Ok(()), Ok(())),
            (too_long.as_str(), Err(TopicError::TooLong), Err(TopicError::TooLong)),
            ("a\nb", Err(TopicError::Control), Err(TopicError::Control)),
            ("a\u{85}b", Err(TopicError::Control), Err(TopicError::Control)),
            ("a,b", Ok(()), Err(TopicError::Reserved)),
            ("a*", Ok(()), Err(TopicError::Reserved)),
            ("!a", Ok(()), Err(TopicError::Reserved)),
            ("a!", Ok(()), Ok(())),
        ];
        for (name, every_door, native) in cases {
            assert_eq!(TopicName::new(name).map(|_| ()), every_door, "{name:?}");
            assert_eq!(TopicName::native(name).map(|_| ()), native, "{name:?} native");
        }
    }

    #[test]
    fn the_prefix_tells_the_class() {
        let class = |name| TopicName::new(name).unwrap().class();
        assert_eq!(class("priv/x"), TopicClass::Private);
        assert_eq!(class("secure/inbound"), TopicClass::Secure);
        assert_eq!(class("private"), TopicClass::Public);
        assert_eq!(class("main"), TopicClass::Public);
    }
}
