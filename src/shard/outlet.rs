//! The shard as its broker sees it: each call finds its door.

use std::net::SocketAddr;
use std::sync::Arc;

use super::answer::AnswerBody;
use super::connection::{Connection, Door};
use super::delivery::Delivery;
use crate::broker::{Member, Outlet, Parcel, Receipt, ReplyTo, Told};
use crate::model::application::AppIndex;
use crate::model::close::{Close, CloseCause, POLICY, UNAUTHORIZED};
use crate::model::family::SlowConsumer;
use crate::model::form::Form;
use crate::model::identity::{Identity, Revocation};
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::recovery::{LossReason, Recovery};
use crate::model::refusal::Refusal;
use crate::model::shard::ShardIndex;
use crate::model::store::{Page, StoreError, StoreRequest};
use crate::model::topic::TopicName;
use crate::proto::realtime;
use crate::stdx::slab::Key;
use crate::telemetry::DeliveryDoor;

impl Outlet for Delivery {
    fn deliver(
        &mut self,
        form: Form,
        run: &[Arc<Message>],
        members: &[Member],
        policy: SlowConsumer,
        stalled: &mut Vec<u32>,
    ) {
        let before = stalled.len();
        if Delivery::is_own(form) {
            for Member { session, .. } in members {
                if !self.push_own(*session, form, run, policy) {
                    stalled.push(*session);
                }
            }
        } else {
            let block = self.block(form, run);
            for Member { session, .. } in members {
                if !self.push_shared(*session, &block, policy) {
                    stalled.push(*session);
                }
            }
        }
        let member_count = (members.len() - (stalled.len() - before)) as u64;
        let door = DeliveryDoor::of(form);
        self.delivered.extend(run.iter().map(|message| (message.time_us, member_count, door)));
        let app = run.first().map_or(AppIndex(0), |message| message.publication.app);
        self.counters().deliver(app, member_count * run.len() as u64);
        if self.following.is_on() {
            self.follow_run(run, members, &stalled[before..]);
        }
    }

    fn catch_up(&mut self, session: Key, form: Form, messages: &[Arc<Message>]) {
        if let Some(message) = messages.first() {
            self.counters().deliver(message.publication.app, messages.len() as u64);
        }
        if self.following.is_on() {
            self.follow_own(session, messages.len());
        }
        self.append_messages(session, form, messages);
    }

    fn wants_more(&mut self, session: Key) {
        if let Some(connection) = self.connections.get_mut(session) {
            connection.flags.catching = true;
            // The end of its flush asks for the next page.
            self.mark_dirty(session);
        }
    }

    fn deliver_private(&mut self, session: Key, message: &Arc<Message>) {
        let Some(connection) = self.connections.get(session) else { return };
        let Door::WebSocket(door) = &connection.door else { return };
        let form = Form::Realtime { positions: door.positions, window: door.window };
        let block = self.block(form, std::slice::from_ref(message));
        self.counters().deliver(message.publication.app, 1);
        self.delivered.push((message.time_us, 1, DeliveryDoor::WebSocket));
        if self.following.is_on() {
            self.follow_own(session, 1);
        }
        self.push_shared(session.index, &block, SlowConsumer::Close);
    }

    fn subscribed(
        &mut self,
        session: Key,
        ticket: u32,
        topics: &[TopicName],
        at: Position,
        recovery: Option<Recovery>,
    ) {
        if self.following.is_on() {
            self.trace_subscribed(session, topics, recovery);
        }
        self.tell_subscribed(session, ticket, topics, at, recovery);
    }

    fn lost(&mut self, session: Key, topics: &[TopicName], at: Position, reason: LossReason) {
        if self.following.is_on() {
            self.trace_lost(session, topics, reason);
        }
        self.tell_lost(session, topics, at, reason);
    }

    fn published(&mut self, to: ReplyTo, outcome: Result<Receipt, Refusal>) {
        let Some(connection) = self.connections.get_mut(to.session) else { return };
        match (&mut connection.door, outcome) {
            (Door::Http(door), outcome) => {
                let publishes = door.answers.iter_mut().find_map(|answer| match &mut answer.body {
                    AnswerBody::Publishes(publishes) if publishes.has(to.ticket) => Some(publishes),
                    _ => None,
                });
                if publishes.is_some_and(|publishes| publishes.settle(to.ticket, outcome)) {
                    self.write_answers(to.session);
                }
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
                self.append_text(to.session, &envelope);
            }
            (Door::WebSocket(_), Err(refusal)) => {
                let close = Close::new(refusal.entry().close, refusal.entry().title);
                self.counters().refuse(refusal);
                self.close_websocket(to.session, &close, CloseCause::Overloaded);
            }
            (Door::Stream(_) | Door::Follow, _) => {}
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

    fn fetched(&mut self, to: ReplyTo, outcome: Result<Page, StoreError>) {
        let Some(connection) = self.connections.get_mut(to.session) else { return };
        let Door::Http(door) = &mut connection.door else { return };
        let history = door.answers.iter_mut().find_map(|answer| match &mut answer.body {
            AnswerBody::History(history) if history.ticket == to.ticket => Some(history),
            _ => None,
        });
        if let Some(history) = history {
            history.outcome = Some(outcome);
            self.write_answers(to.session);
        }
    }

    fn store(&mut self, request: StoreRequest) {
        let Some(store) = self.store else { return };
        let size = request.size();
        self.port.stage(store, Parcel::Store(request), size);
    }

    fn store_has_room(&self) -> bool {
        self.store.is_some_and(|store| self.port.has_room(store))
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
        self.connections.get(session).map(|connection| connection.peer.address())
    }

    fn queued_size(&self, session: Key) -> usize {
        self.connections.get(session).map_or(0, |connection| connection.outbound.size())
    }

    fn session_began(&mut self, session: Key, app: AppIndex, identity: &Identity) {
        self.counters().begin_session(app);
        if self.following.is_on() {
            self.trace_session(session, app, identity, None);
        }
    }

    fn placed(&mut self, message: &Arc<Message>) {
        if self.following.is_on() {
            self.follow_message(message);
        }
    }

    fn session_ended(&mut self, app: AppIndex) {
        self.counters().end_session(app);
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
