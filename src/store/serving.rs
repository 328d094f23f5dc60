//! What the store's thread does with requests: which of them one commit takes, and in which order they
//! are answered.
//!
//! Invariants
//! - Each home is answered in the order in which it asked, and a read sees exactly those of its home's
//!   appends that came before it. So a round takes from each home its appends up to its first read,
//!   commits them all at once, and only then reads.
//! - A home whose lane is full waits, and delays no other home.

use std::collections::VecDeque;

use super::database::{Database, NewMessage};
use crate::model::shard::ShardIndex;
use crate::model::store::{StoreReply, StoreRequest};

/// Pages that one round reads, so that appends do not wait for a crowd that comes back.
const READS_PER_ROUND_MAX: usize = 64;

/// Requests taken in and not answered, by home.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    homes: Vec<VecDeque<StoreRequest>>,
    count: usize,
    /// The home that a round begins with; another one each time, so that none is always last.
    first: usize,
}

impl Waiting {
    /// How many.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The homes that have ever asked, and those below them.
    pub(super) fn homes(&self) -> impl Iterator<Item = ShardIndex> {
        (0..).map(ShardIndex).take(self.homes.len())
    }

    /// Adds a request at the end of its home's.
    pub(super) fn push(&mut self, home: ShardIndex, request: StoreRequest) {
        let needed = home.index() + 1;
        if self.homes.len() < needed {
            self.homes.resize_with(needed, VecDeque::new);
        }
        self.homes[home.index()].push_back(request);
        self.count += 1;
    }

    /// Serves one round of the homes that `has_room` lets through and tells each answer to `reply`;
    /// how many there were.
    pub(super) fn serve(
        &mut self,
        database: &mut Database,
        has_room: impl Fn(ShardIndex) -> bool,
        mut reply: impl FnMut(ShardIndex, StoreReply),
    ) -> usize {
        let homes = self.round(has_room);
        let appended_count = self.append(&homes, database, &mut reply);
        let read_count = self.read(&homes, database, &mut reply);
        self.count -= appended_count + read_count;
        appended_count + read_count
    }

    fn round(&mut self, has_room: impl Fn(ShardIndex) -> bool) -> Vec<ShardIndex> {
        let mut homes: Vec<_> = self.homes().collect();
        homes.rotate_left(self.first);
        self.first = (self.first + 1) % homes.len().max(1);
        homes.retain(|home| has_room(*home));
        homes
    }

    fn append(
        &mut self,
        homes: &[ShardIndex],
        database: &mut Database,
        reply: &mut impl FnMut(ShardIndex, StoreReply),
    ) -> usize {
        let count_max = database.options().commit_count_max.max(1);
        let (mut batch, mut asked) = (Vec::new(), Vec::new());
        for home in homes {
            let queue = &mut self.homes[home.index()];
            while asked.len() < count_max {
                let is_append =
                    |request: &mut StoreRequest| matches!(request, StoreRequest::Append { .. });
                let Some(StoreRequest::Append { ticket, publication, time_us }) =
                    queue.pop_front_if(is_append)
                else {
                    break;
                };
                batch.push(NewMessage { publication, time_us });
                asked.push((*home, ticket));
            }
        }
        if asked.is_empty() {
            return 0;
        }
        let outcomes = database.append(&mut batch);
        for ((home, ticket), outcome) in asked.iter().zip(outcomes) {
            reply(*home, StoreReply::Appended { ticket: *ticket, outcome });
        }
        asked.len()
    }

    fn read(
        &mut self,
        homes: &[ShardIndex],
        database: &Database,
        reply: &mut impl FnMut(ShardIndex, StoreReply),
    ) -> usize {
        let mut read_count = 0;
        for home in homes {
            let is_read = |request: &mut StoreRequest| matches!(request, StoreRequest::Read { .. });
            while read_count < READS_PER_ROUND_MAX
                && let Some(StoreRequest::Read { ticket, wanted }) =
                    self.homes[home.index()].pop_front_if(is_read)
            {
                reply(*home, StoreReply::Read { ticket, outcome: database.read(&wanted) });
                read_count += 1;
            }
        }
        read_count
    }
}
