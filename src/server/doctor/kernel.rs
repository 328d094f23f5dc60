//! The kernel's version and whether io_uring is really granted.

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::{Host, RingProbe};
use crate::shard::options::Driver;

const VERSION: &str =
    "Old kernels lack io_uring or its cheaper modes; the broker falls back by itself.";
const RING: &str = "With io_uring all sends of a turn enter the kernel at once; without it each is a system call. \
     Tried here with the shards' own settings.";
const DISABLED: &str = "kernel.io_uring_disabled: 0 = everyone may use it, 1 = only privileged processes and \
     kernel.io_uring_group, 2 = nobody. The broker's own user counts, not who runs this.";
/// The kernel that knows every flag the shards ask for.
const BEST: (u64, u64) = (6, 0);
/// The kernel with which io_uring can be used at all here.
const LEAST: (u64, u64) = (5, 6);

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    let mut found = vec![version(host)];
    found.push(ring(host, demand));
    found.push(disabled(host, demand));
    found
}

fn version(host: &Host) -> Finding {
    const PATH: &str = "proc/sys/kernel/osrelease";
    let release = host.text(PATH);
    let number = release.as_deref().and_then(|release| {
        let mut parts = release.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?))
    });
    let (Some(release), Some(number)) = (release, number) else {
        return Finding::unknown("kernel", VERSION, PATH);
    };
    let severity = match number {
        number if number >= BEST => Severity::Ok,
        number if number >= LEAST => Severity::Note,
        _ => Severity::Warning,
    };
    Finding::new("kernel", VERSION, release)
        .needs("6.0 for every io_uring mode, 5.6 for io_uring")
        .judged(severity, "a newer kernel, such as that of the distribution's backports")
}

fn ring(host: &Host, demand: &Demand) -> Finding {
    let refused_is = match demand.driver {
        Driver::Uring => Severity::WillHurt,
        Driver::Auto => Severity::Warning,
        Driver::Epoll => Severity::Ok,
    };
    match &host.ring {
        RingProbe::NotTried => Finding::new("io_uring", RING, "not tried: another host's files"),
        RingProbe::Granted { flags, is_best } => {
            let severity = if *is_best { Severity::Ok } else { Severity::Note };
            Finding::new("io_uring", RING, format!("granted ({flags})"))
                .needs("single_issuer, coop_taskrun")
                .judged(severity, "Linux 6.0 or newer grants the rest")
        }
        RingProbe::Refused(reason) => Finding::new("io_uring", RING, format!("refused: {reason}"))
            .needs("granted, or shards.driver = \"epoll\"")
            .judged(refused_is, refusal_fix(host)),
    }
}

/// What to do depends on who refuses.
fn refusal_fix(host: &Host) -> String {
    // proc(5): 0 = none, 1 = strict, 2 = a filter.
    let is_filtered = host.status("Seccomp").is_some_and(|mode| mode == "2");
    let mut fix = Vec::new();
    if host.number("proc/sys/kernel/io_uring_disabled").is_some_and(|value| value > 0) {
        fix.push("sysctl -w kernel.io_uring_disabled=0");
    }
    if is_filtered {
        fix.push(
            "a seccomp filter is on: SystemCallFilter=@system-service io_uring_setup io_uring_enter \
             io_uring_register in the unit, or a container profile that allows these three",
        );
    }
    if fix.is_empty() {
        fix.push("a kernel with CONFIG_IO_URING, or LimitMEMLOCK=infinity before Linux 5.12");
    }
    fix.join("\n")
}

fn disabled(host: &Host, demand: &Demand) -> Finding {
    const ID: &str = "io_uring_disabled";
    let Some(value) = host.number("proc/sys/kernel/io_uring_disabled") else {
        return Finding::new(ID, DISABLED, "this kernel has no such switch");
    };
    let severity = match (value, demand.driver) {
        (0, _) | (_, Driver::Epoll) => Severity::Ok,
        (1, Driver::Auto) => Severity::Note,
        (1, Driver::Uring) | (_, Driver::Auto) => Severity::Warning,
        (_, Driver::Uring) => Severity::WillHurt,
    };
    let group = host.text("proc/sys/kernel/io_uring_group");
    let fix = format!(
        "sysctl -w kernel.io_uring_disabled=0, or =1 with kernel.io_uring_group set to the id of the \
         broker's group (now {})",
        group.as_deref().unwrap_or("unknown")
    );
    Finding::new(ID, DISABLED, value.to_string()).needs("0").judged(severity, fix)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn a_refused_ring_is_as_bad_as_the_driver_needs_it() {
        let granted = |is_best| RingProbe::Granted { flags: "coop_taskrun".to_owned(), is_best };
        let refused = RingProbe::Refused("Function not implemented".to_owned());
        let cases = [
            (granted(true), Driver::Auto, Severity::Ok),
            (granted(false), Driver::Uring, Severity::Note),
            (refused.clone(), Driver::Auto, Severity::Warning),
            (refused.clone(), Driver::Uring, Severity::WillHurt),
            (refused, Driver::Epoll, Severity::Ok),
            (RingProbe::NotTried, Driver::Uring, Severity::Ok),
        ];
        let read = |_: &Path| unreachable!("no setting names a file");
        let sources = Sources { file: None, environment: vec![], flags: vec![], read: &read };
        let settings = load(&sources).unwrap().settings;
        for (probe, driver, expected) in cases {
            let host = Host::new(Path::new("/nowhere"), None, 4096, probe.clone());
            let mut demand = Demand::new(&settings, &host, None);
            demand.driver = driver;
            let found = ring(&host, &demand);
            assert_eq!(found.severity, expected, "{probe:?} {driver:?}");
            assert_eq!(found.fix.is_empty(), expected == Severity::Ok, "{found:?}");
        }
    }
}
