//! What is true of the topics: the order their lanes gave, and what history cannot have any more.

use std::collections::HashMap;

use crate::model::application::Application;
use crate::model::family::{Family, HistoryLimits, SlowConsumer};
use crate::model::pattern::Patterns;
use crate::model::position::{Epoch, Lane, Position};
use crate::model::topic::TopicName;

pub(super) const EPOCH: Epoch = Epoch(7);
pub(super) const STORE_EPOCH: Epoch = Epoch(0x5705);
/// What the store keeps of a topic, which is more than memory does.
pub(super) const STORE_COUNT_MAX: usize = 120;
/// Messages of a durable topic that memory keeps.
const DURABLE_COUNT_MAX: u32 = 6;

/// The topics; a name without its number is its family's.
pub(super) const TOPICS: [&str; 13] = [
    "plain0", "plain1", "plain2", "tiny0", "tiny1", "aged0", "durable0", "durable1", "durable2",
    "latest0", "oldest0", "oldest1", "last0",
];

/// A message in its topic's order.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) offset: u64,
    pub(super) number: usize,
    pub(super) time_us: u64,
    pub(super) expires_us: u64,
}

/// One topic.
pub(super) struct TopicTruth {
    pub(super) name: TopicName,
    pub(super) lane: Lane,
    pub(super) family: Family,
    pub(super) placed: Vec<Placed>,
    /// The places of messages by their idempotency keys.
    pub(super) repeated: HashMap<Box<str>, Position>,
}

/// All of them.
pub(super) struct Truth {
    pub(super) topics: Vec<TopicTruth>,
    /// Homes forget idle topics or meet their budgets, so that they may suspect a loss.
    pub(super) may_suspect: bool,
    /// The store has failed to read.
    pub(super) read_failed_count: u64,
}

pub(super) fn application() -> Application {
    let family = |name: &str, count_max, slow_consumer| Family {
        patterns: Patterns::new([name]),
        history: HistoryLimits { count_max, size_max: 1 << 20, age_max_ms: None },
        slow_consumer,
        ..Family::default()
    };
    let aged = HistoryLimits { count_max: 1000, size_max: 1 << 20, age_max_ms: Some(400) };
    let families = vec![
        family("tiny*", 3, SlowConsumer::Recover),
        Family { history: aged, ..family("aged*", 0, SlowConsumer::Recover) },
        Family { durable: true, ..family("durable*", DURABLE_COUNT_MAX, SlowConsumer::Recover) },
        family("latest*", 1000, SlowConsumer::KeepLatest),
        family("oldest*", 200, SlowConsumer::DropOldest),
        Family { sends_last: true, ..family("last*", 200, SlowConsumer::Recover) },
        family("*", 1000, SlowConsumer::Close),
    ];
    Application {
        open: true,
        families,
        websocket_inbound_topic_enabled: false,
        ..Application::new("a")
    }
}

impl Truth {
    pub(super) fn new(application: &Application, lane_of: impl Fn(&TopicName) -> Lane) -> Truth {
        let topic = |name: &&str| {
            let name = TopicName::new(name).unwrap();
            let family = application.family(application.family_of(&name)).clone();
            let lane = lane_of(&name);
            TopicTruth { name, lane, family, placed: Vec::new(), repeated: HashMap::new() }
        };
        let topics = TOPICS.iter().map(topic).collect();
        Truth { topics, may_suspect: false, read_failed_count: 0 }
    }

    pub(super) fn index_of(&self, name: &TopicName) -> usize {
        self.topics.iter().position(|topic| topic.name == *name).expect("one of the topics")
    }

    pub(super) fn place(&mut self, topic: usize, placed: Placed) {
        let order = &mut self.topics[topic].placed;
        assert!(order.last().is_none_or(|last| last.offset < placed.offset), "the order runs back");
        order.push(placed);
    }

    /// The last offset that the topics of a lane were given.
    pub(super) fn last_of(&self, lane: Lane) -> u64 {
        let topics = self.topics.iter().filter(|topic| topic.lane == lane);
        topics.filter_map(|topic| Some(topic.placed.last()?.offset)).max().unwrap_or(0)
    }

    /// The highest offset of a topic's message that history may have lost by now; 0 for none.
    pub(super) fn lost_through(&self, topic: usize, now_us: u64) -> u64 {
        if self.may_suspect && !self.topics[topic].family.durable {
            return self.last_of(self.topics[topic].lane);
        }
        self.topics[topic].lost_through(now_us)
    }
}

impl TopicTruth {
    pub(super) fn epoch(&self) -> Epoch {
        if self.lane == Lane::Store { STORE_EPOCH } else { EPOCH }
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch(), lane: self.lane, offset }
    }

    /// The messages behind an offset.
    pub(super) fn behind(&self, offset: u64) -> &[Placed] {
        &self.placed[self.placed.partition_point(|placed| placed.offset <= offset)..]
    }

    fn kept_count(&self) -> usize {
        if self.family.durable { STORE_COUNT_MAX } else { self.family.history.count_max as usize }
    }

    fn lost_through(&self, now_us: u64) -> u64 {
        let over = self.placed.len().saturating_sub(self.kept_count());
        let by_count = (0..over).rev().find(|index| {
            let gone_us = self.placed[index + self.kept_count()].time_us;
            self.placed[*index].expires_us > gone_us
        });
        let age_us = self.family.history.age_max_ms.map_or(u64::MAX, |age_ms| age_ms * 1000);
        let aged = self.placed.iter().rposition(|placed| {
            let due_us = placed.time_us.saturating_add(age_us);
            due_us <= now_us && placed.expires_us > due_us
        });
        by_count.max(aged).map_or(0, |index| self.placed[index].offset)
    }
}
