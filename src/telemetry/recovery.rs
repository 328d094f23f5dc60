//! What is kept for those who come back, and what became of them: one shard's numbers and, with the
//! store's, their exposition.

use super::counters::{Counter, Gauge, ShardCounters};
use super::exposition::{Exposition, Kind};
use super::histogram::Reading;
use super::store::StoreCounters;
use crate::model::family::SlowConsumer;
use crate::model::recovery::LossReason;

/// What one shard keeps and gives back. Its broker counts; the shard notes the totals once per turn.
#[derive(Debug, Default)]
pub struct RecoveryCounters {
    /// Messages kept in memory.
    pub messages: Gauge,
    /// Bytes that they hold, roughly.
    pub bytes: Gauge,
    /// Gone for the limit of a topic, for age, for the budget of all.
    pub dropped: [Counter; 3],
    /// Positions from which everything could be recovered.
    pub recovered: Counter,
    /// Losses told, by reason.
    pub lost: [Counter; LossReason::ALL.len()],
    /// Subscriptions that left the live members for a while, by policy.
    pub fell_behind: [Counter; SlowConsumer::ALL.len()],
}

/// Labels of [`RecoveryCounters::dropped`].
const DROPPED: [&str; 3] = ["limit", "age", "budget"];

/// Appends the families.
pub(super) fn expose(
    page: &mut Exposition<'_>,
    shards: &[ShardCounters],
    store: Option<&StoreCounters>,
) {
    gauges(page, shards);
    by_label(
        page,
        shards,
        "fanwire_history_dropped_total",
        "Messages that left history, by why.",
        ("why", &DROPPED),
        |r| &r.dropped,
    );
    let help = "Positions from which everything was recovered.";
    page.family("fanwire_recoveries_total", Kind::Counter, help)
        .sample(&[], shards.iter().map(|s| s.recovery.recovered.get()).sum());
    by_label(
        page,
        shards,
        "fanwire_losses_told_total",
        "Times that messages were told as lost.",
        ("reason", &LossReason::ALL.map(LossReason::code)),
        |r| &r.lost,
    );
    by_label(
        page,
        shards,
        "fanwire_fell_behind_total",
        "Slow subscriptions that stayed open, by their topic's policy.",
        ("policy", &SlowConsumer::ALL.map(SlowConsumer::word)),
        |r| &r.fell_behind,
    );
    if let Some(store) = store {
        expose_store(page, store);
    }
}

fn gauges(page: &mut Exposition<'_>, shards: &[ShardCounters]) {
    type Metric = (&'static str, &'static str, fn(&RecoveryCounters) -> &Gauge);
    let all: [Metric; 2] = [
        ("fanwire_history_messages", "Messages kept in memory.", |r| &r.messages),
        ("fanwire_history_bytes", "Bytes that the messages kept in memory hold, roughly.", |r| {
            &r.bytes
        }),
    ];
    for (name, help, gauge) in all {
        let mut family = page.family(name, Kind::Gauge, help);
        for (index, shard) in shards.iter().enumerate() {
            family.sample(&[("shard", &index.to_string())], gauge(&shard.recovery).get());
        }
    }
}

fn by_label<const N: usize>(
    page: &mut Exposition<'_>,
    shards: &[ShardCounters],
    name: &'static str,
    help: &str,
    (label, values): (&'static str, &[&'static str; N]),
    counters: fn(&RecoveryCounters) -> &[Counter; N],
) {
    let mut family = page.family(name, Kind::Counter, help);
    for (index, value) in values.iter().enumerate() {
        let total = shards.iter().map(|shard| counters(&shard.recovery)[index].get()).sum();
        family.sample(&[(label, value)], total);
    }
}

fn expose_store(page: &mut Exposition<'_>, store: &StoreCounters) {
    let counters: [(&'static str, &str, &Counter); 8] = [
        ("fanwire_store_commits_total", "Commits of the store.", &store.commits),
        ("fanwire_store_appended_total", "Messages that the store has taken.", &store.appended),
        ("fanwire_store_repeated_total", "Publishes known by their key.", &store.repeated),
        ("fanwire_store_refused_total", "Publishes that a failed store refused.", &store.refused),
        ("fanwire_store_reads_total", "Pages read from the store.", &store.reads),
        ("fanwire_store_unreadable_total", "Pages that could not be read.", &store.unreadable),
        ("fanwire_store_trimmed_total", "Messages removed from the store.", &store.trimmed),
        ("fanwire_store_checkpoints_total", "Log copies into the file.", &store.checkpoints),
    ];
    for (name, help, counter) in counters {
        page.family(name, Kind::Counter, help).sample(&[], counter.get());
    }
    let help = "1 once writing has failed: durable publishes are refused until a restart.";
    page.family("fanwire_store_failed", Kind::Gauge, help).sample(&[], store.failed.get());
    let help = "Requests that the store has not answered.";
    page.family("fanwire_store_waiting", Kind::Gauge, help).sample(&[], store.waiting.get());
    let help = "Time of a commit, its sync included.";
    let duration: Reading = store.commit_duration.read();
    page.family("fanwire_store_commit_seconds", Kind::Histogram, help).histogram(&[], &duration);
}
