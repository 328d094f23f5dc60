//! What is measured: each scenario compares two servers under one load.

use std::time::Duration;

/// What a server's clients do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Load {
    /// Topics `t0000000` and so on.
    pub(crate) topics: usize,
    /// Subscribers of each.
    pub(crate) subscribers: usize,
    /// Subscribers of topics that nobody publishes to.
    pub(crate) idle: usize,
    /// Connections that publish.
    pub(crate) publishers: usize,
    /// Requests that each of them has in flight.
    pub(crate) depth: usize,
    /// Messages per request.
    pub(crate) batch: usize,
    /// Messages of one round.
    pub(crate) messages: usize,
    /// Bytes of a message's payload.
    pub(crate) payload_size: usize,
    pub(crate) kind: Kind,
}

/// How a round goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kind {
    /// One message at a time, the next when all have it: one write per delivery.
    Paced,
    /// As fast as answers come.
    Flat,
    /// Each subscriber is pinged once and answers.
    Ping,
    /// Messages at a rate, connects and disconnects beside them; what counts is the time from a
    /// publish to its last delivery.
    Timed { per_second: u32, connects_per_second: u32 },
    /// Connections that come, are upgraded, subscribed, and go.
    Connect,
}

/// A server to measure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Server {
    /// The loop that does nothing but what the load needs of the kernel.
    Raw,
    Broker(Setup),
}

impl Server {
    /// Whether its deliveries have to be read to be counted: their sizes differ.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Server::Broker(setup) if setup.door != Door::WebSocket)
    }
}

/// How the broker is set up, and by which door its subscribers come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Setup {
    pub(crate) door: Door,
    pub(crate) driver: &'static str,
    pub(crate) send: &'static str,
    pub(crate) shards: usize,
    /// Publishes carry a token that was signed so.
    pub(crate) token: Option<&'static str>,
}

/// How subscribers receive.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Door {
    WebSocket,
    Deflate,
    EventStream,
}

/// What two servers are compared by.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Judged {
    /// CPU per delivery, publish, ping or handshake.
    Cpu,
    /// The time from a publish to its last delivery.
    Latency,
}

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    pub(crate) against: Server,
    pub(crate) load: Load,
    pub(crate) judged: Judged,
    /// Most that the ratio's median may be; none where the issue is only to know it.
    pub(crate) ratio_max: Option<f64>,
    pub(crate) pairs: usize,
}

/// The broker as it is by itself: one shard, WebSocket.
pub(crate) const RING: Setup =
    Setup { door: Door::WebSocket, driver: "auto", send: "auto", shards: 1, token: None };
const DIRECT: Setup = Setup { send: "direct", ..RING };
const EPOLL: Setup = Setup { driver: "epoll", send: "direct", ..RING };

const PACED: Load = Load {
    topics: 1,
    subscribers: 5_000,
    idle: 0,
    publishers: 1,
    depth: 1,
    batch: 1,
    messages: 20,
    payload_size: 200,
    kind: Kind::Paced,
};
const FLAT: Load =
    Load { subscribers: 1_000, depth: 4, batch: 64, messages: 6_400, kind: Kind::Flat, ..PACED };
const PUBLISH: Load = Load {
    topics: 1_000,
    subscribers: 1,
    publishers: 16,
    messages: 32_000,
    kind: Kind::Flat,
    ..PACED
};
const LATENCY: Load = Load {
    subscribers: 1_000,
    idle: 8_000,
    messages: 300,
    kind: Kind::Timed { per_second: 50, connects_per_second: 100 },
    ..PACED
};

/// What scenarios say when they say nothing else.
pub(crate) const BASE: Scenario = Scenario {
    name: "",
    server: Server::Broker(RING),
    against: Server::Raw,
    load: PACED,
    judged: Judged::Cpu,
    ratio_max: None,
    pairs: 8,
};

/// Longest that a round may take; beyond it something is lost.
pub(crate) const ROUND_TIME_MAX: Duration = Duration::from_mins(1);

/// How often the broker pings, and so how long a round of pings takes.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);

/// Every scenario, in the order of the report.
pub(crate) const ALL: [Scenario; 22] = [
    Scenario { name: "paced-5000-ring", ratio_max: Some(1.02), pairs: 20, ..BASE },
    Scenario {
        name: "paced-10000-ring",
        load: Load { subscribers: 10_000, messages: 10, ..PACED },
        ratio_max: Some(1.02),
        pairs: 20,
        ..BASE
    },
    Scenario {
        name: "paced-5000-direct",
        server: Server::Broker(DIRECT),
        ratio_max: Some(1.05),
        pairs: 20,
        ..BASE
    },
    Scenario {
        name: "paced-5000-epoll",
        server: Server::Broker(EPOLL),
        ratio_max: Some(1.05),
        pairs: 20,
        ..BASE
    },
    // At least half of the coalesced floor.
    Scenario { name: "flat-1000", load: FLAT, ratio_max: Some(2.0), ..BASE },
    Scenario {
        name: "flat-10000",
        load: Load { subscribers: 10_000, messages: 1_280, ..FLAT },
        ..BASE
    },
    Scenario { name: "publish-unpipelined", load: PUBLISH, ratio_max: Some(1.3), ..BASE },
    Scenario {
        name: "publish-4-deep",
        load: Load { depth: 4, ..PUBLISH },
        ratio_max: Some(1.3),
        ..BASE
    },
    Scenario {
        name: "publish-16-deep",
        load: Load { depth: 16, ..PUBLISH },
        ratio_max: Some(1.3),
        ..BASE
    },
    Scenario {
        name: "publish-batch-64",
        load: Load { batch: 64, ..PUBLISH },
        ratio_max: Some(1.3),
        ..BASE
    },
    Scenario {
        name: "publish-epoll",
        server: Server::Broker(EPOLL),
        load: PUBLISH,
        ratio_max: Some(1.3),
        ..BASE
    },
    Scenario {
        name: "publish-hs256",
        server: Server::Broker(Setup { token: Some("HS256"), ..RING }),
        against: Server::Broker(RING),
        load: PUBLISH,
        ratio_max: Some(1.1),
        ..BASE
    },
    Scenario {
        name: "publish-es256",
        server: Server::Broker(Setup { token: Some("ES256"), ..RING }),
        against: Server::Broker(RING),
        load: PUBLISH,
        ratio_max: Some(1.1),
        ..BASE
    },
    Scenario {
        name: "ping-5000",
        load: Load { kind: Kind::Ping, ..PACED },
        ratio_max: Some(1.2),
        pairs: 5,
        ..BASE
    },
    Scenario {
        name: "latency-1000",
        load: LATENCY,
        judged: Judged::Latency,
        ratio_max: Some(1.1),
        pairs: 10,
        ..BASE
    },
    Scenario {
        name: "latency-1000-direct",
        server: Server::Broker(DIRECT),
        load: LATENCY,
        judged: Judged::Latency,
        ratio_max: Some(1.1),
        pairs: 10,
        ..BASE
    },
    Scenario {
        name: "shards-2-fan-out",
        server: Server::Broker(Setup { shards: 2, ..RING }),
        against: Server::Broker(RING),
        ratio_max: Some(1.1),
        ..BASE
    },
    Scenario {
        name: "shards-2-publish",
        server: Server::Broker(Setup { shards: 2, ..RING }),
        against: Server::Broker(RING),
        load: PUBLISH,
        ..BASE
    },
    Scenario {
        name: "connect",
        load: Load { messages: 1_000, kind: Kind::Connect, ..PACED },
        ..BASE
    },
    Scenario {
        name: "deflate-fan-out",
        server: Server::Broker(Setup { door: Door::Deflate, ..RING }),
        against: Server::Broker(RING),
        ratio_max: Some(1.15),
        ..BASE
    },
    Scenario {
        name: "sse-fan-out",
        server: Server::Broker(Setup { door: Door::EventStream, ..RING }),
        against: Server::Broker(RING),
        ratio_max: Some(1.05),
        ..BASE
    },
    Scenario {
        // Of coalesced deliveries bytes are what costs, and an event has more of them.
        name: "sse-flat",
        server: Server::Broker(Setup { door: Door::EventStream, ..RING }),
        against: Server::Broker(RING),
        load: FLAT,
        ..BASE
    },
];

/// The scenario of that name.
pub(crate) fn named(name: &str) -> Option<Scenario> {
    ALL.iter()
        .chain(&counts_scenarios())
        .chain(&memory_scenarios())
        .find(|scenario| scenario.name == name)
        .copied()
}

/// What the exact counts are taken of: two brokers under the same load, of which one is read.
pub(crate) fn counts_scenarios() -> [Scenario; 3] {
    let fan_out = Load { subscribers: 1_000, messages: 200, ..PACED };
    let two = Server::Broker(Setup { shards: 2, ..RING });
    [
        Scenario { name: "counts-fan-out", load: fan_out, ..BASE },
        Scenario { name: "counts-publish", load: PUBLISH, ..BASE },
        Scenario { name: "counts-2-shards", server: two, load: fan_out, ..BASE },
    ]
}

/// Whose memory is measured. The client is a process that knows a scenario by its name, so each door
/// has one.
pub(crate) fn memory_scenarios() -> [Scenario; 2] {
    let load = Load { kind: Kind::Ping, ..PACED };
    let streams = Server::Broker(Setup { door: Door::EventStream, ..RING });
    [
        Scenario { name: "memory-websocket", load, ..BASE },
        Scenario { name: "memory-sse", server: streams, load, ..BASE },
    ]
}
