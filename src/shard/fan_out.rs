//! Messages into outbound queues: runs shared by all members of a form, history for one.
//!
//! Invariants: a run is encoded once per form, and all members get references to the same bytes; a
//! connection whose socket takes no more is judged before a run is added, so a queue never exceeds
//! its limit by more than what one turn, or one page of history, brings.

use std::rc::Rc;
use std::sync::Arc;

use super::answer::Poll;
use super::connection::{Connection, Door, Early, StreamDoor};
use super::delivery::Delivery;
use super::outbound::Block;
use crate::model::family::SlowConsumer;
use crate::model::form::{EventId, Form};
use crate::model::message::{Message, Publication};
use crate::proto::sse;
use crate::stdx::slab::Key;

/// Messages that a stream is owed at most before all of its topics are answered; beyond it the
/// connection is closed, as for any other queue that has met its limit.
const EARLY_COUNT_MAX: usize = 4096;

/// What a wire form has beside its payload and its topic, roughly: an id, a position, field names.
const ENVELOPE_SIZE: usize = 160;

/// Bytes that a message's form takes, roughly.
fn room_for(message: &Message) -> usize {
    let Publication { payload, topic, .. } = &message.publication;
    payload.size() + topic.as_str().len() + ENVELOPE_SIZE
}

impl Delivery {
    /// One block for a run, shared by everyone who wants `form`.
    pub(super) fn block(&mut self, form: Form, run: &[Arc<Message>]) -> Rc<Block> {
        let encoder = &mut self.encoder;
        if let [message] = run
            && !message.is_for_one_shard()
        {
            let bytes = message.form(form, |message| encoder.encode(form, message));
            return Rc::new(Block::Shared(Arc::clone(bytes)));
        }
        let mut bytes = Vec::with_capacity(run.iter().map(|message| room_for(message)).sum());
        for message in run {
            if message.is_for_one_shard() {
                encoder.append(&mut bytes, form, message);
            } else {
                bytes
                    .extend_from_slice(message.form(form, |message| encoder.encode(form, message)));
            }
        }
        Rc::new(Block::Bytes(bytes))
    }

    /// Queues a block; whether there was room, or the connection is over.
    pub(super) fn push_shared(
        &mut self,
        index: u32,
        block: &Rc<Block>,
        policy: SlowConsumer,
    ) -> bool {
        let Some(connection) = self.connections.at_mut(index) else { return true };
        if !connection.is_open() {
            return true;
        }
        if connection.is_slow() {
            return self.meet_limit(index, policy);
        }
        if connection.flags.retry_owed {
            connection.flags.retry_owed = false;
            let retry = self.options.sse.retry(connection.jitter());
            connection.outbound.append(|out| sse::append_retry(out, retry));
        }
        connection.outbound.push(Rc::clone(block));
        if !connection.flags.dirty {
            connection.flags.dirty = true;
            let key = self.connections.key_at(index).expect("looked up above");
            self.dirty.push(key);
        }
        true
    }

    /// Queues a run for one connection of its own kind; whether there was room.
    pub(super) fn push_own(
        &mut self,
        index: u32,
        form: Form,
        run: &[Arc<Message>],
        policy: SlowConsumer,
    ) -> bool {
        let Some(connection) = self.connections.at(index) else { return true };
        if connection.is_open() && connection.is_slow() {
            return self.meet_limit(index, policy);
        }
        if let Some(key) = self.connections.key_at(index) {
            self.append_messages(key, form, run);
        }
        true
    }

    /// Queues messages for one connection, whatever its queue holds.
    pub(super) fn append_messages(&mut self, key: Key, form: Form, messages: &[Arc<Message>]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        let retry = self.options.sse.retry(connection.jitter());
        if let Door::Stream(door) = &mut connection.door
            && door.is_early()
        {
            door.keep_early(Early::Messages(form, messages.to_vec()));
            if door.early_count() > EARLY_COUNT_MAX {
                self.close_slow_consumer(key);
            }
            return;
        }
        let mut cursor = match &mut connection.door {
            Door::Http(door) => {
                if let Some(poll) = door.poll_mut() {
                    poll.take(messages);
                    self.polls_touched.push(key);
                }
                return;
            }
            Door::Stream(StreamDoor { cursor, .. }) => cursor.as_deref_mut(),
            Door::WebSocket(_) | Door::Follow => None,
        };
        let retry_owed = std::mem::take(&mut connection.flags.retry_owed);
        let encoder = &mut self.encoder;
        connection.outbound.append(|out| {
            if retry_owed {
                sse::append_retry(out, retry);
            }
            for message in messages {
                out.extend_from_slice(message.form(form, |message| encoder.encode(form, message)));
                if let Some(cursor) = &mut cursor {
                    cursor.advance(message.position);
                    sse::append_id(out, cursor);
                    out.push(b'\n');
                }
            }
        });
        self.mark_dirty(key);
    }

    /// Whether messages of this form are queued for each connection on its own.
    pub(super) fn is_own(form: Form) -> bool {
        matches!(form, Form::Sse { id: EventId::Cursor, .. } | Form::Poll { .. })
    }

    /// A connection's queue has met its limit; false when its session is to catch up later.
    fn meet_limit(&mut self, index: u32, policy: SlowConsumer) -> bool {
        if policy != SlowConsumer::Close {
            return false;
        }
        if let Some(key) = self.connections.key_at(index) {
            self.close_slow_consumer(key);
        }
        true
    }

    /// The long poll that a connection waits for.
    pub(super) fn poll_mut(&mut self, key: Key) -> Option<&mut Poll> {
        match self.connections.get_mut(key)? {
            Connection { door: Door::Http(door), .. } => door.poll_mut(),
            _ => None,
        }
    }
}
