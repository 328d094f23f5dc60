//! What followers are told of, where it happens. Every function here is for a shard that somebody
//! follows: its callers ask [`Following::is_on`](super::Following::is_on) first.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::board::{Follower, Told, What};
use super::local::Traced;
use crate::broker::Member;
use crate::model::application::AppIndex;
use crate::model::close::{Close, CloseCause};
use crate::model::identity::Identity;
use crate::model::message::{Message, Payload};
use crate::model::recovery::{LossReason, Recovery};
use crate::model::refusal::Refused;
use crate::model::topic::TopicName;
use crate::shard::connection::Connection;
use crate::shard::delivery::Delivery;
use crate::stdx::clock::{self, Timestamp};
use crate::stdx::slab::Key;

/// Bytes of a payload that are shown; the rest is cut.
const PAYLOAD_SHOWN_MAX: usize = 4096;

/// Topics that one event names.
const TOPICS_NAMED_MAX: usize = 100;

impl Delivery {
    /// This home has placed a message.
    pub(in crate::shard) fn follow_message(&mut self, message: &Message) {
        let publication = &message.publication;
        for follower in self.following.followers.iter() {
            if let What::Messages { app, topics, with_payload } = &follower.what
                && *app == publication.app
                && topics.matches(publication.topic.as_str())
            {
                follower.tell(Told::Line(line(message, *with_payload)));
            }
        }
        if self.following.has_load {
            self.following.loads.add(publication.app, &publication.topic, 1, 0);
        }
    }

    /// A run was queued for these members but those that stalled.
    pub(in crate::shard) fn follow_run(
        &mut self,
        run: &[Arc<Message>],
        members: &[Member],
        stalled: &[u32],
    ) {
        let Some(first) = run.first() else { return };
        if self.following.has_load {
            let count = (members.len() - stalled.len()) * run.len();
            let publication = &first.publication;
            self.following.loads.add(publication.app, &publication.topic, 0, count as u64);
        }
        for (key, traced) in &mut self.following.traced {
            let is_member = members.iter().any(|member| member.session == key.index);
            if is_member && !stalled.contains(&key.index) {
                traced.delivered += run.len() as u64;
            }
        }
    }

    /// Messages were queued for one session.
    pub(in crate::shard) fn follow_own(&mut self, key: Key, count: usize) {
        if let Some(traced) = self.following.traced.get_mut(&key) {
            traced.delivered += count as u64;
        }
    }

    /// A session is there, of a subject that may be followed. Those who did not follow it `before`
    /// are told of it.
    pub(in crate::shard) fn trace_session(
        &mut self,
        key: Key,
        app: AppIndex,
        identity: &Identity,
        before: Option<Traced>,
    ) {
        let id = self.ids.id(self.shard, key).to_string();
        let is_meant = |what: &What| match what {
            What::Subject { app: of, subject } => {
                let own = identity.subject.as_deref();
                *of == app && (own == Some(&**subject) || *id == **subject)
            }
            What::Messages { .. } | What::Load => false,
        };
        let all = self.following.followers.iter();
        let followers: Vec<_> = all.filter(|follower| is_meant(&follower.what)).cloned().collect();
        if followers.is_empty() {
            return;
        }
        let before = before.unwrap_or_default();
        let is_new = |follower: &&Arc<Follower>| {
            !before.followers.iter().any(|known| Arc::ptr_eq(known, follower))
        };
        let found = self.connections.get(key);
        let peer = found.map(|connection| connection.peer.to_string());
        let door = found.map(|connection| connection.door_kind().label());
        let line = self.event(key, "connected", json!({ "door": door, "address": peer }));
        for follower in followers.iter().filter(is_new) {
            follower.tell(Told::Line(line.clone()));
        }
        let delivered = before.delivered;
        self.following.traced.insert(key, Traced { followers, delivered });
    }

    /// A session was told that it is subscribed.
    pub(in crate::shard) fn trace_subscribed(
        &self,
        key: Key,
        topics: &[TopicName],
        recovery: Option<Recovery>,
    ) {
        let lost = recovery.and_then(|recovery| recovery.loss).map(LossReason::code);
        self.trace(key, "subscribed", || json!({ "topics": names(topics), "lost": lost }));
    }

    /// A session was told that it has lost messages.
    pub(in crate::shard) fn trace_lost(&self, key: Key, topics: &[TopicName], reason: LossReason) {
        self.trace(key, "lost", || json!({ "topics": names(topics), "reason": reason.code() }));
    }

    /// A session is told that it ends.
    pub(in crate::shard) fn trace_closing(&self, key: Key, close: &Close, cause: CloseCause) {
        if !self.connections.get(key).is_some_and(Connection::is_open) {
            return;
        }
        self.trace(key, "closing", || {
            let Close { code, reason } = close;
            json!({ "number": cause.number(), "cause": cause.label(), "code": code, "reason": reason })
        });
    }

    /// A connection has ended.
    pub(in crate::shard) fn trace_closed(
        &mut self,
        key: Key,
        connection: &Connection,
        cause: CloseCause,
    ) {
        self.tell_delivered_to(key);
        let door = connection.door_kind().label();
        self.trace(
            key,
            "closed",
            || json!({ "number": cause.number(), "cause": cause.label(), "door": door }),
        );
        if self.following.traced.remove(&key).is_some() {
            // A turn's last step: nothing behind it would wake the reader.
            self.following.board.wake_reader();
        }
    }

    /// A request was refused.
    pub(in crate::shard) fn trace_refused(&self, key: Key, refused: &Refused) {
        let entry = refused.refusal.entry();
        let text =
            || json!({ "number": entry.number, "code": entry.code, "detail": refused.detail });
        let Some(identity) = &self.following.serving else {
            return self.trace(key, "refused", text);
        };
        let Some(subject) = &identity.subject else { return };
        let line = self.event(key, "refused", text());
        for follower in self.following.followers.iter() {
            if matches!(&follower.what, What::Subject { subject: of, .. } if **of == **subject) {
                follower.tell(Told::Line(line.clone()));
            }
        }
    }

    /// Tells how many messages the followed sessions got.
    pub(super) fn tell_delivered(&mut self) {
        let keys: Vec<Key> = self.following.traced.keys().copied().collect();
        for key in keys {
            self.tell_delivered_to(key);
        }
    }

    fn tell_delivered_to(&mut self, key: Key) {
        let Some(traced) = self.following.traced.get_mut(&key) else { return };
        let count = std::mem::take(&mut traced.delivered);
        if count > 0 {
            self.trace(key, "delivered", || json!({ "messages": count }));
        }
    }

    fn trace(&self, key: Key, event: &str, members: impl FnOnce() -> Value) {
        let Some(traced) = self.following.traced.get(&key) else { return };
        let line = self.event(key, event, members());
        for follower in &traced.followers {
            follower.tell(Told::Line(line.clone()));
        }
    }

    fn event(&self, key: Key, event: &str, members: Value) -> String {
        let mut all = Map::new();
        all.insert("time".into(), Timestamp(clock::unix_ms()).to_string().into());
        all.insert("event".into(), event.into());
        all.insert("connection".into(), self.ids.id(self.shard, key).to_string().into());
        all.insert("shard".into(), self.shard.0.into());
        if let Value::Object(members) = members {
            all.extend(members);
        }
        Value::Object(all).to_string()
    }
}

fn names(topics: &[TopicName]) -> Vec<&str> {
    topics.iter().take(TOPICS_NAMED_MAX).map(TopicName::as_str).collect()
}

fn line(message: &Message, with_payload: bool) -> String {
    let publication = &message.publication;
    let publisher = publication.publisher.as_ref();
    let mut event = json!({
        "time": Timestamp(message.time_us / 1000).to_string(),
        "topic": publication.topic.as_str(),
        "id": message.id.to_string(),
        "position": message.position.to_string(),
        "size": publication.payload.size(),
        "door": if publisher.is_some() { "websocket" } else { "http" },
        "subject": publisher.map(|publisher| &*publisher.subject),
    });
    if with_payload {
        let (Payload::Json(text) | Payload::Text(text)) = &publication.payload;
        let shown = &text[..text.floor_char_boundary(PAYLOAD_SHOWN_MAX)];
        event["payload"] = shown.into();
        event["truncated"] = (shown.len() < text.len()).into();
    }
    event.to_string()
}
