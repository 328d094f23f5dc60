//! What a received frame or event is: a delivery of ours, a welcome, something else, or damage.
//!
//! The hot path compares the envelope with the exact bytes it is expected to have around the
//! fixed-width text. Anything else, and one delivery in [`SAMPLE_EVERY`], is parsed as JSON and its
//! fields are checked, so a server may order its keys as it likes and is still held to them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::marker::{Codec, Defect, Marker};
use crate::settings::{Door, Settings};
use crate::wire::notice::{Lost, Welcome};

/// One delivery in this many is parsed in full even if its bytes are the expected ones.
pub const SAMPLE_EVERY: u64 = 1024;

/// What was received.
#[derive(Clone, Debug, PartialEq)]
pub enum Content<'t> {
    /// One of this run's messages, unchanged, and its position, if it has one.
    Delivery(Marker, Option<Cow<'t, str>>),
    /// The welcome of a topic or of the session.
    Welcome(Welcome),
    /// Messages are lost, and the server says so.
    Lost(Lost),
    /// A frame that is neither, such as an ack or a notice.
    Other,
    /// A message that is not what was published, and why.
    Corrupt(String),
    /// A well-formed message of another run or another publisher.
    Alien(String),
}

/// The envelope as JSON, whatever the order of its keys.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "messageType")]
    message_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    position: Option<Cow<'a, str>>,
}

/// Recognises the envelopes of one door.
pub struct Recognizer {
    door: Door,
    codec: Codec,
    /// Everything before the topic's six digits.
    before: Vec<u8>,
    /// From behind the digits to the text, for WebSocket; the text's key, for event streams.
    between: Vec<u8>,
    topic_stem: String,
    seen: u64,
    /// How many envelopes were parsed as JSON.
    pub parsed: u64,
}

const TOPIC_DIGITS: usize = 6;

impl Recognizer {
    /// For the door of `settings`.
    #[must_use]
    pub fn new(settings: &Settings) -> Recognizer {
        let topic = settings.topic(0);
        let topic_stem = topic[..topic.len() - TOPIC_DIGITS].to_owned();
        let between = match settings.door {
            Door::Ws => r#"","messageType":"broadcast","data":""#,
            _ => r#""data":""#,
        };
        Recognizer {
            door: settings.door,
            codec: Codec::new(settings.run, settings.size),
            before: format!(r#"{{"topic":"{topic_stem}"#).into_bytes(),
            between: between.into(),
            topic_stem,
            seen: 0,
            parsed: 0,
        }
    }

    /// What a text frame or an event's data is.
    pub fn recognize<'t>(&mut self, text: &'t [u8]) -> Content<'t> {
        self.seen += 1;
        if matches!(self.door, Door::SseRaw | Door::Buzz) {
            return self.bare(text);
        }
        if !self.seen.is_multiple_of(SAMPLE_EVERY)
            && let Some((marker, position)) = self.exact(text)
        {
            return Content::Delivery(marker, position.map(Cow::Borrowed));
        }
        self.parsed += 1;
        self.parse(text)
    }

    /// The marker and the position, if every byte around them is as expected.
    fn exact<'t>(&self, text: &'t [u8]) -> Option<(Marker, Option<&'t str>)> {
        let rest = text.strip_prefix(self.before.as_slice())?;
        let (digits, rest) = rest.split_at_checked(TOPIC_DIGITS)?;
        let (payload, position) = if self.door == Door::Ws {
            let rest = rest.strip_prefix(self.between.as_slice())?;
            let (payload, tail) = rest.split_at_checked(self.codec.size())?;
            (payload, position_of(tail)?)
        } else {
            let body = rest.strip_prefix(b"\",")?.strip_suffix(b"\"}")?;
            let at = body.len().checked_sub(self.codec.size())?;
            let (envelope, payload) = body.split_at_checked(at)?;
            (envelope.ends_with(&self.between).then_some(payload)?, None)
        };
        let marker = self.codec.decode(payload).ok()?;
        (decimal(digits) == Some(marker.topic)).then_some((marker, position))
    }

    /// buzzPost shows the string's characters; `format=raw` may also show it as JSON.
    fn bare(&self, text: &[u8]) -> Content<'static> {
        let quoted = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
        let payload = match (self.door, quoted) {
            (Door::SseRaw, Some(inner)) => inner,
            _ => text,
        };
        self.payload(payload).map_or_else(|wrong| wrong, |marker| Content::Delivery(marker, None))
    }

    fn payload(&self, text: &[u8]) -> Result<Marker, Content<'static>> {
        self.codec.decode(text).map_err(|defect| match defect {
            Defect::OtherRun => Content::Alien(defect.to_string()),
            _ => Content::Corrupt(format!("{defect}: {}", excerpt(text))),
        })
    }

    fn parse<'t>(&self, text: &'t [u8]) -> Content<'t> {
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(text) else {
            return Content::Corrupt(format!("not a JSON envelope: {}", excerpt(text)));
        };
        let topic = envelope.topic.unwrap_or_default();
        let data = envelope.data.map_or("", RawValue::get);
        if self.door == Door::Ws {
            match envelope.message_type.as_deref() {
                Some("welcome") => {
                    let welcome = Welcome::read(&topic, envelope.position.as_deref(), data);
                    return welcome.map_or_else(Content::Corrupt, Content::Welcome);
                }
                Some("lost") if topic == "priv/session" => {
                    let lost = Lost::read(data.as_bytes());
                    return lost.map_or_else(Content::Corrupt, Content::Lost);
                }
                Some("broadcast") => {}
                Some(_) => return Content::Other,
                None => return Content::Corrupt(format!("no messageType: {}", excerpt(text))),
            }
        }
        let Some(number) = topic.strip_prefix(&self.topic_stem) else {
            return Content::Alien(format!("a message of topic {topic:?}"));
        };
        let Some(inner) = data.strip_prefix('"').and_then(|data| data.strip_suffix('"')) else {
            return Content::Corrupt(format!("data is not a string: {}", excerpt(text)));
        };
        match self.payload(inner.as_bytes()) {
            Ok(marker) if decimal(number.as_bytes()) != Some(marker.topic) => {
                Content::Alien(format!("topic {topic:?} carries a message of {}", marker.topic))
            }
            Ok(marker) => Content::Delivery(marker, envelope.position),
            Err(wrong) => wrong,
        }
    }
}

/// The position in what follows a payload: nothing but the end, or `id` and `position`.
#[expect(clippy::option_option, reason = "no position is one of the expected ends")]
fn position_of(tail: &[u8]) -> Option<Option<&str>> {
    if tail == b"\"}" {
        return Some(None);
    }
    let rest = tail.strip_prefix(b"\",\"id\":\"")?.strip_suffix(b"\"}")?;
    let (id, rest) = rest.split_at(memchr::memchr(b'"', rest)?);
    let position = rest.strip_prefix(b"\",\"position\":\"")?;
    let is_plain = |text: &[u8]| memchr::memchr2(b'"', b'\\', text).is_none();
    let position =
        std::str::from_utf8(position).ok().filter(|_| is_plain(id) && is_plain(position));
    position.map(Some)
}

fn decimal(digits: &[u8]) -> Option<u32> {
    let step =
        |sum: u32, &digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'));
    if digits.len() == TOPIC_DIGITS { digits.iter().try_fold(0, step) } else { None }
}

fn excerpt(text: &[u8]) -> String {
    let cut = &text[..text.len().min(120)];
    String::from_utf8_lossy(cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example;

    const MARKER: Marker = Marker { topic: 3, sequence: 9, intended_ns: 5, sent_ns: 6 };

    fn setup(door: Door) -> (Recognizer, String) {
        let settings = Settings { door, topics: 5, ..example() };
        let mut text = Vec::new();
        Codec::new(settings.run, settings.size).encode(&MARKER, &mut text);
        (Recognizer::new(&settings), String::from_utf8(text).unwrap())
    }

    #[test]
    fn websocket_envelopes() {
        let (mut recognizer, text) = setup(Door::Ws);
        let mut check = |frame: String, expected: &dyn Fn(&Content<'_>) -> bool, parsed: u64| {
            let content = recognizer.recognize(frame.as_bytes());
            assert!(expected(&content), "{frame}: {content:?}");
            assert_eq!(recognizer.parsed, parsed, "{frame}");
        };
        let ours = |c: &Content<'_>| *c == Content::Delivery(MARKER, None);
        let corrupt = |c: &Content<'_>| matches!(c, Content::Corrupt(_));
        let alien = |c: &Content<'_>| matches!(c, Content::Alien(_));
        let topic = "load-00000abc-000003";
        let good = format!(r#"{{"topic":"{topic}","messageType":"broadcast","data":"{text}"}}"#);
        check(good.clone(), &ours, 0);
        let swapped =
            format!(r#"{{"data":"{text}", "messageType":"broadcast","topic":"{topic}"}}"#);
        check(swapped, &ours, 1);
        check(good.replace("000003\"", "000002\""), &alien, 2);
        check(good.replace("load-", "xoad-"), &alien, 3);
        let welcome = format!(r#"{{"topic":"{topic}","messageType":"welcome","data":{{}}}}"#);
        let is_welcome = |c: &Content<'_>| matches!(c, Content::Welcome(w) if w.topic == topic);
        check(welcome, &is_welcome, 4);
        check(good.replace("broadcast", "ack"), &|c| *c == Content::Other, 5);
        check(good.replace("fwlt1", "fwlt2"), &corrupt, 6);
        check(good[..good.len() - 1].to_owned(), &corrupt, 7);
        check(format!("{good}}}"), &corrupt, 8);
        check(format!(r#"{{"topic":"{topic}","data":"{text}"}}"#), &corrupt, 9);
        check(good.replace("fwlt1:00000abc", "fwlt1:00000abd"), &alien, 10);
    }

    #[test]
    fn positions_are_found_by_both_ways() {
        let (mut recognizer, text) = setup(Door::Ws);
        let good = format!(
            r#"{{"topic":"load-00000abc-000003","messageType":"broadcast","data":"{text}","id":"1f","position":"e-0.9"}}"#
        );
        let ours = Content::Delivery(MARKER, Some("e-0.9".into()));
        assert_eq!((recognizer.recognize(good.as_bytes()), recognizer.parsed), (ours.clone(), 0));
        let escaped = good.replace("e-0", r"\u0065-0");
        assert_eq!(
            (recognizer.recognize(escaped.as_bytes()), recognizer.parsed),
            (ours.clone(), 1)
        );
        let more = good.replace("\"}", "\",\"more\":1}");
        assert_eq!((recognizer.recognize(more.as_bytes()), recognizer.parsed), (ours, 2));
        let cut = good.replace("\"e-0.9\"", "\"e-0.9");
        assert!(matches!(recognizer.recognize(cut.as_bytes()), Content::Corrupt(_)));
    }

    #[test]
    fn losses_are_statements_not_damage() {
        let (mut recognizer, _) = setup(Door::Ws);
        let lost = r#"{"topic":"priv/session","messageType":"lost","data":{"topic":"t","reason":"too_old"}}"#;
        let content = recognizer.recognize(lost.as_bytes());
        assert!(matches!(content, Content::Lost(lost) if lost.topics().eq(["t"])));
        let wrong = lost.replace("\"topic\":\"t\",", "");
        assert!(matches!(recognizer.recognize(wrong.as_bytes()), Content::Corrupt(_)));
    }

    #[test]
    fn event_stream_envelopes() {
        let (mut recognizer, text) = setup(Door::Sse);
        let data =
            format!(r#"{{"topic":"load-00000abc-000003","id":"x","time":17,"data":"{text}"}}"#);
        assert_eq!(recognizer.recognize(data.as_bytes()), Content::Delivery(MARKER, None));
        assert_eq!(recognizer.parsed, 0);
        let (mut recognizer, text) = setup(Door::Buzz);
        assert_eq!(recognizer.recognize(text.as_bytes()), Content::Delivery(MARKER, None));
        let quoted = format!("\"{text}\"");
        assert!(matches!(recognizer.recognize(quoted.as_bytes()), Content::Corrupt(_)));
        let (mut recognizer, _) = setup(Door::SseRaw);
        assert_eq!(recognizer.recognize(quoted.as_bytes()), Content::Delivery(MARKER, None));
        assert_eq!(recognizer.recognize(text.as_bytes()), Content::Delivery(MARKER, None));
        assert!(matches!(recognizer.recognize(&quoted.as_bytes()[1..]), Content::Corrupt(_)));
    }

    #[test]
    fn a_sample_is_parsed_even_if_exact() {
        let (mut recognizer, text) = setup(Door::Ws);
        let good = format!(
            r#"{{"topic":"load-00000abc-000003","messageType":"broadcast","data":"{text}"}}"#
        );
        (0..2 * SAMPLE_EVERY).for_each(|_| _ = recognizer.recognize(good.as_bytes()));
        assert_eq!(recognizer.parsed, 2);
    }
}
