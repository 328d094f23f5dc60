//! Network cards: receive queues and their interrupts against the shards.
//!
//! Only interfaces with a device behind them count; bridges, tunnels and loopback have none.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;

const QUEUES: &str = "A receive queue per shard lets each shard's CPU take in its own packets; with fewer, some CPUs \
     receive for the others.";
const LAYOUT: &str = "Each receive queue's interrupt on one CPU, and a queue on every shard's CPU. Otherwise packets come \
     in on one CPU and are read on another, or all on one.";
const NONE: &str = "no network card with a device behind it";
const STEERING: &str = "With shards.steer_by_cpu a connection goes to the shard on whose CPU its handshake came in: a shard \
     whose CPU receives no packets gets no connections.";
/// Cards and queues looked at.
const CARDS_MAX: usize = 64;

/// One card's receive side.
struct Card {
    name: String,
    queue_count: u64,
    /// Interrupts of its receive queues, each with the CPUs it may come in on.
    interrupts: Vec<(String, Vec<u32>)>,
}

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    let cards = cards(host);
    if cards.is_empty() {
        return [("receive_queues", QUEUES), ("interrupts", LAYOUT), ("steering", STEERING)]
            .map(|(id, what)| Finding::new(id, what, NONE))
            .into();
    }
    let cpus = shard_cpus(host, demand);
    vec![
        queues(&cards, demand),
        interrupts(&cards, &cpus, demand),
        steering(host, &cards, &cpus, demand),
    ]
}

/// CPUs of shards on which no receive interrupt comes in.
fn bare<'c>(cards: &[Card], cpus: &'c [u32]) -> Vec<&'c u32> {
    let taken: BTreeSet<u32> = cards
        .iter()
        .flat_map(|card| &card.interrupts)
        .flat_map(|(_, cpus)| cpus)
        .copied()
        .collect();
    cpus.iter().filter(|cpu| !taken.contains(cpu)).collect()
}

fn steering(host: &Host, cards: &[Card], cpus: &[u32], demand: &Demand) -> Finding {
    const ID: &str = "steering";
    if !demand.is_steered {
        return Finding::new(ID, STEERING, "off");
    }
    let bare = bare(cards, cpus);
    if bare.is_empty() {
        return Finding::new(ID, STEERING, "on, and every shard's CPU receives");
    }
    // Packets that the first CPU hands on in software come in, as far as steering sees, on the other.
    let is_spread = cards.iter().any(|card| spreads_in_software(host, card));
    let severity = if is_spread { Severity::Note } else { Severity::WillHurt };
    Finding::new(ID, STEERING, format!("on, and nothing comes in on the shards' CPUs {bare:?}"))
        .needs("a receive interrupt on every shard's CPU")
        .judged(
            severity,
            "shards.steer_by_cpu = false in fanwire.toml, or lay out the interrupts as above",
        )
}

/// Whether a queue of the card is spread over CPUs (Documentation/networking/scaling.rst, RPS).
fn spreads_in_software(host: &Host, card: &Card) -> bool {
    let folder = format!("sys/class/net/{}/queues", card.name);
    host.entries(&folder).iter().any(|queue| {
        let mask = host.text(&format!("{folder}/{queue}/rps_cpus")).unwrap_or_default();
        mask.chars().any(|digit| !matches!(digit, '0' | ','))
    })
}

fn cards(host: &Host) -> Vec<Card> {
    let names = host.entries("sys/class/net").into_iter();
    let real = names.filter(|name| host.exists(&format!("sys/class/net/{name}/device")));
    let up = real.filter(|name| {
        host.text(&format!("sys/class/net/{name}/operstate")).as_deref() != Some("down")
    });
    up.take(CARDS_MAX)
        .map(|name| {
            let queues = host.entries(&format!("sys/class/net/{name}/queues"));
            let queue_count = queues.iter().filter(|queue| queue.starts_with("rx-")).count() as u64;
            let interrupts = receive_interrupts(host, &name);
            Card { name, queue_count, interrupts }
        })
        .collect()
}

/// The interrupts of a card's receive queues. A card on PCI lists its interrupts itself, a virtio
/// card's are listed by the PCI device above it.
fn receive_interrupts(host: &Host, card: &str) -> Vec<(String, Vec<u32>)> {
    let device = format!("sys/class/net/{card}/device");
    let own = host.entries(&format!("{device}/msi_irqs"));
    let numbers = if own.is_empty() { host.entries(&format!("{device}/../msi_irqs")) } else { own };
    let table = host.text("proc/interrupts").unwrap_or_default();
    let named = numbers.into_iter().filter(|number| {
        let prefix = format!("{number}:");
        let line = table.lines().find_map(|line| line.trim_start().strip_prefix(&prefix));
        line.and_then(|line| line.split_whitespace().last()).is_some_and(is_receive)
    });
    named
        .filter_map(|number| {
            let folder = format!("proc/irq/{number}");
            let effective = host.cpu_list(&format!("{folder}/effective_affinity_list"));
            let cpus = effective
                .filter(|cpus| !cpus.is_empty())
                .or_else(|| host.cpu_list(&format!("{folder}/smp_affinity_list")))?;
            Some((number, cpus))
        })
        .collect()
}

/// Whether an interrupt of this name brings received packets, as drivers name them: `eth0-rx-0`,
/// `eth0-TxRx-0`, `virtio2-input.0`, `mlx5_comp0@pci:…`, `eth0-0`.
fn is_receive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_other = ["config", "control", "output", "-tx-", "async", "mgmt", "event"];
    let is_queue = ["rx", "input", "comp"];
    is_queue.iter().any(|part| name.contains(part))
        || !is_other.iter().any(|part| name.contains(part))
            && name.rsplit(['-', '.']).next().is_some_and(|last| last.parse::<u32>().is_ok())
}

/// The CPUs that shards are pinned to, in their order; empty when they are not pinned.
fn shard_cpus(host: &Host, demand: &Demand) -> Vec<u32> {
    let count = usize::try_from(demand.shard_count).unwrap_or(usize::MAX);
    let allowed = host.cpus_allowed().unwrap_or_default();
    if demand.is_pinned { allowed.into_iter().take(count).collect() } else { Vec::new() }
}

fn queues(cards: &[Card], demand: &Demand) -> Finding {
    let shards = demand.shard_count;
    let few: Vec<_> = cards.iter().filter(|card| card.queue_count < shards).collect();
    let severity = if few.is_empty() { Severity::Ok } else { Severity::Warning };
    let fix = |card: &&Card| format!("ethtool -L {} combined {shards}", card.name);
    let mut fixes: Vec<_> = few.iter().map(fix).collect();
    fixes.push(format!(
        "a card that has no more queues: spread in software, echo {:x} > \
         /sys/class/net/CARD/queues/rx-0/rps_cpus",
        (1u128 << shards.min(64)) - 1
    ));
    let shown: Vec<_> =
        cards.iter().map(|card| format!("{}: {}", card.name, card.queue_count)).collect();
    Finding::new("receive_queues", QUEUES, shown.join(", "))
        .needs(format!("{shards} on each card that clients come by"))
        .judged(severity, fixes.join("\n"))
}

fn interrupts(cards: &[Card], cpus: &[u32], demand: &Demand) -> Finding {
    let all: Vec<_> = cards.iter().flat_map(|card| &card.interrupts).collect();
    if all.is_empty() {
        return Finding::new("interrupts", LAYOUT, "the cards name no interrupts of their queues")
            .judged(Severity::Note, "compare /proc/interrupts with /proc/irq/*/smp_affinity_list");
    }
    let spread = all.iter().filter(|(_, cpus)| cpus.len() != 1).count();
    let bare = bare(cards, cpus);
    let is_laid_out = spread == 0 && bare.is_empty();
    let severity = match (is_laid_out || demand.shard_count == 1, demand.is_pinned) {
        (true, _) => Severity::Ok,
        (false, true) => Severity::Warning,
        (false, false) => Severity::Note,
    };
    let targets = if cpus.is_empty() { &[0][..] } else { cpus };
    let mut fixes = vec!["systemctl disable --now irqbalance".to_owned()];
    for card in cards {
        let pairs = card.interrupts.iter().zip(targets.iter().cycle());
        fixes.extend(pairs.map(|((number, _), cpu)| {
            format!("echo {cpu} > /proc/irq/{number}/smp_affinity_list")
        }));
    }
    let shown = all.iter().map(|(number, cpus)| format!("{number} on {cpus:?}"));
    let mut found = format!("receive interrupts {}", shown.collect::<Vec<_>>().join(", "));
    if !bare.is_empty() {
        let _ = write!(found, "; none on the shards' CPUs {bare:?}");
    }
    Finding::new("interrupts", LAYOUT, found)
        .needs("each on one CPU, one on each shard's")
        .judged(severity, fixes.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::is_receive;

    #[test]
    fn receive_interrupts_are_known_by_their_names() {
        for name in [
            "eth0-rx-0",
            "eth0-TxRx-3",
            "virtio2-input.0",
            "mlx5_comp7@pci",
            "ens5-Tx-Rx-1",
            "eth1-4",
        ] {
            assert!(is_receive(name), "{name}");
        }
        for name in [
            "virtio2-config",
            "virtio2-output.0",
            "eth0-tx-0",
            "mlx5_async0@pci",
            "ena-mgmnt@pci",
            "eth0",
        ] {
            assert!(!is_receive(name), "{name}");
        }
    }
}
