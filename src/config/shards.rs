//! Keys of the shards: driver, sends, sockets, mesh, turn.

use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind, Unit};
use super::values::Values;
use crate::model::shard::SHARDS_MAX;
use crate::shard::options::{Driver, MeshOptions, SendPath, SocketOptions, TurnOptions};

const BACKLOG_MAX: u64 = i32::MAX as u64;
const CONNECTIONS_MAX: u64 = 1 << 24;
const SOCKET_SIZE_MAX: u64 = 1 << 30;
/// Longer than any card waits.
const BUSY_POLL_MAX: Duration = Duration::from_millis(10);
const TURN_BUDGET: Kind = Kind::Count { min: 1, max: 1 << 20 };

const STEER: &str = "shards.steer_by_cpu";

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "shards.count",
        Kind::Count { min: 0, max: SHARDS_MAX as u64 },
        "0",
        "Shards (threads) to run; 0 = one per CPU the process may run on.",
    ),
    Key::new(
        "shards.pin",
        Kind::Flag,
        "true",
        "Pin each shard's thread to one CPU. Turn it off where others use the same CPUs heavily.",
    ),
    Key::new(
        STEER,
        Kind::Flag,
        "false",
        "Give each connection to the shard on whose CPU its handshake came in (SO_REUSEPORT, cBPF), not \
         to one by hash. Needs shards.pin, and a receive queue of the network card on every shard's CPU: \
         fanwire doctor looks. Without that all connections end on few shards.",
    ),
    Key::new(
        "shards.huge_pages",
        Kind::Flag,
        "false",
        "Let the kernel back the process's memory with huge pages (2 MiB) where the system has them on. \
         Off, 10,000 idle connections take about half as much, and a publish that makes memory grow \
         costs less; on may pay with tables of hundreds of thousands of connections.",
    ),
    Key::new(
        "shards.driver",
        Kind::Choice(&["auto", "uring", "epoll"]),
        "auto",
        "What the threads wait with: auto = io_uring where the kernel grants it, else epoll; uring \
         = io_uring or no start.",
    ),
    Key::new(
        "shards.send",
        Kind::Choice(&["auto", "ring", "direct"]),
        "auto",
        "How bytes go out: ring = all sends of a turn through one io_uring call, direct = one \
         system call per connection; auto = ring under io_uring, direct under epoll.",
    ),
    Key::new(
        "shards.backlog",
        Kind::Count { min: 0, max: BACKLOG_MAX },
        "0",
        "Accept queue of each shard's listener; 0 = as long as net.core.somaxconn allows. When it \
         is full, clients retry their handshake after a second.",
    ),
    Key::new(
        "shards.connections_max",
        Kind::Count { min: 0, max: CONNECTIONS_MAX },
        "0",
        "Most connections per shard; 0 = the process's descriptor limit (LimitNOFILE) shared among \
         the shards, less a reserve. Further sockets are closed at once and counted.",
    ),
    Key::new(
        "shards.accept_rate",
        Kind::Rate(Unit::Count),
        "off",
        "Connections that each shard accepts, such as \"2000/s\". Over it they wait in the kernel's \
         queue (shards.backlog), so that a wave of reconnects comes in at a pace.",
    )
    .live(),
    Key::new(
        "shards.mesh.capacity",
        Kind::Count { min: 1, max: 1 << 20 },
        "1024",
        "Batches that fit the queue between two shards. Further batches wait with their producer.",
    ),
    Key::new(
        "shards.mesh.pending_size_max",
        Kind::Size { min: 64 << 10, max: 1 << 34 },
        "16MiB",
        "Bytes that may wait with a producer for one shard. At the limit publishes are refused \
         (503 with Retry-After); nothing accepted is lost.",
    ),
    Key::new(
        "shards.turn.accepts_max",
        TURN_BUDGET,
        "64",
        "Sockets accepted per turn of the loop, so that a reconnect storm does not starve others.",
    )
    .live(),
    Key::new(
        "shards.turn.reads_max",
        TURN_BUDGET,
        "256",
        "Connections read per turn of the loop before what they caused is sent.",
    )
    .live(),
    Key::new(
        "shards.turn.verify_time_max",
        Kind::Duration { min: Duration::from_micros(1), max: Duration::from_secs(1) },
        "250us",
        "Time per turn of the loop spent on verifying new tokens' signatures, and as much on TLS \
         handshakes; the last one may exceed it. Further ones wait for the next turn, so that a \
         reconnect storm does not delay deliveries.",
    )
    .live(),
    Key::new(
        "shards.flush.delay_max",
        Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(1) },
        "0s",
        "How long a frame may wait for others to share its write; 0 = until the end of the turn. \
         More saves CPU at many small messages per connection and costs that much latency.",
    )
    .live(),
    Key::new(
        "shards.socket.receive_size",
        Kind::Size { min: 0, max: SOCKET_SIZE_MAX },
        "0",
        "Kernel receive buffer per connection (SO_RCVBUF) in bytes; 0 = the kernel's choice.",
    ),
    Key::new(
        "shards.socket.send_size",
        Kind::Size { min: 0, max: SOCKET_SIZE_MAX },
        "0",
        "Kernel send buffer per connection (SO_SNDBUF) in bytes; 0 = the kernel's choice.",
    ),
    Key::new(
        "shards.socket.notsent_lowat",
        Kind::Size { min: 0, max: SOCKET_SIZE_MAX },
        "0",
        "Bytes that may wait unsent in the kernel per connection (TCP_NOTSENT_LOWAT) before a slow \
         client's backlog stays in the broker, where slow_consumer policies see it; 0 = the kernel's \
         choice. Bursts then meet limits.outbound_size_max sooner: raise that with it.",
    ),
    Key::new(
        "shards.socket.user_timeout",
        Kind::Duration { min: Duration::ZERO, max: DURATION_MAX },
        "0s",
        "How long sent bytes may stay unacknowledged before the kernel gives the connection up \
         (TCP_USER_TIMEOUT), in whole milliseconds; 0s = the kernel's choice, about 15 minutes.",
    ),
    Key::new(
        "shards.socket.busy_poll",
        Kind::Duration { min: Duration::ZERO, max: BUSY_POLL_MAX },
        "0s",
        "How long the kernel may poll the network card for a connection instead of waiting for its \
         interrupt (SO_BUSY_POLL), in whole microseconds; 0s = the kernel's choice. Needs CAP_NET_ADMIN; \
         costs CPU all the time, loopback has none of it.",
    ),
];

pub(super) fn driver(values: &Values) -> Driver {
    match &*values.choice("shards.driver") {
        "auto" => Driver::Auto,
        "uring" => Driver::Uring,
        "epoll" => Driver::Epoll,
        other => unreachable!("{other} is no choice of shards.driver"),
    }
}

pub(super) fn send(values: &Values) -> SendPath {
    match &*values.choice("shards.send") {
        "auto" => SendPath::Auto,
        "ring" => SendPath::Ring,
        "direct" => SendPath::Direct,
        other => unreachable!("{other} is no choice of shards.send"),
    }
}

pub(super) fn socket(values: &Values) -> SocketOptions {
    let backlog = values.number_unless_zero("shards.backlog");
    SocketOptions {
        backlog: backlog.and_then(|length| i32::try_from(length).ok()).unwrap_or(i32::MAX),
        connections_max: values.number_unless_zero("shards.connections_max"),
        accept_rate: values.rate("shards.accept_rate"),
        receive_size: values.number_unless_zero("shards.socket.receive_size"),
        send_size: values.number_unless_zero("shards.socket.send_size"),
        notsent_lowat: values
            .number_unless_zero("shards.socket.notsent_lowat")
            .and_then(|size| u32::try_from(size).ok()),
        // The kernel counts milliseconds; rounded up, so that only zero is off.
        user_timeout: Some(values.milliseconds_long("shards.socket.user_timeout"))
            .filter(|span_ms| *span_ms > 0)
            .map(Duration::from_millis),
        busy_poll: values.duration_unless_zero("shards.socket.busy_poll"),
    }
}

/// Steering sends a CPU's connections to the shard that runs there: each must stay there.
pub(super) fn check(values: &mut Values) {
    let keys = [STEER, "shards.pin"];
    if keys.iter().all(|key| values.is_sound(key)) && values.flag(STEER) && !values.flag(keys[1]) {
        values.problem(STEER, "needs shards.pin = true: a shard that moves between CPUs has none");
    }
}

pub(super) fn mesh(values: &Values) -> MeshOptions {
    MeshOptions {
        capacity: values.number("shards.mesh.capacity"),
        pending_size_max: values.number("shards.mesh.pending_size_max"),
    }
}

pub(super) fn turn(values: &Values) -> TurnOptions {
    TurnOptions {
        accepts_max: values.number("shards.turn.accepts_max"),
        reads_max: values.number("shards.turn.reads_max"),
        verify_time_max: values.duration("shards.turn.verify_time_max"),
        flush_delay_max: values.duration("shards.flush.delay_max"),
    }
}
