//! The report of a run: what the JSON file holds and the page shows.

use serde::{Deserialize, Serialize};

use crate::control::SlowCount;
use crate::latency::Quantiles;
use crate::memory::Brought;
use crate::sample::Environment;
use crate::settings::{Door, Scenario, Settings};
use crate::verdict::{Kind, Tally};

/// Version of the report's form; `compare` refuses other ones.
pub const FORM: u32 = 3;

/// Everything about one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`FORM`].
    pub form: u32,
    /// Version of this tool.
    pub version: String,
    /// When the run began, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Whether it passed: nothing wrong with delivery and nothing in `failures`.
    pub passed: bool,
    /// Why it failed, apart from what `tally` counts.
    pub failures: Vec<String>,
    /// What a reader should know before believing the figures.
    pub notes: Vec<String>,
    /// The run as it was done (tokens removed).
    pub settings: Settings,
    /// The machine.
    pub environment: Environment,
    /// Delivery: expected, delivered, everything wrong.
    pub tally: Tally,
    /// Publishing.
    pub publish: PublishReport,
    /// Connecting.
    pub connect: ConnectReport,
    /// From the intended send to the receipt by a subscriber: the figure to quote.
    pub latency_corrected: Quantiles,
    /// From the actual send to the receipt.
    pub latency_raw: Quantiles,
    /// The generator's own state.
    pub generator: GeneratorReport,
    /// The server over the measured time.
    pub server: Option<ServerReport>,
    /// Memory between steps (idle).
    pub memory: Vec<MemoryStep>,
    /// Recovery from cuts (cut).
    pub cuts: Vec<CutReport>,
    /// The storm, phase by phase (storm, recover).
    pub storm: Option<StormReport>,
    /// The returns after each drop (recover).
    pub recover: Option<RecoverReport>,
    /// What became of slow subscribers (slow).
    pub slow: Option<SlowCount>,
    /// One entry per second.
    pub series: Vec<Second>,
}

/// Publishing. Unit: messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PublishReport {
    /// Asked for, per second; 0 in a closed loop.
    pub rate_requested: f64,
    /// Accepted per second while messages were due.
    pub rate_achieved: f64,
    /// Handed to a socket.
    pub sent: u64,
    /// Answered 2xx.
    pub accepted: u64,
    /// Answered otherwise.
    pub refused: u64,
    /// Never answered.
    pub unknown: u64,
    /// Due, but never handed to a socket.
    pub unsent: u64,
    /// Frames delivered per second, over the time from the first publish to the last delivery.
    pub delivered_per_second: f64,
    /// From the intended send to the answer.
    pub answer_corrected: Quantiles,
    /// From the actual send to the answer.
    pub answer_raw: Quantiles,
}

/// Connecting. Unit: connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConnectReport {
    /// Asked for, per second.
    pub rate_requested: f64,
    /// Subscribed per second over the ramp.
    pub rate_achieved: f64,
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Subscribed at the end of the ramp.
    pub live: u64,
    /// From the intended connect to the last welcome.
    pub handshake: Quantiles,
    /// The first few errors.
    pub errors: Vec<String>,
}

/// The generator itself: whether its figures can be believed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GeneratorReport {
    /// Whether it was the bottleneck. Then no latency or rate here says anything of the server.
    pub is_saturated: bool,
    /// Why.
    pub reasons: Vec<String>,
    /// How late the publisher's loop came round to due messages.
    pub lag: Quantiles,
    /// Mean share of one CPU used by the busiest thread.
    pub cpu_share_max: f64,
    /// CPUs used by all of its threads together.
    pub cpu_share_sum: f64,
    /// Longest turn of a worker's loop, nanoseconds: how long a received message may have waited.
    pub turn_ns_max: u64,
    /// Share of the machine's CPU time spent working.
    pub machine_busy: f64,
}

/// The server while messages were published.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerReport {
    /// CPUs used, mean.
    pub cpus_mean: f64,
    /// CPU microseconds per delivered frame.
    pub cpu_us_per_delivery: f64,
    /// Highest resident memory, bytes.
    pub rss_max: u64,
    /// Highest kernel memory in TCP buffers, both ends, bytes.
    pub tcp_buffers_max: u64,
}

/// Memory at one number of idle subscribers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemoryStep {
    /// Subscribers.
    pub subscribers: u64,
    /// Server: resident, bytes.
    pub rss: u64,
    /// Server: proportional share, bytes.
    pub pss: u64,
    /// Server: private, bytes.
    pub private: u64,
    /// Machine: slab, both ends of each connection, bytes.
    pub slab: u64,
    /// Machine: TCP buffers, bytes.
    pub tcp_buffers: u64,
    /// Private bytes per subscriber since the step before.
    pub private_per_subscriber: Option<f64>,
    /// Slab bytes per subscriber, both ends, since the step before.
    pub slab_per_subscriber: Option<f64>,
}

/// One cut.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CutReport {
    /// Seconds since the run began.
    pub at_s: f64,
    /// Subscribers cut.
    pub cut: u64,
    /// Seconds until all were back; absent if they never were.
    pub recovered_s: Option<f64>,
    /// Failed attempts meanwhile.
    pub failures: u64,
}

/// A storm.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StormReport {
    /// Connections of the crowd.
    pub crowd: u64,
    /// Phases that a whole one has, the quiet one included.
    pub phases_due: u64,
    /// Most that the p99 of delivery may grow, as a multiple of its quiet value.
    pub ratio_max: f64,
    /// Delivery to the established while connections came, all those phases together: one of them
    /// alone may be over before a hundred messages are due.
    pub delivery: Quantiles,
    /// p99 of that as a multiple of the quiet phase's.
    pub ratio: f64,
    /// The quiet phase first.
    pub phases: Vec<StormPhase>,
}

/// A crowd that comes back for what it has missed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoverReport {
    /// Its doors, an equal share each.
    pub doors: Vec<Door>,
    /// Drops that a whole run has.
    pub rounds_due: u64,
    /// One entry per drop.
    pub rounds: Vec<RecoverRound>,
}

/// One drop, and the return of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoverRound {
    /// Members dropped.
    pub dropped: u64,
    /// Members back, with a message sent after their return.
    pub back: u64,
    /// Longest time that one of them waited before it came, seconds.
    pub window_s: f64,
    /// Seconds from the drop until the last was back; absent if not all were.
    pub all_back_s: Option<f64>,
    /// Attempts that failed and were repeated.
    pub refused: u64,
    /// What was said on WebSocket of their positions.
    pub brought: Brought,
    /// The first thing that went wrong.
    pub first_error: Option<String>,
}

/// One phase of a storm.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StormPhase {
    /// What happens in it.
    pub name: String,
    /// When it began, seconds since the run began.
    pub at_s: f64,
    /// How long it lasted, seconds; messages intended in this time are its own.
    pub lasted_s: f64,
    /// Connections that were begun.
    pub connects: u64,
    /// Of those, the ones that got their welcome.
    pub welcomed: u64,
    /// Refusals, resets, timeouts, closed after the welcome, and wrong messages. Must be 0.
    pub errors: u64,
    /// The first few of them.
    pub error_examples: Vec<String>,
    /// Seconds from the phase's begin to the last welcome.
    pub last_welcome_s: f64,
    /// Welcomes per second until then.
    pub connects_per_second: f64,
    /// From the connect to the welcome, while a bounded number are under way.
    pub handshake: Quantiles,
    /// CPU seconds of the server, publishing included; absent without `--server-pid`.
    pub server_cpu_s: Option<f64>,
    /// CPU microseconds of the server per welcome, publishing included.
    pub server_cpu_us_per_connect: Option<f64>,
    /// Seconds in which a thread of the server was ready to run and something else had its CPU,
    /// all threads added up.
    pub server_waited_s: Option<f64>,
    /// Delivery to the established, from the intended send.
    pub delivery: Quantiles,
    /// p99 of that as a multiple of the quiet phase's; 1 in the quiet phase, 0 without deliveries.
    pub ratio: f64,
    /// 99th percentile of how late the publisher's loop came round to due messages, nanoseconds.
    pub lag_p99_ns: u64,
    /// Share of the phase in which the processes that time deliveries waited for a CPU, on average.
    pub reader_waited: f64,
    /// Share of one CPU used by the busiest of them.
    pub reader_cpu: f64,
    /// Share of one CPU used by the busiest crowd process.
    pub crowd_cpu: f64,
    /// Longest turn of a crowd's loop, nanoseconds.
    pub crowd_turn_ns_max: u64,
}

/// One second of the run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// Since the run began.
    pub at_s: f64,
    /// What the run was doing.
    pub phase: String,
    /// Subscribers.
    pub live: u64,
    /// Publishes accepted in this second, per second.
    pub published: f64,
    /// Frames delivered in this second, per second.
    pub delivered: f64,
    /// Corrected delivery latency, nanoseconds: median, p99, longest. Absent without deliveries.
    pub latency: Option<[u64; 3]>,
    /// CPUs used by the server.
    pub server_cpus: Option<f64>,
    /// Server's resident memory, bytes.
    pub server_rss: Option<u64>,
    /// Kernel memory in TCP buffers, bytes.
    pub tcp_buffers: u64,
    /// Share of one CPU used by the busiest generator thread.
    pub generator_cpu: f64,
    /// Share of the machine's CPU time spent working.
    pub machine_busy: f64,
}

impl Report {
    /// The result in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let word = if self.passed { "PASS" } else { "FAIL" };
        if self.settings.scenario == Scenario::Publish {
            let publish = &self.publish;
            return format!(
                "{word}  {:.0} publishes answered per second | refused {}, unknown {}",
                publish.rate_achieved, publish.refused, publish.unknown
            );
        }
        if self.settings.scenario.publishes() {
            let wrong: Vec<String> = Kind::ALL
                .into_iter()
                .map(|kind| format!("{} {}", kind.name(), self.tally.of(kind)))
                .collect();
            return format!(
                "{word}  expected {} delivered {} | {}",
                self.tally.expected,
                self.tally.delivered,
                wrong.join(", ")
            );
        }
        format!(
            "{word}  subscribers {} of {}, disconnected {}",
            self.connect.live,
            self.settings.subscribers,
            self.tally.of(Kind::Disconnected)
        )
    }

    /// The settings without what must not be shown.
    #[must_use]
    pub fn without_secrets(settings: &Settings) -> Settings {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "(hidden)".to_owned());
        Settings {
            token: hidden(&settings.token),
            publish_token: hidden(&settings.publish_token),
            secret: hidden(&settings.secret),
            ..settings.clone()
        }
    }
}
