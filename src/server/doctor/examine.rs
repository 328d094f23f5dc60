//! The list of what is looked at, in the order in which it is told.

use super::demand::Demand;
use super::finding::Finding;
use super::host::Host;
use super::{
    backlog, clock_source, conntrack, control_group, cpus, descriptors, folklore, kernel, memory,
    network_cards, tcp_memory,
};

type Find = fn(&Host, &Demand) -> Vec<Finding>;

const ALL: [Find; 11] = [
    descriptors::find,
    backlog::find,
    tcp_memory::find,
    conntrack::find,
    memory::find,
    control_group::find,
    kernel::find,
    clock_source::find,
    cpus::find,
    network_cards::find,
    folklore::find,
];

/// Everything there is to say about `host` under `demand`.
pub(in crate::server) fn examine(host: &Host, demand: &Demand) -> Vec<Finding> {
    ALL.iter().flat_map(|find| find(host, demand)).collect()
}
