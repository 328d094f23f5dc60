//! The native HTTP dialect: bodies of `POST /v1/{app}/topics/{topic}` and `POST /v1/{app}/publish`,
//! and the answers to them.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::attributes::Given;
use super::digits::{append_id, append_position};
use super::json::{self, FieldError, Scanner, Value};
use crate::model::id::MessageId;
use crate::model::message::{Attributes, Payload};
use crate::model::position::Position;
use crate::model::refusal::{Refusal, Refused};

/// Reads a body that is itself the payload. `application/json` and `…+json` say it is JSON; any
/// other Content-Type, and none, says it is text. An empty body is the empty text.
///
/// # Errors
/// Not UTF-8, or declared JSON and not JSON.
pub fn payload(
    scanner: &mut Scanner,
    content_type: Option<&[u8]>,
    body: &[u8],
) -> Result<Payload, Refused> {
    if !body.is_empty() && content_type.is_some_and(is_json) {
        return Ok(Payload::Json(scanner.validate(body)?.into()));
    }
    match str::from_utf8(body) {
        Ok(text) => Ok(Payload::Text(text.into())),
        Err(error) => Err(Refused::new(
            Refusal::BadUtf8,
            format!("the body is not UTF-8 from byte {} on", error.valid_up_to()),
        )),
    }
}

/// Whether a media type is JSON (RFC 6839 §3.1 for the suffix); parameters are passed over.
pub fn is_json(content_type: &[u8]) -> bool {
    // What nearly all senders write needs no taking apart.
    if content_type == b"application/json" {
        return true;
    }
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json")
        || essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json")
}

/// One message of a batch: its topics and its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchMessage<'a> {
    /// At least one, not checked against the rules of names.
    pub topics: SmallVec<[Cow<'a, str>; 1]>,
    /// The exact bytes of any JSON value.
    pub payload: Payload,
    /// What else is said of it.
    pub attributes: Option<Box<Attributes>>,
}

/// Reads `{"messages":[{"topic":T,"data":any}|{"topics":[T…],"data":any}…]}`, each with `ttl`, `key`
/// and `idempotencyKey` if it likes. `time_us` is now, Unix time.
///
/// # Errors
/// The first thing that is wrong, naming the message by its index. Then nothing is published.
pub fn batch<'a>(
    scanner: &mut Scanner,
    body: &'a [u8],
    messages_max: usize,
    time_us: u64,
) -> Result<Vec<BatchMessage<'a>>, Refused> {
    let document = scanner.scan(body)?;
    let [messages] = document.root().fields(["messages"]).map_err(|error| bad(fault(error)))?;
    let elements = messages.as_ref().and_then(Value::elements);
    let elements = elements.ok_or_else(|| bad("`messages` is missing or not an array"))?;
    let mut batch = Vec::new();
    let mut publish_count = 0;
    for (index, element) in elements.enumerate() {
        let message = batch_message(&element, time_us)
            .map_err(|problem| bad(format!("messages[{index}]: {problem}")))?;
        publish_count += message.topics.len();
        if publish_count > messages_max {
            return Err(Refused::new(
                Refusal::TooMany,
                format!(
                    "the request publishes more than {messages_max} messages, each topic of \
                     each message counted (publish.messages_max)"
                ),
            ));
        }
        batch.push(message);
    }
    if batch.is_empty() {
        return Err(bad("`messages` is empty"));
    }
    Ok(batch)
}

/// Reads one message; the error says what is wrong with it.
fn batch_message<'a>(
    element: &Value<'a, '_>,
    time_us: u64,
) -> Result<BatchMessage<'a>, Cow<'static, str>> {
    let [ttl, key, repeated_as] = Given::NAMES;
    let [topic, topics, data, ttl, key, repeated_as] =
        element.fields(["topic", "topics", "data", ttl, key, repeated_as]).map_err(fault)?;
    let attributes = Given::of_values([ttl, key, repeated_as])
        .map_err(|name| format!("`{name}` has the wrong type"))?
        .resolve(time_us)
        .map_err(|refused| refused.detail)?;
    let topics = match (topic, topics) {
        (Some(topic), None) => topic.as_str().into_iter().collect(),
        (None, Some(topics)) => names(&topics).unwrap_or_default(),
        _ => SmallVec::new(),
    };
    if topics.is_empty() {
        return Err("needs either `topic`, a string, or `topics`, an array of them".into());
    }
    let data = data.ok_or("`data` is missing")?;
    Ok(BatchMessage { topics, payload: Payload::Json(data.raw().into()), attributes })
}

/// An array of strings.
fn names<'a>(topics: &Value<'a, '_>) -> Option<SmallVec<[Cow<'a, str>; 1]>> {
    topics.elements()?.map(|name| name.as_str()).collect()
}

fn fault(error: FieldError) -> Cow<'static, str> {
    match error {
        FieldError::NotObject => "not a JSON object".into(),
        FieldError::Duplicate(name) => format!("`{name}` stands twice").into(),
    }
}

fn bad(detail: impl Into<String>) -> Refused {
    Refused::new(Refusal::BadField, detail)
}

/// What `POST /v1/{app}/revocations` revokes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revoked<'a> {
    /// Every token of this subject that was issued before now.
    Subject(Cow<'a, str>),
    /// The token of this `jti`.
    TokenId(Cow<'a, str>),
}

/// The body of `POST /v1/{app}/revocations`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation<'a> {
    /// What is revoked.
    pub what: Revoked<'a>,
    /// Until when it must be remembered, Unix seconds: when the last such token has expired.
    pub until_s: Option<u64>,
}

/// Reads `{"subject":S}` or `{"tokenId":J}`, either with `"until"`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse_revocation<'a>(
    scanner: &mut Scanner,
    body: &'a [u8],
) -> Result<Revocation<'a>, Refused> {
    let document = scanner.scan(body)?;
    let [subject, token_id, until] = document.root().fields(["subject", "tokenId", "until"])?;
    let text = |value: Option<Value<'a, '_>>| {
        value.map(|value| value.as_str().ok_or_else(|| bad("`subject`, `tokenId`: not a string")))
    };
    let what = match (text(subject).transpose()?, text(token_id).transpose()?) {
        (Some(subject), None) => Revoked::Subject(subject),
        (None, Some(id)) => Revoked::TokenId(id),
        _ => return Err(bad("needs either `subject` or `tokenId`")),
    };
    let until_s = match until {
        None => None,
        Some(until) => Some(until.as_u64().ok_or_else(|| bad("`until` is not Unix seconds"))?),
    };
    Ok(Revocation { what, until_s })
}

/// Appends `{"id":…,"position":…}`.
pub fn append_receipt(out: &mut Vec<u8>, id: MessageId, position: Position) {
    out.extend_from_slice(b"{\"id\":\"");
    append_id(out, id);
    out.extend_from_slice(b"\",\"position\":\"");
    append_position(out, position);
    out.extend_from_slice(b"\"}");
}

/// Appends `{"code":…,"title":…}` in the place of a receipt.
pub fn append_refusal(out: &mut Vec<u8>, refusal: Refusal) {
    let entry = refusal.entry();
    out.extend_from_slice(b"{\"code\":");
    json::escape_into(out, entry.code);
    out.extend_from_slice(b",\"title\":");
    json::escape_into(out, entry.title);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_json_from_text() {
        let cases: [(Option<&str>, &str, Result<Payload, Refusal>); 9] = [
            (None, "{", Ok(Payload::Text("{".into()))),
            (Some("application/x-www-form-urlencoded"), "a=b", Ok(Payload::Text("a=b".into()))),
            (Some("application/json"), "{", Err(Refusal::BadJson)),
            (Some("application/json"), "", Ok(Payload::Text("".into()))),
            (
                Some("application/json; charset=utf-8"),
                " {\"a\":1}\n",
                Ok(Payload::Json(" {\"a\":1}\n".into())),
            ),
            (Some("Application/Problem+JSON"), "1", Ok(Payload::Json("1".into()))),
            (Some("text/json"), "1", Ok(Payload::Text("1".into()))),
            (Some("+json"), "1", Ok(Payload::Text("1".into()))),
            (Some("application/json"), "1e400", Err(Refusal::BadJson)),
        ];
        let mut scanner = Scanner::new(64);
        for (content_type, body, expected) in cases {
            let read = payload(&mut scanner, content_type.map(str::as_bytes), body.as_bytes());
            assert_eq!(read.map_err(|r| r.refusal), expected, "{content_type:?} {body:?}");
        }
        let refused = payload(&mut scanner, None, b"ab\xff").unwrap_err();
        assert_eq!(refused.refusal, Refusal::BadUtf8);
    }

    #[test]
    fn a_batch_names_topics_one_or_many() {
        let mut scanner = Scanner::new(64);
        let body =
            br#"{"messages":[{"topic":"a","data":{"x": 1}},{"topics":["b","c"],"data":"s"}]}"#;
        let read = batch(&mut scanner, body, 3, 0).unwrap();
        assert_eq!(read[0].topics.as_slice(), ["a"]);
        assert_eq!(read[0].payload, Payload::Json("{\"x\": 1}".into()));
        assert_eq!(read[1].topics.as_slice(), ["b", "c"]);
        assert_eq!(batch(&mut scanner, body, 2, 0).unwrap_err().refusal, Refusal::TooMany);
    }

    #[test]
    fn a_bad_batch_names_the_message() {
        let mut scanner = Scanner::new(64);
        for (body, detail) in [
            ("{}", "`messages` is missing or not an array"),
            ("[]", "not a JSON object"),
            (r#"{"messages":[]}"#, "`messages` is empty"),
            (r#"{"messages":[1]}"#, "messages[0]: not a JSON object"),
            (r#"{"messages":[{"topic":"a"}]}"#, "messages[0]: `data` is missing"),
            (
                r#"{"messages":[{"topic":"a","data":1},{"topics":[],"data":1}]}"#,
                "messages[1]: needs",
            ),
            (r#"{"messages":[{"topics":["a",1],"data":1}]}"#, "messages[0]: needs"),
            (r#"{"messages":[{"topic":"a","topics":["a"],"data":1}]}"#, "messages[0]: needs"),
        ] {
            let refused = batch(&mut scanner, body.as_bytes(), 9, 0).unwrap_err();
            assert_eq!(refused.refusal, Refusal::BadField);
            assert!(refused.detail.starts_with(detail), "{body}: {}", refused.detail);
        }
    }
}
