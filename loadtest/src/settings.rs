//! One run as it is to be done: validated, and the same in every process.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::paths::Paths;
use crate::token::TokenSettings;

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Opens subscribers at a fixed rate and measures the handshake.
    Connect,
    /// Opens subscribers in steps and measures the server's memory between them.
    Idle,
    /// Many subscribers of one topic.
    Fanout,
    /// Subscribers spread over many topics.
    Topics,
    /// Every subscriber is cut and comes back while publishing goes on.
    Cut,
    /// A crowd comes, is dropped and comes back; established subscribers must not notice.
    Storm,
    /// A crowd of subscribers is dropped at once and comes back for all that it has missed.
    Recover,
    /// Some subscribers stop reading; the others must not notice.
    Slow,
    /// Closed loop: as many deliveries per second as the server manages.
    Flat,
    /// Closed loop: as many answered publishes per second as the server manages.
    Publish,
}

impl Scenario {
    /// The word on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Connect => "connect",
            Scenario::Idle => "idle",
            Scenario::Fanout => "fanout",
            Scenario::Topics => "topics",
            Scenario::Cut => "cut",
            Scenario::Storm => "storm",
            Scenario::Recover => "recover",
            Scenario::Slow => "slow",
            Scenario::Flat => "flat",
            Scenario::Publish => "publish",
        }
    }

    /// Whether messages are published.
    #[must_use]
    pub fn publishes(self) -> bool {
        !matches!(self, Scenario::Connect | Scenario::Idle)
    }

    /// Whether a crowd comes and goes beside the subscribers.
    #[must_use]
    pub fn has_crowd(self) -> bool {
        matches!(self, Scenario::Storm | Scenario::Recover)
    }

    /// Whether it publishes as fast as it is let, instead of at a rate.
    #[must_use]
    pub fn is_closed_loop(self) -> bool {
        matches!(self, Scenario::Flat | Scenario::Publish)
    }
}

/// The way subscribers come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// WebSocket, Realtime dialect: `GET /apps/{app}`.
    Ws,
    /// Native event stream: `GET /v1/{app}/events?topics=…`.
    Sse,
    /// The same with `format=raw`: the payload alone.
    SseRaw,
    /// buzzPost event stream: `GET /?channels=…`.
    Buzz,
}

/// The way messages go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PublishDoor {
    /// `POST /v1/{app}/topics/{topic}`, body = payload.
    Native,
    /// `POST /v1/{app}/publish`, many messages in one body.
    Batch,
    /// `POST /api/topics/{app}/publish`.
    Realtime,
    /// `POST /`.
    Buzz,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Door::Ws => "WebSocket",
            Door::Sse => "SSE",
            Door::SseRaw => "SSE (raw)",
            Door::Buzz => "buzzPost SSE",
        })
    }
}

impl fmt::Display for PublishDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PublishDoor::Native => "native POST",
            PublishDoor::Batch => "native batch POST",
            PublishDoor::Realtime => "Realtime POST",
            PublishDoor::Buzz => "buzzPost POST",
        })
    }
}

/// How a crowd leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Farewell {
    /// Each connection is reset, as when a network or a proxy fails.
    #[default]
    Reset,
    /// Each sends a close frame and ends its stream, as when pages are left.
    Close,
}

/// The crowd of a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StormSettings {
    /// Connections; 0 = no storm.
    pub crowd: u32,
    /// Processes that hold them.
    pub processes: u32,
    /// Handshakes under way at any time.
    pub concurrency: u32,
    /// Seconds before the storm in which the quiet latency is measured.
    pub quiet_s: f64,
    /// Niceness of those processes, 1 to 19; 0 = that of this tool.
    pub nice: u8,
    /// How they are dropped.
    pub farewell: Farewell,
    /// Most that the p99 of delivery may grow, as a multiple of its quiet value.
    pub ratio_max: f64,
}

/// How a crowd comes back for what it has missed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoverSettings {
    /// Doors of the crowd, one per process in turn; empty = no such crowd.
    pub doors: Vec<Door>,
    /// Seconds over which those spread that the server gives no time to wait.
    pub jitter_s: f64,
}

/// Everything a run needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// What is done.
    pub scenario: Scenario,
    /// How subscribers connect.
    pub door: Door,
    /// How messages are published.
    pub publish_door: PublishDoor,
    /// Paths of a broker that is not Fanwire.
    #[serde(default)]
    pub paths: Paths,
    /// Where the server is.
    pub target: SocketAddr,
    /// `Host` header.
    pub host: String,
    /// Application.
    pub app: String,
    /// Number of this run, part of every topic name and payload.
    pub run: u32,
    /// Beginning of topic names.
    pub topic_prefix: String,
    /// How many topics.
    pub topics: u32,
    /// How many topics each subscriber takes.
    pub topics_per_subscriber: u32,
    /// How many subscribers.
    pub subscribers: u32,
    /// Subscribers to reach one after the other (idle); the last equals `subscribers`.
    pub steps: Vec<u32>,
    /// Bytes of the message text.
    pub size: usize,
    /// Publishes per second.
    pub rate: f64,
    /// Seconds of publishing before measuring begins; verified all the same.
    pub warmup_s: f64,
    /// Seconds of measured publishing.
    pub duration_s: f64,
    /// New connections per second.
    pub connect_rate: f64,
    /// New connections per second after a cut; 0 = all at once.
    pub reconnect_rate: f64,
    /// Seconds a handshake may take.
    pub connect_timeout_s: f64,
    /// HTTP connections for publishing.
    pub publish_connections: u32,
    /// Requests in flight on each of them.
    pub pipeline: u32,
    /// Messages per request on the batch door.
    pub batch: u32,
    /// Messages whose deliveries may be outstanding (flat).
    pub window: u32,
    /// Worker processes.
    pub processes: u32,
    /// Local addresses to connect from, in turn; empty = the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// Offer permessage-deflate.
    pub deflate: bool,
    /// Ask for compressed delivery (Realtime publish door).
    pub compress: bool,
    /// Token that subscribers present.
    pub token: Option<String>,
    /// Key that signs a token of its own for each subscriber; instead of `token`.
    pub key: Option<TokenSettings>,
    /// Token that publishes present.
    pub publish_token: Option<String>,
    /// buzzPost secret, for both.
    pub secret: Option<String>,
    /// Seconds without progress after which missing deliveries count as lost.
    pub grace_s: f64,
    /// Seconds to stay still before memory is measured (idle), or connections are held (connect).
    pub settle_s: f64,
    /// How many subscribers stop reading (slow).
    pub slow: u32,
    /// Share of subscribers that is cut (cut).
    pub cut_fraction: f64,
    /// How many cuts, evenly spread (cut), or one after the other (recover).
    pub cuts: u32,
    /// The crowd (storm, recover).
    pub storm: StormSettings,
    /// How it comes back (recover).
    pub recover: RecoverSettings,
    /// Whether messages may be lost if the server says so.
    pub allow_lost: bool,
    /// Processes of the server to sample.
    pub server_pids: Vec<u32>,
    /// Schedule lag at p99 beyond which the generator counts as saturated, milliseconds.
    pub lag_limit_ms: f64,
}

impl Settings {
    /// Name of topic `number`: fixed width, so that envelopes have a fixed length.
    #[must_use]
    pub fn topic(&self, number: u32) -> String {
        format!("{}-{:08x}-{number:06}", self.topic_prefix, self.run)
    }

    /// The topics of a subscriber: `topics_per_subscriber` neighbours, modulo `topics`.
    pub fn topics_of(&self, subscriber: u32) -> impl Iterator<Item = u32> + use<> {
        let (topics, each) = (self.topics, self.topics_per_subscriber);
        let first = self.first_topic_of(subscriber);
        (0..each).map(move |i| (first + i) % topics)
    }

    /// Which of a subscriber's topics has this name.
    #[must_use]
    pub fn index_of_name(&self, subscriber: u32, name: &str) -> Option<usize> {
        self.topics_of(subscriber).position(|topic| self.topic(topic) == name)
    }

    /// The first topic of a subscriber.
    #[must_use]
    pub fn first_topic_of(&self, subscriber: u32) -> u32 {
        let first = u64::from(subscriber) * u64::from(self.topics_per_subscriber);
        u32::try_from(first % u64::from(self.topics)).unwrap_or(0)
    }

    /// How many subscribers each topic has, those of a crowd that takes topics included.
    #[must_use]
    pub fn audience(&self) -> Vec<u32> {
        let mut audience = vec![0; self.topics as usize];
        let crowd = if self.scenario == Scenario::Recover { self.storm.crowd } else { 0 };
        for subscriber in 0..self.subscribers + crowd {
            self.topics_of(subscriber).for_each(|topic| audience[topic as usize] += 1);
        }
        audience
    }

    /// The subscribers of one worker: first number and how many.
    #[must_use]
    pub fn share(&self, worker: u32) -> (u32, u32) {
        let bound = |w: u32| {
            let bound = u64::from(self.subscribers) * u64::from(w) / u64::from(self.processes);
            u32::try_from(bound).unwrap_or(u32::MAX)
        };
        (bound(worker), bound(worker + 1) - bound(worker))
    }

    /// How many of a worker's subscribers belong to the first `total` of the whole run's, spread
    /// evenly over workers.
    #[must_use]
    pub fn share_of(&self, worker: u32, total: u32) -> u32 {
        let (_, count) = self.share(worker);
        let part = u64::from(count) * u64::from(total) / u64::from(self.subscribers.max(1));
        u32::try_from(part).unwrap_or(count)
    }

    /// The members of one crowd process: their numbers follow those of the subscribers.
    #[must_use]
    pub fn crowd_share(&self, crowd: u32) -> Range<u32> {
        let StormSettings { crowd: total, processes, .. } = self.storm;
        let bound = |c: u32| {
            let bound = u64::from(total) * u64::from(c) / u64::from(processes.max(1));
            self.subscribers + u32::try_from(bound).unwrap_or(u32::MAX)
        };
        bound(crowd)..bound(crowd + 1)
    }

    /// Whether a subscriber is one of those that stop reading: evenly spread.
    #[must_use]
    pub fn is_slow(&self, subscriber: u32) -> bool {
        let mark =
            |n: u32| u64::from(n) * u64::from(self.slow) / u64::from(self.subscribers.max(1));
        mark(subscriber + 1) > mark(subscriber)
    }
}

#[cfg(test)]
pub(crate) fn example() -> Settings {
    Settings {
        scenario: Scenario::Fanout,
        door: Door::Ws,
        publish_door: PublishDoor::Native,
        paths: Paths::default(),
        target: SocketAddr::from(([127, 0, 0, 1], 8480)),
        host: "127.0.0.1:8480".into(),
        app: "demo".into(),
        run: 0xabc,
        topic_prefix: "load".into(),
        topics: 1,
        topics_per_subscriber: 1,
        subscribers: 10,
        steps: vec![10],
        size: 200,
        rate: 100.0,
        warmup_s: 0.0,
        duration_s: 1.0,
        connect_rate: 1000.0,
        reconnect_rate: 0.0,
        connect_timeout_s: 10.0,
        publish_connections: 1,
        pipeline: 1,
        batch: 16,
        window: 64,
        processes: 1,
        sources: Vec::new(),
        deflate: false,
        compress: false,
        token: None,
        key: None,
        publish_token: None,
        secret: None,
        grace_s: 5.0,
        settle_s: 0.0,
        slow: 0,
        cut_fraction: 1.0,
        cuts: 1,
        storm: StormSettings::default(),
        recover: RecoverSettings::default(),
        allow_lost: false,
        server_pids: Vec::new(),
        lag_limit_ms: 5.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_all_subscribers_once() {
        let settings = Settings { subscribers: 10_001, processes: 3, ..example() };
        let shares: Vec<_> = (0..3).map(|w| settings.share(w)).collect();
        assert_eq!(shares.iter().map(|s| s.1).sum::<u32>(), 10_001);
        assert!(shares.windows(2).all(|w| w[0].0 + w[0].1 == w[1].0));
        assert_eq!((0..3).map(|w| settings.share_of(w, 10_001)).sum::<u32>(), 10_001);
    }

    #[test]
    fn crowds_cover_all_members_once_and_follow_the_subscribers() {
        let storm = StormSettings { crowd: 1000, processes: 3, ..StormSettings::default() };
        let settings = Settings { subscribers: 40, storm, ..example() };
        let members: Vec<u32> = (0..3).flat_map(|crowd| settings.crowd_share(crowd)).collect();
        assert_eq!(members, (40..1040).collect::<Vec<_>>());
    }

    #[test]
    fn audience_counts_what_subscribers_take() {
        let settings =
            Settings { subscribers: 7, topics: 5, topics_per_subscriber: 2, ..example() };
        assert_eq!(settings.audience(), [3, 3, 3, 3, 2]);
        assert_eq!(settings.topics_of(3).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn slow_ones_are_spread_evenly() {
        let settings = Settings { subscribers: 100, slow: 7, ..example() };
        assert_eq!((0..100).filter(|&s| settings.is_slow(s)).count(), 7);
        assert!((0..10).filter(|&s| settings.is_slow(s)).count() <= 1);
    }
}
