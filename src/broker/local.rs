//! The local side of a shard: its own subscribers per topic and the run owed to them this turn.
//!
//! Members are grouped by wire form, so that a run is encoded once per group. Leaving is O(1):
//! a member knows its session's subscription and the subscription knows the member's place.

use std::sync::Arc;

use smallvec::SmallVec;

use super::home::TopicKey;
use super::watching::SubjectCounts;
use crate::model::family::{Family, SlowConsumer};
use crate::model::form::Form;
use crate::model::message::Message;
use crate::model::recovery::LossReason;
use crate::model::shard::ShardIndex;
use crate::stdx::slab::Key;

/// A subscriber within a topic's group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The session's place in the connection table; always a live session.
    pub session: u32,
    /// Which of the session's subscriptions this is.
    pub subscription: u32,
}

/// What became of a subscribe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum SubscribeOutcome {
    /// Answered through `Outlet::subscribed`, now or once the home has registered this shard.
    Accepted,
    /// The session already has as many subscriptions as its application allows.
    TooMany,
}

/// Subscribers of one form.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) form: Form,
    pub(super) members: Vec<Member>,
}

/// Whether the home knows that this shard holds subscribers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Interest {
    /// Asked, not yet answered; the answer carries this token.
    Pending(u32),
    /// Everything after `LocalTopic::last_offset` reaches this shard.
    Registered,
}

/// A session that waits for the home's registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) session: Key,
    pub(super) ticket: u32,
    /// A position was given that nothing can be made of.
    pub(super) loss: Option<LossReason>,
}

/// A topic with subscribers, or would-be subscribers, on this shard.
#[derive(Debug)]
pub(super) struct LocalTopic {
    pub(super) key: TopicKey,
    pub(super) home: ShardIndex,
    pub(super) interest: Interest,
    pub(super) waiting: Vec<Waiter>,
    pub(super) groups: SmallVec<[Group; 1]>,
    /// Messages owed to all members, oldest first; delivered at the end of the turn.
    pub(super) run: Vec<Arc<Message>>,
    /// Sessions that catch up with it.
    pub(super) catching_count: u32,
    /// Its family says what happens to a member whose queue is full, and what a newcomer gets.
    pub(super) slow_consumer: SlowConsumer,
    pub(super) sends_latest: bool,
    /// Whether the store counts it.
    pub(super) is_durable: bool,
    /// The home's last offset known here.
    pub(super) last_offset: u64,
    /// Its members here by subject, while its home watches.
    pub(super) subjects: Option<Box<SubjectCounts>>,
}

impl LocalTopic {
    pub(super) fn new(
        key: TopicKey,
        family: &Family,
        home: ShardIndex,
        interest: Interest,
        offset: u64,
    ) -> Self {
        LocalTopic {
            key,
            catching_count: 0,
            slow_consumer: family.slow_consumer,
            sends_latest: family.sends_last,
            is_durable: family.durable,
            home,
            interest,
            waiting: Vec::new(),
            groups: SmallVec::new(),
            run: Vec::new(),
            last_offset: offset,
            subjects: None,
        }
    }

    /// Whether nobody is subscribed or waits to be.
    pub(super) fn is_deserted(&self) -> bool {
        self.catching_count == 0
            && self.waiting.is_empty()
            && self.groups.iter().all(|group| group.members.is_empty())
    }

    /// Adds a member; returns its group and place.
    pub(super) fn join(&mut self, form: Form, member: Member) -> (u32, u32) {
        let known = self.groups.iter().position(|group| group.form == form);
        let group = known.unwrap_or_else(|| {
            self.groups.push(Group { form, members: Vec::new() });
            self.groups.len() - 1
        });
        let members = &mut self.groups[group].members;
        members.push(member);
        (count(group), count(members.len() - 1))
    }

    /// Removes the member at `place`; returns the member that took its place, if one had to move.
    pub(super) fn leave(&mut self, group: u32, place: u32) -> Option<Member> {
        let members = &mut self.groups[group as usize].members;
        members.swap_remove(place as usize);
        if members.capacity() > 64 && members.len() < members.capacity() / 4 {
            members.shrink_to(members.len() * 2);
        }
        members.get(place as usize).copied()
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a shard's connections and groups are counted in 32 bits")
}
