//! Questions and orders of administration, one shard's answers, and how they become one.
//!
//! An asker puts the same [`Ask`] to every shard (or to the one that owns a connection) and merges
//! what it is [`Told`]. Pages stay exact over shards: each shard answers its first `limit` entries
//! behind the cursor, so the first `limit` of all are among them.
//!
//! Cost: all but [`Ask::Connection`] and [`Ask::Members`] look at every session or topic of the
//! shard, in one go. They are for people, not for every request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::form::Form;
use crate::model::id::ConnectionId;
use crate::model::identity::Revocation;
use crate::model::pattern::Patterns;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

/// Topics of one connection that are named; the rest is only counted.
pub const TOPICS_NAMED_MAX: usize = 1000;

/// A question or an order, about one application.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Connections in the order of their places.
    Connections {
        /// Whose.
        app: AppIndex,
        /// The last place already seen.
        after: Option<ConnectionPlace>,
        /// Most to tell, at least 1.
        limit: u32,
        /// Only those of this subject.
        subject: Option<Arc<str>>,
    },
    /// One connection in full; put to its owner.
    Connection {
        /// Whose.
        app: AppIndex,
        /// Which.
        session: Key,
    },
    /// The connections to which most is owed.
    Slowest {
        /// Whose.
        app: AppIndex,
        /// Most to tell, at least 1.
        limit: u32,
    },
    /// Topics with subscribers, by name.
    Topics {
        /// Whose.
        app: AppIndex,
        /// The last name already seen.
        after: Option<TopicName>,
        /// Most to tell, at least 1.
        limit: u32,
    },
    /// How much there is of everything.
    Counts {
        /// Whose.
        app: AppIndex,
    },
    /// Who is on a topic, by subject.
    Members {
        /// Whose.
        app: AppIndex,
        /// Which topic.
        topic: TopicName,
        /// Most subjects to name, at least 1.
        limit: u32,
    },
    /// Close sessions.
    Close {
        /// Whose.
        app: AppIndex,
        /// Which of them.
        whom: Whom,
        /// Why.
        cause: CloseCause,
    },
    /// End a subject's subscriptions whose topics match. Private topics are never left, and a
    /// subscribe that is still on its way counts as made later.
    Unsubscribe {
        /// Whose.
        app: AppIndex,
        /// Who.
        subject: Arc<str>,
        /// From what.
        patterns: Arc<Patterns>,
    },
    /// Refuse tokens from now on, and close whoever came in with one.
    Revoke {
        /// Whose.
        app: AppIndex,
        /// Which tokens.
        revocation: Arc<Revocation>,
        /// Until when they are refused, Unix seconds.
        until_s: u64,
    },
}

/// Whose sessions to close.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whom {
    /// All of the application.
    Everyone,
    /// One; put to its owner.
    Session(Key),
    /// All of this subject.
    Subject(Arc<str>),
    /// All that came in with the token of this `jti`.
    TokenId(Box<str>),
}

/// Where a connection stands in a list of all: by slot, then by shard, so that a page draws from
/// every shard alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnectionPlace {
    /// Its place in its shard's table.
    pub slot: u32,
    /// Its shard.
    pub shard: ShardIndex,
}

/// One connection in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionEntry {
    /// Its id.
    pub id: ConnectionId,
    /// Its token's subject, or else its id's text.
    pub subject: Arc<str>,
    /// What it wants, which tells its door.
    pub form: Form,
    /// Its peer's address.
    pub address: Option<SocketAddr>,
    /// When it began, Unix seconds.
    pub connected_at_s: u64,
    /// Topics it is subscribed to.
    pub subscription_count: u32,
}

impl ConnectionEntry {
    /// Where it stands in a list.
    pub fn place(&self) -> ConnectionPlace {
        ConnectionPlace { slot: self.id.key.index, shard: self.id.shard }
    }
}

/// A connection that does not keep up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlowEntry {
    /// Bytes that wait for it.
    pub queued_size: u64,
    /// Topics with which it has to catch up before it is live again.
    pub catching_count: u32,
    /// Who it is.
    pub entry: ConnectionEntry,
}

impl SlowEntry {
    /// The slowest first; among equals, by place.
    fn rank(&self) -> (std::cmp::Reverse<(u64, u32)>, ConnectionPlace) {
        (std::cmp::Reverse((self.queued_size, self.catching_count)), self.entry.place())
    }

    /// The slowest of these, slowest first.
    pub(super) fn slowest(mut entries: Vec<SlowEntry>, limit: u32) -> Vec<SlowEntry> {
        entries.sort_unstable_by_key(SlowEntry::rank);
        entries.truncate(limit as usize);
        entries
    }
}

/// One connection in full.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionDetail {
    /// What a list says of it.
    pub entry: ConnectionEntry,
    /// Its permission strings.
    pub permissions: Arc<[String]>,
    /// Its topics by name, [`TOPICS_NAMED_MAX`] at most.
    pub topics: Vec<TopicName>,
}

/// Part of an ordered list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// At most as many as were asked for, in order.
    pub entries: Vec<T>,
    /// Whether more follow; the last entry is then the next question's `after`.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// The first `limit` of entries in order.
    pub(super) fn cut(mut entries: Vec<T>, limit: u32) -> Page<T> {
        let has_more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        Page { entries, has_more }
    }
}

/// A name and how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally<N> {
    /// Whose.
    pub name: N,
    /// How many.
    pub count: u64,
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// WebSocket connections of the Realtime dialect.
    pub websockets: u64,
    /// Event streams.
    pub streams: u64,
    /// Long polls that wait.
    pub polls: u64,
    /// Subscriptions of them all.
    pub subscriptions: u64,
    /// Topics with subscribers.
    pub topics: u64,
}

/// Who is on a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Members {
    /// Subjects by name, each with the number of its connections on the topic.
    pub subjects: Page<Tally<Arc<str>>>,
    /// Connections on the topic, those of unnamed subjects too.
    pub connection_count: u64,
}

/// One shard's answer to an [`Ask`], or the answers of several as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// To [`Ask::Connections`].
    Connections(Page<ConnectionEntry>),
    /// To [`Ask::Connection`]; `None` when there is no such connection.
    Connection(Option<Box<ConnectionDetail>>),
    /// To [`Ask::Slowest`], slowest first.
    Slowest(Vec<SlowEntry>),
    /// To [`Ask::Topics`].
    Topics(Page<Tally<TopicName>>),
    /// To [`Ask::Counts`].
    Counts(Counts),
    /// To [`Ask::Members`].
    Members(Members),
    /// To [`Ask::Close`] and [`Ask::Revoke`]: sessions closed.
    Closed(u64),
    /// To [`Ask::Unsubscribe`]: subscriptions ended.
    Unsubscribed(u64),
}

impl Told {
    /// This and another shard's answer to the same question, which allowed `limit` entries.
    ///
    /// # Panics
    /// When they answer different questions.
    #[must_use]
    pub fn merge(self, other: Told, limit: u32) -> Told {
        match (self, other) {
            (Told::Connections(a), Told::Connections(b)) => {
                Told::Connections(merge_connections(a, b, limit))
            }
            (Told::Connection(a), Told::Connection(b)) => Told::Connection(a.or(b)),
            (Told::Slowest(a), Told::Slowest(b)) => {
                Told::Slowest(SlowEntry::slowest([a, b].concat(), limit))
            }
            (Told::Topics(a), Told::Topics(b)) => Told::Topics(merge_tallies(a, b, limit)),
            (Told::Counts(a), Told::Counts(b)) => Told::Counts(Counts {
                websockets: a.websockets + b.websockets,
                streams: a.streams + b.streams,
                polls: a.polls + b.polls,
                subscriptions: a.subscriptions + b.subscriptions,
                topics: a.topics + b.topics,
            }),
            (Told::Members(a), Told::Members(b)) => Told::Members(Members {
                subjects: merge_tallies(a.subjects, b.subjects, limit),
                connection_count: a.connection_count + b.connection_count,
            }),
            (Told::Closed(a), Told::Closed(b)) => Told::Closed(a + b),
            (Told::Unsubscribed(a), Told::Unsubscribed(b)) => Told::Unsubscribed(a + b),
            (a, b) => panic!("answers to different questions: {a:?}, {b:?}"),
        }
    }

    /// Bytes this holds, roughly.
    pub(super) fn size(&self) -> usize {
        let count = match self {
            Told::Connections(page) => page.entries.len(),
            Told::Slowest(entries) => entries.len(),
            Told::Connection(detail) => detail.as_ref().map_or(0, |detail| detail.topics.len()),
            Told::Topics(page) => page.entries.len(),
            Told::Members(members) => members.subjects.entries.len(),
            Told::Counts(_) | Told::Closed(_) | Told::Unsubscribed(_) => 0,
        };
        128 + 128 * count
    }
}

fn merge_connections(
    a: Page<ConnectionEntry>,
    b: Page<ConnectionEntry>,
    limit: u32,
) -> Page<ConnectionEntry> {
    let mut entries = a.entries;
    entries.extend(b.entries);
    entries.sort_unstable_by_key(ConnectionEntry::place);
    let page = Page::cut(entries, limit);
    Page { has_more: page.has_more || a.has_more || b.has_more, ..page }
}

/// Sums by name. Exact up to the limit, because each part holds its own first `limit` names.
fn merge_tallies<N: Ord>(a: Page<Tally<N>>, b: Page<Tally<N>>, limit: u32) -> Page<Tally<N>> {
    let mut counts = BTreeMap::new();
    for Tally { name, count } in a.entries.into_iter().chain(b.entries) {
        *counts.entry(name).or_insert(0) += count;
    }
    let entries = counts.into_iter().map(|(name, count)| Tally { name, count }).collect();
    let page = Page::cut(entries, limit);
    Page { has_more: page.has_more || a.has_more || b.has_more, ..page }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ConnectionIds;

    fn page(entries: &[(&str, u64)], has_more: bool) -> Page<Tally<Arc<str>>> {
        let tally = |(name, count): &(&str, u64)| Tally { name: Arc::from(*name), count: *count };
        Page { entries: entries.iter().map(tally).collect(), has_more }
    }

    #[test]
    fn names_are_summed_in_order_and_cut() {
        let merge = |a, b, limit| merge_tallies(page(a, false), page(b, false), limit);
        let (a, b): (&[_], &[_]) = (&[("a", 1), ("c", 2)], &[("b", 3), ("c", 4)]);
        assert_eq!(merge(a, b, 3), page(&[("a", 1), ("b", 3), ("c", 6)], false));
        assert_eq!(merge(a, b, 2), page(&[("a", 1), ("b", 3)], true));
        assert_eq!(merge(&[], b, 2), page(b, false));
        // What one shard held back lies behind the cursor for all.
        let cut = merge_tallies(page(a, true), page(&[], false), 2);
        assert_eq!(cut, page(a, true));
    }

    #[test]
    fn connections_are_ordered_by_slot_then_shard() {
        let ids = ConnectionIds::random();
        let entry = |slot, shard| ConnectionEntry {
            id: ids.id(ShardIndex(shard), Key { index: slot, generation: 9 }),
            subject: Arc::from("s"),
            form: Form::Realtime { positions: false, window: None },
            address: None,
            connected_at_s: 7,
            subscription_count: 0,
        };
        let told = |places: &[(u32, u16)], has_more| {
            let entries = places.iter().map(|(slot, shard)| entry(*slot, *shard)).collect();
            Told::Connections(Page { entries, has_more })
        };
        let a = told(&[(0, 0), (2, 0), (3, 0)], false);
        let b = told(&[(0, 1), (2, 1)], false);
        assert_eq!(
            a.clone().merge(b.clone(), 9),
            told(&[(0, 0), (0, 1), (2, 0), (2, 1), (3, 0)], false)
        );
        assert_eq!(b.merge(a, 3), told(&[(0, 0), (0, 1), (2, 0)], true));
    }

    #[test]
    fn counts_are_added_and_one_owner_knows_a_connection() {
        let counts = |n| {
            Told::Counts(Counts {
                websockets: n,
                streams: 2 * n,
                subscriptions: 3 * n,
                topics: 4 * n,
                polls: 5 * n,
            })
        };
        assert_eq!(counts(1).merge(counts(10), 1), counts(11));
        assert_eq!(Told::Closed(2).merge(Told::Closed(3), 1), Told::Closed(5));
        assert_eq!(Told::Unsubscribed(2).merge(Told::Unsubscribed(3), 1), Told::Unsubscribed(5));
        let members = |entries, connection_count| {
            Told::Members(Members { subjects: page(entries, false), connection_count })
        };
        assert_eq!(
            members(&[("a", 1)], 1).merge(members(&[("a", 2), ("b", 1)], 3), 5),
            members(&[("a", 3), ("b", 1)], 4)
        );
        assert_eq!(Told::Connection(None).merge(Told::Connection(None), 1), Told::Connection(None));
    }

    #[test]
    #[should_panic(expected = "different questions")]
    fn answers_to_different_questions_are_a_bug() {
        let _ = Told::Closed(1).merge(Told::Unsubscribed(1), 1);
    }
}
