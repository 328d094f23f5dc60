//! What may happen: one seeded step at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::account::Asked;
use super::door::Door;
use super::world::{APP, Published, World, publication};
use crate::broker::{Arrival, PageSize, Parcel, ReplyTo, StartFrom, SubscribeOutcome};
use crate::model::form::{EventId, Form, SseBody};
use crate::model::identity::Identity;
use crate::model::message::Attributes;
use crate::model::position::{Cursor, Lane, Position};
use crate::model::rights::Rights;
use crate::model::shard::ShardIndex;
use crate::model::topic::TopicName;
use crate::stdx::slab::Key;

const KEY_COUNT: usize = 5;

impl World {
    pub(super) fn step(&mut self) {
        let shard = self.random.below(self.brokers.len());
        let client = self.random.below(self.clients.len());
        match self.random.below(100) {
            0..36 => self.publish(shard),
            36..54 => self.carry(shard),
            54..59 => self.serve_store(shard),
            59..63 => self.answer_store(shard),
            63..70 => self.end_turn(shard),
            70..85 => self.consume(client),
            85..92 => self.come_or_go(client),
            92..94 => self.stall(client),
            94..95 => self.resubscribe(client),
            95..97 => self.subscribe_again(client),
            97..98 => self.drop_topic(client),
            _ => self.time_us += self.random.below(30_000) as u64,
        }
    }

    fn publish(&mut self, shard: usize) {
        let topic = self.random.below(self.truth.topics.len());
        let burst = if self.random.below(12) == 0 { 30 } else { 1 };
        for _ in 0..burst {
            self.publish_to(shard, topic);
        }
    }

    fn publish_to(&mut self, shard: usize, topic: usize) {
        let number = self.published.len();
        let has_expiry = self.random.below(6) == 0;
        let ttl_us = 5_000 + self.random.below(200_000) as u64;
        let expires_us = if has_expiry { self.time_us + ttl_us } else { u64::MAX };
        let is_keyed = self.random.below(10) == 0;
        let idempotency_key: Option<Box<str>> =
            is_keyed.then(|| format!("i{}", number / 60 * 3 + self.random.below(3)).into());
        let key = format!("k{}", self.random.below(KEY_COUNT)).into();
        let key = (self.random.below(4) > 0).then_some(key);
        let attributes = Attributes {
            key,
            idempotency_key: idempotency_key.clone(),
            expires_us: has_expiry.then_some(expires_us),
        };
        self.published.push(Published { topic, idempotency_key, expires_us, is_answered: false });
        let size = if self.random.below(20) == 0 { 4000 } else { 8 };
        let mut publication = publication(self, number, size);
        publication.attributes = Some(Box::new(attributes));
        let reply = ReplyTo {
            shard: shard_index(shard),
            session: Key { index: 0, generation: 0 },
            ticket: u32::try_from(number).unwrap(),
            wants_receipt: true,
        };
        self.brokers[shard].publish(publication, reply, self.time_us, &mut self.ears[shard]);
        self.listen(shard);
    }

    fn carry(&mut self, shard: usize) {
        let from = self.random.below(self.brokers.len());
        for _ in 0..=self.random.below(40) {
            let Some(parcel) = self.ears[from].lanes[shard].pop_front() else { return };
            self.hand_over(from, shard, parcel);
        }
    }

    pub(super) fn hand_over(&mut self, from: usize, shard: usize, parcel: Parcel) {
        let (from, ears) = (shard_index(from), &mut self.ears[shard]);
        self.brokers[shard].receive(from, parcel, self.time_us, ears);
        self.listen(shard);
    }

    pub(super) fn serve_store(&mut self, shard: usize) {
        for _ in 0..=self.random.below(20) {
            let Some(request) = self.ears[shard].store_lane.pop_front() else { return };
            self.store.serve(shard, request, &mut self.truth, &mut self.random);
        }
    }

    pub(super) fn answer_store(&mut self, shard: usize) {
        for _ in 0..=self.random.below(20) {
            let Some(reply) = self.store.replies[shard].pop_front() else { return };
            let parcel = Parcel::Stored(reply);
            self.hand_over(self.brokers.len(), shard, parcel);
        }
    }

    /// Runs are delivered, and polls that have something are answered.
    pub(super) fn end_turn(&mut self, shard: usize) {
        let ears = &mut self.ears[shard];
        self.brokers[shard].run_timers(self.time_us, ears);
        self.brokers[shard].deliver_runs(ears);
        assert!(!self.brokers[shard].has_runs());
        self.listen(shard);
        for client in 0..self.clients.len() {
            let Some(door) = &self.clients[client].door else { continue };
            if door.is_poll() && door.shard == shard && door.asked.is_empty() {
                let is_over = door.has_news || self.random.below(40) == 0;
                if is_over {
                    self.finish_poll(client);
                }
            }
        }
    }

    fn finish_poll(&mut self, client: usize) {
        self.seen.polls += 1;
        let Some(mut door) = self.end_door(client) else { return };
        if self.random.below(8) == 0 {
            self.seen.polls_lost += 1;
            return;
        }
        door.stand_at(&self.truth, &door.cursor.clone(), self.time_us);
        self.clients[client].accounts = door.accounts;
    }

    /// The client takes some of what waits for it.
    fn consume(&mut self, client: usize) {
        let count = 1 + self.random.below(60);
        self.consume_some(client, count);
    }

    pub(super) fn consume_some(&mut self, client: usize, count: usize) {
        let client_state = &mut self.clients[client];
        let Some(door) = &mut client_state.door else { return };
        if door.takes_nothing_until_us > self.time_us {
            return;
        }
        for _ in 0..count {
            let Some(known) = door.queue.pop_front() else { break };
            client_state.accounts = known;
        }
        let (shard, key) = (door.shard, door.key);
        if !door.is_full() {
            self.ears[shard].full.remove(&key.index);
        }
        if door.wants_more && door.queue.len() <= door.queue_len_max / 2 {
            door.wants_more = false;
            self.brokers[shard].catch_up(key, &mut self.ears[shard]);
            self.listen(shard);
        }
    }

    fn stall(&mut self, client: usize) {
        let until_us = self.time_us + self.random.below(200_000) as u64;
        if let Some(door) = &mut self.clients[client].door {
            door.takes_nothing_until_us = until_us;
        }
    }

    fn come_or_go(&mut self, client: usize) {
        if self.clients[client].door.is_some() {
            if self.random.below(3) == 0 {
                self.cut(client);
            }
        } else {
            self.connect(client);
        }
    }

    /// The connection breaks: what waits in its queue never arrives.
    pub(super) fn cut(&mut self, client: usize) {
        if let Some(door) = self.end_door(client) {
            self.seen.cut_with_queue += u64::from(!door.queue.is_empty());
            self.seen.cut_while_catching += u64::from(door.wants_more || !door.asked.is_empty());
        }
    }

    fn end_door(&mut self, client: usize) -> Option<Door> {
        let door = self.clients[client].door.as_ref()?;
        let (shard, key) = (door.shard, door.key);
        self.ears[shard].closed.insert(key.index);
        if door.is_poll() {
            self.ears[shard].closed.remove(&key.index);
        }
        self.brokers[shard].end(key, self.time_us, &mut self.ears[shard]);
        self.listen(shard);
        let door = self.clients[client].door.take()?;
        self.sessions[shard].remove(key);
        self.ears[shard].full.remove(&key.index);
        self.ears[shard].closed.remove(&key.index);
        Some(door)
    }

    fn connect(&mut self, client: usize) {
        let shard = self.random.below(self.brokers.len());
        let which = self.random.below(4);
        let form = self.form(client, which);
        let key = self.sessions[shard].insert(client);
        let arrival = Arrival {
            app: APP,
            form,
            connection: self.ids.id(shard_index(shard), key),
            identity: Arc::new(Identity::without_token(Rights::every_topic())),
            is_present: matches!(form, Form::Realtime { .. }),
        };
        let queue_len_max = [20, 60, 1000][self.random.below(3)];
        let state = &mut self.clients[client];
        self.seen.other_shard += u64::from(state.last_shard != shard);
        self.seen.other_door += u64::from(state.last_door != which);
        (state.last_shard, state.last_door) = (shard, which);
        state.door = Some(Door {
            shard,
            key,
            form,
            accounts: state.accounts.clone(),
            queue: VecDeque::new(),
            queue_len_max,
            asked: Vec::new(),
            cursor: Cursor::default(),
            is_browser: self.random.below(2) == 0,
            wants_more: false,
            has_news: false,
            takes_nothing_until_us: 0,
            fell_behind: false,
            burst: None,
            early: Vec::new(),
        });
        self.brokers[shard].begin(key, arrival, self.time_us, &mut self.ears[shard]);
        self.listen(shard);
        match form {
            Form::Realtime { .. } => self.subscribe_each(client),
            Form::Sse { .. } | Form::Poll { .. } => self.subscribe_all(client),
        }
    }

    fn form(&self, client: usize, which: usize) -> Form {
        let accounts = &self.clients[client].accounts;
        let lanes: Vec<Lane> =
            accounts.iter().map(|account| self.truth.topics[account.topic].lane).collect();
        match which {
            0 => Form::Realtime { positions: true, window: None },
            1 => Form::Realtime { positions: true, window: Some(15) },
            2 => {
                let id = match &lanes[..] {
                    [_] => EventId::Position,
                    [first, rest @ ..] if rest.iter().all(|lane| lane == first) => {
                        EventId::LanePosition
                    }
                    _ => EventId::Cursor,
                };
                Form::Sse { body: SseBody::Native, id }
            }
            _ => Form::Poll { merged: lanes.len() > 1 },
        }
    }

    fn subscribe_each(&mut self, client: usize) {
        for topic in self.topics_of(client) {
            self.subscribe_to(client, topic);
        }
    }

    fn topics_of(&self, client: usize) -> Vec<usize> {
        self.clients[client].accounts.iter().map(|account| account.topic).collect()
    }

    fn subscribe_to(&mut self, client: usize, topic: usize) {
        let pretence = self.random.below(40);
        let door = self.clients[client].door.as_mut().unwrap();
        let account = door.account_mut(topic);
        (account.is_on, account.is_answered, account.excused) = (true, false, 0);
        let (from, asked, got) = match (account.at, pretence) {
            (_, 0) => (StartFrom::Unknown, Asked::Unknown, None),
            (Some(at), 1) => (after(World::stale(at)), Asked::Stale, Some(0)),
            (Some(at), 2) => {
                let future = Position { offset: at.offset + 1_000_000, ..at };
                (after(future), Asked::Unknown, None)
            }
            (Some(at), _) => (after(at), Asked::Position, Some(at.offset)),
            (None, 3..10) => (StartFrom::Latest, Asked::Now, None),
            (None, _) => (StartFrom::Now, Asked::Now, None),
        };
        account.got = got;
        self.ask(client, topic, &from, asked);
    }

    fn ask(&mut self, client: usize, topic: usize, from: &StartFrom, asked: Asked) {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let door = self.clients[client].door.as_mut().unwrap();
        door.asked.push((ticket, topic, asked));
        let (shard, key) = (door.shard, door.key);
        let name = self.truth.topics[topic].name.clone();
        let ears = &mut self.ears[shard];
        let outcome = self.brokers[shard].subscribe(key, name, ticket, from, ears);
        assert_eq!(outcome, SubscribeOutcome::Accepted);
        self.listen(shard);
    }

    fn subscribe_all(&mut self, client: usize) {
        let pretence = self.random.below(30);
        let page_count_max = [3, 16, 64][self.random.below(3)];
        let truth = &self.truth;
        let door = self.clients[client].door.as_mut().unwrap();
        let mut given: Vec<Position> = Vec::new();
        for at in door.accounts.iter().filter_map(|account| account.at) {
            match given.iter_mut().find(|given| given.lane == at.lane) {
                Some(given) => given.offset = given.offset.min(at.offset),
                None => given.push(at),
            }
        }
        if pretence == 1 {
            for position in &mut given {
                *position = World::stale(*position);
            }
        }
        let mut cursor = Cursor::default();
        for position in &given {
            cursor.advance(*position);
        }
        let is_home = |lane: Lane| matches!(lane, Lane::Home(_));
        for account in &mut door.accounts {
            let lane = truth.topics[account.topic].lane;
            (account.is_on, account.is_answered, account.excused) = (true, false, 0);
            let is_stale = given.iter().any(|known| is_home(known.lane) == is_home(lane));
            let (asked, got) = match (cursor.at(lane), pretence) {
                (_, 0) => (Asked::Unknown, None),
                (_, 1) if is_stale => (Asked::Stale, Some(0)),
                (Some(at), 2..) => (Asked::Position, Some(at.offset)),
                _ => (Asked::Now, None),
            };
            account.got = got;
            if pretence != 1 && asked == Asked::Position {
                account.at = cursor.at(lane);
            }
            door.asked.push((0, account.topic, asked));
        }
        let (from, shard, key) = match pretence {
            0 => (StartFrom::Unknown, door.shard, door.key),
            _ if cursor.is_empty() => (StartFrom::Now, door.shard, door.key),
            _ => (StartFrom::Position(cursor.clone()), door.shard, door.key),
        };
        // Until every lane has answered, the stream's ids say of the others what the client said.
        if pretence > 1 && !door.is_poll() {
            door.cursor = cursor;
        }
        let names: Vec<TopicName> =
            door.accounts.iter().map(|a| truth.topics[a.topic].name.clone()).collect();
        let page = PageSize { count_max: page_count_max, ..PageSize::default() };
        self.brokers[shard].subscribe_all(key, names, &from, page, &mut self.ears[shard]);
        self.listen(shard);
    }

    /// A Realtime client leaves a topic, and comes back to it with its position.
    fn resubscribe(&mut self, client: usize) {
        let Some((shard, key, topic)) = self.realtime_topic(client) else { return };
        // What waits for it still comes: it asks again from behind that.
        self.clients[client].door.as_mut().unwrap().takes_nothing_until_us = 0;
        self.consume_some(client, usize::MAX);
        self.unsubscribe(client, shard, key, topic);
        if self.random.below(2) == 0 {
            self.carry(shard);
        }
        if self.clients[client].door.as_ref().is_some_and(|door| door.key == key) {
            self.consume_some(client, usize::MAX);
            if self.clients[client].door.as_ref().is_some_and(|door| door.key == key) {
                self.seen.resubscribed += 1;
                self.subscribe_to(client, topic);
            }
        }
    }

    fn realtime_topic(&mut self, client: usize) -> Option<(usize, Key, usize)> {
        let door = self.clients[client].door.as_ref()?;
        if !matches!(door.form, Form::Realtime { .. }) {
            return None;
        }
        let topic = door.accounts[self.random.below(door.accounts.len())].topic;
        Some((door.shard, door.key, topic))
    }

    fn unsubscribe(&mut self, client: usize, shard: usize, key: Key, topic: usize) {
        let name = self.truth.topics[topic].name.clone();
        self.brokers[shard].unsubscribe(key, &name, &mut self.ears[shard]);
        self.listen(shard);
        let Some(door) = &mut self.clients[client].door else { return };
        if door.key != key {
            return;
        }
        door.asked.retain(|(_, of, _)| *of != topic);
        let account = door.account_mut(topic);
        (account.is_on, account.got) = (false, None);
    }

    /// A client asks for what it has: with its position, or without.
    fn subscribe_again(&mut self, client: usize) {
        let Some((_, _, topic)) = self.realtime_topic(client) else { return };
        let door = self.clients[client].door.as_mut().unwrap();
        let is_asked = door.asked.iter().any(|(_, of, _)| *of == topic);
        let account = door.account_mut(topic);
        if !account.is_on || is_asked {
            return;
        }
        let at = account.at.filter(|_| account.is_answered);
        let from = at.map_or(StartFrom::Now, after);
        self.seen.subscribed_twice += 1;
        self.ask(client, topic, &from, Asked::Again(at.is_some()));
    }

    /// A stream's reader may no longer read one of its topics.
    fn drop_topic(&mut self, client: usize) {
        let Some(door) = &self.clients[client].door else { return };
        if !matches!(door.form, Form::Sse { .. }) || door.accounts.len() < 2 {
            return;
        }
        let topic = door.accounts[self.random.below(door.accounts.len())].topic;
        let (shard, key) = (door.shard, door.key);
        if door.asked.is_empty() {
            self.unsubscribe(client, shard, key, topic);
        }
    }
}

fn after(position: Position) -> StartFrom {
    StartFrom::Position(Cursor::from(position))
}

pub(super) fn shard_index(shard: usize) -> ShardIndex {
    ShardIndex(u16::try_from(shard).unwrap())
}
