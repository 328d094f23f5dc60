//! The Realtime WebSocket: its upgrade, its commands, its close.

use std::sync::Arc;

use super::super::answer::Cors;
use super::super::connection::{Connection, Door, WebSocketDoor};
use super::super::rates::{Buckets, TooMuch};
use super::super::run::Shard;
use super::entry::Entered;
use super::http::Exchange;
use super::past::{parameter, read_position};
use super::session::expires_s;
use crate::broker::{Arrival, ReplyTo, StartFrom, SubscribeOutcome};
use crate::model::close::{Close, CloseCause, POLICY, TOO_BIG};
use crate::model::form::Form;
use crate::model::message::{Payload, Publication, Publisher};
use crate::model::presence;
use crate::model::refusal::{Refusal, Refused};
use crate::model::topic::{TopicClass, TopicName};
use crate::proto::http1::{Head, Query};
use crate::proto::realtime::{self, Command, Publish};
use crate::proto::ws::{self, Closing, Event, Reader, WINDOW_MAX, frame, handshake};
use crate::stdx::slab::Key;
use crate::telemetry::{self, PublishDoor};

/// The platform's one reason for every frame it cannot read (protocols.md §1.2).
pub(super) const BAD_FORMAT: &str = "Invalid message format!";

/// Every session's first topic (protocols.md §1.3).
pub(super) const MAIN: &str = "main";

/// Bytes that hold the response to an upgrade and the welcome behind it, which leave together.
const OPENING_SIZE: usize = 512;

impl Shard {
    /// `GET /apps/{app}`: upgrades to a WebSocket; the welcome follows once `main` is registered.
    pub(super) fn upgrade(
        &mut self,
        exchange: Exchange,
        entered: Entered,
        head: &Head<'_>,
    ) -> Result<(), Refused> {
        // A browser lets any page open a WebSocket; only the server can refuse (RFC 6455 §10.2).
        if exchange.cors == Cors::Unlisted && is_of_another_site(head) {
            let detail = "list it under applications.cors_origins";
            return Err(Refused::new(Refusal::OriginForbidden, detail));
        }
        let Entered { app, identity } = entered;
        let accepted = handshake::decide(
            *head.method == http::Method::GET,
            head.version == http::Version::HTTP_11,
            |name| head.headers.get_all(name),
            Some(WINDOW_MAX),
        )?;
        let positions = wants_positions(head)?;
        let from = match parameter(head, "position")? {
            None => StartFrom::Now,
            Some(position) => read_position(&position),
        };
        let application = self.delivery.applications.get(app);
        let limits = application.limits;
        let expires_s = expires_s(application, &identity);
        let Some(connection) = self.delivery.connections.get_mut(exchange.key) else {
            return Ok(());
        };
        if let Door::Http(door) = &connection.door
            && !door.answers.is_empty()
        {
            let detail = "an upgrade cannot stand behind unanswered requests";
            return Err(Refused::new(Refusal::BadHandshake, detail));
        }
        let window = accepted.window();
        connection.outbound.append(|out| {
            out.reserve(OPENING_SIZE);
            accepted.append_response(out);
        });
        connection.outbound_size_max = u32::try_from(limits.outbound_size_max).unwrap_or(u32::MAX);
        connection.expires_s = expires_s;
        connection.door = Door::WebSocket(WebSocketDoor {
            reader: Reader::new(window.is_some()),
            app,
            identity: Arc::clone(&identity),
            positions,
            window,
            welcomed: false,
            closing: Closing::Open,
            presented: None,
            resuming: None,
            main_from: (from != StartFrom::Now).then(|| Box::new(from)),
            buckets: Buckets::for_limits(&limits),
        });
        self.delivery.counters().upgrade(telemetry::Door::WebSocket);
        self.delivery.mark_dirty(exchange.key);
        let arrival = Arrival {
            app,
            form: Form::Realtime { positions, window },
            connection: self.delivery.ids.id(self.delivery.shard, exchange.key),
            identity,
            is_present: true,
        };
        self.broker.begin(exchange.key, arrival, self.time_us, &mut self.delivery);
        self.welcome_arrivals();
        self.reschedule(exchange.key);
        Ok(())
    }

    /// Subscribes those to `main` whose subjects are registered: the welcome that follows says that
    /// from now on everything for them reaches them.
    pub(in crate::shard) fn welcome_arrivals(&mut self) {
        while let Some(key) = self.delivery.arrived.pop() {
            if !matches!(self.delivery.connections.get(key), Some(connection) if connection.is_open())
            {
                continue;
            }
            let main = TopicName::new(MAIN).expect("a constant legal name");
            let from = self.websocket_mut(key).and_then(|door| door.main_from.take());
            let from = from.map_or(StartFrom::Now, |from| *from);
            let outcome = self.broker.subscribe(key, main, 0, &from, &mut self.delivery);
            if outcome == SubscribeOutcome::TooMany {
                self.fail(key, &too_many());
            }
        }
    }

    /// Takes in bytes of a WebSocket; how many it used, 0 when it has to wait.
    pub(in crate::shard) fn take_in_websocket(&mut self, key: Key, bytes: &mut [u8]) -> usize {
        let limits =
            ws::Limits { message_size_max: self.delivery.options.websocket.message_size_max };
        let Some(connection) = self.delivery.connections.get_mut(key) else { return bytes.len() };
        let is_open = connection.is_open();
        let Door::WebSocket(door) = &mut connection.door else { return bytes.len() };
        if is_open && (!door.welcomed || door.presented.is_some()) {
            return 0;
        }
        let mut reader = std::mem::replace(&mut door.reader, Reader::new(false));
        // Taken, so that the message lent by it can be handled by the whole shard.
        let mut inflater = self.inflater.take().unwrap_or_default();
        let (used, event) = reader.read(bytes, &limits, &mut inflater);
        match event {
            Event::NeedMore | Event::Pong(_) => {}
            // After our close frame only the peer's counts (RFC 6455 §5.5.1).
            Event::Text(_) | Event::Binary(_) | Event::Ping(_) if !is_open => {}
            Event::Text(text) => self.command(key, text),
            Event::Binary(_) => self.fail(key, &Close::new(POLICY, BAD_FORMAT)),
            Event::Ping(payload) => self.pong(key, payload),
            Event::Close(received) => self.peer_closes(key, received),
            Event::Fail(close) => self.fail(key, &close),
        }
        if used == bytes.len() {
            // Frees a message that was gathered from several reads; nothing may follow it for long.
            let _ = reader.read(&mut [], &limits, &mut inflater);
        }
        self.inflater = Some(inflater);
        if let Some(Connection { door: Door::WebSocket(door), .. }) =
            self.delivery.connections.get_mut(key)
        {
            door.reader = reader;
        }
        used
    }

    fn pong(&mut self, key: Key, payload: &[u8]) {
        if let Some(connection) = self.delivery.connections.get_mut(key) {
            let mut pong = Vec::with_capacity(payload.len() + 2);
            frame::append_pong(&mut pong, payload);
            connection.outbound.push_control(pong);
            self.delivery.mark_dirty(key);
        }
    }

    /// The peer's close frame: answered once, then the server ends the connection first.
    fn peer_closes(&mut self, key: Key, received: Option<(u16, &str)>) {
        if let Some(connection) = self.delivery.connections.get_mut(key)
            && let Door::WebSocket(door) = &mut connection.door
        {
            connection.flags.ends_when_flushed = true;
            if door.closing.receive() {
                connection.outbound.append(|out| frame::append_close_answer(out, received));
            }
            self.delivery.mark_dirty(key);
        }
        self.delivery.close(key, CloseCause::Peer);
    }

    /// Closes with a code and a reason.
    fn fail(&mut self, key: Key, close: &Close) {
        if let Some(suppressed) = self.refusal_log.ask(self.delivery.now) {
            let peer = self.delivery.connections.get(key).map(|connection| connection.peer);
            let (code, reason) = (close.code, &close.reason);
            tracing::info!(?peer, code, %reason, suppressed, "websocket closed");
        }
        self.delivery.close_websocket(key, close, CloseCause::of_code(close.code));
    }

    fn command(&mut self, key: Key, text: &str) {
        if let Err(close) = self.take_command(key, text.len()) {
            return self.delivery.close_websocket(key, &close, CloseCause::RateLimited);
        }
        let outcome = match realtime::parse_command(&mut self.scanner, text) {
            Ok(command) => self.obey(key, command),
            Err(error) => {
                tracing::debug!(?error, "frame not understood");
                self.delivery.counters().refuse(Refusal::BadJson);
                Err(Close::new(POLICY, BAD_FORMAT))
            }
        };
        if let Err(close) = outcome {
            self.fail(key, &close);
        }
    }

    fn obey(&mut self, key: Key, command: Command<'_>) -> Result<(), Close> {
        match command {
            Command::Subscribe(subscribe) => {
                let from = match &subscribe.position {
                    Some(position) => read_position(position),
                    None if subscribe.latest => StartFrom::Latest,
                    None => StartFrom::Now,
                };
                let topic = TopicName::new(&subscribe.topic);
                let topic = topic.map_err(|_rule| Close::new(POLICY, BAD_FORMAT))?;
                self.subscribe(key, topic, 0, &from)
            }
            Command::Ticket => {
                self.issue_ticket(key, None);
                Ok(())
            }
            Command::Resume(resume) => self.resume(key, &resume),
            Command::Unsubscribe(topic) => {
                if let Ok(topic) = TopicName::new(&topic) {
                    self.broker.unsubscribe(key, &topic, &mut self.delivery);
                }
                Ok(())
            }
            Command::Publish(publish) => {
                let topic = TopicName::new(&publish.topic);
                let topic = topic.map_err(|_rule| Close::new(POLICY, BAD_FORMAT))?;
                self.publish_command(key, topic, &publish, PublishDoor::RealtimeWebSocket)
            }
            Command::Message(message) => {
                let topic = TopicName::new(presence::INBOUND).expect("a constant legal name");
                self.publish_command(key, topic, &message, PublishDoor::RealtimeInbound)
            }
            Command::Authenticate(token) => {
                self.authenticate(key, token.into());
                Ok(())
            }
        }
    }

    pub(super) fn subscribe(
        &mut self,
        key: Key,
        topic: TopicName,
        ticket: u32,
        from: &StartFrom,
    ) -> Result<(), Close> {
        let rights = &self.websocket(key).ok_or_else(gone)?.identity.rights;
        if !rights.may_subscribe(&topic) {
            self.delivery.counters().refuse(Refusal::Forbidden);
            return Err(Close::new(
                POLICY,
                match topic.class() {
                    TopicClass::Secure => "Subscription to secure topic is forbidden!",
                    TopicClass::Private => "Subscription to private topic is forbidden!",
                    TopicClass::Public => "Subscription to topic is forbidden!",
                },
            ));
        }
        match self.broker.subscribe(key, topic, ticket, from, &mut self.delivery) {
            SubscribeOutcome::Accepted => Ok(()),
            SubscribeOutcome::TooMany => {
                self.delivery.counters().refuse(Refusal::TooManySubscriptions);
                Err(too_many())
            }
        }
    }

    /// Takes a command and its bytes out of the connection's buckets.
    fn take_command(&mut self, key: Key, size: usize) -> Result<(), Close> {
        let Some(Connection { door: Door::WebSocket(door), .. }) =
            self.delivery.connections.get_mut(key)
        else {
            return Ok(());
        };
        let Some(buckets) = &mut door.buckets else { return Ok(()) };
        self.rates.take_command(door.app, buckets, size).map_err(|too_much| {
            self.delivery.counters().refuse(Refusal::RateLimited);
            too_much.close()
        })
    }

    fn publish_command(
        &mut self,
        key: Key,
        topic: TopicName,
        publish: &Publish<'_>,
        publish_door: PublishDoor,
    ) -> Result<(), Close> {
        let door = self.websocket(key).ok_or_else(gone)?;
        let (app, identity) = (door.app, Arc::clone(&door.identity));
        let application = self.delivery.applications.get(app);
        let size_max = application.limits.realtime_payload_size_max;
        let wants_receipt = application.client_inbound_ack_enabled;
        let is_inbound = matches!(publish_door, PublishDoor::RealtimeInbound);
        if publish.payload.len() > size_max {
            self.delivery.counters().refuse(Refusal::PayloadTooLarge);
            let size = publish.payload.len();
            let reason = format!("{BAD_FORMAT} Payload of {size} bytes, at most {size_max}.");
            return Err(Close { code: TOO_BIG, reason: reason.into() });
        }
        // Whoever is connected may send inbound messages; only publishing takes a permission.
        let forbidden = match is_inbound {
            true if application.websocket_inbound_topic_enabled => None,
            true => Some("Inbound messages are not enabled!"),
            false if identity.rights.may_publish(&topic) => None,
            false => Some("Publishing to topic is forbidden!"),
        };
        if let Some(reason) = forbidden {
            self.delivery.counters().refuse(Refusal::Forbidden);
            return Err(Close::new(POLICY, reason));
        }
        if let Err(wait) = self.rates.take_publishes(app, 1) {
            self.delivery.counters().refuse(Refusal::RateLimited);
            return Err(TooMuch { what: "publishes of the application", wait }.close());
        }
        let attributes = publish.attributes.clone().resolve(self.time_us);
        let attributes = attributes.map_err(|refused| Close {
            code: POLICY,
            reason: format!("{BAD_FORMAT} {}", refused.detail).into(),
        })?;
        let connection = self.delivery.ids.id(self.delivery.shard, key);
        let publication = Publication {
            app,
            topic,
            payload: Payload::Json(publish.payload.into()),
            message_type: publish.message_type.as_deref().map(Into::into),
            client_id: publish.id.as_deref().map(Into::into),
            publisher: Some(Publisher {
                connection,
                // Without a token a connection is its own subject.
                subject: match &identity.subject {
                    Some(subject) => Arc::clone(subject),
                    None => connection.to_string().into(),
                },
                permissions: Arc::clone(&identity.rights.presented),
            }),
            compress: publish.compress,
            attributes,
        };
        self.delivery.counters().publish(publish_door, app, 1);
        let reply = ReplyTo { shard: self.delivery.shard, session: key, ticket: 0, wants_receipt };
        self.broker.publish(publication, reply, self.time_us, &mut self.delivery);
        Ok(())
    }

    pub(super) fn websocket_mut(&mut self, key: Key) -> Option<&mut WebSocketDoor> {
        match &mut self.delivery.connections.get_mut(key)?.door {
            Door::WebSocket(door) => Some(door),
            Door::Http(_) | Door::Stream(_) | Door::Follow => None,
        }
    }

    fn websocket(&self, key: Key) -> Option<&WebSocketDoor> {
        match &self.delivery.connections.get(key)?.door {
            Door::WebSocket(door) => Some(door),
            Door::Http(_) | Door::Stream(_) | Door::Follow => None,
        }
    }
}

/// Whether a page opens this WebSocket that is not this broker's own. Its own page has the request's
/// host as its origin; only where that is an address or `localhost`, because a name could have been
/// made to point here by someone else (DNS rebinding). Other names are listed in `cors_origins`.
fn is_of_another_site(head: &Head<'_>) -> bool {
    let Some(origin) = head.headers.text("origin") else {
        return head.headers.get("origin").is_some();
    };
    let host = head.headers.text("host").unwrap_or_default();
    let is_own = origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    let is_fixed = name == "localhost"
        || host.parse::<std::net::SocketAddr>().is_ok()
        || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    !(is_own && is_fixed)
}

fn wants_positions(head: &Head<'_>) -> Result<bool, Refused> {
    for pair in Query::new(head.query) {
        let (name, value) = pair?;
        if name == "positions" {
            return Ok(value == "1" || value == "true");
        }
    }
    Ok(false)
}

fn too_many() -> Close {
    let entry = Refusal::TooManySubscriptions.entry();
    Close::new(entry.close, entry.title)
}

/// The connection went away under a command; there is nobody left to tell.
fn gone() -> Close {
    Close::new(POLICY, "")
}
