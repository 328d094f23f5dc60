//! Pages of what several topics of one lane keep, merged in the lane's order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::iter::Peekable;
use std::sync::Arc;

use super::history::TopicHistory;
use crate::model::message::Message;
use crate::model::store::{Page, Span, Wanted};

/// The page that is wanted, less what is lost. `last` is the lane's last offset.
pub(super) fn page(topics: &[&TopicHistory], wanted: &Wanted, last: u64) -> Page {
    match wanted.span {
        Span::After(after) => oldest_after(topics, after, wanted, last),
        Span::Before(before) => newest_before(topics, before, wanted, last),
        Span::LatestAfter(after) => latest_after(topics, after, wanted, last),
    }
}

fn oldest_after(topics: &[&TopicHistory], after: u64, wanted: &Wanted, last: u64) -> Page {
    let count = topics.iter().map(|topic| topic.count_after(after, wanted.time_us)).sum();
    let parts = topics.iter().map(|topic| topic.after(after, wanted.time_us).peekable());
    let (messages, has_more) = merge(parts.collect(), wanted, Reverse);
    let through = match messages.last() {
        Some(message) if has_more => message.position.offset,
        _ => last,
    };
    Page { messages, through, has_more, count, ..Page::default() }
}

fn newest_before(topics: &[&TopicHistory], before: u64, wanted: &Wanted, last: u64) -> Page {
    let parts = topics.iter().map(|topic| topic.before(before, wanted.time_us).rev().peekable());
    let (mut messages, has_more) = merge(parts.collect(), wanted, std::convert::identity);
    messages.reverse();
    let first = match messages.first() {
        Some(message) if has_more => message.position.offset,
        _ => 0,
    };
    let count = messages.len() as u64;
    let through = last.min(before.saturating_sub(1));
    Page { messages, through, first, has_more, count, ..Page::default() }
}

fn latest_after(topics: &[&TopicHistory], after: u64, wanted: &Wanted, last: u64) -> Page {
    let mut taken = Taken::new(wanted);
    let mut count = 0;
    for topic in topics {
        let mut seen = HashSet::new();
        for message in topic.after(after, wanted.time_us).rev() {
            count += 1;
            if !taken.is_full() && seen.insert(message.publication.key()) {
                taken.take(message);
            }
        }
    }
    taken.messages.sort_unstable_by_key(|message| message.position.offset);
    Page { messages: taken.messages, through: last, count, ..Page::default() }
}

/// Takes from several ordered parts, always the one whose offset `rank` puts highest, until the page
/// is full; whether anything is left.
fn merge<'m, R: Ord>(
    mut parts: Vec<Peekable<impl Iterator<Item = &'m Arc<Message>>>>,
    wanted: &Wanted,
    rank: impl Fn(u64) -> R,
) -> (Vec<Arc<Message>>, bool) {
    let mut taken = Taken::new(wanted);
    let mut heads: BinaryHeap<(R, usize)> = BinaryHeap::with_capacity(parts.len());
    for (index, part) in parts.iter_mut().enumerate() {
        heads.extend(part.peek().map(|message| (rank(message.position.offset), index)));
    }
    while !taken.is_full()
        && let Some((_, index)) = heads.pop()
    {
        let part = &mut parts[index];
        if let Some(message) = part.next() {
            taken.take(message);
        }
        heads.extend(part.peek().map(|message| (rank(message.position.offset), index)));
    }
    (taken.messages, !heads.is_empty())
}

/// A page that is being filled.
struct Taken<'a> {
    wanted: &'a Wanted,
    messages: Vec<Arc<Message>>,
    size: usize,
}

impl Taken<'_> {
    fn new(wanted: &Wanted) -> Taken<'_> {
        Taken { wanted, messages: Vec::new(), size: 0 }
    }

    fn take(&mut self, message: &Arc<Message>) {
        self.size += message.publication.payload.size();
        self.messages.push(Arc::clone(message));
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= self.wanted.count_max as usize || self.size >= self.wanted.size_max
    }
}
