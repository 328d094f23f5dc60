//! `shards.steer_by_cpu`: whose handshake comes in on a shard's CPU is served by that shard. Over
//! loopback a packet comes in on the CPU of its sender, so a client chooses by pinning itself.

mod support;

use std::collections::BTreeSet;

use support::{Broker, Setup, on_each_with};

/// Connections from each CPU; by hash all of them would meet the shard of their CPU once in 2^16 runs.
const CLIENTS: usize = 16;

/// The shards that welcome clients which come from `cpu`.
fn shards_met(broker: &Broker, cpu: core_affinity::CoreId) -> BTreeSet<u16> {
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            assert!(core_affinity::set_for_current(cpu), "{cpu:?} is one of ours");
            (0..CLIENTS).map(|_| broker.websocket().shard()).collect()
        });
        clients.join().expect("clients do not panic")
    })
}

fn steered(setup: Setup) -> Setup {
    setup.with("SHARDS_PIN", "true").with("SHARDS_STEER_BY_CPU", "true")
}

#[test]
fn a_connection_goes_to_the_shard_of_its_cpu() {
    let cpus = core_affinity::get_core_ids().expect("the CPUs of this machine");
    if cpus.len() < 2 {
        eprintln!("skipped: one CPU");
        return;
    }
    on_each_with(steered, |broker| {
        let shards = broker.variant.shards;
        if usize::from(shards) > cpus.len() {
            broker.await_log("shards.steer_by_cpu has no effect");
            assert_eq!(broker.websockets().len(), usize::from(shards));
            return;
        }
        for (shard, cpu) in (0..shards).zip(&cpus) {
            assert_eq!(shards_met(broker, *cpu), [shard].into(), "{:?} {cpu:?}", broker.variant);
        }
        // A CPU without a shard leaves the choice to the hash: everyone is served.
        for cpu in cpus.iter().skip(shards.into()).take(1) {
            assert!(shards_met(broker, *cpu).iter().all(|shard| *shard < shards));
        }
    });
}
