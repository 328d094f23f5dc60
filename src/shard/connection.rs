//! One accepted socket: what the shard keeps of it between turns.
//!
//! Invariants: an idle connection owns no buffer; everything that is only needed while something
//! is under way sits behind a box that is dropped when it is over. The size is a budget, tested.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use super::answer::Answer;
use super::outbound::Outbound;
use super::rates::Buckets;
use super::transport::{Peer, Transport};
use crate::broker::StartFrom;
use crate::model::application::AppIndex;
use crate::model::close::CloseCause;
use crate::model::form::Form;
use crate::model::identity::Identity;
use crate::model::message::Message;
use crate::model::position::{Cursor, Position};
use crate::model::recovery::LossReason;
use crate::model::topic::TopicName;
use crate::proto::http1;
use crate::proto::realtime;
use crate::proto::ws::{self, Closing};
use crate::stdx::clock::Tick;
use crate::telemetry;

/// One connection. In this order, because what a delivery and its send look at then lies together: at
/// thousands of connections each line of it comes from memory, not from a cache.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection {
    pub(super) outbound: Outbound,
    pub(super) fd: OwnedFd,
    /// Most bytes that may wait in `outbound`.
    pub(super) outbound_size_max: u32,
    pub(super) flags: Flags,
    pub(super) phase: Phase,
    /// Bytes read but not yet taken in, because answers were outstanding.
    pub(super) unread: Vec<u8>,
    /// When the peer was last heard.
    pub(super) heard: Tick,
    /// When what is under way began: a request, a close.
    pub(super) began: Tick,
    /// When the timer wheel looks here next.
    pub(super) timer_due: Tick,
    /// When its token expires, Unix seconds, leeway included.
    pub(super) expires_s: Option<NonZeroU32>,
    /// Who is at the other end, or whom the proxy there has named.
    pub(super) peer: Peer,
    pub(super) entrance: Entrance,
    /// What stands between its socket and its door, where anything does.
    pub(super) transport: Option<Box<Transport>>,
    pub(super) door: Door,
}

/// How far the connection's end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Serving.
    Open,
    /// Ending: what is queued leaves, nothing more is taken in but the peer's own end.
    Closing(CloseCause),
    /// Our side is shut; what the peer still sends is thrown away until its end, so that no reset
    /// overtakes our last bytes (RFC 9112 §9.6).
    Lingering(CloseCause),
}

impl Phase {
    /// Whether our side is shut.
    pub(super) fn is_lingering(self) -> bool {
        matches!(self, Phase::Lingering(_))
    }
}

/// Small facts.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, a byte each")]
pub(super) struct Flags {
    /// Listed for this turn's flush.
    pub(super) dirty: bool,
    /// Nothing leaves yet: a stream's head is not ready.
    pub(super) held: bool,
    /// `retry:` has still to go inside a stream's first event.
    pub(super) retry_owed: bool,
    /// The socket took less than it was given; wait until it is writable.
    pub(super) blocked: bool,
    /// The socket may hold more to read.
    pub(super) readable: bool,
    /// Listed to be read again next turn.
    pub(super) queued: bool,
    /// The peer's end of the stream was seen or is to be read.
    pub(super) ended: bool,
    /// Nothing is expected of the peer once the queue is empty: close without lingering.
    pub(super) ends_when_flushed: bool,
    /// At least one request was answered.
    pub(super) served: bool,
    /// A ping is out.
    pub(super) pinged: bool,
    /// Listed to be removed at the end of the turn.
    pub(super) doomed: bool,
    /// What its socket carries is not what its door speaks: see `transport`.
    pub(super) seam: bool,
    /// Has more to catch up with, once its queue has room.
    pub(super) catching: bool,
    /// The client knows that its token has expired.
    pub(super) expiry_told: bool,
}

/// By which listener it came in, and how far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Entrance {
    /// The main door.
    #[default]
    Main,
    /// The main door; counted among the connections of its address.
    Admitted,
    /// The admin door.
    Admin,
}

/// What the connection speaks.
#[derive(Debug)]
pub(super) enum Door {
    /// HTTP/1.1 requests.
    Http(HttpDoor),
    /// A WebSocket of the Realtime dialect.
    WebSocket(WebSocketDoor),
    /// A stream of server-sent events.
    Stream(StreamDoor),
    /// A follower's stream at the admin door.
    Follow,
}

/// Requests in, answers out in the requests' order.
#[derive(Debug, Default)]
pub(super) struct HttpDoor {
    pub(super) decoder: http1::Decoder,
    /// Requests not yet answered on the wire, oldest first.
    pub(super) answers: VecDeque<Answer>,
    /// The ticket that the next publish gets.
    pub(super) next_ticket: u32,
    /// A request whose token is being judged; nothing is taken in meanwhile.
    pub(super) held: Option<Box<http1::Held>>,
}

/// A WebSocket.
#[derive(Debug)]
pub(super) struct WebSocketDoor {
    pub(super) reader: ws::Reader,
    pub(super) app: AppIndex,
    pub(super) identity: Arc<Identity>,
    pub(super) positions: bool,
    /// The negotiated deflate window, 9–15 bits.
    pub(super) window: Option<u8>,
    /// The session's own welcome is queued; commands are taken in from then on.
    pub(super) welcomed: bool,
    pub(super) closing: Closing,
    /// A new token that is being judged; nothing is taken in meanwhile.
    pub(super) presented: Option<Box<str>>,
    /// From where on `main` was asked for, until it is subscribed.
    pub(super) main_from: Option<Box<StartFrom>>,
    /// A resume that is not answered in full.
    pub(super) resuming: Option<Box<Resuming>>,
    /// What is left of its rates, where its application limits them.
    pub(super) buckets: Option<Box<Buckets>>,
}

/// A stream of events. It reads nothing but the peer's end.
#[derive(Debug)]
pub(super) struct StreamDoor {
    pub(super) app: AppIndex,
    /// Subscribes not yet answered; the head, queued behind earlier answers, leaves with the last.
    pub(super) pending: u32,
    /// The last position per lane, when the stream's topics have several.
    pub(super) cursor: Option<Box<Cursor>>,
    /// What came while some topics were not answered: an event's id must name every lane.
    #[expect(clippy::box_collection, reason = "keeps the idle connection small")]
    pub(super) early: Option<Box<Vec<Early>>>,
    /// Its reader keeps an id that comes in a block without data (WHATWG HTML §9.2.6), as browsers do;
    /// others make an empty event of it.
    pub(super) keeps_id_without_data: bool,
}

/// What a stream over several lanes is owed before its cursor is whole.
#[derive(Debug)]
pub(super) enum Early {
    /// Messages in this form.
    Messages(Form, Vec<Arc<Message>>),
    /// Word that messages of these topics up to there are gone.
    Lost(Vec<TopicName>, Position, LossReason),
    /// Another topic of a lane was answered from there on.
    Stands(Position),
}

impl StreamDoor {
    /// Whether its cursor lacks lanes.
    pub(super) fn is_early(&self) -> bool {
        self.cursor.is_some() && self.pending > 0
    }

    /// A topic was answered: everything behind `at` comes. The first one of a lane makes the cursor whole;
    /// a later one counts only behind what has come in between.
    pub(super) fn stands_at(&mut self, at: Position) {
        match &mut self.cursor {
            None => {}
            Some(cursor) if cursor.at(at.lane).is_none() => cursor.advance(at),
            Some(_) => self.keep_early(Early::Stands(at)),
        }
    }

    /// Keeps something until the cursor is whole.
    pub(super) fn keep_early(&mut self, early: Early) {
        self.early.get_or_insert_default().push(early);
    }

    /// Messages kept so.
    pub(super) fn early_count(&self) -> usize {
        self.early.iter().flat_map(|early| early.iter()).map(Early::len).sum()
    }
}

impl Early {
    fn len(&self) -> usize {
        match self {
            Early::Messages(_, messages) => messages.len(),
            Early::Lost(..) | Early::Stands(_) => 1,
        }
    }
}

/// A resume on its way.
#[derive(Debug)]
pub(super) struct Resuming {
    /// Topics not answered yet.
    pub(super) missing_count: u32,
    pub(super) told: realtime::Resumed,
}

impl Connection {
    /// A fresh connection that speaks HTTP.
    pub(super) fn new(fd: OwnedFd, peer: Peer, now: Tick) -> Connection {
        Connection {
            fd,
            peer,
            entrance: Entrance::default(),
            transport: None,
            outbound: Outbound::default(),
            door: Door::Http(HttpDoor::default()),
            unread: Vec::new(),
            phase: Phase::Open,
            flags: Flags::default(),
            heard: now,
            began: now,
            timer_due: now,
            outbound_size_max: OUTBOUND_SIZE_HTTP_MAX,
            expires_s: None,
        }
    }

    /// Whether it came through the admin door.
    pub(super) fn is_admin(&self) -> bool {
        self.entrance == Entrance::Admin
    }

    /// Whether it still serves.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether its door is not reached yet: a header or a handshake is under way.
    pub(super) fn is_beginning(&self) -> bool {
        self.flags.seam && self.transport.as_ref().is_some_and(|transport| transport.is_beginning())
    }

    /// Whether everything that it is owed has left.
    pub(super) fn is_flushed(&self) -> bool {
        let ends = !self.is_open();
        self.outbound.is_empty()
            && self.transport.as_ref().is_none_or(|transport| transport.is_flushed(ends))
    }

    /// Whether an empty queue is all there is to know after a send: nothing waits for that.
    pub(super) fn needs_no_more(&self) -> bool {
        self.phase == Phase::Open
            && !self.flags.readable
            && !self.flags.catching
            && self.unread.is_empty()
    }

    /// Whether so much waits for the peer that it is not read until it has taken it.
    pub(super) fn queue_is_long(&self) -> bool {
        self.outbound.size() > self.outbound_size_max as usize / 2
    }

    /// Whether its queue has room for another page of history.
    pub(super) fn has_room_to_catch_up(&self) -> bool {
        self.outbound.size() <= self.outbound_size_max as usize / 4
    }

    /// What spreads the times at which clients come back: of 65,536 equal parts of the window, how
    /// many. By the peer's port, so that one client's are always the same and many clients' differ.
    pub(super) fn jitter(&self) -> u16 {
        // 2^16 divided by the golden ratio: neighbouring ports land far apart.
        let word = match self.peer.port() {
            // A Unix socket's peer has none.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "any bits")]
            0 => self.fd.as_raw_fd() as u16,
            port => port,
        };
        word.wrapping_mul(40_503)
    }

    /// Whether its queue has met the limit and its socket takes no more. What a turn has queued
    /// counts only once the socket was offered it.
    pub(super) fn is_slow(&self) -> bool {
        (self.flags.blocked || self.flags.held)
            && self.outbound.size() > self.outbound_size_max as usize
    }

    /// Its door, for the counters.
    pub(super) fn door_kind(&self) -> telemetry::Door {
        match self.door {
            _ if self.is_admin() => telemetry::Door::Admin,
            Door::Http(_) => telemetry::Door::Http,
            Door::WebSocket(_) => telemetry::Door::WebSocket,
            Door::Stream(_) => telemetry::Door::Sse,
            Door::Follow => telemetry::Door::Admin,
        }
    }
}

/// Answers that may wait for a client that sends requests and does not read, before its requests
/// are no longer read.
const OUTBOUND_SIZE_HTTP_MAX: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_stays_within_its_budget() {
        let size = std::mem::size_of::<Connection>();
        assert!(size <= 192, "a connection takes {size} bytes");
    }
}
