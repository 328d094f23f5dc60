//! From the broker to the outbound queues: the connections and all that writes to them.
//!
//! Data flow: broker fan-out → [`Delivery`] (this file) → `outbound` → `flush`; parcels for other
//! shards → the mesh port.
//!
//! Invariants: nothing here calls the broker; a run is encoded once per form and all members get
//! references to the same bytes; a connection whose socket takes no more is judged before a run is
//! added, so a queue never exceeds its limit by more than what one turn brings; nothing is queued
//! behind a close.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::answer::AnswerBody;
use super::connection::{Connection, Door, Phase, StreamDoor};
use super::options::Options;
use super::outbound::{Block, Outbound};
use super::respond;
use crate::broker::{Member, Outlet, Parcel, Receipt, ReplyTo, Told};
use crate::mesh::Port;
use crate::model::application::{AppIndex, Applications};
use crate::model::close::{Close, CloseCause, POLICY, TRY_AGAIN_LATER, UNAUTHORIZED};
use crate::model::form::Form;
use crate::model::id::ConnectionIds;
use crate::model::identity::Revocation;
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::proto::encode::Encoder;
use crate::proto::http1::Date;
use crate::proto::ws::{Opcode, frame};
use crate::proto::{realtime, sse};
use crate::stdx::clock::Tick;
use crate::stdx::slab::{Key, Slab};
use crate::telemetry::ShardCounters;

/// A shard's connections and what is needed to write to them.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) shard: ShardIndex,
    pub(super) options: Options,
    pub(super) applications: Arc<Applications>,
    pub(super) ids: ConnectionIds,
    pub(super) connections: Slab<Connection>,
    pub(super) encoder: Encoder,
    pub(super) port: Port<Parcel>,
    pub(super) all_counters: Arc<[ShardCounters]>,
    /// Connections to flush at the end of the turn, each once.
    pub(super) dirty: Vec<Key>,
    /// Connections to read again although no edge will tell.
    pub(super) again: Vec<Key>,
    /// Connections to remove at the end of the turn, each once.
    pub(super) doomed: Vec<(Key, CloseCause)>,
    /// Sessions to end in the broker although their connections live on for a while.
    pub(super) retired: Vec<Key>,
    /// Sessions whose subjects are registered, to be welcomed.
    pub(super) arrived: Vec<Key>,
    /// Revocations to be kept by the authenticator.
    pub(super) revocations: Vec<(AppIndex, Revocation, u64)>,
    /// What this turn delivered: when its home took the message, and to how many.
    pub(super) delivered: Vec<(u64, u64)>,
    pub(super) date: Date,
    pub(super) now: Tick,
}

impl Delivery {
    /// This shard's counters.
    pub(super) fn counters(&self) -> &ShardCounters {
        &self.all_counters[self.shard.index()]
    }

    /// Lists the connection for this turn's flush.
    pub(super) fn mark_dirty(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.flags.dirty
        {
            connection.flags.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Appends bytes of the connection's own.
    pub(super) fn append(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(connection) = self.connections.get_mut(key)
            && connection.is_open()
        {
            connection.outbound.append(write);
            self.mark_dirty(key);
        }
    }

    /// Lists the connection to be read next turn.
    pub(super) fn read_again(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.flags.queued
        {
            connection.flags.queued = true;
            self.again.push(key);
        }
    }

    /// Lists the connection for removal at the end of the turn.
    pub(super) fn doom(&mut self, key: Key, cause: CloseCause) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.flags.doomed
        {
            connection.flags.doomed = true;
            self.doomed.push((key, cause));
        }
    }

    /// Observes how long this turn's deliveries took from their home to the end of the flush.
    pub(super) fn observe_latencies(&mut self, now_us: u64) {
        let histogram = &self.all_counters[self.shard.index()].publish_to_flush;
        for (time_us, count) in self.delivered.drain(..) {
            histogram.observe_many_us(now_us.saturating_sub(time_us), count);
        }
    }

    /// Begins the connection's end: what is queued leaves, then our side is shut.
    pub(super) fn close(&mut self, key: Key, cause: CloseCause) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        connection.phase = Phase::Closing(cause);
        connection.began = now;
        connection.unread = Vec::new();
        if std::mem::take(&mut connection.flags.held) {
            // The head that these events wait for will not come.
            connection.outbound = Outbound::default();
        }
        self.retired.push(key);
        self.mark_dirty(key);
    }

    /// Sends a close frame (RFC 6455 §5.5.1) and begins the end. Other doors just end.
    pub(super) fn close_websocket(&mut self, key: Key, close: &Close, cause: CloseCause) {
        if let Some(Connection { door: Door::WebSocket(door), outbound, .. }) =
            self.connections.get_mut(key)
            && door.closing.send()
        {
            outbound.append(|out| frame::append_close(out, close));
        }
        self.close(key, cause);
    }

    /// Cuts off a connection whose queue met its limit: what has not begun to leave is dropped.
    fn close_slow_consumer(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            tracing::debug!(
                peer = %connection.peer,
                queued = connection.outbound.size(),
                limit = connection.outbound_size_max,
                "slow consumer closed"
            );
            connection.outbound.discard_unsent();
        }
        let close = Close::new(TRY_AGAIN_LATER, "Too slow: the outbound queue met its limit.");
        self.close_websocket(key, &close, CloseCause::SlowConsumer);
    }

    /// One block for a run, shared by everyone who wants `form`.
    fn block(&mut self, form: Form, run: &[Arc<Message>]) -> Rc<Block> {
        let encoder = &mut self.encoder;
        if let [message] = run {
            message.form(form, |message| encoder.encode(form, message));
            return Rc::new(Block::Message(Arc::clone(message), form));
        }
        let mut bytes = Vec::new();
        for message in run {
            bytes.extend_from_slice(message.form(form, |message| encoder.encode(form, message)));
        }
        Rc::new(Block::Bytes(bytes))
    }

    fn push_shared(&mut self, index: u32, block: &Rc<Block>) {
        let Some(connection) = self.connections.at_mut(index) else { return };
        if !connection.is_open() {
            return;
        }
        if connection.is_slow() {
            let key = self.connections.key_at(index).expect("looked up above");
            return self.close_slow_consumer(key);
        }
        if connection.flags.retry_owed {
            connection.flags.retry_owed = false;
            let retry = self.options.sse.retry_delay;
            connection.outbound.append(|out| sse::append_retry(out, retry));
        }
        connection.outbound.push(Rc::clone(block));
        if !connection.flags.dirty {
            connection.flags.dirty = true;
            let key = self.connections.key_at(index).expect("looked up above");
            self.dirty.push(key);
        }
    }

    /// Streams over several homes: the shared block is followed by the connection's own `id:` line.
    fn push_with_cursor(&mut self, index: u32, form: Form, run: &[Arc<Message>]) {
        let Some(key) = self.connections.key_at(index) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        if connection.is_slow() {
            return self.close_slow_consumer(key);
        }
        let Door::Stream(StreamDoor { cursor: Some(cursor), .. }) = &mut connection.door else {
            return;
        };
        let retry_owed = std::mem::take(&mut connection.flags.retry_owed);
        let retry = self.options.sse.retry_delay;
        let encoder = &mut self.encoder;
        connection.outbound.append(|out| {
            if retry_owed {
                sse::append_retry(out, retry);
            }
            for message in run {
                out.extend_from_slice(message.form(form, |message| encoder.encode(form, message)));
                cursor.advance(message.position);
                sse::append_id(out, cursor);
                out.push(b'\n');
            }
        });
        self.mark_dirty(key);
    }

    fn welcome(&mut self, key: Key, topic: &TopicName, at: Position) {
        let id = self.ids.id(self.shard, key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        let Door::WebSocket(door) = &mut connection.door else { return };
        let app_id = &self.applications.get(door.app).id;
        let position = door.positions.then_some(&at as &dyn std::fmt::Display);
        let mut envelope = Vec::new();
        realtime::welcome(&mut envelope, topic.as_str(), id, app_id, connection.peer, position);
        connection.outbound.append(|out| frame::append(out, Opcode::Text, true, false, &envelope));
        let was_welcomed = std::mem::replace(&mut door.welcomed, true);
        if !was_welcomed {
            // Commands that came with the handshake have waited for the session's welcome.
            self.read_again(key);
        }
        self.mark_dirty(key);
    }

    fn stream_subscribed(&mut self, key: Key, at: Position) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        let Door::Stream(door) = &mut connection.door else { return };
        if let Some(cursor) = &mut door.cursor {
            cursor.advance(at);
        }
        door.pending = door.pending.saturating_sub(1);
        if door.pending == 0 {
            // Events of topics that were registered earlier wait behind the head.
            connection.flags.held = false;
            self.mark_dirty(key);
        }
    }

    /// Writes every answer that is ready and has nothing unready before it.
    pub(super) fn write_answers(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_open() {
            return;
        }
        let Door::Http(door) = &mut connection.door else { return };
        let mut wrote = false;
        let mut close = false;
        while let Some(answer) = door.answers.front() {
            if !answer.body.is_complete() {
                break;
            }
            let answer = door.answers.pop_front().expect("looked at above");
            close = !answer.terms.keep_alive;
            let (date, applications) = (&self.date, &self.applications);
            connection.outbound.append(|out| respond::write(out, answer, date, applications));
            wrote = true;
            if close {
                // A stop may have made this answer the last although more requests came.
                door.answers.clear();
            }
        }
        if door.answers.is_empty() {
            door.answers.shrink_to(4);
        }
        if !wrote {
            return;
        }
        let has_unread = !connection.unread.is_empty() || connection.flags.readable;
        self.mark_dirty(key);
        if close {
            self.close(key, CloseCause::Done);
        } else if has_unread {
            self.read_again(key);
        }
    }
}

impl Outlet for Delivery {
    fn deliver(&mut self, form: Form, run: &[Arc<Message>], members: &[Member]) {
        let member_count = members.len() as u64;
        self.delivered.extend(run.iter().map(|message| (message.time_us, member_count)));
        self.counters().deliveries.add(member_count * run.len() as u64);
        if let Form::Sse { shared_id: false, .. } = form {
            for member in members {
                self.push_with_cursor(member.session, form, run);
            }
            return;
        }
        let block = self.block(form, run);
        for member in members {
            self.push_shared(member.session, &block);
        }
    }

    fn deliver_private(&mut self, session: Key, message: &Arc<Message>) {
        let Some(connection) = self.connections.get(session) else { return };
        let Door::WebSocket(door) = &connection.door else { return };
        let form = Form::Realtime { positions: door.positions, window: door.window };
        let block = self.block(form, std::slice::from_ref(message));
        self.counters().deliveries.add(1);
        self.delivered.push((message.time_us, 1));
        self.push_shared(session.index, &block);
    }

    fn subscribed(&mut self, session: Key, _ticket: u32, topic: &TopicName, at: Position) {
        match self.connections.get(session).map(|connection| &connection.door) {
            Some(Door::WebSocket(_)) => self.welcome(session, topic, at),
            Some(Door::Stream(_)) => self.stream_subscribed(session, at),
            Some(Door::Http(_)) | None => {}
        }
    }

    fn published(&mut self, to: ReplyTo, outcome: Result<Receipt, Refusal>) {
        let Some(connection) = self.connections.get_mut(to.session) else { return };
        match (&mut connection.door, outcome) {
            (Door::Http(door), outcome) => {
                let mut publishes =
                    door.answers.iter_mut().filter_map(|answer| match &mut answer.body {
                        AnswerBody::Publishes(publishes) => Some(publishes),
                        AnswerBody::Ready(_) | AnswerBody::Asked(_) => None,
                    });
                publishes.any(|publishes| publishes.settle(to.ticket, &outcome));
                self.write_answers(to.session);
            }
            (Door::WebSocket(_), Ok(receipt)) => {
                let generated;
                let id = if let Some(id) = &receipt.client_id {
                    id
                } else {
                    generated = receipt.id.to_string();
                    generated.as_str()
                };
                let mut envelope = Vec::new();
                realtime::ack(&mut envelope, id);
                self.append(to.session, |out| {
                    frame::append(out, Opcode::Text, true, false, &envelope);
                });
            }
            (Door::WebSocket(_), Err(refusal)) => {
                let close = Close::new(refusal.entry().close, refusal.entry().title);
                self.counters().refuse(refusal);
                self.close_websocket(to.session, &close, CloseCause::Overloaded);
            }
            (Door::Stream(_), _) => {}
        }
    }

    fn arrived(&mut self, session: Key) {
        // Streams hear what they asked for; only WebSockets are welcomed.
        if let Some(Connection { door: Door::WebSocket(_), .. }) = self.connections.get(session) {
            self.arrived.push(session);
        }
    }

    fn evict(&mut self, session: Key, cause: CloseCause) {
        let was_welcomed = matches!(
            self.connections.get(session),
            Some(Connection { door: Door::WebSocket(door), .. }) if door.welcomed
        );
        self.close_websocket(session, &eviction(cause, was_welcomed), cause);
    }

    fn told(&mut self, to: ReplyTo, told: Told) {
        let Some(connection) = self.connections.get_mut(to.session) else { return };
        let Door::Http(door) = &mut connection.door else { return };
        let asked = door.answers.iter_mut().find_map(|answer| match &mut answer.body {
            AnswerBody::Asked(asked) if asked.ticket == to.ticket => Some(asked),
            _ => None,
        });
        if let Some(asked) = asked {
            asked.gather(told);
            self.write_answers(to.session);
        }
    }

    fn peer(&self, session: Key) -> Option<SocketAddr> {
        self.connections.get(session).map(|connection| connection.peer)
    }

    fn revoke(&mut self, app: AppIndex, revocation: &Revocation, until_s: u64) {
        self.revocations.push((app, revocation.clone(), until_s));
    }

    fn send(&mut self, shard: ShardIndex, parcel: Parcel) {
        let size = parcel.size();
        self.port.stage(shard, parcel, size);
    }

    fn has_room(&self, shard: ShardIndex) -> bool {
        self.port.has_room(shard)
    }
}

/// What a client is told whose connection the broker ends. One that is kept out was never welcomed.
fn eviction(cause: CloseCause, was_welcomed: bool) -> Close {
    match cause {
        CloseCause::SameSubject if was_welcomed => {
            Close::new(POLICY, "Replaced by a newer connection of the same subject!")
        }
        CloseCause::SameSubject => {
            Close::new(POLICY, "Another connection of the same subject is open!")
        }
        CloseCause::Revoked => Close::new(UNAUTHORIZED, "The token was revoked!"),
        _ => Close::new(POLICY, "Closed by an administrator!"),
    }
}
