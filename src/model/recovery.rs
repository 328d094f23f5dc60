//! What came of a position that a subscriber gave, and why messages are missing.

/// Why a subscriber did not get what it missed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LossReason {
    /// History does not reach back so far any more.
    TooOld,
    /// The position is of another life of its counter: history was lost, as in a restart.
    HistoryLost,
    /// The position is none that this broker gave, or not one of this topic.
    UnknownPosition,
    /// The subscriber did not take its messages in time, and its topic drops some then.
    TooSlow,
    /// The store could not be read.
    Unreadable,
    /// The session is subscribed to the topic already, so nothing was sent again.
    AlreadySubscribed,
}

impl LossReason {
    /// All of them, in the order of their discriminants.
    pub const ALL: [LossReason; 6] = [
        LossReason::TooOld,
        LossReason::HistoryLost,
        LossReason::UnknownPosition,
        LossReason::TooSlow,
        LossReason::Unreadable,
        LossReason::AlreadySubscribed,
    ];

    /// The word on the wire and in metrics; stable.
    pub const fn code(self) -> &'static str {
        match self {
            LossReason::TooOld => "too_old",
            LossReason::HistoryLost => "history_lost",
            LossReason::UnknownPosition => "unknown_position",
            LossReason::TooSlow => "too_slow",
            LossReason::Unreadable => "unreadable",
            LossReason::AlreadySubscribed => "already_subscribed",
        }
    }
}

/// The answer to a subscribe that gave a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Why not everything missed follows; `None` when everything does.
    pub loss: Option<LossReason>,
    /// Messages that follow before live ones; with a loss, those that are still there.
    pub count: u64,
}
