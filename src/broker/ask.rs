//! Questions and orders of administration, and what shards tell (stub until the broker branch lands).

use std::sync::Arc;

use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::identity::Revocation;
use crate::model::pattern::Patterns;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// A place in the order of connections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnectionPlace {
    /// Slot in the table.
    pub slot: u32,
    /// Its shard.
    pub shard: ShardIndex,
}

/// Whom an order concerns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whom {
    /// All.
    Everyone,
    /// One.
    Session(Key),
    /// All of a subject.
    Subject(Arc<str>),
    /// All of a token.
    TokenId(Box<str>),
}

/// A question or an order.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "stub")]
pub enum Ask {
    Connections {
        app: AppIndex,
        after: Option<ConnectionPlace>,
        limit: u32,
        subject: Option<Arc<str>>,
    },
    Connection {
        app: AppIndex,
        session: Key,
    },
    Topics {
        app: AppIndex,
        after: Option<TopicName>,
        limit: u32,
    },
    Counts {
        app: AppIndex,
    },
    Members {
        app: AppIndex,
        topic: TopicName,
        limit: u32,
    },
    Close {
        app: AppIndex,
        whom: Whom,
        cause: CloseCause,
    },
    Unsubscribe {
        app: AppIndex,
        subject: Arc<str>,
        patterns: Arc<Patterns>,
    },
    Revoke {
        app: AppIndex,
        revocation: Arc<Revocation>,
        until_s: u64,
    },
}

/// What a shard tells.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "stub")]
pub enum Told {
    Count(u64),
}

impl Told {
    /// Merges.
    #[must_use]
    pub fn merge(self, _other: Told, _limit: u32) -> Told {
        self
    }
}
