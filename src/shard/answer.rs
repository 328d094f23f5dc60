//! Answers to pipelined requests: each keeps its place until it and all before it are ready.

use smallvec::SmallVec;

pub(super) use super::polling::Poll;
use crate::broker::{Receipt, Told};
use crate::model::application::AppIndex;
use crate::model::position::{Epoch, Lane};
use crate::model::recovery::LossReason;
use crate::model::refusal::Refusal;
use crate::model::store::{Page, StoreError};
use crate::model::topic::TopicName;
use crate::proto::http1::Terms;

/// One request's answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// What its request allows: staying open, a body.
    pub(super) terms: Terms,
    /// Which origin may read it.
    pub(super) cors: Cors,
    pub(super) body: AnswerBody,
}

/// The `Access-Control-Allow-Origin` of an answer (Fetch standard, CORS protocol).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cors {
    /// Not asked, or not allowed.
    Absent,
    /// `*`.
    Any,
    /// The application's origin at this place of its list.
    Listed(AppIndex, u16),
    /// An origin that is not on the list: caches must know that others get another answer.
    Unlisted,
}

/// What an answer says.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// Written already, waiting for those before it.
    Ready(Vec<u8>),
    /// Publishes whose outcomes are coming.
    Publishes(Publishes),
    /// What shards were asked, and have told so far.
    Asked(Box<Asked>),
    /// A page of history that is coming.
    History(Box<History>),
    /// A long poll.
    Poll(Box<Poll>),
}

impl AnswerBody {
    /// Whether it can be written.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            AnswerBody::Ready(_) => true,
            AnswerBody::Publishes(publishes) => publishes.missing == 0,
            AnswerBody::Asked(asked) => asked.missing == 0,
            AnswerBody::History(history) => history.outcome.is_some(),
            AnswerBody::Poll(poll) => poll.is_over,
        }
    }
}

/// A page of history on its way.
#[derive(Debug)]
pub(super) struct History {
    pub(super) ticket: u32,
    pub(super) topic: TopicName,
    pub(super) shape: HistoryShape,
    /// What is known to be lost whatever the page says.
    pub(super) loss: Option<LossReason>,
    /// Behind which offset the page was to begin.
    pub(super) after: Option<u64>,
    /// Makes a page's offsets positions.
    pub(super) lane: (Epoch, Lane),
    pub(super) outcome: Option<Result<Page, StoreError>>,
}

/// How a page of history is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum HistoryShape {
    /// `GET /v1/{app}/history`: as a list.
    List,
    /// `GET /v1/{app}/topics/{topic}`: its one message, which the client may have by this tag.
    Latest(Option<Box<str>>),
}

/// A question or an order of administration on its way through the shards.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ticket: u32,
    /// Shards that have not told yet.
    pub(super) missing: u32,
    /// What the others told, merged.
    pub(super) told: Option<Told>,
    /// Most entries of a page.
    pub(super) limit: u32,
    /// In which shape it is told.
    pub(super) report: Report,
}

/// The shape of an answer of administration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// What was told, in its own shape.
    Plain,
    /// Who is on this topic; members are named up to so many.
    Members {
        /// The topic asked about.
        topic: TopicName,
        /// Beyond it, only numbers.
        members_max: u32,
    },
    /// One connection was to be closed; with none, it was not there.
    CloseOne,
}

impl Asked {
    /// Takes in what one shard told.
    pub(super) fn gather(&mut self, told: Told) {
        self.missing = self.missing.saturating_sub(1);
        self.told = Some(match self.told.take() {
            None => told,
            Some(earlier) => earlier.merge(told, self.limit),
        });
    }
}

/// The publishes of one request.
#[derive(Debug)]
pub(super) struct Publishes {
    /// In which shape the outcome is told.
    pub(super) dialect: PublishDialect,
    /// The first publish's ticket; the others follow on.
    pub(super) first_ticket: u32,
    /// Outcomes still missing.
    pub(super) missing: u32,
    /// One per publish, in the request's order.
    pub(super) outcomes: SmallVec<[Option<Result<Receipt, Refusal>>; 1]>,
}

/// Which route a publish came by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PublishDialect {
    /// One message: `{"id","position"}`.
    Single,
    /// `POST /v1/{app}/publish`: `{"results":[…]}`.
    Batch,
    /// `POST /publish`: `ok`.
    Simple,
}

impl Publishes {
    /// Whether the ticket is one of this request's.
    pub(super) fn has(&self, ticket: u32) -> bool {
        self.place(ticket) < self.outcomes.len()
    }

    /// Notes the outcome of one of its tickets; whether it was the last one missing.
    pub(super) fn settle(&mut self, ticket: u32, outcome: Result<Receipt, Refusal>) -> bool {
        let place = self.place(ticket);
        let Some(slot @ None) = self.outcomes.get_mut(place) else { return false };
        *slot = Some(outcome);
        self.missing -= 1;
        self.missing == 0
    }

    fn place(&self, ticket: u32) -> usize {
        ticket.wrapping_sub(self.first_ticket) as usize
    }
}
