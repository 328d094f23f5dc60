//! What brokers of different shards tell each other.

use std::sync::Arc;

use crate::model::application::AppIndex;
use crate::model::id::MessageId;
use crate::model::message::{Message, Publication};
use crate::model::position::Position;
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// Where the answer to a publish belongs: a session and the ticket it gave the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyTo {
    /// The shard that owns the session.
    pub shard: ShardIndex,
    /// The session.
    pub session: Key,
    /// The session's own number for the request.
    pub ticket: u32,
    /// Whether a success is to be told; a refusal always is.
    pub wants_receipt: bool,
}

/// What a publisher is told once its message has a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The message's id.
    pub id: MessageId,
    /// Its place.
    pub position: Position,
    /// The id that the publishing client gave.
    pub client_id: Option<Box<str>>,
}

/// One item of a batch between two shards. Lanes between two shards keep order.
#[derive(Debug)]
pub enum Parcel {
    /// To the home: give this a place and deliver it.
    Publish {
        /// What to publish.
        publication: Box<Publication>,
        /// Who wants to know.
        reply: ReplyTo,
    },
    /// To the publisher's shard: the outcome.
    Published {
        /// Whose request.
        to: ReplyTo,
        /// The place, or why there is none.
        outcome: Result<Receipt, Refusal>,
    },
    /// To the home: this shard holds subscribers from now on.
    Interest {
        /// Namespace.
        app: AppIndex,
        /// Topic.
        topic: TopicName,
        /// Echoed in `Registered`, so that an answer to an earlier interest is told apart.
        token: u32,
    },
    /// To the home: this shard holds none any more.
    Disinterest {
        /// Namespace.
        app: AppIndex,
        /// Topic.
        topic: TopicName,
    },
    /// From the home: the shard is registered; everything after `offset` will reach it.
    Registered {
        /// Namespace.
        app: AppIndex,
        /// Topic.
        topic: TopicName,
        /// The interest's token.
        token: u32,
        /// The home's last offset when it registered the shard.
        offset: u64,
    },
    /// From the home: deliver to your subscribers.
    Deliver(Arc<Message>),
}

impl Parcel {
    /// Bytes this parcel holds alive in a queue, roughly; what queue limits count.
    pub fn size(&self) -> usize {
        match self {
            Parcel::Publish { publication, .. } => 256 + publication.payload.size(),
            Parcel::Deliver(message) => 256 + message.publication.payload.size(),
            _ => 64,
        }
    }
}
