//! What a session is told about its subscriptions: the answer to a subscribe, what came of a
//! position, what got lost.

use super::connection::{Connection, Door, Early, Resuming};
use super::delivery::Delivery;
use crate::model::position::Position;
use crate::model::recovery::{LossReason, Recovery};
use crate::model::topic::TopicName;
use crate::proto::ws::{Opcode, frame};
use crate::proto::{realtime, sse};
use crate::stdx::slab::Key;

/// The ticket that a resume's subscribes carry.
pub(super) const RESUME_TICKET: u32 = 1;

/// Bytes that hold an ordinary welcome, so that it is written without growing.
const WELCOME_SIZE: usize = 256;

impl Delivery {
    /// Answers a subscribe.
    pub(super) fn tell_subscribed(
        &mut self,
        key: Key,
        ticket: u32,
        topics: &[TopicName],
        at: Position,
        recovery: Option<Recovery>,
    ) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        match &mut connection.door {
            Door::WebSocket(_) => {
                for topic in topics {
                    self.welcome(key, topic, at, recovery);
                }
                if ticket == RESUME_TICKET {
                    self.count_resumed(key, recovery);
                }
            }
            Door::Stream(_) => self.stream_subscribed(key, topics, at, recovery),
            Door::Http(door) => {
                if let Some(poll) = door.poll_mut() {
                    poll.subscribed(topics, at, recovery.and_then(|recovery| recovery.loss));
                    self.polls_touched.push(key);
                }
            }
            Door::Follow => {}
        }
    }

    /// Tells that messages will not come.
    pub(super) fn tell_lost(
        &mut self,
        key: Key,
        topics: &[TopicName],
        at: Position,
        reason: LossReason,
    ) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match &mut connection.door {
            Door::WebSocket(_) => {
                for topic in topics {
                    let mut envelope = Vec::new();
                    realtime::lost(&mut envelope, topic, reason, at);
                    self.append_text(key, &envelope);
                }
            }
            Door::Stream(_) => self.stream_lost(key, topics, at, reason),
            Door::Http(door) => {
                if let Some(poll) = door.poll_mut() {
                    poll.lost(topics, at, reason);
                    self.polls_touched.push(key);
                }
            }
            Door::Follow => {}
        }
    }

    /// Queues one text frame of a connection's own.
    pub(super) fn append_text(&mut self, key: Key, envelope: &[u8]) {
        self.append(key, |out| frame::append(out, Opcode::Text, true, false, envelope));
    }

    fn welcome(&mut self, key: Key, topic: &TopicName, at: Position, recovery: Option<Recovery>) {
        let id = self.ids.id(self.shard, key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Door::WebSocket(door) = &mut connection.door else { return };
        let app_id = &self.applications.get(door.app).id;
        let position = door.positions.then_some(at);
        let (name, peer) = (topic.as_str(), connection.peer.address());
        let mut envelope = Vec::with_capacity(WELCOME_SIZE);
        realtime::welcome(&mut envelope, name, id, app_id, peer, position, recovery);
        let was_welcomed = std::mem::replace(&mut door.welcomed, true);
        let has_input = !connection.unread.is_empty() || connection.flags.readable;
        self.append_text(key, &envelope);
        if has_input && !was_welcomed {
            // Commands that came behind the handshake have waited for the session's welcome.
            self.read_again(key);
        }
    }

    /// A topic of a resume is answered; with the last one, so is the resume.
    fn count_resumed(&mut self, key: Key, recovery: Option<Recovery>) {
        let Some(Connection { door: Door::WebSocket(door), .. }) = self.connections.get_mut(key)
        else {
            return;
        };
        let Some(resuming) = &mut door.resuming else { return };
        resuming.take(recovery);
        if resuming.missing_count == 0 {
            let told = resuming.told;
            door.resuming = None;
            self.tell_resumed(key, told);
        }
    }

    /// The last answer to a resume.
    pub(super) fn tell_resumed(&mut self, key: Key, told: realtime::Resumed) {
        let mut envelope = Vec::new();
        realtime::resumed(&mut envelope, told);
        self.append_text(key, &envelope);
    }

    fn stream_subscribed(
        &mut self,
        key: Key,
        topics: &[TopicName],
        at: Position,
        recovery: Option<Recovery>,
    ) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Door::Stream(door) = &mut connection.door else { return };
        door.stands_at(at);
        let count = u32::try_from(topics.len()).unwrap_or(u32::MAX);
        let is_ready = door.pending <= count;
        if let Some(Recovery { loss: Some(reason), .. }) = recovery {
            self.stream_lost(key, topics, at, reason);
        }
        let Some(Connection { door: Door::Stream(door), .. }) = self.connections.get_mut(key)
        else {
            return;
        };
        door.pending = door.pending.saturating_sub(count);
        if is_ready {
            self.stream_ready(key, at);
        }
    }

    /// Every topic of a stream is registered. Events of those that were earlier wait behind the head.
    fn stream_ready(&mut self, key: Key, at: Position) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Door::Stream(door) = &mut connection.door else { return };
        connection.flags.held = false;
        if door.keeps_id_without_data && connection.flags.retry_owed {
            // So that a stream that is cut before its first event has a position, too.
            connection.flags.retry_owed = false;
            let retry = self.options.sse.retry(connection.jitter());
            let Door::Stream(door) = &connection.door else { return };
            connection.outbound.append(|out| {
                sse::append_retry(out, retry);
                match &door.cursor {
                    Some(cursor) => sse::append_id(out, cursor),
                    None => sse::append_id(out, &at),
                }
                out.push(b'\n');
            });
        }
        self.mark_dirty(key);
        let Some(Connection { door: Door::Stream(door), .. }) = self.connections.get_mut(key)
        else {
            return;
        };
        for early in door.early.take().into_iter().flat_map(|early| *early) {
            match early {
                Early::Messages(form, messages) => self.append_messages(key, form, &messages),
                Early::Lost(topics, at, reason) => self.stream_lost(key, &topics, at, reason),
                Early::Stands(at) => self.stream_stands(key, at),
            }
        }
    }

    fn stream_stands(&mut self, key: Key, at: Position) {
        if let Some(Connection { door: Door::Stream(door), .. }) = self.connections.get_mut(key)
            && let Some(cursor) = &mut door.cursor
        {
            cursor.advance(at);
        }
    }

    fn stream_lost(&mut self, key: Key, topics: &[TopicName], at: Position, reason: LossReason) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        let retry = self.options.sse.retry(connection.jitter());
        let Door::Stream(door) = &mut connection.door else { return };
        if door.is_early() {
            return door.keep_early(Early::Lost(topics.to_vec(), at, reason));
        }
        let retry_owed = std::mem::take(&mut connection.flags.retry_owed);
        connection.outbound.append(|out| {
            if retry_owed {
                sse::append_retry(out, retry);
            }
            match &mut door.cursor {
                Some(cursor) => {
                    cursor.advance(at);
                    sse::append_lost(out, reason, topics, cursor);
                }
                None => sse::append_lost(out, reason, topics, &at),
            }
        });
        self.mark_dirty(key);
    }
}

impl Resuming {
    /// Takes in one topic's answer.
    fn take(&mut self, recovery: Option<Recovery>) {
        self.missing_count = self.missing_count.saturating_sub(1);
        let Some(Recovery { loss, count }) = recovery else { return };
        match loss {
            None => self.told.recovered_count += 1,
            Some(LossReason::AlreadySubscribed) => {}
            Some(_) => self.told.lost_count += 1,
        }
        self.told.message_count += count;
    }
}
