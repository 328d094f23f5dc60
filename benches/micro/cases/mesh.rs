//! The mesh: what one turn stages, handed over and taken out by another port on the same thread.

use fanwire::mesh::ports;
use fanwire::model::shard::ShardIndex;

use super::Op;

/// One turn's `COUNT` parcels as one batch, to a target that is awake.
pub(crate) fn awake<const COUNT: usize>() -> Op {
    exchange(COUNT, false)
}

/// The same to a target that sleeps: one write to its eventfd more.
pub(crate) fn asleep<const COUNT: usize>() -> Op {
    exchange(COUNT, true)
}

fn exchange(count: usize, sleeps: bool) -> Op {
    let mut ports = ports::<Box<u64>>(2, 1024, usize::MAX).expect("two eventfds");
    let consumer = ports.pop().expect("two ports");
    let mut producer = ports.pop().expect("two ports");
    // The parcels go round, so that only the mesh's own allocations are counted.
    let mut parcels: Vec<Box<u64>> = (0..).map(Box::new).take(count).collect();
    Box::new(move || {
        if sleeps {
            consumer.wake().set_sleeping();
        }
        for parcel in parcels.drain(..) {
            producer.stage(ShardIndex(1), parcel, 64);
        }
        let flushed = producer.flush();
        assert_eq!(flushed.wake_count, u64::from(sleeps));
        while let Some(batch) = consumer.receive() {
            parcels.extend(batch.parcels);
        }
        parcels.len()
    })
}
