//! Topic families: what an application says about the topics that match its patterns.

use super::pattern::Patterns;

/// A family's place in its application's list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FamilyIndex(pub u16);

/// Topics that are treated alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Family {
    /// Which topics; the first family that matches counts.
    pub patterns: Patterns,
    /// How much of each topic is kept.
    pub history: HistoryLimits,
    /// Whether messages are kept in the store, and acknowledged and delivered only once they are
    /// safe there.
    pub durable: bool,
    /// What happens when a subscriber's outbound queue has met its limit.
    pub slow_consumer: SlowConsumer,
    /// Whether who subscribes without a position gets the topic's last message first.
    pub sends_last: bool,
}

impl Default for Family {
    fn default() -> Self {
        Family {
            patterns: Patterns::new(["*"]),
            history: HistoryLimits::default(),
            durable: false,
            slow_consumer: SlowConsumer::Close,
            sends_last: false,
        }
    }
}

/// How much of a topic is kept; whichever limit is met first counts, and the oldest goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryLimits {
    /// Messages; 0 keeps none.
    pub count_max: u32,
    /// Bytes of their payloads.
    pub size_max: usize,
    /// Age in milliseconds; `None` = for ever.
    pub age_max_ms: Option<u64>,
}

impl HistoryLimits {
    /// Keeps nothing.
    pub const NONE: HistoryLimits = HistoryLimits { count_max: 0, size_max: 0, age_max_ms: None };

    /// Whether anything is kept.
    pub fn keeps(&self) -> bool {
        self.count_max > 0
    }
}

impl Default for HistoryLimits {
    fn default() -> Self {
        HistoryLimits { count_max: 1000, size_max: 1 << 20, age_max_ms: Some(300_000) }
    }
}

/// What happens to a subscription when its connection's outbound queue has met its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SlowConsumer {
    /// The connection is closed (1013); it may come back with its position.
    #[default]
    Close,
    /// The connection stays; once it has caught up it gets the newest messages that fit its queue,
    /// and is told that some were dropped.
    DropOldest,
    /// The connection stays; once it has caught up it gets the latest message per key.
    KeepLatest,
    /// The connection stays; once it has caught up it gets what it missed from history, and is told
    /// if that no longer reaches back so far.
    Recover,
}

impl SlowConsumer {
    /// All of them, in the order of their discriminants.
    pub const ALL: [SlowConsumer; 4] = [
        SlowConsumer::Close,
        SlowConsumer::DropOldest,
        SlowConsumer::KeepLatest,
        SlowConsumer::Recover,
    ];

    /// The word in the configuration and in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            SlowConsumer::Close => "close",
            SlowConsumer::DropOldest => "drop_oldest",
            SlowConsumer::KeepLatest => "keep_latest",
            SlowConsumer::Recover => "recover",
        }
    }
}
