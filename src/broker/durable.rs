//! Durable topics: kept and numbered by the store, and delivered here once they are safe there.
//!
//! All durable topics of an application have one home, so that whoever reads several of them gets
//! them in the store's order. The store answers a home in the order in which it was asked.
//!
//! Limits: requests under way are bounded by the bytes that the lane to the store may hold; over it
//! a publish is refused before it gets a place.

use std::collections::VecDeque;

use super::core::Broker;
use super::home::TopicKey;
use super::outlet::Outlet;
use super::parcel::{PageFor, Parcel, Receipt, ReplyTo};
use crate::model::id::MessageId;
use crate::model::message::Publication;
use crate::model::position::Position;
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::store::{Appended, Page, Span, StoreError, StoreReply, StoreRequest, Wanted};

/// What this home has asked of the store.
#[derive(Debug, Default)]
pub(super) struct StoreLane {
    next_ticket: u64,
    /// Oldest first.
    waiting: VecDeque<(u64, Asked)>,
}

#[derive(Debug)]
enum Asked {
    /// A publish; `None` when nobody waits for its outcome.
    Append(Option<ReplyTo>, Option<Box<str>>),
    /// A page for one of this shard's sessions, or another's.
    Page(ShardIndex, PageFor),
}

impl StoreLane {
    fn expect(&mut self, asked: Asked) -> u64 {
        self.next_ticket += 1;
        self.waiting.push_back((self.next_ticket, asked));
        self.next_ticket
    }

    fn answered(&mut self, ticket: u64) -> Asked {
        let (expected, asked) =
            self.waiting.pop_front().expect("the store answers what it is asked");
        assert_eq!(expected, ticket, "the store answers in order");
        asked
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Broker {
    /// Hands a publication to the store. Without a `reply` it is never refused.
    pub(super) fn publish_durable(
        &mut self,
        publication: Publication,
        reply: Option<ReplyTo>,
        time_us: u64,
        outlet: &mut impl Outlet,
    ) {
        if let Some(reply) = reply
            && !outlet.store_has_room()
        {
            return self.answer_published(reply, Err(Refusal::Overloaded), outlet);
        }
        let client_id = publication.client_id.clone();
        let ticket = self.store_lane.expect(Asked::Append(reply, client_id));
        let publication = Box::new(publication);
        outlet.store(StoreRequest::Append { ticket, publication, time_us });
    }

    /// The store has answered.
    pub(super) fn stored(&mut self, reply: StoreReply, outlet: &mut impl Outlet) {
        match reply {
            StoreReply::Appended { ticket, outcome } => {
                let Asked::Append(to, client_id) = self.store_lane.answered(ticket) else {
                    unreachable!("the store answers in kind");
                };
                let outcome = self.appended(outcome, client_id, outlet);
                if let Some(to) = to
                    && (to.wants_receipt || outcome.is_err())
                {
                    self.answer_published(to, outcome, outlet);
                }
            }
            StoreReply::Read { ticket, outcome } => {
                let Asked::Page(shard, to) = self.store_lane.answered(ticket) else {
                    unreachable!("the store answers in kind");
                };
                self.hand_out(shard, to, outcome, outlet);
            }
        }
    }

    /// A message is safe, and goes to its subscribers.
    fn appended(
        &mut self,
        outcome: Result<Appended, StoreError>,
        client_id: Option<Box<str>>,
        outlet: &mut impl Outlet,
    ) -> Result<Receipt, Refusal> {
        let receipt = |id, position| Ok(Receipt { id, position, client_id });
        match outcome {
            Ok(Appended::New(message)) => {
                let publication = &message.publication;
                let key = TopicKey { app: publication.app, name: publication.topic.clone() };
                let place = self.home.note_durable(&key, message.position.offset, message.previous);
                self.keep_and_deliver(&key, place, &message, outlet);
                receipt(message.id, message.position)
            }
            Ok(Appended::Repeated(position)) => receipt(self.durable_id(position), position),
            Err(_) => Err(Refusal::StoreFailed),
        }
    }

    fn durable_id(&self, position: Position) -> MessageId {
        MessageId::new(self.options.store.map_or(0, |store| store.run), position)
    }

    /// Answers a question for history: from memory, or when that does not reach back so far and the
    /// store does, once the store has answered.
    pub(super) fn serve_page(
        &mut self,
        shard: ShardIndex,
        to: PageFor,
        wanted: Wanted,
        outlet: &mut impl Outlet,
    ) {
        let wanted = Wanted { time_us: self.time_us, ..wanted };
        let is_durable = self.is_durable(wanted.app, &wanted.topics[0]);
        let page = self.home.page(&wanted, is_durable);
        if is_durable && is_short(&page, wanted.span) {
            let ticket = self.store_lane.expect(Asked::Page(shard, to));
            return outlet.store(StoreRequest::Read { ticket, wanted: Box::new(wanted) });
        }
        self.hand_out(shard, to, Ok(page), outlet);
    }

    fn hand_out(
        &mut self,
        shard: ShardIndex,
        to: PageFor,
        outcome: Result<Page, StoreError>,
        outlet: &mut impl Outlet,
    ) {
        if shard != self.options.shard {
            let outcome = outcome.map(Box::new);
            return outlet.send(shard, Parcel::Fetched { to, outcome });
        }
        self.take_page(to, outcome, outlet);
    }

    /// A page for this shard has come.
    pub(super) fn take_page(
        &mut self,
        to: PageFor,
        outcome: Result<Page, StoreError>,
        outlet: &mut impl Outlet,
    ) {
        match to {
            PageFor::CatchUp { session, token } => self.page_came(session, token, outcome, outlet),
            PageFor::Reply(reply) => outlet.fetched(reply, outcome),
        }
    }
}

/// Whether memory lacks something of what was wanted.
fn is_short(page: &Page, span: Span) -> bool {
    match span {
        Span::After(after) | Span::LatestAfter(after) => page.lost_through > after,
        Span::Before(_) => page.lost_through > 0 && page.first <= page.lost_through,
    }
}
