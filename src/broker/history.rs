//! What a home keeps of its topics in memory, and pages of it.
//!
//! Each topic keeps its newest messages within its family's limits; all topics of the shard share
//! one budget in bytes, and when that is met the oldest message of the shard goes, whosever it is.
//!
//! Invariants
//! - A topic's messages stand in the order of their offsets, and every message behind its
//!   `lost_through` is there. So a page either is complete or says what is lost.
//! - `order` names every kept message once, oldest first; what it names besides went earlier.

use std::collections::VecDeque;
use std::sync::Arc;

use super::pages;
use crate::model::family::HistoryLimits;
use crate::model::message::Message;
use crate::model::store::{Page, Wanted};
use crate::stdx::slab::{Key, Slab};

/// Length of `order` up to which stale entries are left where they are.
const ORDER_LEN_KEPT: u64 = 1024;

/// What one topic keeps.
#[derive(Debug)]
pub(super) struct TopicHistory {
    limits: HistoryLimits,
    /// Which timer watches its age; those of other numbers are no longer meant.
    watch: u32,
    messages: VecDeque<Arc<Message>>,
    payload_size: usize,
    /// Some message has had an expiry; without any, messages need not be looked at to be counted.
    has_expiring: bool,
    /// The highest offset that is not here any more and had not expired.
    lost_through: u64,
}

/// How much is kept, and what had to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HistoryStats {
    /// Messages kept.
    pub count: u64,
    /// Bytes they hold, roughly.
    pub size: u64,
    /// Gone because their topic met its count or size limit.
    pub dropped_by_limit: u64,
    /// Gone because they met their family's age limit.
    pub dropped_by_age: u64,
    /// Gone because all topics together met the budget.
    pub dropped_by_budget: u64,
}

/// The histories of a shard's home topics.
#[derive(Debug)]
pub(super) struct Histories {
    topics: Slab<TopicHistory>,
    order: VecDeque<(Key, u64)>,
    size: usize,
    size_max: usize,
    stats: HistoryStats,
}

impl Histories {
    /// Nothing kept; at most `size_max` bytes will be.
    pub(super) fn new(size_max: usize) -> Histories {
        Histories {
            topics: Slab::default(),
            order: VecDeque::new(),
            size: 0,
            size_max,
            stats: HistoryStats::default(),
        }
    }

    pub(super) fn stats(&self) -> HistoryStats {
        HistoryStats { size: self.size as u64, ..self.stats }
    }

    /// A topic of which everything up to `lost_through` is not here.
    pub(super) fn open(&mut self, limits: HistoryLimits, lost_through: u64) -> Key {
        let messages = VecDeque::new();
        self.topics.insert(TopicHistory {
            limits,
            watch: 0,
            messages,
            payload_size: 0,
            has_expiring: false,
            lost_through,
        })
    }

    /// Forgets a topic and what is kept of it.
    pub(super) fn close(&mut self, topic: Key) {
        if let Some(closed) = self.topics.remove(topic) {
            self.size -= closed.messages.iter().map(|message| message.size()).sum::<usize>();
            self.stats.count -= closed.messages.len() as u64;
        }
    }

    /// Whether nothing is kept of a topic.
    pub(super) fn is_empty(&self, topic: Key) -> bool {
        self.topics.get(topic).is_none_or(|topic| topic.messages.is_empty())
    }

    /// Keeps a topic's next message, and lets go what is over a limit; whether it is the only one.
    pub(super) fn append(&mut self, topic: Key, message: &Arc<Message>, time_us: u64) -> bool {
        let Some(kept) = self.topics.get_mut(topic) else { return false };
        kept.messages.push_back(Arc::clone(message));
        kept.payload_size += message.publication.payload.size();
        kept.has_expiring |= message.publication.expires_us().is_some();
        let is_only = kept.messages.len() == 1;
        self.order.push_back((topic, message.position.offset));
        self.size += message.size();
        self.stats.count += 1;
        fit_limits(kept, &mut self.size, &mut self.stats, time_us);
        self.fit_budget(time_us);
        self.forget_stale_order();
        is_only
    }

    /// Changes a topic's limits, and lets go what is over them.
    pub(super) fn set_limits(&mut self, topic: Key, limits: HistoryLimits, time_us: u64) {
        if let Some(kept) = self.topics.get_mut(topic) {
            kept.limits = limits;
            fit_limits(kept, &mut self.size, &mut self.stats, time_us);
        }
    }

    /// Changes the budget, and lets go what is over it: in one go, about 0.1 µs per message.
    pub(super) fn set_size_max(&mut self, size_max: usize, time_us: u64) {
        self.size_max = size_max;
        self.fit_budget(time_us);
    }

    fn fit_budget(&mut self, time_us: u64) {
        while self.size > self.size_max
            && let Some((oldest, offset)) = self.order.pop_front()
        {
            if self.topics.get(oldest).and_then(TopicHistory::first) == Some(offset) {
                self.drop_oldest(oldest, time_us);
                self.stats.dropped_by_budget += 1;
            }
        }
    }

    /// Begins to watch a topic's age by a new timer, of this number; the one before is off.
    pub(super) fn begin_watch(&mut self, topic: Key) -> u32 {
        self.topics.get_mut(topic).map_or(0, |kept| {
            kept.watch = kept.watch.wrapping_add(1);
            kept.watch
        })
    }

    /// Whether the timer of this number is the one that watches.
    pub(super) fn is_watched_by(&self, topic: Key, watch: u32) -> bool {
        self.topics.get(topic).is_some_and(|kept| kept.watch == watch)
    }

    /// Lets go what is over its age limit; when the next message will be, on the caller's clock.
    pub(super) fn expire(&mut self, topic: Key, time_us: u64) -> Option<u64> {
        let age_max_us = self.topics.get(topic)?.limits.age_max_ms?.saturating_mul(1000);
        loop {
            let oldest = self.topics.get(topic)?.messages.front()?;
            let due_us = oldest.time_us.saturating_add(age_max_us);
            if due_us > time_us {
                return Some(due_us);
            }
            self.drop_oldest(topic, time_us);
            self.stats.dropped_by_age += 1;
        }
    }

    /// A page of these topics, all of one lane whose last offset is `last`. A topic that is not
    /// known may have had messages up to `floor`.
    pub(super) fn page(
        &self,
        topics: &[Option<Key>],
        wanted: &Wanted,
        last: u64,
        floor: u64,
    ) -> Page {
        let known: Vec<&TopicHistory> =
            topics.iter().flatten().filter_map(|topic| self.topics.get(*topic)).collect();
        let floor = if known.len() < topics.len() { floor } else { 0 };
        let lost_through = known.iter().map(|topic| topic.lost_through).fold(floor, u64::max);
        Page { lost_through, ..pages::page(&known, wanted, last) }
    }

    fn drop_oldest(&mut self, topic: Key, time_us: u64) {
        let dropped = self.topics.get_mut(topic).and_then(|kept| kept.drop_oldest(time_us));
        if let Some(size) = dropped {
            self.size -= size;
            self.stats.count -= 1;
        }
    }

    /// Drops entries of `order` whose messages are gone, once they are the most: O(1) per message.
    fn forget_stale_order(&mut self) {
        let len = self.order.len() as u64;
        if len <= ORDER_LEN_KEPT || len <= 2 * self.stats.count {
            return;
        }
        let topics = &self.topics;
        self.order.retain(|(topic, offset)| {
            topics.get(*topic).and_then(TopicHistory::first).is_some_and(|first| first <= *offset)
        });
    }
}

/// Lets go what of a topic is over its limits.
fn fit_limits(kept: &mut TopicHistory, size: &mut usize, stats: &mut HistoryStats, time_us: u64) {
    while kept.is_over()
        && let Some(dropped_size) = kept.drop_oldest(time_us)
    {
        *size -= dropped_size;
        stats.count -= 1;
        stats.dropped_by_limit += 1;
    }
}

impl TopicHistory {
    fn first(&self) -> Option<u64> {
        Some(self.messages.front()?.position.offset)
    }

    /// Lets go its oldest message; what that counted in the budget.
    fn drop_oldest(&mut self, time_us: u64) -> Option<usize> {
        let message = self.messages.pop_front()?;
        self.payload_size -= message.publication.payload.size();
        if !message.has_expired(time_us) {
            self.lost_through = message.position.offset;
        }
        Some(message.size())
    }

    fn is_over(&self) -> bool {
        self.messages.len() > self.limits.count_max as usize
            || self.payload_size > self.limits.size_max
    }

    /// Messages behind `after`, expired ones left out.
    pub(super) fn after(
        &self,
        after: u64,
        time_us: u64,
    ) -> impl DoubleEndedIterator<Item = &Arc<Message>> {
        let from = self.messages.partition_point(|message| message.position.offset <= after);
        self.messages.range(from..).filter(move |message| !message.has_expired(time_us))
    }

    /// How many `after` gives.
    pub(super) fn count_after(&self, after: u64, time_us: u64) -> u64 {
        if self.has_expiring {
            return self.after(after, time_us).count() as u64;
        }
        let from = self.messages.partition_point(|message| message.position.offset <= after);
        (self.messages.len() - from) as u64
    }

    /// Messages before `before`, expired ones left out.
    pub(super) fn before(
        &self,
        before: u64,
        time_us: u64,
    ) -> impl DoubleEndedIterator<Item = &Arc<Message>> {
        let to = self.messages.partition_point(|message| message.position.offset < before);
        self.messages.range(..to).filter(move |message| !message.has_expired(time_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::application::AppIndex;
    use crate::model::id::MessageId;
    use crate::model::message::{Attributes, Payload, Publication};
    use crate::model::position::{Epoch, Lane, Position};
    use crate::model::shard::ShardIndex;
    use crate::model::store::Span;
    use crate::model::topic::TopicName;

    fn message(offset: u64, attributes: Option<Attributes>) -> Arc<Message> {
        let publication = Publication {
            app: AppIndex(0),
            topic: TopicName::new("t").unwrap(),
            payload: Payload::Text("0123456789".into()),
            message_type: None,
            client_id: None,
            publisher: None,
            compress: false,
            attributes: attributes.map(Box::new),
        };
        let position = Position { epoch: Epoch(1), lane: Lane::Home(ShardIndex(0)), offset };
        Arc::new(Message::new(publication, MessageId::new(1, position), position, 0, offset))
    }

    fn limits(count_max: u32) -> HistoryLimits {
        HistoryLimits { count_max, size_max: 1 << 20, age_max_ms: None }
    }

    fn wanted(span: Span, count_max: u32) -> Wanted {
        let topics = vec![TopicName::new("t").unwrap()];
        Wanted { app: AppIndex(0), topics, span, count_max, size_max: 1 << 20, time_us: 50 }
    }

    fn offsets(page: &Page) -> Vec<u64> {
        page.messages.iter().map(|message| message.position.offset).collect()
    }

    fn filled(histories: &mut Histories, limits: HistoryLimits, offsets: &[u64]) -> Key {
        let topic = histories.open(limits, 0);
        for offset in offsets {
            histories.append(topic, &message(*offset, None), 0);
        }
        topic
    }

    #[test]
    fn pages_run_forward_and_backward_over_topics_in_the_lanes_order() {
        let mut histories = Histories::new(1 << 20);
        let a = filled(&mut histories, limits(10), &[1, 4, 6, 9]);
        let b = filled(&mut histories, limits(10), &[2, 3, 8]);
        let both = [Some(a), Some(b)];
        let page = histories.page(&both, &wanted(Span::After(1), 3), 9, 0);
        assert_eq!((offsets(&page), page.through, page.has_more), (vec![2, 3, 4], 4, true));
        assert_eq!((page.count, page.lost_through), (6, 0));
        let page = histories.page(&both, &wanted(Span::After(4), 3), 11, 0);
        assert_eq!((offsets(&page), page.through, page.has_more), (vec![6, 8, 9], 11, false));
        let page = histories.page(&both, &wanted(Span::Before(9), 2), 9, 0);
        assert_eq!((offsets(&page), page.first, page.has_more), (vec![6, 8], 6, true));
        let page = histories.page(&both, &wanted(Span::Before(4), 9), 9, 0);
        assert_eq!((offsets(&page), page.first, page.has_more), (vec![1, 2, 3], 0, false));
    }

    #[test]
    fn what_a_limit_takes_is_lost_and_what_has_expired_is_not() {
        let mut histories = Histories::new(1 << 20);
        let topic = filled(&mut histories, limits(2), &[1, 2, 5]);
        let page = histories.page(&[Some(topic)], &wanted(Span::After(0), 9), 5, 0);
        assert_eq!((offsets(&page), page.lost_through), (vec![2, 5], 1));
        let gone = Attributes { expires_us: Some(50), ..Attributes::default() };
        histories.append(topic, &message(7, Some(gone)), 0);
        let page = histories.page(&[Some(topic)], &wanted(Span::After(0), 9), 7, 0);
        assert_eq!((offsets(&page), page.lost_through, page.count), (vec![5], 2, 1));
        histories.append(topic, &message(8, None), 60);
        histories.append(topic, &message(9, None), 60);
        let page = histories.page(&[Some(topic)], &wanted(Span::After(0), 9), 9, 0);
        assert_eq!((offsets(&page), page.lost_through), (vec![8, 9], 5));
        assert_eq!(histories.stats().dropped_by_limit, 4);
    }

    #[test]
    fn the_budget_takes_the_oldest_of_all_topics() {
        let one = message(1, None).size();
        let mut histories = Histories::new(3 * one);
        let a = filled(&mut histories, limits(10), &[1, 2]);
        let b = filled(&mut histories, limits(10), &[3, 4]);
        let page = histories.page(&[Some(a)], &wanted(Span::After(0), 9), 4, 0);
        assert_eq!((offsets(&page), page.lost_through), (vec![2], 1));
        histories.append(b, &message(5, None), 0);
        histories.append(b, &message(6, None), 0);
        let page = histories.page(&[Some(a), Some(b)], &wanted(Span::After(0), 9), 6, 0);
        assert_eq!((offsets(&page), page.lost_through), (vec![4, 5, 6], 3));
        let stats = histories.stats();
        assert_eq!((stats.count, stats.size, stats.dropped_by_budget), (3, 3 * one as u64, 3));
        histories.close(b);
        assert_eq!((histories.stats().count, histories.stats().size), (0, 0));
    }

    #[test]
    fn age_lets_go_the_oldest_and_says_when_the_next_is_due() {
        let mut histories = Histories::new(1 << 20);
        let limits = HistoryLimits { age_max_ms: Some(1), ..limits(10) };
        let topic = filled(&mut histories, limits, &[10, 20, 30]);
        assert_eq!(histories.expire(topic, 1_009), Some(1_010));
        assert_eq!(histories.expire(topic, 1_020), Some(1_030));
        let page = histories.page(&[Some(topic)], &wanted(Span::After(0), 9), 30, 0);
        assert_eq!((offsets(&page), page.lost_through), (vec![30], 20));
        assert_eq!(histories.expire(topic, 1_030), None);
        assert!(histories.is_empty(topic));
    }

    #[test]
    fn smaller_limits_and_a_smaller_budget_let_go_at_once_what_is_over_them() {
        let one = message(1, None).size();
        let mut histories = Histories::new(1 << 20);
        let (a, b) = (histories.open(limits(10), 0), histories.open(limits(10), 0));
        for offset in 1..=5 {
            let topic = if offset % 2 == 1 { a } else { b };
            histories.append(topic, &message(offset, None), 0);
        }
        let kept = |histories: &Histories, topic| {
            let page = histories.page(&[Some(topic)], &wanted(Span::After(0), 9), 5, 0);
            (offsets(&page), page.lost_through)
        };
        histories.set_limits(a, limits(2), 0);
        assert_eq!(kept(&histories, a), (vec![3, 5], 1));
        histories.set_size_max(2 * one, 0);
        assert_eq!((kept(&histories, a), kept(&histories, b)), ((vec![5], 3), (vec![4], 2)));
        histories.set_limits(a, limits(10), 0);
        histories.set_size_max(1 << 20, 0);
        histories.append(a, &message(6, None), 0);
        assert_eq!(kept(&histories, a), (vec![5, 6], 3));
    }

    #[test]
    fn only_the_last_watch_counts() {
        let mut histories = Histories::new(1 << 20);
        let topic = histories.open(limits(1), 0);
        let first = histories.begin_watch(topic);
        let second = histories.begin_watch(topic);
        assert!(!histories.is_watched_by(topic, first) && histories.is_watched_by(topic, second));
    }

    #[test]
    fn a_topic_that_is_not_known_has_lost_what_its_shard_forgot() {
        let mut histories = Histories::new(1 << 20);
        let topic = filled(&mut histories, limits(10), &[7]);
        let known = histories.page(&[Some(topic)], &wanted(Span::After(0), 9), 9, 5);
        let unknown = histories.page(&[Some(topic), None], &wanted(Span::After(0), 9), 9, 5);
        assert_eq!((known.lost_through, unknown.lost_through), (0, 5));
    }

    #[test]
    fn the_latest_per_key_come_in_order() {
        let mut histories = Histories::new(1 << 20);
        let topic = histories.open(limits(10), 0);
        for (offset, key) in [(1, "x"), (2, "y"), (3, "x"), (4, "")] {
            let key = (!key.is_empty()).then(|| key.into());
            let attributes = Attributes { key, ..Attributes::default() };
            histories.append(topic, &message(offset, Some(attributes)), 0);
        }
        let page = histories.page(&[Some(topic)], &wanted(Span::LatestAfter(0), 9), 4, 0);
        assert_eq!((offsets(&page), page.count), (vec![2, 3, 4], 4));
    }

    #[test]
    fn a_busy_topic_beside_an_old_one_leaves_no_stale_order() {
        let mut histories = Histories::new(1 << 20);
        filled(&mut histories, limits(10), &[1]);
        let offsets: Vec<u64> = (2..20_000).collect();
        filled(&mut histories, limits(10), &offsets);
        assert_eq!(histories.stats().count, 11);
        assert!(histories.order.len() <= 2048, "{}", histories.order.len());
    }
}
