//! History for whoever asks for it by name: one topic, one page.

use super::catching::{PageSize, Start, StartFrom};
use super::core::Broker;
use super::outlet::Outlet;
use super::parcel::{PageFor, Parcel, ReplyTo};
use crate::model::application::AppIndex;
use crate::model::position::{Cursor, Epoch, Lane};
use crate::model::recovery::LossReason;
use crate::model::store::{Span, Wanted};
use crate::model::topic::TopicName;

/// Which page of a topic's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HistorySpan {
    /// The newest.
    Newest,
    /// The oldest behind a position.
    After(Cursor),
    /// The newest before a position.
    Before(Cursor),
}

impl Broker {
    /// What is known of a span without looking: who counts the topic, behind which offset the page is
    /// to begin, and why it cannot be complete.
    pub fn judge_span(
        &self,
        app: AppIndex,
        topic: &TopicName,
        span: &HistorySpan,
    ) -> ((Epoch, Lane), Option<u64>, Option<LossReason>) {
        let lane = self.lane_of(app, topic);
        let (after, loss) = match span {
            HistorySpan::Newest => (None, None),
            HistorySpan::After(cursor) => {
                let (after, loss) = self.offset(cursor, lane);
                (Some(after), loss)
            }
            HistorySpan::Before(cursor) => (None, self.offset(cursor, lane).1),
        };
        ((self.epoch_of(lane), lane), after, loss)
    }

    /// Reads a page of a topic's history; `Outlet::fetched` follows, at once or later.
    pub fn read_history(
        &mut self,
        app: AppIndex,
        topic: TopicName,
        span: &HistorySpan,
        page: PageSize,
        reply: ReplyTo,
        outlet: &mut impl Outlet,
    ) {
        let lane = self.lane_of(app, &topic);
        let home = self.home_of(app, &topic);
        let span = match span {
            HistorySpan::Newest => Span::Before(u64::MAX),
            HistorySpan::After(cursor) => Span::After(self.offset(cursor, lane).0),
            HistorySpan::Before(cursor) => match self.offset(cursor, lane) {
                (before, None) => Span::Before(before),
                // Nothing stands before a place that does not exist.
                (_, Some(_)) => Span::Before(0),
            },
        };
        let PageSize { count_max, size_max } = page;
        let wanted = Wanted { app, topics: vec![topic], span, count_max, size_max, time_us: 0 };
        let to = PageFor::Reply(reply);
        if home == self.options.shard {
            self.serve_page(home, to, wanted, outlet);
        } else {
            outlet.send(home, Parcel::Fetch { to, wanted: Box::new(wanted) });
        }
    }

    fn offset(&self, cursor: &Cursor, lane: Lane) -> (u64, Option<LossReason>) {
        match self.start(&StartFrom::Position(cursor.clone()), lane, true) {
            Start::After(offset, loss) => (offset, loss),
            Start::Lost(reason) => (0, Some(reason)),
            Start::Now | Start::Latest => unreachable!("a position was given"),
        }
    }
}
