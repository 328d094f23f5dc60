//! Which metrics there are: names, help texts, labels, and where each number comes from.
//!
//! What tells shards apart (load, backlog, turns) carries a `shard` label; what has another label
//! already is summed over the shards, so that the number of series stays bounded by
//! doors × causes + doors × applications + refusals + a constant per shard.

use super::counters::{Counter, Door, Gauge, PublishCounters, PublishDoor, ShardCounters};
use super::exposition::{Exposition, Kind};
use super::histogram::Reading;
use super::process::ProcessStats;
use super::recovery;
use super::store::StoreCounters;
use crate::model::application::Applications;
use crate::model::close::CloseCause;
use crate::model::refusal::Refusal;
use crate::model::shard::SHARDS_MAX;

/// Appends the whole page to `out`. `applications` is the snapshot the counters were made for;
/// A 2-shard page is some 20 KiB.
///
/// # Panics
/// With more than [`SHARDS_MAX`] shards, of which nobody can be told.
pub fn render(
    shards: &[ShardCounters],
    applications: &Applications,
    process: &ProcessStats,
    store: Option<&StoreCounters>,
    out: &mut Vec<u8>,
) {
    assert!(shards.len() <= usize::from(SHARDS_MAX), "the mesh knows no more shards");
    let mut page = Exposition::new(out);
    build(&mut page);
    connections(&mut page, shards);
    publishes(&mut page, shards, applications);
    refusals(&mut page, shards);
    for (name, help, counter) in COUNTERS {
        per_shard(&mut page, (name, Kind::Counter, help), shards, |shard| counter(shard).get());
    }
    for (name, help, gauge) in GAUGES {
        per_shard(&mut page, (name, Kind::Gauge, help), shards, |shard| gauge(shard).get());
    }
    histograms(&mut page, shards);
    recovery::expose(&mut page, shards, store);
    process.expose(&mut page);
}

type Metric<T> = (&'static str, &'static str, fn(&ShardCounters) -> &T);

const COUNTERS: [Metric<Counter>; 16] = [
    ("fanwire_accepts_shed_total", "Sockets closed at the accept: shard full.", |s| {
        &s.accepts_shed
    }),
    ("fanwire_deliveries_total", "Messages queued, one per subscriber.", |s| &s.deliveries),
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
    ("fanwire_connections_accepted_total", "Sockets accepted.", ShardCounters::accepted_counter),
];

const GAUGES: [Metric<Gauge>; 3] = [
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

fn publishes(page: &mut Exposition<'_>, shards: &[ShardCounters], applications: &Applications) {
    let help = "Accepted publishes by application and dialect.";
    let mut family = page.family("fanwire_publishes_total", Kind::Counter, help);
    // An application id never is empty, so the last entry's label cannot be one's name.
    let last = shards.first().map_or(0, |shard| shard.publishes().len().saturating_sub(1));
    let names = applications.iter().map(|(_, app)| &*app.id).take(last).enumerate();
    for (index, name) in names.chain([(last, "")]) {
        for door in PublishDoor::ALL {
            let count = |app: &PublishCounters| app[door as usize].get();
            let total = sum(shards, |shard| shard.publishes().get(index).map_or(0, count));
            family.sample(&[("application", name), ("door", door.label())], total);
        }
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
    let latency =
        shards.iter().fold(Reading::EMPTY, |all, shard| all.plus(&shard.publish_to_flush.read()));
    let help = "From a publish's acceptance to the end of the flush that carried it.";
    page.family("fanwire_publish_to_flush_seconds", Kind::Histogram, help).histogram(&[], &latency);
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
