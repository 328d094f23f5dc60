//! The buzzPost dialect (protocols.md §4): `GET /?channels=a,b` and `POST /`.

use std::borrow::Cow;

use super::json::{FieldError, Scanner};
use crate::model::refusal::{Refusal, Refused};

/// The body of a publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// Where to.
    pub channel: Cow<'a, str>,
    /// The exact bytes of `data`: a string in buzzPost's own senders, any JSON value here.
    pub data: &'a str,
}

/// Reads `{"channel":C,"data":D}`, whatever the Content-Type: its senders give none.
///
/// # Errors
/// Not JSON, or a field is missing.
pub fn parse_publish<'a>(scanner: &mut Scanner, body: &'a [u8]) -> Result<Publish<'a>, Refused> {
    let document = scanner.scan(body)?;
    let fields = document.root().fields(["channel", "data"]).map_err(|error| match error {
        FieldError::NotObject => bad("the body is not a JSON object"),
        FieldError::Duplicate(_) => bad("a field stands twice"),
    })?;
    let [channel, data] = fields;
    Ok(Publish {
        channel: channel
            .and_then(|channel| channel.as_str())
            .ok_or_else(|| bad("`channel` is missing or not a string"))?,
        data: data.ok_or_else(|| bad("`data` is missing"))?.raw(),
    })
}

fn bad(detail: &str) -> Refused {
    Refused::new(Refusal::BadField, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_a_channel_and_data() {
        let mut scanner = Scanner::new(64);
        let body = br#"{"channel":"x.service-now.com/0a","data":"Hello world!"}"#;
        let publish = parse_publish(&mut scanner, body).unwrap();
        assert_eq!(publish.channel, "x.service-now.com/0a");
        assert_eq!(publish.data, "\"Hello world!\"");
        for body in ["", "1", "{}", r#"{"channel":1,"data":""}"#, r#"{"channel":"a"}"#] {
            assert!(parse_publish(&mut scanner, body.as_bytes()).is_err(), "{body}");
        }
    }
}
