//! The shards' counters as JSON, for `fanwire top`: totals since the start and what is there now.

use serde_json::{Map, Value, json};

use super::counters::{Counter, ShardCounters};
use super::door::Door;
use crate::model::application::Applications;

/// Everything by shard and by application.
pub fn status(shards: &[ShardCounters], applications: &Applications) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "shards": shards.iter().enumerate().map(|(index, shard)| shard_status(index, shard)).collect::<Vec<_>>(),
        "applications": applications_status(shards, applications),
    })
}

fn shard_status(index: usize, shard: &ShardCounters) -> Value {
    let connections: Map<String, Value> =
        Door::ALL.iter().map(|door| (door.label().to_owned(), shard.open(*door).into())).collect();
    let published: u64 = shard.apps().iter().flat_map(|app| &app.publishes).map(Counter::get).sum();
    let turns = shard.turn_duration.read();
    json!({
        "shard": index,
        "connections": connections,
        "subscriptions": shard.subscriptions.get(),
        "topics": shard.topics.get(),
        "published": published,
        "delivered": shard.deliveries_counter().get(),
        "receivedBytes": shard.bytes_received.get(),
        "sentBytes": shard.bytes_sent.get(),
        "waitingBytes": shard.outbound_bytes.get(),
        "blocked": shard.connections_blocked.get(),
        "slowConsumers": shard.slow_consumers.get(),
        "historyBytes": shard.recovery.bytes.get(),
        "meshPendingBytes": shard.mesh_pending_bytes.get(),
        "turns": turns.count(),
        "turnMicroseconds": turns.sum_us,
    })
}

fn applications_status(shards: &[ShardCounters], applications: &Applications) -> Vec<Value> {
    // The last place is shared by those that came too late for one of their own.
    let last = shards.first().map_or(0, |shard| shard.apps().len().saturating_sub(1));
    let there = applications.iter().take(last).filter(|(app, _)| !applications.is_removed(*app));
    let named = there.map(|(app, application)| (usize::from(app.0), &*application.id));
    let others = (applications.iter().len() > last).then_some((last, ""));
    named
        .chain(others)
        .map(|(index, id)| {
            let apps = || shards.iter().filter_map(move |shard| shard.apps().get(index));
            json!({
                "application": id,
                "sessions": apps().map(|app| app.sessions.get()).sum::<u64>(),
                "published": apps().flat_map(|app| &app.publishes).map(Counter::get).sum::<u64>(),
                "delivered": apps().map(|app| app.deliveries.get()).sum::<u64>(),
            })
        })
        .collect()
}
