//! What must hold of the Realtime dialect's parsers for any bytes: they read what a naive reader
//! over `serde_json` reads, and refuse the rest.

use fanwire::model::refusal::Refusal;
use fanwire::proto::json::Scanner;
use fanwire::proto::realtime::{Command, CommandError, Publish, parse_command, parse_http_publish};

use crate::fields::{fields, string};
use crate::objects::Pairs;

/// Below the depth at which `serde_json` gives up (128).
const DEPTH_MAX: usize = 64;

/// A command, owned.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    kind: &'static str,
    topic: String,
    message_type: Option<String>,
    compress: bool,
    payload: String,
    id: Option<String>,
    attributes: String,
}

/// Panics where the naive reader disagrees.
pub(crate) fn check(data: &[u8]) {
    let mut scanner = Scanner::new(DEPTH_MAX);
    // What is JSON is the `json` target's affair.
    let is_json = scanner.scan(data).is_ok();
    let Ok(text) = str::from_utf8(data) else {
        let refused = parse_http_publish(&mut scanner, data).map_err(|refused| refused.refusal);
        return assert_eq!(refused, Err(Refusal::BadUtf8));
    };
    let command = parse_command(&mut scanner, text);
    assert_eq!(command == Err(CommandError::Json), !is_json);
    let expected = is_json.then(|| naive_command(text)).flatten();
    assert_eq!(command.ok().map(seen), expected);

    let publish = parse_http_publish(&mut scanner, data);
    let is_refused_json = matches!(&publish, Err(refused) if refused.refusal == Refusal::BadJson);
    assert_eq!(is_refused_json, !is_json);
    let expected = is_json.then(|| naive_http_publish(text)).flatten();
    let publish = publish.ok();
    let publish = publish.map(|p| (p.topic.into_owned(), p.message.to_owned(), p.compress));
    assert_eq!(publish, expected);
}

fn seen(command: Command<'_>) -> Seen {
    let plain = |kind, topic: String| Seen {
        kind,
        topic,
        message_type: None,
        compress: false,
        payload: String::new(),
        id: None,
        attributes: String::new(),
    };
    let publish = |kind, publish: Publish<'_>| Seen {
        message_type: publish.message_type.map(Into::into),
        compress: publish.compress,
        payload: publish.payload.to_owned(),
        id: publish.id.map(Into::into),
        attributes: format!(
            "{:?} {:?} {:?}",
            publish.attributes.ttl_s, publish.attributes.key, publish.attributes.idempotency_key
        ),
        ..plain(kind, publish.topic.into_owned())
    };
    match command {
        Command::Subscribe(read) => Seen {
            id: read.position.map(Into::into),
            compress: read.latest,
            ..plain("subscribe", read.topic.into_owned())
        },
        Command::Ticket => plain("ticket", String::new()),
        Command::Resume(read) => {
            let told = |(topic, position): (std::borrow::Cow<'_, str>, Option<_>)| {
                format!("{topic}={position:?}")
            };
            Seen {
                payload: read.topics.into_iter().map(told).collect(),
                id: read.ticket.map(Into::into),
                ..plain("resume", String::new())
            }
        }
        Command::Unsubscribe(topic) => plain("unsubscribe", topic.into_owned()),
        Command::Publish(read) => publish("publish", read),
        Command::Message(read) => publish("message", read),
        // Its one text stands where the others have their topic.
        Command::Authenticate(token) => plain("authenticate", token.into_owned()),
    }
}

fn naive_command(text: &str) -> Option<Seen> {
    let [kind, data] = fields(text, ["type", "data"])?;
    let kind = string(kind?)?;
    if matches!(&*kind, "ticket" | "resume") {
        return naive_recovery(&kind, data);
    }
    let data = data?;
    let kinds = ["subscribe", "unsubscribe", "publish", "message", "authenticate"];
    let kind = kinds.into_iter().find(|known| *known == kind)?;
    let topic = match kind {
        "message" => String::new(),
        "authenticate" => string(fields(data, ["token"])?[0]?)?,
        _ => string(fields(data, ["topic"])?[0]?)?,
    };
    if matches!(kind, "subscribe" | "unsubscribe" | "authenticate") {
        let [position, latest] = match kind {
            "subscribe" => fields(data, ["position", "latest"])?,
            _ => [None, None],
        };
        return Some(Seen {
            kind,
            topic,
            message_type: None,
            compress: flag(latest)?,
            payload: String::new(),
            id: optional(position).ok()?,
            attributes: String::new(),
        });
    }
    let [message_type, compress, payload, id] =
        fields(data, ["messageType", "compress", "payload", "id"])?;
    Some(Seen {
        kind,
        topic,
        message_type: optional(message_type).ok()?,
        compress: flag(compress)?,
        payload: payload?.to_owned(),
        id: optional(id).ok()?,
        attributes: naive_attributes(data)?,
    })
}

fn naive_attributes(data: &str) -> Option<String> {
    let [ttl, key, repeated_as] = fields(data, ["ttl", "key", "idempotencyKey"])?;
    let ttl: Option<u64> = match ttl {
        None | Some("null") => None,
        Some(ttl) => Some(ttl.parse().ok()?),
    };
    Some(format!("{ttl:?} {:?} {:?}", optional(key).ok()?, optional(repeated_as).ok()?))
}

fn naive_recovery(kind: &str, data: Option<&str>) -> Option<Seen> {
    let plain = |kind| Seen {
        kind,
        topic: String::new(),
        message_type: None,
        compress: false,
        payload: String::new(),
        id: None,
        attributes: String::new(),
    };
    if kind == "ticket" {
        return Some(plain("ticket"));
    }
    let [ticket, topics] = fields(data?, ["ticket", "topics"])?;
    let id = optional(ticket).ok()?;
    let mut payload = String::new();
    if let Some(topics) = topics.filter(|topics| *topics != "null") {
        let Pairs(members) = serde_json::from_str(topics).ok()?;
        for (topic, position) in members {
            let position = optional(Some(position.get())).ok()?;
            payload.extend([topic, format!("={position:?}")]);
        }
    }
    Some(Seen { payload, id, ..plain("resume") })
}

fn naive_http_publish(text: &str) -> Option<(String, String, bool)> {
    let [topic, message, compress] = fields(text, ["topic", "message", "compress"])?;
    Some((string(topic?)?, message?.to_owned(), flag(compress)?))
}

/// A string that may be absent or null; an error when it is something else.
fn optional(raw: Option<&str>) -> Result<Option<String>, NotString> {
    match raw {
        None | Some("null") => Ok(None),
        Some(raw) => string(raw).map(Some).ok_or(NotString),
    }
}

#[derive(Debug)]
struct NotString;

fn flag(raw: Option<&str>) -> Option<bool> {
    match raw {
        None | Some("null" | "false") => Some(false),
        Some("true") => Some(true),
        Some(_) => None,
    }
}
