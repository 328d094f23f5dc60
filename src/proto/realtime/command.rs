//! Client-to-server frames of the Realtime dialect, and the body of its HTTP publish.
//!
//! A field that is `null` counts as absent: one client library sends `"messageType":null`.

use std::borrow::Cow;

use crate::model::refusal::{Refusal, Refused};
use crate::proto::attributes::Given;
use crate::proto::json::{FieldError, Scanner, Value};

/// One client frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// `{"type":"subscribe","data":{"topic":T,"position"?:P,"latest"?:bool}}`; the latter two are ours.
    Subscribe(Subscribe<'a>),
    /// `{"type":"unsubscribe","data":{"topic":T}}`
    Unsubscribe(Cow<'a, str>),
    /// `{"type":"publish","data":{…}}`
    Publish(Publish<'a>),
    /// `{"type":"message","data":{…}}`: a publish to the application's inbound topic.
    Message(Publish<'a>),
    /// `{"type":"authenticate","data":{"token":T}}`: a new token for the open connection. Ours; the
    /// platform has no such frame.
    Authenticate(Cow<'a, str>),
    /// `{"type":"ticket"}`: a resume ticket is wanted. Ours.
    Ticket,
    /// `{"type":"resume","data":{"ticket"?:S,"topics"?:{T:P|null,…}}}`: all these topics from these
    /// positions. Ours.
    Resume(Resume<'a>),
}

/// What a `subscribe` frame carries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscribe<'a> {
    /// To what.
    pub topic: Cow<'a, str>,
    /// Behind which position on.
    pub position: Option<Cow<'a, str>>,
    /// Whether the latest messages come first; a position counts more.
    pub latest: bool,
}

/// What a `resume` frame carries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resume<'a> {
    /// As it was issued.
    pub ticket: Option<Cow<'a, str>>,
    /// Topics with the last position received, which counts more than the ticket's; `None` for what
    /// is published from now on.
    pub topics: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
}

/// What a `publish` or `message` frame carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// Where to; empty for `message`.
    pub topic: Cow<'a, str>,
    /// Absent means `broadcast`.
    pub message_type: Option<Cow<'a, str>>,
    /// Whether subscribers get it compressed.
    pub compress: bool,
    /// The exact bytes of any JSON value.
    pub payload: &'a str,
    /// The client's own id for it.
    pub id: Option<Cow<'a, str>>,
    /// `ttl`, `key` and `idempotencyKey`. Ours.
    pub attributes: Given<'a>,
}

/// The body of `POST /api/topics/{appId}/publish`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpPublish<'a> {
    /// Where to.
    pub topic: Cow<'a, str>,
    /// The exact bytes of any JSON value.
    pub message: &'a str,
    /// Whether subscribers get it compressed.
    pub compress: bool,
}

/// What is wrong with a frame; the platform answers all of it with one close reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// Not JSON.
    Json,
    /// Not an object, or one with a field twice.
    Shape,
    /// A field is missing or of another type.
    Field(&'static str),
    /// `type` is none of the seven.
    Type,
}

impl From<FieldError> for CommandError {
    fn from(_: FieldError) -> CommandError {
        CommandError::Shape
    }
}

/// Reads one text frame.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse_command<'a>(
    scanner: &mut Scanner,
    text: &'a str,
) -> Result<Command<'a>, CommandError> {
    let document = scanner.scan_text(text).map_err(|_error| CommandError::Json)?;
    let [kind, data] = document.root().fields(["type", "data"])?;
    let kind = required(kind, "type")?;
    if kind == "ticket" {
        return Ok(Command::Ticket);
    }
    let data = data.ok_or(CommandError::Field("data"))?;
    match kind.as_ref() {
        "subscribe" => subscribe(&data).map(Command::Subscribe),
        "resume" => resume(&data).map(Command::Resume),
        "unsubscribe" => {
            let [topic] = data.fields(["topic"])?;
            Ok(Command::Unsubscribe(required(topic, "topic")?))
        }
        "publish" => publish(&data).map(Command::Publish),
        "authenticate" => {
            let [token] = data.fields(["token"])?;
            Ok(Command::Authenticate(required(token, "token")?))
        }
        "message" => message(&data).map(Command::Message),
        _ => Err(CommandError::Type),
    }
}

/// Reads the body of an HTTP publish. Its Content-Type is not asked.
///
/// # Errors
/// Says what is wrong with it, for a problem body.
pub fn parse_http_publish<'a>(
    scanner: &mut Scanner,
    body: &'a [u8],
) -> Result<HttpPublish<'a>, Refused> {
    let document = scanner.scan(body)?;
    let fields = document.root().fields(["topic", "message", "compress"]);
    let [topic, message, compress] = fields.map_err(|error| match error {
        FieldError::NotObject => Refused::new(Refusal::BadField, "the body is not a JSON object"),
        FieldError::Duplicate(name) => {
            Refused::new(Refusal::BadField, format!("`{name}` stands twice"))
        }
    })?;
    let missing = |name: &str, kind: &str| {
        Refused::new(Refusal::BadField, format!("`{name}` is missing or not {kind}"))
    };
    Ok(HttpPublish {
        topic: topic.and_then(|t| t.as_str()).ok_or_else(|| missing("topic", "a string"))?,
        message: message.ok_or_else(|| missing("message", "a JSON value"))?.raw(),
        compress: flag(compress.as_ref()).ok_or_else(|| missing("compress", "true or false"))?,
    })
}

fn subscribe<'a>(data: &Value<'a, '_>) -> Result<Subscribe<'a>, CommandError> {
    let [topic, position, latest] = data.fields(["topic", "position", "latest"])?;
    Ok(Subscribe {
        topic: required(topic, "topic")?,
        position: optional(position, "position")?,
        latest: flag(latest.as_ref()).ok_or(CommandError::Field("latest"))?,
    })
}

fn resume<'a>(data: &Value<'a, '_>) -> Result<Resume<'a>, CommandError> {
    let [ticket, topics] = data.fields(["ticket", "topics"])?;
    let ticket = optional(ticket, "ticket")?;
    let topics = match topics.filter(|topics| !topics.is_null()) {
        None => Vec::new(),
        Some(topics) => topics
            .members()
            .ok_or(CommandError::Field("topics"))?
            .map(|(topic, position)| Ok((topic, optional(Some(position), "topics")?)))
            .collect::<Result<_, CommandError>>()?,
    };
    Ok(Resume { ticket, topics })
}

fn publish<'a>(data: &Value<'a, '_>) -> Result<Publish<'a>, CommandError> {
    let [type_name, compress, payload, id, ttl, key, repeated_as] = CONTENT;
    let [topic, content @ ..] =
        data.fields(["topic", type_name, compress, payload, id, ttl, key, repeated_as])?;
    content_of(required(topic, "topic")?, content)
}

/// As a publish, but for its topic: one that it names is passed over.
fn message<'a>(data: &Value<'a, '_>) -> Result<Publish<'a>, CommandError> {
    content_of(Cow::Borrowed(""), data.fields(CONTENT)?)
}

/// What a publish may say beside its topic, in the order that `content_of` takes it.
const CONTENT: [&str; 7] = {
    let [ttl, key, repeated_as] = Given::NAMES;
    ["messageType", "compress", "payload", "id", ttl, key, repeated_as]
};

fn content_of<'a>(
    topic: Cow<'a, str>,
    content: [Option<Value<'a, '_>>; 7],
) -> Result<Publish<'a>, CommandError> {
    let [message_type, compress, payload, id, ttl, key, repeated_as] = content;
    Ok(Publish {
        topic,
        message_type: optional(message_type, "messageType")?,
        compress: flag(compress.as_ref()).ok_or(CommandError::Field("compress"))?,
        payload: payload.ok_or(CommandError::Field("payload"))?.raw(),
        id: optional(id, "id")?,
        attributes: Given::of_values([ttl, key, repeated_as]).map_err(CommandError::Field)?,
    })
}

fn required<'a>(
    value: Option<Value<'a, '_>>,
    name: &'static str,
) -> Result<Cow<'a, str>, CommandError> {
    value.and_then(|value| value.as_str()).ok_or(CommandError::Field(name))
}

fn optional<'a>(
    value: Option<Value<'a, '_>>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, CommandError> {
    match value {
        None => Ok(None),
        Some(value) if value.is_null() => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(CommandError::Field(name)),
    }
}

/// A flag that may be absent or null; `None` when it is something else.
fn flag(value: Option<&Value<'_, '_>>) -> Option<bool> {
    match value {
        None => Some(false),
        Some(value) if value.is_null() => Some(false),
        Some(value) => value.as_bool(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &Result<Command<'_>, CommandError>) {
        let mut scanner = Scanner::new(64);
        assert_eq!(&parse_command(&mut scanner, text), expected, "{text}");
    }

    #[test]
    fn the_frames_of_all_four_client_libraries() {
        check(
            r#"{"type":"subscribe","data":{"topic":"a/b"}}"#,
            &Ok(Command::Subscribe(Subscribe { topic: "a/b".into(), ..Subscribe::default() })),
        );
        check(
            r#"{"data":{"topic":"a\u002fb"},"type":"unsubscribe"}"#,
            &Ok(Command::Unsubscribe("a/b".into())),
        );
        check(
            r#"{"type":"publish","data":{"topic":"t","messageType":null,"payload":"","id":"x"}}"#,
            &Ok(Command::Publish(Publish {
                topic: "t".into(),
                message_type: None,
                compress: false,
                payload: "\"\"",
                id: Some("x".into()),
                attributes: Given::default(),
            })),
        );
        check(
            r#"{"type":"authenticate","data":{"token":"a.b.c"}}"#,
            &Ok(Command::Authenticate("a.b.c".into())),
        );
        check(
            r#"{"type":"message","data":{"messageType":"broadcast","compress":true,"payload":{"n": 1.50}}}"#,
            &Ok(Command::Message(Publish {
                topic: "".into(),
                message_type: Some("broadcast".into()),
                compress: true,
                payload: r#"{"n": 1.50}"#,
                id: None,
                attributes: Given::default(),
            })),
        );
    }

    #[test]
    fn our_own_frames() {
        check(
            r#"{"type":"subscribe","data":{"topic":"t","position":"5-0.9","latest":null}}"#,
            &Ok(Command::Subscribe(Subscribe {
                topic: "t".into(),
                position: Some("5-0.9".into()),
                latest: false,
            })),
        );
        check(r#"{"type":"ticket"}"#, &Ok(Command::Ticket));
        check(
            r#"{"type":"resume","data":{"ticket":"x","topics":{"a":"5-0.9","b":null}}}"#,
            &Ok(Command::Resume(Resume {
                ticket: Some("x".into()),
                topics: vec![("a".into(), Some("5-0.9".into())), ("b".into(), None)],
            })),
        );
        check(
            r#"{"type":"message","data":{"topic":1,"topic":2,"payload":1,"ttl":5,"key":"k","idempotencyKey":"i"}}"#,
            &Ok(Command::Message(Publish {
                topic: "".into(),
                message_type: None,
                compress: false,
                payload: "1",
                id: None,
                attributes: Given {
                    ttl_s: Some(5),
                    key: Some("k".into()),
                    idempotency_key: Some("i".into()),
                },
            })),
        );
        check(r#"{"type":"resume","data":{"topics":[]}}"#, &Err(CommandError::Field("topics")));
        check(
            r#"{"type":"publish","data":{"topic":"t","payload":1,"ttl":"5"}}"#,
            &Err(CommandError::Field("ttl")),
        );
    }

    #[test]
    fn everything_else_is_told_apart() {
        check(
            r#"{"type":"publish","data":{"topic":"t","topic":"t","payload":1}}"#,
            &Err(CommandError::Shape),
        );
        check("x", &Err(CommandError::Json));
        check("[]", &Err(CommandError::Shape));
        check(r#"{"type":"subscribe"}"#, &Err(CommandError::Field("data")));
        check(r#"{"type":"subscribe","data":{}}"#, &Err(CommandError::Field("topic")));
        check(r#"{"type":"subscribe","data":{"topic":1}}"#, &Err(CommandError::Field("topic")));
        check(r#"{"type":1,"data":{}}"#, &Err(CommandError::Field("type")));
        check(r#"{"type":"x","data":{}}"#, &Err(CommandError::Type));
        check(r#"{"type":"publish","data":{"topic":"t"}}"#, &Err(CommandError::Field("payload")));
        check(
            r#"{"type":"publish","data":{"topic":"t","payload":1,"payload":2}}"#,
            &Err(CommandError::Shape),
        );
    }

    #[test]
    fn an_http_publish_keeps_its_messages_bytes() {
        let mut scanner = Scanner::new(64);
        let body = br#" {"topic":"t", "message" : {"b":1,  "a":2e0} , "compress":true } "#;
        let publish = parse_http_publish(&mut scanner, body).unwrap();
        assert_eq!(publish.message, r#"{"b":1,  "a":2e0}"#);
        assert!(publish.compress);
        let refused = parse_http_publish(&mut scanner, br#"{"topic":"t"}"#).unwrap_err();
        assert_eq!(refused.refusal, Refusal::BadField);
    }
}
