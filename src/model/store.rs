//! What home shards and the store tell each other.
//!
//! A home's requests are answered in the order in which it made them, and appends are numbered in
//! that order; so whatever a page of history holds was told to the home before the page, and nothing
//! later was.

use std::sync::Arc;

use super::application::AppIndex;
use super::message::{Message, Publication};
use super::position::{Epoch, Position};
use super::topic::TopicName;

/// Which store it is: made with it, and as old as it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreIdentity {
    /// The epoch of its positions; random.
    pub epoch: Epoch,
    /// The upper half of its messages' ids; random.
    pub run: u64,
    /// The last offset given when the process began.
    pub offset: u64,
}

impl StoreIdentity {
    /// The position of `offset` in this store.
    pub fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, lane: super::position::Lane::Store, offset }
    }
}

/// What a home asks of the store. `ticket` is echoed.
#[derive(Debug)]
pub enum StoreRequest {
    /// Keep a message and give it its place.
    Append {
        /// The asker's own number for it.
        ticket: u64,
        /// What.
        publication: Box<Publication>,
        /// When the home took it, Unix time in microseconds.
        time_us: u64,
    },
    /// Read kept messages.
    Read {
        /// The asker's own number for it.
        ticket: u64,
        /// What of them.
        wanted: Box<Wanted>,
    },
}

impl StoreRequest {
    /// Bytes this holds alive in a queue, roughly.
    pub fn size(&self) -> usize {
        match self {
            StoreRequest::Append { publication, .. } => 256 + publication.payload.size(),
            StoreRequest::Read { wanted, .. } => 128 + 64 * wanted.topics.len(),
        }
    }
}

/// The store's answer.
#[derive(Debug)]
pub enum StoreReply {
    /// To [`StoreRequest::Append`].
    Appended {
        /// The request's.
        ticket: u64,
        /// Where it stands, or why not.
        outcome: Result<Appended, StoreError>,
    },
    /// To [`StoreRequest::Read`].
    Read {
        /// The request's.
        ticket: u64,
        /// What was found.
        outcome: Result<Page, StoreError>,
    },
}

impl StoreReply {
    /// Bytes this holds alive in a queue, roughly.
    pub fn size(&self) -> usize {
        match self {
            StoreReply::Appended { outcome: Ok(Appended::New(message)), .. } => message.size(),
            StoreReply::Read { outcome: Ok(page), .. } => page.size(),
            StoreReply::Appended { .. } | StoreReply::Read { .. } => 64,
        }
    }
}

/// What became of an append; either way the message is safe.
#[derive(Debug)]
pub enum Appended {
    /// It has a place now. To be delivered.
    New(Arc<Message>),
    /// The same idempotency key was published to the topic before, and got this place.
    Repeated(Position),
}

/// Why the store did not do it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// Writing or syncing has failed, now or earlier; it takes nothing more until it is opened again.
    /// Whether this message was kept is not known.
    Failed,
    /// Reading has failed.
    Unreadable,
}

/// A part of the history of topics that one lane counts, of one application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Whose.
    pub app: AppIndex,
    /// Which topics, each once; at least one.
    pub topics: Vec<TopicName>,
    /// Which part.
    pub span: Span,
    /// Most messages, at least 1.
    pub count_max: u32,
    /// Bytes of payload at which a page ends; it has at least one message, if there is one.
    pub size_max: usize,
    /// For judging expiry: Unix time in microseconds.
    pub time_us: u64,
}

/// Which part of a history, always told oldest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    /// The oldest behind this offset.
    After(u64),
    /// The newest before this offset; `u64::MAX` for the newest of all.
    Before(u64),
    /// The newest per key behind this offset; messages without a key count as one key per topic.
    LatestAfter(u64),
}

/// A page of history.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Oldest first over all topics asked for. Expired ones are left out.
    pub messages: Vec<Arc<Message>>,
    /// The page tells of every offset up to this one: where the next page begins, or the lane's last
    /// offset if there is none. With [`Span::Before`], of every offset from `first` on instead.
    pub through: u64,
    /// With [`Span::Before`]: the lowest offset it tells of.
    pub first: u64,
    /// Whether more messages follow (with [`Span::Before`]: precede).
    pub has_more: bool,
    /// The highest offset of a message of these topics that is no longer kept, for age, room or a
    /// restart; 0 when there is none. Above the span's offset it means that some were lost.
    pub lost_through: u64,
    /// Messages kept behind the span's offset, those of later pages too.
    pub count: u64,
}

impl Page {
    /// Bytes this holds alive in a queue, roughly.
    pub fn size(&self) -> usize {
        64 + self.messages.iter().map(|message| message.size()).sum::<usize>()
    }
}
