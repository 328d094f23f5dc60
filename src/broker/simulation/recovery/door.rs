//! One connection as its shard keeps it: the queue of what its client is owed, and what stands in
//! the client's hands after each item.
//!
//! Positions leave as the shard writes them: a Realtime client keeps one per topic, an event stream
//! the id of its last event, a poll the cursor of its answer.

use std::collections::VecDeque;
use std::sync::Arc;

use super::account::{Account, Asked};
use super::truth::Truth;
use crate::model::family::SlowConsumer;
use crate::model::form::{EventId, Form};
use crate::model::message::Message;
use crate::model::position::{Cursor, Position};
use crate::model::recovery::{LossReason, Recovery};
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// What the next burst of history has to agree with, when it follows at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Burst {
    /// So many messages were promised.
    Counted(u64),
    /// The newest: what is in front of its first message was dropped.
    Newest,
    /// The latest per key.
    Latest,
    /// The latest per key of the topics whose family sends them to newcomers.
    First,
}

/// A connection and its session.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Door {
    pub(super) shard: usize,
    pub(super) key: Key,
    pub(super) form: Form,
    pub(super) accounts: Vec<Account>,
    /// What the client will know after each item, oldest first.
    pub(super) queue: VecDeque<Vec<Account>>,
    pub(super) queue_len_max: usize,
    /// Subscribes not yet answered.
    pub(super) asked: Vec<(u32, usize, Asked)>,
    /// The stream's cursor, where it has one of its own, and the poll's.
    pub(super) cursor: Cursor,
    /// The client takes an id without data.
    pub(super) is_browser: bool,
    pub(super) wants_more: bool,
    /// Something came that ends a poll.
    pub(super) has_news: bool,
    pub(super) takes_nothing_until_us: u64,
    /// Whether it ever waited for its queue.
    pub(super) fell_behind: bool,
    pub(super) burst: Option<Burst>,
    /// What a stream of several lanes is owed before all of them have answered.
    pub(super) early: Vec<Early>,
}

/// A message, or a loss of topics up to there.
pub(super) enum Early {
    Message(Arc<Message>),
    Lost(Position, Vec<usize>),
    Stands(Position),
}

impl Door {
    pub(super) fn is_poll(&self) -> bool {
        matches!(self.form, Form::Poll { .. })
    }

    pub(super) fn is_full(&self) -> bool {
        !self.is_poll() && self.queue.len() >= self.queue_len_max
    }

    pub(super) fn account_mut(&mut self, topic: usize) -> &mut Account {
        let mut accounts = self.accounts.iter_mut();
        accounts.find(|account| account.topic == topic).expect("a topic that it asked for")
    }

    /// Whether the stream's cursor lacks lanes.
    fn is_early(&self) -> bool {
        matches!(self.form, Form::Sse { id: EventId::Cursor, .. }) && !self.asked.is_empty()
    }

    pub(super) fn take(&mut self, truth: &Truth, message: &Arc<Message>, now_us: u64) {
        if self.is_early() {
            return self.early.push(Early::Message(Arc::clone(message)));
        }
        let topic = truth.index_of(&message.publication.topic);
        self.account_mut(topic).take(truth, message, now_us);
        self.cursor.advance(message.position);
        self.has_news = true;
        self.stand(truth, topic, message.position, now_us);
    }

    /// A part of history.
    pub(super) fn take_burst(&mut self, truth: &Truth, messages: &[Arc<Message>], now_us: u64) {
        let offset = |message: Option<&Arc<Message>>| message.expect("not empty").position.offset;
        let (first, last) = (offset(messages.first()), offset(messages.last()));
        let burst = self.burst.take();
        let excused = match burst {
            Some(Burst::Counted(count)) => {
                let len = messages.len() as u64;
                assert!(count >= len, "{len} messages follow, {count} were promised");
                None
            }
            Some(Burst::Newest) => Some(first - 1),
            Some(Burst::Latest | Burst::First) => Some(last),
            None => None,
        };
        if let Some(through) = excused {
            let lane = messages[0].position.lane;
            let meant = self.accounts.iter_mut().filter(|account| {
                let topic = &truth.topics[account.topic];
                topic.lane == lane && (burst != Some(Burst::First) || topic.family.sends_last)
            });
            // One topic may have lost, for its own limit, what another's page still reaches back to.
            meant.for_each(|account| {
                let through = through.max(truth.lost_through(account.topic, now_us));
                account.excused = account.excused.min(through);
            });
        }
        for message in messages {
            self.take(truth, message, now_us);
        }
    }

    /// What the client keeps once it has what was just queued.
    fn stand(&mut self, truth: &Truth, topic: usize, position: Position, now_us: u64) {
        if self.is_early() {
            return;
        }
        match self.form {
            Form::Realtime { .. } | Form::Sse { id: EventId::Position, .. } => {
                self.account_mut(topic).stand(truth, position, now_us);
            }
            Form::Sse { id: EventId::LanePosition, .. } => {
                self.stand_at(truth, &Cursor::from(position), now_us);
            }
            Form::Sse { id: EventId::Cursor, .. } => {
                self.stand_at(truth, &self.cursor.clone(), now_us);
            }
            // It is told with the answer only.
            Form::Poll { .. } => return,
        }
        self.queue.push_back(self.accounts.clone());
    }

    /// The client keeps this for all its topics.
    pub(super) fn stand_at(&mut self, truth: &Truth, cursor: &Cursor, now_us: u64) {
        for account in self.accounts.iter_mut().filter(|account| account.is_on) {
            match cursor.at(truth.topics[account.topic].lane) {
                Some(position) => account.stand(truth, position, now_us),
                None => assert_eq!(account.got, None, "the cursor forgets a lane: {cursor}"),
            }
        }
    }

    pub(super) fn subscribed(
        &mut self,
        truth: &Truth,
        ticket: u32,
        names: &[TopicName],
        at: Position,
        recovery: Option<Recovery>,
        now_us: u64,
    ) {
        let topics: Vec<usize> = names.iter().map(|name| truth.index_of(name)).collect();
        for topic in &topics {
            let found =
                self.asked.iter().position(|(asked, of, _)| (*asked, of) == (ticket, topic));
            let (_, _, asked) = self.asked.remove(found.expect("answered once"));
            self.judge_answer(truth, *topic, &topics, asked, at, recovery, now_us);
        }
        let loss = recovery.and_then(|recovery| recovery.loss);
        self.burst = recovery.map(|recovery| Burst::Counted(recovery.count));
        if recovery.is_none() && at.offset < truth.last_of(at.lane) {
            self.burst = Some(Burst::First);
        }
        let is_stream = matches!(self.form, Form::Sse { id: EventId::Cursor, .. });
        if is_stream && self.cursor.at(at.lane).is_some() {
            self.early.push(Early::Stands(at));
        } else {
            self.cursor.advance(at);
        }
        match self.form {
            Form::Realtime { .. } => self.stand(truth, topics[0], at, now_us),
            Form::Sse { .. } => {
                if loss.is_some() || (self.is_browser && self.asked.is_empty()) {
                    self.stand(truth, topics[0], at, now_us);
                }
            }
            Form::Poll { .. } => self.has_news |= loss.is_some(),
        }
        if self.asked.is_empty() {
            for early in std::mem::take(&mut self.early) {
                match early {
                    Early::Message(message) => self.take(truth, &message, now_us),
                    Early::Lost(at, topics) => self.stand_behind(truth, topics, at, now_us),
                    Early::Stands(at) => self.cursor.advance(at),
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that an answer is judged by")]
    fn judge_answer(
        &mut self,
        truth: &Truth,
        topic: usize,
        topics: &[usize],
        asked: Asked,
        at: Position,
        recovery: Option<Recovery>,
        now_us: u64,
    ) {
        let loss = recovery.map(|recovery| recovery.loss);
        let (last, lost_through) = (truth.last_of(at.lane), truth.lost_through(topic, now_us));
        let is_justified = self.may_be_lost(truth, topics, now_us);
        let account = self.account_mut(topic);
        match (asked, loss) {
            (Asked::Now, None) => {
                account.got = Some(at.offset);
                account.excuse(last);
            }
            (Asked::Position, Some(None)) => assert_eq!(account.got, Some(at.offset)),
            (Asked::Position, Some(Some(LossReason::TooOld))) => {
                assert!(is_justified, "nothing is lost: {account:?}");
                account.excuse(lost_through);
            }
            (Asked::Position | Asked::Stale, Some(Some(LossReason::Unreadable))) => {
                assert!(truth.read_failed_count > 0);
                account.excuse(last);
            }
            (Asked::Stale, Some(Some(LossReason::HistoryLost))) => {
                account.excuse(if truth.read_failed_count > 0 { last } else { lost_through });
            }
            (Asked::Unknown, Some(Some(LossReason::UnknownPosition))) => {
                account.got = Some(at.offset);
            }
            (Asked::Again(false), None)
            | (Asked::Again(true), Some(Some(LossReason::AlreadySubscribed))) => {}
            (asked, answer) => panic!("{answer:?} is no answer to {asked:?}"),
        }
        account.is_answered |= !matches!(asked, Asked::Again(_));
    }

    /// Whether history may have lost something that is owed of these topics.
    fn may_be_lost(&self, truth: &Truth, topics: &[usize], now_us: u64) -> bool {
        let meant = self.accounts.iter().filter(|account| topics.contains(&account.topic));
        let from = meant.filter_map(|account| account.got).min().unwrap_or(0);
        topics.iter().any(|topic| truth.lost_through(*topic, now_us) > from)
    }

    pub(super) fn lost(
        &mut self,
        truth: &Truth,
        names: &[TopicName],
        at: Position,
        reason: LossReason,
        now_us: u64,
    ) {
        let topics: Vec<usize> = names.iter().map(|name| truth.index_of(name)).collect();
        let last = truth.last_of(at.lane);
        let policies = topics.iter().map(|topic| truth.topics[*topic].family.slow_consumer);
        match reason {
            LossReason::TooOld => {
                assert!(self.may_be_lost(truth, &topics, now_us), "nothing new is lost");
            }
            LossReason::TooSlow => {
                assert!(self.fell_behind, "it never waited");
                let mut dropping = policies.clone().filter(|policy| {
                    matches!(policy, SlowConsumer::DropOldest | SlowConsumer::KeepLatest)
                });
                assert!(dropping.next().is_some(), "no topic's family lets it drop anything");
                let is_latest = policies.clone().any(|policy| policy == SlowConsumer::KeepLatest);
                self.burst = Some(if is_latest { Burst::Latest } else { Burst::Newest });
            }
            LossReason::Unreadable => assert!(truth.read_failed_count > 0),
            other => panic!("{other:?} is told with an answer only"),
        }
        for topic in &topics {
            let lost_through = truth.lost_through(*topic, now_us);
            let is_old = reason == LossReason::TooOld;
            self.account_mut(*topic).excuse(if is_old { lost_through } else { last });
        }
        self.has_news = true;
        if self.is_early() {
            return self.early.push(Early::Lost(at, topics));
        }
        self.stand_behind(truth, topics, at, now_us);
    }

    /// The client is told of a loss.
    fn stand_behind(&mut self, truth: &Truth, topics: Vec<usize>, at: Position, now_us: u64) {
        self.cursor.advance(at);
        for topic in topics {
            self.stand(truth, topic, at, now_us);
        }
    }
}
