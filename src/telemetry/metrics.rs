//! Which metrics there are: names, help texts, labels, and where each number comes from.
//!
//! What tells shards apart (load, backlog, turns) carries a `shard` label; what has another label
//! already is summed over the shards, so that the number of series stays bounded by
//! doors × causes + doors × applications + refusals + a constant per shard.

use super::counters::{AppCounters, Counter, Gauge, ShardCounters};
use super::door::{DeliveryDoor, Door, PublishDoor};
use super::exposition::{Exposition, Kind};
use super::histogram::Reading;
use super::process::ProcessStats;
use super::recovery;
use super::reload::ReloadCounters;
use super::store::StoreCounters;
use crate::model::application::Applications;
use crate::model::close::CloseCause;
use crate::model::refusal::Refusal;
use crate::model::shard::SHARDS_MAX;

/// What a page is made from.
#[derive(Clone, Copy, Debug)]
pub struct Exposed<'a> {
    /// All shards' counters.
    pub shards: &'a [ShardCounters],
    /// The snapshot that the counters were made for.
    pub applications: &'a Applications,
    /// The process now.
    pub process: &'a ProcessStats,
    /// The store's counters, where there is one.
    pub store: Option<&'a StoreCounters>,
    /// The configuration's.
    pub reloads: &'a ReloadCounters,
    /// What gauges are held against.
    pub limits: Limits,
}

/// Limits of the whole process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Connections of the main door, all shards together.
    pub connections_max: u64,
    /// Bytes of history in memory, all shards together.
    pub history_bytes_max: u64,
}

/// Appends the whole page to `out`. A 2-shard page is some 25 KiB.
///
/// # Panics
/// With more than [`SHARDS_MAX`] shards, of which nobody can be told.
pub fn render(exposed: &Exposed<'_>, out: &mut Vec<u8>) {
    let Exposed { shards, applications, process, store, reloads, limits } = *exposed;
    assert!(shards.len() <= usize::from(SHARDS_MAX), "the mesh knows no more shards");
    let mut page = Exposition::new(out);
    build(&mut page);
    connections(&mut page, shards);
    by_application(&mut page, shards, applications);
    refusals(&mut page, shards);
    for (name, help, counter) in COUNTERS {
        per_shard(&mut page, (name, Kind::Counter, help), shards, |shard| counter(shard).get());
    }
    for (name, help, gauge) in GAUGES {
        per_shard(&mut page, (name, Kind::Gauge, help), shards, |shard| gauge(shard).get());
    }
    expose_limits(&mut page, limits);
    running_turns(&mut page, shards, process.now_us);
    histograms(&mut page, shards);
    recovery::expose(&mut page, shards, store);
    reloads.expose(&mut page);
    process.expose(&mut page);
}

type Metric<T> = (&'static str, &'static str, fn(&ShardCounters) -> &T);

const COUNTERS: [Metric<Counter>; 17] = [
    ("fanwire_accepts_shed_total", "Sockets closed at the accept: shard full.", |s| {
        &s.accepts_shed
    }),
    (
        "fanwire_deliveries_total",
        "Messages queued, one per subscriber.",
        ShardCounters::deliveries_counter,
    ),
    ("fanwire_received_bytes_total", "Bytes read from clients.", |s| &s.bytes_received),
    ("fanwire_sent_bytes_total", "Bytes the kernel took for clients.", |s| &s.bytes_sent),
    ("fanwire_sends_total", "Sends submitted to the kernel.", |s| &s.sends),
    (
        "fanwire_send_calls_total",
        "System calls that made them: rings entered, or one per send.",
        |s| &s.send_calls,
    ),
    ("fanwire_sends_short_total", "Sends taken in part.", |s| &s.sends_short),
    ("fanwire_sends_blocked_total", "Sends of which nothing was taken.", |s| &s.sends_blocked),
    ("fanwire_slow_consumers_total", "Connections closed as slow consumers.", |s| {
        &s.slow_consumers
    }),
    ("fanwire_turns_total", "Passes of the shard's loop.", |s| &s.turns),
    ("fanwire_panics_total", "Panics caught; each closed a connection.", |s| &s.panics),
    ("fanwire_mesh_batches_sent_total", "Batches handed to other shards.", |s| {
        &s.mesh_batches_sent
    }),
    ("fanwire_mesh_batches_received_total", "Batches taken from other shards.", |s| {
        &s.mesh_batches_received
    }),
    ("fanwire_mesh_batches_refused_total", "Batches that met a full queue and wait.", |s| {
        &s.mesh_batches_refused
    }),
    ("fanwire_wakes_total", "Wakes by another thread's eventfd write.", |s| &s.wakes),
    ("fanwire_ring_overflows_total", "Completions that the send ring had no place for.", |s| {
        &s.ring_overflows
    }),
    ("fanwire_connections_accepted_total", "Sockets accepted.", ShardCounters::accepted_counter),
];

const GAUGES: [Metric<Gauge>; 8] = [
    (
        "fanwire_outbound_waiting_bytes",
        "Bytes queued for connections whose sockets take no more.",
        |s| &s.outbound_bytes,
    ),
    ("fanwire_connections_blocked", "Connections whose sockets take no more.", |s| {
        &s.connections_blocked
    }),
    ("fanwire_connections_dirty", "Connections left for the next turn's flush.", |s| {
        &s.connections_dirty
    }),
    (
        "fanwire_connection_table_bytes",
        "Bytes of the connection table, free places included.",
        |s| &s.connection_table_bytes,
    ),
    ("fanwire_mesh_inbox_batches", "Batches that the last turn took from other shards.", |s| {
        &s.mesh_inbox_batches
    }),
    ("fanwire_mesh_pending_bytes", "Bytes that wait for other shards' queues.", |s| {
        &s.mesh_pending_bytes
    }),
    ("fanwire_subscriptions", "Subscriptions of the shard's connections.", |s| &s.subscriptions),
    ("fanwire_topics", "Topics the shard is home of.", |s| &s.topics),
];

fn build(page: &mut Exposition<'_>) {
    page.family("fanwire_build_info", Kind::Gauge, "Always 1; the labels tell the build.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

fn connections(page: &mut Exposition<'_>, shards: &[ShardCounters]) {
    let help = "Open connections by door.";
    let mut family = page.family("fanwire_connections", Kind::Gauge, help);
    for (index, shard) in shards.iter().enumerate() {
        let number = index.to_string();
        for door in Door::ALL {
            family.sample(&[("shard", &number), ("door", door.label())], shard.open(door));
        }
    }
    let help = "Connections that moved from HTTP to another door.";
    let mut family = page.family("fanwire_connections_upgraded_total", Kind::Counter, help);
    for door in [Door::WebSocket, Door::Sse] {
        family.sample(&[("door", door.label())], sum(shards, |shard| shard.upgraded(door)));
    }
    let help = "Connections that ended, by door and cause.";
    let mut family = page.family("fanwire_connections_closed_total", Kind::Counter, help);
    for door in Door::ALL {
        for cause in CloseCause::ALL {
            let labels = [("door", door.label()), ("cause", cause.label())];
            family.sample(&labels, sum(shards, |shard| shard.closed(door, cause)));
        }
    }
}

fn by_application(
    page: &mut Exposition<'_>,
    shards: &[ShardCounters],
    applications: &Applications,
) {
    // An application id never is empty, so the last entry's label cannot be one's name.
    let last = shards.first().map_or(0, |shard| shard.apps().len().saturating_sub(1));
    let named = applications.iter().map(|(_, app)| &*app.id).take(last).enumerate();
    let names: Vec<(usize, &str)> = named.chain([(last, "")]).collect();
    let total = |index: usize, value: &dyn Fn(&AppCounters) -> u64| {
        sum(shards, |shard| shard.apps().get(index).map_or(0, value))
    };
    let help = "Accepted publishes by application and dialect.";
    let mut family = page.family("fanwire_publishes_total", Kind::Counter, help);
    for &(index, name) in &names {
        for door in PublishDoor::ALL {
            let count = total(index, &|app| app.publishes[door as usize].get());
            family.sample(&[("application", name), ("door", door.label())], count);
        }
    }
    let help = "Messages queued for subscribers, by application.";
    let mut family = page.family("fanwire_application_deliveries_total", Kind::Counter, help);
    for &(index, name) in &names {
        family.sample(&[("application", name)], total(index, &|app| app.deliveries.get()));
    }
    let help = "Sessions of subscribers: WebSockets, streams and polls that wait.";
    let mut family = page.family("fanwire_application_sessions", Kind::Gauge, help);
    for &(index, name) in &names {
        family.sample(&[("application", name)], total(index, &|app| app.sessions.get()));
    }
}

fn expose_limits(page: &mut Exposition<'_>, limits: Limits) {
    let help = "Connections that the main door holds at most.";
    page.family("fanwire_connections_max", Kind::Gauge, help).sample(&[], limits.connections_max);
    let help = "Bytes that history in memory may hold.";
    page.family("fanwire_history_max_bytes", Kind::Gauge, help)
        .sample(&[], limits.history_bytes_max);
}

/// How long the turns run that have not ended. A shard that answers for itself is in one, too.
fn running_turns(page: &mut Exposition<'_>, shards: &[ShardCounters], now_us: u64) {
    let help = "Time since the beginning of the turn that the shard is in; 0 between turns.";
    let mut family = page.family("fanwire_turn_running_seconds", Kind::Gauge, help);
    for (index, shard) in shards.iter().enumerate() {
        let began_us = shard.turn_began_us.get();
        let running_us = if began_us == 0 { 0 } else { now_us.saturating_sub(began_us) };
        #[expect(clippy::cast_precision_loss, reason = "microseconds fit 53 bits for ages")]
        family.sample_f64(&[("shard", &index.to_string())], running_us as f64 / 1e6);
    }
}

fn refusals(page: &mut Exposition<'_>, shards: &[ShardCounters]) {
    let help = "Refused requests, frames and commands by code.";
    let mut family = page.family("fanwire_refusals_total", Kind::Counter, help);
    for refusal in Refusal::ALL {
        let total = sum(shards, |shard| shard.refused(refusal));
        family.sample(&[("code", refusal.entry().code)], total);
    }
}

fn histograms(page: &mut Exposition<'_>, shards: &[ShardCounters]) {
    let help = "From a publish's acceptance to the end of the flush that carried it, by door.";
    let mut family = page.family("fanwire_publish_to_flush_seconds", Kind::Histogram, help);
    for door in DeliveryDoor::ALL {
        let latency = shards.iter().fold(Reading::EMPTY, |all, shard| {
            all.plus(&shard.publish_to_flush[door as usize].read())
        });
        family.histogram(&[("door", door.label())], &latency);
    }
    let verification =
        shards.iter().fold(Reading::EMPTY, |all, shard| all.plus(&shard.token_verification.read()));
    let help = "Time the verification of one token's signature took.";
    let mut family = page.family("fanwire_token_verification_seconds", Kind::Histogram, help);
    family.histogram(&[], &verification);
    let help = "Time a turn took, waiting excluded.";
    let mut family = page.family("fanwire_turn_duration_seconds", Kind::Histogram, help);
    for (index, shard) in shards.iter().enumerate() {
        family.histogram(&[("shard", &index.to_string())], &shard.turn_duration.read());
    }
}

fn per_shard(
    page: &mut Exposition<'_>,
    (name, kind, help): (&'static str, Kind, &str),
    shards: &[ShardCounters],
    value: impl Fn(&ShardCounters) -> u64,
) {
    let mut family = page.family(name, kind, help);
    for (index, shard) in shards.iter().enumerate() {
        family.sample(&[("shard", &index.to_string())], value(shard));
    }
}

fn sum(shards: &[ShardCounters], value: impl Fn(&ShardCounters) -> u64) -> u64 {
    shards.iter().map(value).fold(0, u64::wrapping_add)
}
