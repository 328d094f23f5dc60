//! The message: one immutable shared object from the home shard to every socket.
//!
//! It holds what was published, never a wire envelope. Each wire form is made once, by whichever
//! shard needs it first, and kept beside the message; making one never blocks another thread.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::application::AppIndex;
use super::form::{Form, SLOT_COUNT};
use super::id::{ConnectionId, MessageId};
use super::position::Position;
use super::topic::TopicName;

/// What was published: the bytes and how to read them. Clones share the bytes, so that one payload
/// for many topics is held once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// A JSON text, valid, byte for byte as it was published.
    Json(Arc<str>),
    /// Characters. The same payload as the JSON string of these characters.
    Text(Arc<str>),
}

impl Payload {
    /// Size as published, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Payload::Json(text) | Payload::Text(text) => text.len(),
        }
    }
}

/// Who published over a connection; absent for HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publisher {
    /// The publishing connection.
    pub connection: ConnectionId,
    /// The identity's subject.
    pub subject: Arc<str>,
    /// The identity's permission strings.
    pub permissions: Arc<[String]>,
}

/// A publish on its way to the topic's home: a message without its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Whose namespace the topic is in.
    pub app: AppIndex,
    /// Where it is published.
    pub topic: TopicName,
    /// What.
    pub payload: Payload,
    /// The Realtime `messageType`; `None` means `broadcast`.
    pub message_type: Option<Box<str>>,
    /// The id that the publishing client gave, echoed in the Realtime wrapper and its ack.
    pub client_id: Option<Box<str>>,
    /// The publishing connection, when it was one.
    pub publisher: Option<Publisher>,
    /// Whether Realtime subscribers get it as a binary, compressed frame (protocols.md §1.5).
    pub compress: bool,
    /// What few messages have.
    pub attributes: Option<Box<Attributes>>,
}

impl Publication {
    /// The key that `SlowConsumer::KeepLatest` tells messages apart by.
    pub fn key(&self) -> Option<&str> {
        self.attributes.as_ref()?.key.as_deref()
    }

    /// By which a repeated publish is known.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.attributes.as_ref()?.idempotency_key.as_deref()
    }

    /// From when on it is not handed out any more, Unix time in microseconds.
    pub fn expires_us(&self) -> Option<u64> {
        self.attributes.as_ref()?.expires_us
    }
}

/// What a publisher may say of a message beyond its payload.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// Names what the message is the latest state of, within its topic; at most 255 bytes.
    pub key: Option<Box<str>>,
    /// The same for every attempt to publish the same message; at most 255 bytes.
    pub idempotency_key: Option<Box<str>>,
    /// From when on it is not handed out any more, Unix time in microseconds.
    pub expires_us: Option<u64>,
}

/// A message with its place in the topic's order.
#[derive(Debug)]
pub struct Message {
    /// What was published.
    pub publication: Publication,
    /// Its id.
    pub id: MessageId,
    /// Its place.
    pub position: Position,
    /// The offset of the topic's message before this one, as far as the home remembers; 0 when
    /// there was none. A subscriber whose last offset is lower has missed something.
    pub previous: u64,
    /// When the home took it, Unix time in microseconds.
    pub time_us: u64,
    /// The form that was needed first: of most messages the only one that is kept.
    first: OnceBox<Made>,
    others: OnceBox<[OnceBox<Arc<[u8]>>; SLOT_COUNT]>,
    /// Only one shard delivers it, which needs no copy of a form but the one it sends.
    is_for_one_shard: bool,
}

/// A wire form's bytes and its slot.
#[derive(Debug)]
struct Made {
    slot: usize,
    bytes: Arc<[u8]>,
}

impl Message {
    /// A message at its place.
    pub fn new(
        publication: Publication,
        id: MessageId,
        position: Position,
        previous: u64,
        time_us: u64,
    ) -> Message {
        Message {
            publication,
            id,
            position,
            previous,
            time_us,
            first: OnceBox::new(),
            others: OnceBox::new(),
            is_for_one_shard: false,
        }
    }

    /// Says whether one shard only delivers it: then its live delivery keeps no wire form beside it,
    /// which would be a third of what its history takes.
    pub fn set_for_one_shard(&mut self, is_for_one_shard: bool) {
        self.is_for_one_shard = is_for_one_shard;
    }

    /// Whether only one shard delivers it.
    pub fn is_for_one_shard(&self) -> bool {
        self.is_for_one_shard
    }

    /// Bytes it holds while it is kept, roughly: itself, its payload, and one wire form of that.
    pub fn size(&self) -> usize {
        const ENVELOPE_SIZE: usize = 160;
        size_of::<Message>() + 2 * self.publication.payload.size() + ENVELOPE_SIZE
    }

    /// Whether it must not be handed out any more at `time_us`.
    pub fn has_expired(&self, time_us: u64) -> bool {
        self.publication.expires_us().is_some_and(|expires_us| expires_us <= time_us)
    }

    /// The bytes of `form`, made by `encode` if nobody has made them yet. Two shards may make them
    /// at the same time; one copy stays.
    pub fn form(&self, form: Form, mut encode: impl FnMut(&Message) -> Vec<u8>) -> &Arc<[u8]> {
        let slot = form.slot(self.publication.compress);
        let mut make = || Arc::from(encode(self));
        let first = self.first.get_or_init(|| Box::new(Made { slot, bytes: make() }));
        if first.slot == slot {
            return &first.bytes;
        }
        let others = self.others.get_or_init(|| Box::new(std::array::from_fn(|_| OnceBox::new())));
        others[slot].get_or_init(|| Box::new(make()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::{Epoch, Lane};
    use crate::model::shard::ShardIndex;

    #[test]
    fn each_form_is_made_once_whichever_comes_first() {
        let publication = Publication {
            app: AppIndex(0),
            topic: TopicName::new("t").unwrap(),
            payload: Payload::Text("x".into()),
            message_type: None,
            client_id: None,
            publisher: None,
            compress: true,
            attributes: None,
        };
        let lane = Lane::Home(ShardIndex(0));
        let position = Position { epoch: Epoch(1), lane, offset: 1 };
        let message = Message::new(publication, MessageId::new(1, position), position, 0, 0);
        let forms =
            [None, Some(9), Some(15)].map(|window| Form::Realtime { positions: true, window });
        let mut made = 0;
        for _ in 0..2 {
            for (name, form) in forms.into_iter().enumerate() {
                let bytes = message.form(form, |_| {
                    made += 1;
                    name.to_string().into_bytes()
                });
                assert_eq!(&bytes[..], name.to_string().as_bytes());
            }
        }
        assert_eq!(made, forms.len());
    }
}
