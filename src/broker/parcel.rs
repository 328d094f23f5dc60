//! What brokers of different shards tell each other.

use std::sync::Arc;

use super::ask::{Ask, Told};
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::id::{ConnectionId, MessageId};
use crate::model::identity::Identity;
use crate::model::message::{Message, Publication};
use crate::model::position::Position;
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::store::{Page, StoreError, StoreReply, StoreRequest, Wanted};
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

/// Whom a page of history is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageFor {
    /// A session that catches up.
    CatchUp {
        /// Which, on the shard that asked.
        session: Key,
        /// Which of its questions.
        token: u32,
    },
    /// A request for history.
    Reply(ReplyTo),
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
    /// From a subject's home: deliver to these sessions of that subject.
    DeliverPrivate {
        /// What.
        message: Arc<Message>,
        /// To whom; some may have ended.
        sessions: Vec<Key>,
    },
    /// To the home: give this presence event a place and deliver it. Never refused.
    Announce(Box<Publication>),
    /// To a subject's home: this session has begun.
    Arrive {
        /// Namespace.
        app: AppIndex,
        /// Its connection.
        connection: ConnectionId,
        /// Who it is; with a token's subject.
        identity: Arc<Identity>,
        /// Whether it counts as present.
        is_present: bool,
    },
    /// From a subject's home: the session is registered.
    Arrived {
        /// Which.
        session: Key,
    },
    /// To a subject's home: the session has ended, or is about to.
    Depart {
        /// Namespace.
        app: AppIndex,
        /// The token's subject.
        subject: Arc<str>,
        /// Its connection.
        connection: ConnectionId,
    },
    /// From a subject's home, which has forgotten the session already: close it.
    Evict {
        /// Which.
        session: Key,
        /// Why.
        cause: CloseCause,
    },
    /// From the home of a topic whose members are wanted: tell them, and every change from then on.
    Watch {
        /// Namespace.
        app: AppIndex,
        /// The topic whose members are wanted.
        topic: TopicName,
        /// Echoed in `Members`, so that an earlier watch's answers are told apart.
        token: u32,
    },
    /// From the home: no longer.
    Unwatch {
        /// Namespace.
        app: AppIndex,
        /// The topic.
        topic: TopicName,
    },
    /// To the home: the subjects on the topic at this shard, each once.
    Members {
        /// Namespace.
        app: AppIndex,
        /// The topic.
        topic: TopicName,
        /// The watch's token.
        token: u32,
        /// Bounded by this shard's subscriptions.
        subjects: Vec<Arc<str>>,
    },
    /// To the home: a subject's first connection at this shard joined, or its last one left.
    Member {
        /// Namespace.
        app: AppIndex,
        /// The topic.
        topic: TopicName,
        /// Who.
        subject: Arc<str>,
        /// Whether it is on the topic now.
        is_on: bool,
    },
    /// To the home: a page of history is wanted.
    Fetch {
        /// For whom.
        to: PageFor,
        /// Which.
        wanted: Box<Wanted>,
    },
    /// From the home: the page.
    Fetched {
        /// For whom.
        to: PageFor,
        /// What was found.
        outcome: Result<Box<Page>, StoreError>,
    },
    /// To the store.
    Store(StoreRequest),
    /// From the store.
    Stored(StoreReply),
    /// A question or order of another shard.
    Ask {
        /// Whose.
        to: ReplyTo,
        /// What.
        ask: Box<Ask>,
    },
    /// Its answer.
    Told {
        /// Whose question.
        to: ReplyTo,
        /// The answer.
        told: Box<Told>,
    },
}

impl Parcel {
    /// Bytes this parcel holds alive in a queue, roughly; what queue limits count.
    pub fn size(&self) -> usize {
        match self {
            Parcel::Publish { publication, .. } | Parcel::Announce(publication) => {
                256 + publication.payload.size()
            }
            Parcel::Deliver(message) => 256 + message.publication.payload.size(),
            Parcel::DeliverPrivate { message, sessions } => {
                256 + message.publication.payload.size() + size_of_val(sessions.as_slice())
            }
            Parcel::Members { subjects, .. } => {
                64 + subjects.iter().map(|subject| 16 + subject.len()).sum::<usize>()
            }
            Parcel::Told { told, .. } => told.size(),
            Parcel::Fetched { outcome: Ok(page), .. } => page.size(),
            Parcel::Fetch { wanted, .. } => 128 + 16 * wanted.topics.len(),
            Parcel::Store(request) => request.size(),
            Parcel::Stored(reply) => reply.size(),
            _ => 64,
        }
    }
}
