//! A store in memory: what `model::store` promises, and nothing that it does not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::super::model::Random;
use super::truth::{Placed, STORE_COUNT_MAX, STORE_EPOCH, Truth};
use crate::model::id::MessageId;
use crate::model::message::{Message, Publication};
use crate::model::position::{Lane, Position};
use crate::model::store::{
    Appended, Page, Span, StoreError, StoreIdentity, StoreReply, StoreRequest, Wanted,
};
use crate::model::topic::TopicName;

pub(super) const STORE: StoreIdentity = StoreIdentity { epoch: STORE_EPOCH, run: 2, offset: 0 };

#[derive(Default)]
struct Kept {
    last_offset: u64,
    messages: VecDeque<Arc<Message>>,
    lost_through: u64,
}

/// All durable topics, and the answers that wait for their homes.
pub(super) struct FakeStore {
    offset: u64,
    topics: HashMap<TopicName, Kept>,
    repeated: HashMap<(TopicName, Box<str>), Position>,
    /// Per shard.
    pub(super) replies: Vec<VecDeque<StoreReply>>,
    pub(super) short_page_count: u64,
}

impl FakeStore {
    pub(super) fn new(shard_count: usize) -> FakeStore {
        FakeStore {
            offset: 0,
            topics: HashMap::new(),
            repeated: HashMap::new(),
            replies: (0..shard_count).map(|_| VecDeque::new()).collect(),
            short_page_count: 0,
        }
    }

    /// Serves one request of a shard.
    pub(super) fn serve(
        &mut self,
        shard: usize,
        request: StoreRequest,
        truth: &mut Truth,
        random: &mut Random,
    ) {
        let reply = match request {
            StoreRequest::Append { ticket, publication, time_us } => {
                let outcome = Ok(self.append(*publication, time_us, truth));
                StoreReply::Appended { ticket, outcome }
            }
            StoreRequest::Read { ticket, wanted } => {
                let outcome = match random.below(12) {
                    0 => {
                        truth.read_failed_count += 1;
                        Err(StoreError::Unreadable)
                    }
                    1..4 => {
                        self.short_page_count += 1;
                        let count_max = 1 + u32::try_from(random.below(3)).unwrap();
                        Ok(self.read(&Wanted { count_max, ..*wanted }))
                    }
                    _ => Ok(self.read(&wanted)),
                };
                StoreReply::Read { ticket, outcome }
            }
        };
        self.replies[shard].push_back(reply);
    }

    fn append(&mut self, publication: Publication, time_us: u64, truth: &mut Truth) -> Appended {
        let name = publication.topic.clone();
        if let Some(key) = publication.idempotency_key() {
            let position = STORE.position(self.offset + 1);
            let known = *self.repeated.entry((name.clone(), key.into())).or_insert(position);
            if known != position {
                return Appended::Repeated(known);
            }
        }
        self.offset += 1;
        let position = STORE.position(self.offset);
        let kept = self.topics.entry(name.clone()).or_default();
        let id = MessageId::new(STORE.run, position);
        let message = Arc::new(Message::new(publication, id, position, kept.last_offset, time_us));
        kept.last_offset = self.offset;
        kept.messages.push_back(Arc::clone(&message));
        if kept.messages.len() > STORE_COUNT_MAX
            && let Some(oldest) = kept.messages.pop_front()
            && !oldest.has_expired(time_us)
        {
            kept.lost_through = oldest.position.offset;
        }
        truth.place(truth.index_of(&name), placed(&message));
        Appended::New(message)
    }

    fn read(&self, wanted: &Wanted) -> Page {
        let topics = || wanted.topics.iter().filter_map(|name| self.topics.get(name));
        let lost_through = topics().map(|topic| topic.lost_through).max().unwrap_or(0);
        let mut found: Vec<&Arc<Message>> = topics()
            .flat_map(|topic| &topic.messages)
            .filter(|message| !message.has_expired(wanted.time_us))
            .filter(|message| match wanted.span {
                Span::After(after) | Span::LatestAfter(after) => message.position.offset > after,
                Span::Before(before) => message.position.offset < before,
            })
            .collect();
        found.sort_by_key(|message| message.position.offset);
        let count = found.len() as u64;
        let count_max = wanted.count_max as usize;
        let has_more = found.len() > count_max;
        let mut page = Page { through: self.offset, lost_through, count, ..Page::default() };
        match wanted.span {
            Span::After(_) => {
                found.truncate(count_max);
                page.has_more = has_more;
                page.through = match found.last() {
                    Some(last) if has_more => last.position.offset,
                    _ => self.offset,
                };
            }
            Span::Before(_) => {
                found.drain(..found.len().saturating_sub(count_max));
                page.has_more = has_more;
                page.first = match found.first() {
                    Some(first) if has_more => first.position.offset,
                    _ => 0,
                };
            }
            Span::LatestAfter(_) => {
                let mut latest = HashMap::new();
                for message in &found {
                    let of = (&message.publication.topic, message.publication.key());
                    latest.insert(of, message.position.offset);
                }
                found.retain(|message| {
                    let of = (&message.publication.topic, message.publication.key());
                    latest[&of] == message.position.offset
                });
            }
        }
        page.messages = found.into_iter().map(Arc::clone).collect();
        page
    }
}

/// A message as the model keeps it.
pub(super) fn placed(message: &Message) -> Placed {
    debug_assert_eq!(message.position.lane, Lane::Store);
    Placed {
        offset: message.position.offset,
        number: super::world::number(message),
        time_us: message.time_us,
        expires_us: message.publication.expires_us().unwrap_or(u64::MAX),
    }
}
