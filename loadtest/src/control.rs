//! What the parent and its workers say to each other: JSON, one message per line, over pipes.

use serde::{Deserialize, Serialize};

use crate::latency::Sparse;
use crate::ledger::TopicLedger;
use crate::memory::Brought;
use crate::settings::Settings;
use crate::verdict::Tally;

/// Parent to worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// First of all: the run, and which worker this is.
    Setup {
        /// The run.
        settings: Box<Settings>,
        /// Number of the worker.
        worker: u32,
    },
    /// Open connections until this many of the worker's subscribers are there.
    Connect {
        /// How many of them, counted from its first.
        count: u32,
        /// Connections per second; 0 = all at once.
        rate: f64,
    },
    /// Publishing is about to begin; time the messages intended from this moment on.
    Publish {
        /// `CLOCK_MONOTONIC` nanoseconds.
        measure_from_ns: u64,
    },
    /// The slow subscribers stop reading.
    StopReading,
    /// The slow subscribers read what is left.
    ResumeReading,
    /// Cut this share of the subscribers and let them come back.
    Cut {
        /// 0 to 1.
        fraction: f64,
        /// Connections per second; 0 = all at once.
        rate: f64,
    },
    /// Messages intended from this moment on belong to the next phase of a storm.
    Phase {
        /// `CLOCK_MONOTONIC` nanoseconds.
        from_ns: u64,
    },
    /// To a crowd: drop every connection, then come.
    Gather {
        /// When, `CLOCK_MONOTONIC` nanoseconds.
        at_ns: u64,
        /// With which set of tokens; none = stay away. Who returns for what was missed comes when
        /// its own wait is over.
        tokens: Option<u32>,
    },
    /// Publishing is over and deliveries have settled: judge.
    Judge {
        /// One entry per topic.
        ledgers: Vec<TopicLedger>,
    },
}

/// Worker to parent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// What happened since the last interval, about once a second.
    Interval(Box<Interval>),
    /// The answer to `Gather`: each member is welcomed or has failed.
    Gathered(Box<Gathered>),
    /// The answer to `Judge`; the last event.
    Final(Box<Final>),
    /// The worker cannot go on.
    Fatal(String),
}

/// One worker's second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Interval {
    /// Delivery latency from the actual send.
    pub raw: Sparse,
    /// Delivery latency from the intended send.
    pub corrected: Sparse,
    /// Delivery latency from the intended send, per phase of a storm.
    pub phases: Vec<Sparse>,
    /// Handshake latency from the intended connect to the last welcome.
    pub handshake: Sparse,
    /// Longest turn of the worker's loop, nanoseconds.
    pub turn_ns_max: u64,
    /// Share of one CPU that the worker's thread used.
    pub cpu_share: f64,
    /// The first few connection errors.
    pub errors: Vec<String>,
}

/// One crowd's gathering.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    /// Members that got their welcome, and what they had missed if they returned for it.
    pub welcomed: u64,
    /// Members that did not: refused, reset, or not answered in time.
    pub failed: u64,
    /// Members that the server closed after their welcome.
    pub lost: u64,
    /// Messages that came to members although they take none, or that were damaged.
    pub wrong: u64,
    /// When the last welcome came, `CLOCK_MONOTONIC` nanoseconds; 0 = there was none.
    pub last_ns: u64,
    /// From the connect to the welcome.
    pub handshake: Sparse,
    /// Share of one CPU that the crowd used meanwhile.
    pub cpu_share: f64,
    /// Longest turn of the crowd's loop, nanoseconds.
    pub turn_ns_max: u64,
    /// The first few errors.
    pub errors: Vec<String>,
    /// Of members that returned for what they had missed.
    pub returned: Returned,
}

/// How members returned for what they had missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// Longest time that one of them waited before it came back, nanoseconds.
    pub window_ns: u64,
    /// Attempts that failed and were repeated.
    pub refused: u64,
    /// What the server said of their positions.
    pub brought: Brought,
}

/// One worker's verdict.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Final {
    /// Counts and violations.
    pub tally: Tally,
    /// What became of the slow subscribers.
    pub slow: SlowCount,
    /// The second that was not reported yet.
    pub last: Interval,
}

/// What became of subscribers that stopped reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowCount {
    /// The server closed or reset them.
    pub closed: u64,
    /// They still stood and got everything in the end.
    pub complete: u64,
    /// They still stood but some messages were withheld.
    pub incomplete: u64,
}
