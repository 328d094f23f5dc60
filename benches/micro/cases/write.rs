//! A message made into the bytes of its wire forms, once for all its subscribers.

use fanwire::model::application::AppIndex;
use fanwire::model::form::{EventId, Form, SseBody};
use fanwire::model::id::MessageId;
use fanwire::model::message::{Message, Payload, Publication};
use fanwire::model::position::{Epoch, Lane, Position};
use fanwire::model::shard::ShardIndex;
use fanwire::model::topic::TopicName;
use fanwire::proto::encode::Encoder;

use super::{Op, text};

/// A server-sent event with the native envelope.
pub(crate) fn event<const SIZE: usize>() -> Op {
    encode(SIZE, Form::Sse { body: SseBody::Native, id: EventId::Position })
}

/// A WebSocket frame with the Realtime envelope.
pub(crate) fn envelope<const SIZE: usize>() -> Op {
    encode(SIZE, Form::Realtime { positions: false, window: None })
}

fn encode(size: usize, form: Form) -> Op {
    let position =
        Position { epoch: Epoch(0xbeef), lane: Lane::Home(ShardIndex(1)), offset: 0x12345 };
    let publication = publication(size);
    let message = Message::new(publication, MessageId::new(1, position), position, 1, 0);
    let mut encoder = Encoder::default();
    Box::new(move || encoder.encode(form, &message).len())
}

/// A publish by HTTP of a JSON string of `size` bytes.
pub(super) fn publication(size: usize) -> Publication {
    Publication {
        app: AppIndex(0),
        topic: TopicName::new("chat/room-7").expect("legal"),
        payload: Payload::Json(format!("\"{}\"", text(size - 2)).into()),
        message_type: None,
        client_id: None,
        publisher: None,
        compress: false,
        attributes: None,
    }
}
