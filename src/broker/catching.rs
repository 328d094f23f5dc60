//! Catching up: a session gets a part of history, page by page as its queue takes it, and then joins
//! the live members without a gap or a repetition.
//!
//! Data flow: `subscribe` with a position (or a subscription whose queue met its limit) → a
//! [`CatchUp`] of all the session's topics that one lane counts, or of one topic → its home is asked
//! for a page → the page is queued → the next page once the queue has room → the last page → join.
//!
//! Invariants
//! - A home answers in the order in which it is asked and delivers, and a lane between two shards
//!   keeps order. So when the last page comes, every message that it covers came here before it and
//!   none behind it did: whoever joins at that moment misses nothing and gets nothing twice.
//! - A topic that someone catches up with stays registered at its home.
//! - A message that history has lost is told as lost, exactly once, before what is left.

use smallvec::SmallVec;

use super::core::Broker;
use super::outlet::Outlet;
use super::parcel::{PageFor, Parcel};
use crate::model::family::SlowConsumer;
use crate::model::position::{Cursor, Lane, Position};
use crate::model::recovery::{LossReason, Recovery};
use crate::model::shard::ShardIndex;
use crate::model::store::{Page, Span, StoreError, Wanted};
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// How large a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageSize {
    /// Most messages, at least 1.
    pub count_max: u32,
    /// Payload bytes at which it ends.
    pub size_max: usize,
}

impl PageSize {
    /// The one page that tells the latest per key.
    const LATEST: PageSize = PageSize { count_max: 4096, size_max: 1024 * 1024 };
}

impl Default for PageSize {
    /// What a connection's queue takes at once.
    fn default() -> Self {
        PageSize { count_max: PAGE_COUNT_MAX, size_max: PAGE_SIZE_MAX }
    }
}

/// Messages of one page.
const PAGE_COUNT_MAX: u32 = 64;
/// Payload bytes at which a page ends: with the envelopes about them, messages of a page stay below
/// the default limit of an outbound queue.
const PAGE_SIZE_MAX: usize = 16 * 1024;

/// From where on a subscriber wants its topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartFrom {
    /// What is published from now on; first the latest messages where the topic's family says so.
    Now,
    /// The latest message (per key) first, then what is published from now on.
    Latest,
    /// Everything behind this.
    Position(Cursor),
    /// Everything behind something that nobody can read.
    Unknown,
}

/// What a session catches up with.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// Local topics, all of one lane.
    pub(super) topics: SmallVec<[Key; 1]>,
    home: ShardIndex,
    lane: Lane,
    part: Part,
    /// Everything up to here has been queued for the session, or told as lost.
    after: u64,
    page: PageSize,
    /// The page asked for carries this; `None` while the queue has to drain first.
    token: Option<u32>,
    /// The subscribe that is not answered yet.
    unanswered: Option<Unanswered>,
}

/// Which part of history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// All of it.
    Everything,
    /// All of it if that fits a page, else as much of the newest as does.
    NewestOrAll,
    /// As much of the newest as fits a page, which is not all of it.
    Newest,
    /// The newest per key.
    Latest,
}

#[derive(Clone, Copy, Debug)]
struct Unanswered {
    ticket: u32,
    given: Given,
}

/// What a subscribe gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Given {
    /// No position, so that nothing is said of one.
    Nothing,
    /// A position, of which this is known already.
    Position(Option<LossReason>),
}

/// What the position given means for one lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// Join.
    Now,
    /// Latest first.
    Latest,
    /// Everything behind this offset; less, if a reason says so.
    After(u64, Option<LossReason>),
    /// Nothing can be made of it: join, and say so.
    Lost(LossReason),
}

impl Broker {
    /// What `from` means for a lane. `is_for_one` when it was given for one topic alone: then it has
    /// to be a position of that topic's lane.
    pub(super) fn start(&self, from: &StartFrom, lane: Lane, is_for_one: bool) -> Start {
        let cursor = match from {
            StartFrom::Now => return Start::Now,
            StartFrom::Latest => return Start::Latest,
            StartFrom::Unknown => return Start::Lost(LossReason::UnknownPosition),
            StartFrom::Position(cursor) => cursor,
        };
        let epoch = self.epoch_of(lane);
        let is_stale = |known: Position| {
            std::mem::discriminant(&known.lane) == std::mem::discriminant(&lane)
                && known.epoch != epoch
        };
        match cursor.at(lane) {
            Some(known) if known.epoch == epoch => Start::After(known.offset, None),
            _ if cursor.positions().any(is_stale) => Start::After(0, Some(LossReason::HistoryLost)),
            _ if is_for_one => Start::Lost(LossReason::UnknownPosition),
            _ => Start::Now,
        }
    }

    /// Has a session catch up with topics of one lane, of which it is no member.
    pub(super) fn begin_catching(
        &mut self,
        session: Key,
        topics: SmallVec<[Key; 1]>,
        ticket: u32,
        start: Start,
        page: PageSize,
        outlet: &mut impl Outlet,
    ) {
        let (part, after, given) = match start {
            Start::Now | Start::Lost(_) => unreachable!("such a session joins"),
            Start::Latest => (Part::Latest, 0, Given::Nothing),
            Start::After(after, known) => (Part::Everything, after, Given::Position(known)),
        };
        let (home, lane) = self.way_of(topics[0]);
        for topic in &topics {
            self.topic_mut(*topic).catching_count += 1;
        }
        let unanswered = Some(Unanswered { ticket, given });
        let page = if part == Part::Latest { PageSize::LATEST } else { page };
        let unit = CatchUp { topics, home, lane, part, after, page, token: None, unanswered };
        self.fetch_page(session, unit, outlet);
    }

    /// A subscription has met its queue's limit in front of what follows `after`: it leaves the live
    /// members, and comes back once it has caught up.
    pub(super) fn fall_behind(
        &mut self,
        session: Key,
        local: Key,
        after: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(state) = self.session(session) else { return };
        let is_merged = state.form.is_merged();
        let (home, lane) = self.way_of(local);
        let is_meant =
            |topic: Key| topic == local || (is_merged && self.way_of(topic) == (home, lane));
        let subscriptions = state.subscriptions.iter().copied();
        let meant: SmallVec<[_; 1]> = subscriptions
            .filter_map(|found| Some((self.topics.key_at(found.topic)?, found)))
            .filter(|(topic, _)| is_meant(*topic))
            .collect();
        let policy = self.policy_of(local);
        for (topic, _) in &meant {
            self.topic_mut(*topic).catching_count += 1;
        }
        let topics: SmallVec<[Key; 1]> = meant.iter().map(|(topic, _)| *topic).collect();
        for topic in &topics {
            self.leave_topic(session, *topic, outlet);
        }
        self.stats.fell_behind[policy as usize] += 1;
        let part = match policy {
            SlowConsumer::Close | SlowConsumer::Recover => Part::Everything,
            SlowConsumer::DropOldest => Part::NewestOrAll,
            SlowConsumer::KeepLatest => Part::Latest,
        };
        let page = if part == Part::Latest { PageSize::LATEST } else { PageSize::default() };
        let (token, unanswered) = (None, None);
        let unit = CatchUp { topics, home, lane, part, after, page, token, unanswered };
        self.keep_catching(session, unit, outlet);
    }

    /// The session's queue has room: what waited for that goes on.
    pub fn catch_up(&mut self, session: Key, outlet: &mut impl Outlet) {
        let Some(state) = self.session_mut(session) else { return };
        let Some(under_way) = &mut state.under_way else { return };
        let waiting: Vec<CatchUp> =
            under_way.catching.extract_if(.., |unit| unit.token.is_none()).collect();
        for unit in waiting {
            self.fetch_page(session, unit, outlet);
        }
    }

    /// A page has come.
    pub(super) fn page_came(
        &mut self,
        session: Key,
        token: u32,
        outcome: Result<Page, StoreError>,
        outlet: &mut impl Outlet,
    ) {
        let Some(state) = self.session_mut(session) else { return };
        let Some(under_way) = &mut state.under_way else { return };
        let Some(index) = under_way.catching.iter().position(|unit| unit.token == Some(token))
        else {
            return;
        };
        let mut unit = under_way.catching.swap_remove(index);
        unit.token = None;
        let form = state.form;
        if unit.part == Part::NewestOrAll && outcome.as_ref().is_ok_and(|page| page.has_more) {
            unit.part = Part::Newest;
            return self.fetch_page(session, unit, outlet);
        }
        let (mut page, loss) = unit.judge(outcome);
        let names = self.names(&unit.topics);
        page.messages.retain(|message| message.position.offset > unit.after);
        let at = self.position(unit.lane, unit.stands_at(&page, loss));
        self.tell_outcome(session, &mut unit, &names, at, loss, page.count, outlet);
        if !page.messages.is_empty() {
            outlet.catch_up(session, form, &page.messages);
        }
        unit.after = page.through;
        if page.has_more && unit.part == Part::Everything {
            return self.keep_catching(session, unit, outlet);
        }
        // Before it is on any of them: what others are owed now must not make it fall behind again
        // with one topic while the others of its lane are live.
        for topic in &unit.topics {
            self.deliver_run(*topic, outlet);
        }
        for topic in unit.topics {
            self.topic_mut(topic).catching_count -= 1;
            self.join(session, topic, outlet);
        }
        self.forget_what_is_over(session);
    }

    /// Answers the subscribe, or tells what got lost since.
    #[expect(clippy::too_many_arguments, reason = "one call, and all of it is said")]
    fn tell_outcome(
        &mut self,
        session: Key,
        unit: &mut CatchUp,
        names: &[TopicName],
        at: Position,
        loss: Option<LossReason>,
        count: u64,
        outlet: &mut impl Outlet,
    ) {
        let Some(Unanswered { ticket, given }) = unit.unanswered.take() else {
            if let Some(reason) = loss {
                self.stats.lost[reason as usize] += 1;
                outlet.lost(session, names, at, reason);
            }
            return;
        };
        let recovery = match given {
            Given::Nothing => None,
            Given::Position(known) => Some(Recovery { loss: known.or(loss), count }),
        };
        match recovery {
            None => {}
            Some(Recovery { loss: Some(reason), .. }) => self.stats.lost[reason as usize] += 1,
            Some(Recovery { loss: None, .. }) => self.stats.recovered += 1,
        }
        outlet.subscribed(session, ticket, names, at, recovery);
    }

    /// Asks the lane's home for the next page.
    fn fetch_page(&mut self, session: Key, mut unit: CatchUp, outlet: &mut impl Outlet) {
        self.next_token = self.next_token.wrapping_add(1);
        let token = self.next_token;
        unit.token = Some(token);
        let Some(state) = self.session(session) else { return };
        let span = match unit.part {
            Part::Everything | Part::NewestOrAll => Span::After(unit.after),
            Part::Newest => Span::Before(u64::MAX),
            Part::Latest => Span::LatestAfter(unit.after),
        };
        let PageSize { count_max, size_max } = unit.page;
        let (app, home) = (state.app, unit.home);
        let topics = self.wanted_names(&unit);
        let wanted = Wanted { app, topics, span, count_max, size_max, time_us: 0 };
        self.under_way(session).catching.push(unit);
        let to = PageFor::CatchUp { session, token };
        if home == self.options.shard {
            self.serve_page(home, to, wanted, outlet);
        } else {
            outlet.send(home, Parcel::Fetch { to, wanted: Box::new(wanted) });
        }
    }

    /// A session that wants a lane's order comes to another topic of a lane with which it is catching up:
    /// it catches up with that topic too. Whether it was so.
    pub(super) fn join_catching(
        &mut self,
        session: Key,
        local: Key,
        outlet: &mut impl Outlet,
    ) -> bool {
        let way = self.way_of(local);
        let Some(state) = self.session_mut(session) else { return false };
        let Some(under_way) = &mut state.under_way else { return false };
        let is_meant = |unit: &CatchUp| (unit.home, unit.lane) == way;
        let index = under_way.catching.iter().position(is_meant);
        let Some(index) = index.filter(|_| state.form.is_merged()) else { return false };
        let mut unit = under_way.catching.swap_remove(index);
        unit.topics.push(local);
        self.topic_mut(local).catching_count += 1;
        if unit.token.is_some() {
            // The page on its way knows nothing of this topic: another one takes its place.
            self.fetch_page(session, unit, outlet);
        } else {
            self.keep_catching(session, unit, outlet);
        }
        true
    }

    /// The unit waits until the session's queue has room.
    fn keep_catching(&mut self, session: Key, unit: CatchUp, outlet: &mut impl Outlet) {
        if self.session(session).is_some() {
            self.under_way(session).catching.push(unit);
            outlet.wants_more(session);
        }
    }

    /// The session no longer wants a topic that it catches up with; whether it did.
    pub(super) fn stop_catching(
        &mut self,
        session: Key,
        local: Key,
        outlet: &mut impl Outlet,
    ) -> bool {
        let Some(state) = self.session_mut(session) else { return false };
        let Some(under_way) = &mut state.under_way else { return false };
        let units = &mut under_way.catching;
        let Some(index) = units.iter().position(|unit| unit.topics.contains(&local)) else {
            return false;
        };
        let mut unit = units.swap_remove(index);
        unit.topics.retain(|topic| *topic != local);
        self.topic_mut(local).catching_count -= 1;
        self.drop_if_deserted(local, outlet);
        match (unit.topics.is_empty(), unit.token) {
            (true, _) => {}
            // The page on its way may tell of losses that are of this topic alone.
            (false, Some(_)) => self.fetch_page(session, unit, outlet),
            (false, None) => self.under_way(session).catching.push(unit),
        }
        true
    }

    /// Where the session stands in each of its topics: everything up to there has been queued for it.
    /// Topics whose subscribe is not answered are left out. Delivers the runs first.
    pub fn positions(
        &mut self,
        session: Key,
        outlet: &mut impl Outlet,
    ) -> Vec<(TopicName, Position)> {
        self.deliver_runs(outlet);
        let Some(state) = self.session(session) else { return Vec::new() };
        let joined = state.subscriptions.iter().filter_map(|found| self.topics.key_at(found.topic));
        let joined = joined.map(|local| (local, self.topic(local).last_offset));
        let units = state.under_way.iter().flat_map(|under_way| &under_way.catching);
        let answered = units.filter(|unit| unit.unanswered.is_none());
        let catching =
            answered.flat_map(|unit| unit.topics.iter().map(|local| (*local, unit.after)));
        let place = |(local, offset): (Key, u64)| {
            let (_, lane) = self.way_of(local);
            (self.topic(local).key.name.clone(), self.position(lane, offset))
        };
        joined.chain(catching).map(place).collect()
    }

    /// Up to where everything of a topic has been queued for a session that is on it.
    pub(super) fn queued_through(&self, session: Key, local: Key) -> u64 {
        let under_way = self.session(session).and_then(|state| state.under_way.as_deref());
        let mut units = under_way.iter().flat_map(|under_way| &under_way.catching);
        let unit = units.find(|unit| unit.topics.contains(&local));
        unit.map_or(self.topic(local).last_offset, |unit| unit.after)
    }

    /// The topics of which a page is wanted: of the latest messages only where the family sends them.
    fn wanted_names(&self, unit: &CatchUp) -> Vec<TopicName> {
        if unit.part != Part::Latest || unit.unanswered.is_none() {
            return self.names(&unit.topics);
        }
        let sending: SmallVec<[Key; 1]> =
            unit.topics.iter().filter(|local| self.topic(**local).sends_latest).copied().collect();
        self.names(if sending.is_empty() { &unit.topics } else { &sending })
    }

    pub(super) fn names(&self, topics: &[Key]) -> Vec<TopicName> {
        topics.iter().map(|local| self.topic(*local).key.name.clone()).collect()
    }
}

impl CatchUp {
    /// Where the session stands in front of a page's messages. What is lost may lie between them, of
    /// other topics: whoever is cut there comes back for the rest, and hears of the loss again.
    fn stands_at(&self, page: &Page, loss: Option<LossReason>) -> u64 {
        let is_latest = self.part == Part::Latest && self.unanswered.is_some();
        let offset = match loss {
            _ if is_latest => page.through,
            Some(_) => page.lost_through.max(self.after),
            None => self.after,
        };
        let first = page.messages.first().map_or(u64::MAX, |message| message.position.offset);
        offset.min(first.saturating_sub(1)).min(page.through)
    }

    /// What a page means: the page, and why something is missing in front of it or in it.
    fn judge(&self, outcome: Result<Page, StoreError>) -> (Page, Option<LossReason>) {
        let Ok(page) = outcome else {
            let page = Page { through: self.after, ..Page::default() };
            return (page, Some(LossReason::Unreadable));
        };
        if page.through < self.after {
            let page = Page { through: page.through, ..Page::default() };
            return (page, Some(LossReason::UnknownPosition));
        }
        let loss = match self.part {
            // Of which of the topics is not known: so it is told with each page until nothing lost is
            // ahead, lest one topic's loss hides another's.
            Part::Everything | Part::NewestOrAll => {
                (page.lost_through > self.after).then_some(LossReason::TooOld)
            }
            // Who wants the latest only has not asked for what was before them.
            Part::Latest if self.unanswered.is_some() => None,
            Part::Latest => {
                let is_short = page.count > page.messages.len() as u64;
                (is_short || page.lost_through > self.after).then_some(LossReason::TooSlow)
            }
            Part::Newest => {
                let is_short = page.first > self.after + 1 || page.lost_through > self.after;
                is_short.then_some(LossReason::TooSlow)
            }
        };
        (page, loss)
    }
}
