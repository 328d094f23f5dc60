//! What one shard is told at its start: plain values, no string left to parse.
//!
//! `config` makes it from the file, the environment and the command line; its defaults and the ones
//! here are compared by a test over there. A limit says what happens when it is met.

use std::time::Duration;

use crate::model::rate::Rate;

/// Everything one shard needs to know; the same on every shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// What parks the thread. Key `shards.driver`.
    pub driver: Driver,
    /// How outbound bytes reach the kernel. Key `shards.send`.
    pub send: SendPath,
    /// Sockets: queue lengths, counts and kernel buffers.
    pub socket: SocketOptions,
    /// The way to the other shards.
    pub mesh: MeshOptions,
    /// Budgets of one pass of the loop.
    pub turn: TurnOptions,
    /// HTTP/1: sizes and times.
    pub http: HttpOptions,
    /// WebSocket: sizes and times.
    pub websocket: WebSocketOptions,
    /// Server-sent events.
    pub sse: SseOptions,
    /// Publishing by HTTP.
    pub publish: PublishOptions,
    /// Long polling.
    pub poll: PollOptions,
    /// What is kept in memory.
    pub history: HistoryOptions,
    /// Closing connections at a stop.
    pub drain: DrainOptions,
    /// Pages for operators at the main door.
    pub pages: PagesOptions,
}

/// What parks a shard's thread and watches its sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Driver {
    /// `io_uring` where the kernel grants it, else epoll.
    #[default]
    Auto,
    /// `io_uring`, or the start fails.
    Uring,
    /// epoll, even where `io_uring` works.
    Epoll,
}

/// How outbound bytes reach the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SendPath {
    /// The ring under `io_uring`, direct sends under epoll.
    #[default]
    Auto,
    /// A private `io_uring` used only for sends; all of a turn's sends enter the kernel at once.
    Ring,
    /// One `sendmsg` per dirty connection.
    Direct,
}

impl SendPath {
    /// Whether sends go through a ring, given what parks the thread in the end.
    pub const fn uses_ring(self, parked_by_uring: bool) -> bool {
        match self {
            SendPath::Auto => parked_by_uring,
            SendPath::Ring => true,
            SendPath::Direct => false,
        }
    }
}

/// Listener and accepted sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketOptions {
    /// Accept queue of this shard's listener; the kernel cuts it to `net.core.somaxconn`, so the
    /// default asks for all of that. A full queue makes the kernel drop the handshake's last packet:
    /// the client retries it. Key `shards.backlog`.
    pub backlog: i32,
    /// Most connections this shard holds; `None` = derived from the process's descriptor limit, see
    /// [`SocketOptions::connections_max_for`]. Beyond it a socket is accepted and closed at once.
    /// Key `shards.connections_max`.
    pub connections_max: Option<usize>,
    /// Sockets that this shard accepts; beyond it they wait in the accept queue. `None` = as fast
    /// as the turn's budget allows. Key `shards.accept_rate`.
    pub accept_rate: Option<Rate>,
    /// `SO_RCVBUF` in bytes; `None` = the kernel's choice. Key `shards.socket.receive_size`.
    pub receive_size: Option<usize>,
    /// `SO_SNDBUF` in bytes; `None` = the kernel's choice. Key `shards.socket.send_size`.
    pub send_size: Option<usize>,
    /// `TCP_NOTSENT_LOWAT` in bytes: more that is not sent yet stays in our own queue; `None` = the
    /// kernel's choice. Key `shards.socket.notsent_lowat`.
    pub notsent_lowat: Option<u32>,
    /// `TCP_USER_TIMEOUT`, whole milliseconds: a peer that acknowledges nothing for so long is gone;
    /// `None` = the kernel's choice. Key `shards.socket.user_timeout`.
    pub user_timeout: Option<Duration>,
    /// `SO_BUSY_POLL`, whole microseconds; `None` = the kernel's choice. Key
    /// `shards.socket.busy_poll`.
    pub busy_poll: Option<Duration>,
}

/// Descriptors kept free of client connections: standard streams, listeners, rings, eventfds, logs,
/// files read while serving, per process; and per shard.
const DESCRIPTORS_RESERVED: u64 = 64;
const DESCRIPTORS_RESERVED_PER_SHARD: u64 = 16;

impl SocketOptions {
    /// The connection limit of each of `shard_count` shards under a soft `RLIMIT_NOFILE` of
    /// `descriptors`. At least 1.
    pub fn connections_max_for(&self, descriptors: u64, shard_count: usize) -> usize {
        if let Some(set) = self.connections_max {
            return set;
        }
        let shards = (shard_count as u64).max(1);
        let reserved = DESCRIPTORS_RESERVED + DESCRIPTORS_RESERVED_PER_SHARD * shards;
        let share = descriptors.saturating_sub(reserved) / shards;
        usize::try_from(share).unwrap_or(usize::MAX).max(1)
    }

    /// Sets an accepted socket's kernel buffers. Not inherited from the listener, because a size
    /// set there would end the kernel's own tuning for good, also where only one of both is set.
    pub(super) fn apply(&self, socket: &std::os::fd::OwnedFd) {
        let socket = socket2::SockRef::from(socket);
        // The kernel cuts sizes to its limits; it refuses none.
        let _ = self.receive_size.map(|size| socket.set_recv_buffer_size(size));
        let _ = self.send_size.map(|size| socket.set_send_buffer_size(size));
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            backlog: i32::MAX,
            connections_max: None,
            accept_rate: None,
            receive_size: None,
            send_size: None,
            notsent_lowat: None,
            user_timeout: None,
            busy_poll: None,
        }
    }
}

/// The queue to each other shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MeshOptions {
    /// Batches that fit the queue between two shards; beyond it batches wait with their producer,
    /// in order. Key `shards.mesh.capacity`.
    pub capacity: usize,
    /// Bytes that may wait with the producer for one target; beyond it publishes are refused
    /// (`overloaded`, 503 with Retry-After). Key `shards.mesh.pending_size_max`.
    pub pending_size_max: usize,
}

impl Default for MeshOptions {
    fn default() -> Self {
        MeshOptions { capacity: 1024, pending_size_max: 16 * MIB }
    }
}

/// How much of one kind of work one turn does before it flushes. What is left over comes next turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TurnOptions {
    /// Sockets accepted per turn, so that a storm does not starve the connected. Key
    /// `shards.turn.accepts_max`.
    pub accepts_max: usize,
    /// Connections read per turn. Key `shards.turn.reads_max`.
    pub reads_max: usize,
    /// Time per turn that goes into verifying new tokens' signatures, and as much into TLS handshakes,
    /// which the last one may exceed; further ones wait for the next turn. Key `shards.turn.verify_time_max`.
    pub verify_time_max: Duration,
    /// How long a dirty connection may wait for more frames to share its write; zero = the end of
    /// the turn. Key `shards.flush.delay_max`.
    pub flush_delay_max: Duration,
}

impl Default for TurnOptions {
    fn default() -> Self {
        TurnOptions {
            accepts_max: 64,
            reads_max: 256,
            verify_time_max: Duration::from_micros(250),
            flush_delay_max: Duration::ZERO,
        }
    }
}

/// HTTP/1 sizes (bytes) and times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpOptions {
    /// Longest request target; over it 414. Key `http.target_size_max`.
    pub target_size_max: usize,
    /// Largest request head, request line included; over it 431. Key `http.head_size_max`.
    pub head_size_max: usize,
    /// Time from a request's first byte (or the accept) to the end of its head; then 408. Key
    /// `http.head_timeout`.
    pub head_timeout: Duration,
    /// Time from the end of the head to the end of the body; then 408. Key `http.body_timeout`.
    pub body_timeout: Duration,
    /// Time between requests on a kept connection; then it is closed silently (RFC 9112 §9.5). Key
    /// `http.idle_timeout`.
    pub idle_timeout: Duration,
    /// Requests of one connection that may be unanswered; the next is not read until one is
    /// answered. Key `http.pipeline_depth_max`.
    pub pipeline_depth_max: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            target_size_max: 8 * KIB,
            head_size_max: 16 * KIB,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            pipeline_depth_max: 64,
        }
    }
}

/// WebSocket sizes (bytes) and times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WebSocketOptions {
    /// Largest message, all fragments together and inflated; over it close 1009. Key
    /// `websocket.message_size_max`.
    pub message_size_max: usize,
    /// Silence after which a ping is sent; each application's `limits.idle_timeout` closes. Key
    /// `websocket.ping_interval`.
    pub ping_interval: Duration,
    /// Time for the peer's close frame after ours; then the socket is closed (RFC 6455 §7.1.1). Key
    /// `websocket.close_timeout`.
    pub close_timeout: Duration,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        WebSocketOptions {
            message_size_max: 64 * KIB,
            ping_interval: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// Server-sent events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SseOptions {
    /// Silence after which a comment line is sent, for proxies (WHATWG HTML §9.2.7). Key
    /// `sse.heartbeat_interval`.
    pub heartbeat_interval: Duration,
    /// What `retry:` tells the client to wait before it reconnects, whole milliseconds. Key
    /// `sse.retry_delay`.
    pub retry_delay: Duration,
    /// At most this much is added to `retry_delay`, at random per client, whole milliseconds. Key
    /// `sse.retry_jitter`.
    pub retry_jitter: Duration,
    /// Topics of one stream; over it 400 `too_many`. Key `sse.topics_max`.
    pub topics_max: usize,
}

impl SseOptions {
    /// When a client is to return whose share of the jitter is so many 65,536ths.
    pub(super) fn retry(&self, jitter: u16) -> Duration {
        self.retry_delay + self.retry_jitter * u32::from(jitter) / 65_536
    }
}

impl Default for SseOptions {
    fn default() -> Self {
        SseOptions {
            heartbeat_interval: Duration::from_secs(15),
            retry_delay: Duration::from_secs(2),
            retry_jitter: Duration::from_secs(3),
            topics_max: 256,
        }
    }
}

/// Publishing by HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishOptions {
    /// Messages of one request; over it 400 `too_many`. Key `publish.messages_max`.
    pub messages_max: usize,
    /// Largest body of a publish request in bytes; over it 413. Key `publish.body_size_max`.
    pub body_size_max: usize,
}

impl Default for PublishOptions {
    fn default() -> Self {
        PublishOptions { messages_max: 1024, body_size_max: 4 * MIB }
    }
}

/// Long polling. The simple form's topic is in [`crate::model::application::Applications`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PollOptions {
    /// Longest wait for a message, to which a larger `wait` is cut; then the answer is empty. Key
    /// `poll.wait_max`.
    pub wait_max: Duration,
    /// Messages of one answer, 1–1000; further ones come with the next poll. Key
    /// `poll.messages_max`.
    pub messages_max: usize,
    /// Bytes of one answer beyond which no message is added; its first is sent whatever its size.
    /// Key `poll.size_max`.
    pub size_max: usize,
    /// Topics of one poll; over it 400 `too_many`. Key `poll.topics_max`.
    pub topics_max: usize,
}

impl Default for PollOptions {
    fn default() -> Self {
        PollOptions {
            wait_max: Duration::from_secs(25),
            messages_max: 100,
            size_max: MIB,
            topics_max: 256,
        }
    }
}

/// What is kept in memory for those who come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryOptions {
    /// Bytes that all shards together keep; each has an equal share, at which its oldest messages
    /// go, whatever their topic's own limits. Key `history.memory_max`.
    pub memory_max: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        HistoryOptions { memory_max: 256 * MIB }
    }
}

/// Closing connections at a stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainOptions {
    /// Time over which the closes are spread; zero = all at once. Key `server.stop_spread`.
    pub spread: Duration,
}

impl Default for DrainOptions {
    fn default() -> Self {
        DrainOptions { spread: Duration::from_secs(2) }
    }
}

/// Pages for operators at the main door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PagesOptions {
    /// Where `/metrics` is answered there; else 404, and only the admin door has it. Key
    /// `server.metrics_public`.
    pub metrics: MetricsShown,
}

/// When `/metrics` is answered at the main door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricsShown {
    /// While no other machine reaches any of its listeners.
    Loopback,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Default for PagesOptions {
    fn default() -> Self {
        PagesOptions { metrics: MetricsShown::Loopback }
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_limit_is_shared_and_never_leaves_a_shard_without_a_connection() {
        let derived = SocketOptions::default();
        let cases =
            [(1024, 1, 944), (1024, 4, 224), (1_048_576, 2, 524_240), (10, 4, 1), (0, 0, 1)];
        for (descriptors, shards, expected) in cases {
            assert_eq!(derived.connections_max_for(descriptors, shards), expected);
        }
        let set = SocketOptions { connections_max: Some(7), ..derived };
        assert_eq!(set.connections_max_for(1024, 1), 7);
    }

    #[test]
    fn automatic_sends_follow_the_driver() {
        let cases = [
            (SendPath::Auto, true, false),
            (SendPath::Ring, true, true),
            (SendPath::Direct, false, false),
        ];
        for (path, on_uring, on_epoll) in cases {
            assert_eq!(
                (path.uses_ring(true), path.uses_ring(false)),
                (on_uring, on_epoll),
                "{path:?}"
            );
        }
    }
}
