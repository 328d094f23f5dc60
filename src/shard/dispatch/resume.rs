//! Resume: a session's topics and positions as one ticket, and back.

use std::collections::HashMap;
use std::time::Duration;

use super::super::connection::Resuming;
use super::super::run::Shard;
use super::super::tell::RESUME_TICKET;
use super::past::read_position;
use super::websocket::{BAD_FORMAT, MAIN};
use crate::broker::StartFrom;
use crate::model::close::{Close, POLICY};
use crate::model::refusal::{Refusal, Refused};
use crate::model::topic::TopicName;
use crate::proto::realtime::{self, Resume, Resumed};
use crate::stdx::slab::Key;

impl Shard {
    /// Gives the session a ticket for where it stands; with `retry`, says when to come back with it.
    pub(in crate::shard) fn issue_ticket(&mut self, key: Key, retry: Option<Duration>) {
        let mut places = self.broker.positions(key, &mut self.delivery);
        // Every session is on `main` from its first moment, too late for a resume: its position goes
        // into the address of the next one.
        let main = places.iter().position(|(topic, _)| topic.as_str() == MAIN);
        let main = main.map(|index| places.swap_remove(index).1);
        let mut envelope = Vec::new();
        if let Some(ticket) = realtime::issue_ticket(&places) {
            realtime::ticket(&mut envelope, &ticket, main, retry);
        } else {
            let detail = format!(
                "a ticket has at most {} bytes: resume with `topics`",
                realtime::TICKET_SIZE_MAX
            );
            realtime::refused(&mut envelope, &Refused::new(Refusal::TooMany, detail));
        }
        self.delivery.append_text(key, &envelope);
    }

    /// Subscribes to everything that a ticket and the frame itself name. Each topic is judged, and
    /// answered, as if it had been asked for alone.
    pub(super) fn resume(&mut self, key: Key, resume: &Resume<'_>) -> Result<(), Close> {
        let bad = || Close::new(POLICY, BAD_FORMAT);
        let mut topics: HashMap<TopicName, StartFrom> = HashMap::new();
        if let Some(ticket) = &resume.ticket {
            let places = realtime::read_ticket(ticket).ok_or_else(bad)?;
            topics.extend(places.into_iter().map(|(topic, at)| (topic, StartFrom::Position(at))));
        }
        for (topic, position) in &resume.topics {
            let topic = TopicName::new(topic).map_err(|_rule| bad())?;
            topics.insert(topic, position.as_deref().map_or(StartFrom::Now, read_position));
        }
        let missing_count = u32::try_from(topics.len()).unwrap_or(u32::MAX);
        let Some(door) = self.websocket_mut(key) else { return Ok(()) };
        if door.resuming.is_some() {
            return Err(Close::new(POLICY, "One resume at a time!"));
        }
        if missing_count == 0 {
            self.delivery.tell_resumed(key, Resumed::default());
            return Ok(());
        }
        door.resuming = Some(Box::new(Resuming { missing_count, told: Resumed::default() }));
        for (topic, from) in topics {
            self.subscribe(key, topic, RESUME_TICKET, &from)?;
        }
        Ok(())
    }
}
