//! A follower's stream of server-sent events at the admin door.
//!
//! It is a connection of its own kind: its queue is filled only up to a limit, the rest waits in the
//! follower's bounded queue, and what finds no place there is told as a number of dropped events.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::{Value, json};

use super::board::{Follower, Told, What};
use super::load::{Loads, TOPICS_TOLD_MAX, TopicLoad};
use crate::model::close::CloseCause;
use crate::shard::connection::Door;
use crate::shard::run::Shard;
use crate::stdx::clock::{Tick, Timestamp};
use crate::stdx::slab::Key;
use crate::telemetry::status;

/// Bytes queued for a follower's socket; further events wait in the follower's queue.
const OUTBOUND_SIZE_MAX: usize = 256 * 1024;

/// Time between two tellings of the load.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);

/// One stream.
#[derive(Debug)]
pub(in crate::shard) struct FollowStream {
    pub(in crate::shard) key: Key,
    follower: Arc<Follower>,
    receiver: Receiver<Told>,
    /// Drops told so far.
    dropped_count: u64,
    /// Numbers of all shards since the load was told last, and when it is told next.
    loads: Loads,
    load_due: Option<Tick>,
}

impl Shard {
    /// Makes an admin connection, whose head is queued, the stream of a follower.
    pub(in crate::shard) fn begin_following(&mut self, key: Key, what: What) {
        let load_due = matches!(what, What::Load).then_some(self.delivery.now);
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        connection.door = Door::Follow;
        connection.flags.ends_when_flushed = true;
        connection.began = self.delivery.now;
        let (follower, receiver) = self.delivery.following.board.add(what);
        let stream = FollowStream {
            key,
            follower,
            receiver,
            dropped_count: 0,
            loads: Loads::default(),
            load_due,
        };
        if let Some(door) = &mut self.admin {
            door.streams.push(stream);
        }
        // What comes behind this turn is told, on every shard.
        self.delivery.port.wake_all();
        self.learn_followers();
        self.reschedule(key);
    }

    /// Ends the streams of applications that the door does not show any more.
    pub(in crate::shard) fn end_hidden_streams(&mut self) {
        let Some(door) = &self.admin else { return };
        let applications = &self.delivery.applications;
        let is_hidden = |stream: &&FollowStream| match &stream.follower.what {
            What::Messages { app, .. } | What::Subject { app, .. } => {
                applications.is_removed(*app) || !door.shows(applications.get(*app))
            }
            What::Load => false,
        };
        let hidden = door.streams.iter().filter(is_hidden).map(|stream| stream.key);
        for key in hidden.collect::<Vec<Key>>() {
            self.delivery.doom(key, CloseCause::Administered);
        }
    }

    /// The connection of a stream has ended.
    pub(in crate::shard) fn end_following(&mut self, key: Key) {
        let Some(door) = &mut self.admin else { return };
        let board = &self.delivery.following.board;
        door.streams.retain(|stream| {
            if stream.key == key {
                board.remove(&stream.follower);
            }
            stream.key != key
        });
    }

    /// Gives out what followers are told. Call once per turn, before the flush.
    pub(in crate::shard) fn give_out(&mut self) {
        let Some(door) = &mut self.admin else { return };
        if door.streams.is_empty() {
            return;
        }
        let mut streams = std::mem::take(&mut door.streams);
        for stream in &mut streams {
            self.give_out_to(stream);
        }
        if let Some(door) = &mut self.admin {
            door.streams = streams;
        }
    }

    fn give_out_to(&mut self, stream: &mut FollowStream) {
        while self.queued_for(stream) < OUTBOUND_SIZE_MAX
            && let Ok(told) = stream.receiver.try_recv()
        {
            match told {
                Told::Line(line) => self.append_event(stream.key, "event", &line),
                Told::Load(loads) => {
                    for load in loads {
                        stream.loads.add(load.app, &load.topic, load.published, load.delivered);
                    }
                }
            }
        }
        let dropped_count = stream.follower.dropped_count();
        if dropped_count > stream.dropped_count && stream.receiver.is_empty() {
            let count = dropped_count - stream.dropped_count;
            stream.dropped_count = dropped_count;
            self.append_event(stream.key, "dropped", &json!({ "events": count }).to_string());
        }
        let now = self.delivery.now;
        if stream.load_due.is_some_and(|due| due.is_due(now)) {
            stream.load_due = Some(now.after(LOAD_INTERVAL));
            // Who does not read is told the sum with the next: totals and topics add up.
            if self.queued_for(stream) < OUTBOUND_SIZE_MAX {
                let status = self.status(Some(&mut stream.loads)).to_string();
                self.append_event(stream.key, "load", &status);
            }
        }
    }

    /// What the process as a whole does now: totals, from which two of them give rates.
    pub(in crate::shard) fn status(&self, loads: Option<&mut Loads>) -> Value {
        let applications = &self.delivery.applications;
        let mut all = status::status(&self.delivery.all_counters, applications);
        all["time"] = Timestamp(self.time_us / 1000).to_string().into();
        all["timeMicroseconds"] = self.time_us.into();
        all["startedAt"] = Timestamp(self.started_unix_ms).to_string().into();
        all["stage"] = format!("{:?}", self.stage).to_lowercase().into();
        if let Some(loads) = loads {
            let topics = loads.take_busiest();
            let is_shown = |load: &&TopicLoad| {
                self.admin.as_ref().is_some_and(|door| door.shows(applications.get(load.app)))
            };
            let topics = topics.iter().filter(is_shown).take(TOPICS_TOLD_MAX).map(|load| {
                json!({
                    "application": &*applications.get(load.app).id,
                    "topic": load.topic.as_str(),
                    "published": load.published,
                    "delivered": load.delivered,
                })
            });
            all["topics"] = topics.collect();
        }
        all
    }

    fn append_event(&mut self, key: Key, kind: &str, line: &str) {
        self.delivery.append(key, |out| {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(kind.as_bytes());
            out.extend_from_slice(b"\ndata: ");
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\n\n");
        });
    }

    fn queued_for(&self, stream: &FollowStream) -> usize {
        let connection = self.delivery.connections.get(stream.key);
        connection.map_or(usize::MAX, |connection| connection.outbound.size())
    }

    /// Whether something waits for a follower that could be given out now.
    pub(in crate::shard) fn has_to_give_out(&self) -> bool {
        let Some(door) = &self.admin else { return false };
        door.streams.iter().any(|stream| {
            !stream.receiver.is_empty() && self.queued_for(stream) < OUTBOUND_SIZE_MAX
        })
    }

    /// How long this shard may park before a follower is to be told the load.
    pub(in crate::shard) fn load_wait(&self, now: Tick) -> Option<Duration> {
        let due = self.admin.as_ref()?.streams.iter().filter_map(|stream| stream.load_due);
        let left_ms = due.map(|due| if due.is_due(now) { 0 } else { due.since_ms(now) }).min()?;
        Some(Duration::from_millis(u64::from(left_ms)))
    }
}
