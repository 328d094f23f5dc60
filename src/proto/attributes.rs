//! What a publisher may say of a message beyond its payload, on every door that lets it: how long it
//! is good (`TTL` as in RFC 8030 §5.2), what it is the latest state of, and by which key a repeated
//! publish is known (`Idempotency-Key`).

use std::borrow::Cow;

use super::json::Value;
use crate::model::message::Attributes;
use crate::model::refusal::{Refusal, Refused};

/// Longest key, in bytes.
const KEY_SIZE_MAX: usize = 255;

/// Attributes as they were given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given<'a> {
    /// Seconds for which the message is good.
    pub ttl_s: Option<u64>,
    /// What it is the latest state of.
    pub key: Option<Cow<'a, str>>,
    /// The same for every attempt to publish it.
    pub idempotency_key: Option<Cow<'a, str>>,
}

impl<'a> Given<'a> {
    /// The names in JSON, in the order that `of_values` takes them.
    pub const NAMES: [&'static str; 3] = ["ttl", "key", "idempotencyKey"];

    /// Reads the values of [`Given::NAMES`]; `null` counts as absent.
    ///
    /// # Errors
    /// Names the first that is not what it must be.
    pub fn of_values(values: [Option<Value<'a, '_>>; 3]) -> Result<Given<'a>, &'static str> {
        let [ttl, key, repeated_as] = values.map(|value| value.filter(|value| !value.is_null()));
        let text = |value: Option<Value<'a, '_>>, name| {
            value.map(|value| value.as_str().ok_or(name)).transpose()
        };
        Ok(Given {
            ttl_s: ttl.map(|ttl| ttl.as_u64().ok_or("ttl")).transpose()?,
            key: text(key, "key")?,
            idempotency_key: text(repeated_as, "idempotencyKey")?,
        })
    }

    /// Reads header fields; `field` gives the only value of a name, or says that there is more than
    /// one or no text.
    ///
    /// # Errors
    /// Names the field that is not what it must be.
    pub fn of_headers(
        field: impl Fn(&str) -> Result<Option<&'a str>, Refused>,
    ) -> Result<Given<'a>, Refused> {
        let ttl_s = match field("ttl")? {
            None => None,
            Some(text) => {
                let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                // RFC 8030 §5.2 lets a larger number mean the largest.
                is_plain.then(|| Some(text.parse().unwrap_or(u64::MAX))).ok_or_else(|| {
                    Refused::new(Refusal::BadField, "`TTL` is a whole number of seconds")
                })?
            }
        };
        let key = field("message-key")?.map(Cow::Borrowed);
        let idempotency_key = field("idempotency-key")?.map(Cow::Borrowed);
        Ok(Given { ttl_s, key, idempotency_key })
    }

    /// The attributes of a message published at `time_us`, Unix time; `None` when nothing was given.
    ///
    /// # Errors
    /// A key is empty or longer than 255 bytes.
    pub fn resolve(self, time_us: u64) -> Result<Option<Box<Attributes>>, Refused> {
        if self == Given::default() {
            return Ok(None);
        }
        let checked = |key: Option<Cow<'a, str>>, name: &str| match key {
            Some(key) if key.is_empty() || key.len() > KEY_SIZE_MAX => Err(Refused::new(
                Refusal::BadField,
                format!("{name} has 1 to {KEY_SIZE_MAX} bytes"),
            )),
            key => Ok(key.map(|key| key.into_owned().into_boxed_str())),
        };
        Ok(Some(Box::new(Attributes {
            key: checked(self.key, "the message's key")?,
            idempotency_key: checked(self.idempotency_key, "the idempotency key")?,
            expires_us: self.ttl_s.map(|s| time_us.saturating_add(s.saturating_mul(1_000_000))),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &'static str)]) -> Result<Given<'static>, Refused> {
        Given::of_headers(|name| {
            Ok(fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
        })
    }

    #[test]
    fn header_fields_say_it() {
        assert_eq!(headers(&[]).unwrap().resolve(5).unwrap(), None);
        let given = headers(&[("ttl", "3"), ("message-key", "k"), ("idempotency-key", "i")]);
        let attributes = given.unwrap().resolve(5).unwrap().unwrap();
        assert_eq!(
            *attributes,
            Attributes {
                key: Some("k".into()),
                idempotency_key: Some("i".into()),
                expires_us: Some(3_000_005),
            }
        );
        let huge = headers(&[("ttl", "99999999999999999999999")]).unwrap().resolve(5).unwrap();
        assert_eq!(huge.unwrap().expires_us, Some(u64::MAX));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for ttl in ["", "-1", "1.5", "1 ", "x"] {
            assert_eq!(headers(&[("ttl", ttl)]).unwrap_err().refusal, Refusal::BadField, "{ttl:?}");
        }
        let empty = Given { key: Some("".into()), ..Given::default() };
        assert!(empty.resolve(0).is_err());
        let long = Given { idempotency_key: Some("x".repeat(256).into()), ..Given::default() };
        assert!(long.resolve(0).is_err());
    }
}
