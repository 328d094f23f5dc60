//! Descriptors: the process's limit and the machine's.

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;
use super::tuning;

const LIMIT: &str = "Each connection is a descriptor. The broker raises its soft limit to the hard one by itself; \
     beyond the hard limit connections are closed at once.";
const NR_OPEN: &str =
    "No process's limit can exceed fs.nr_open: with a higher LimitNOFILE the unit does not start.";
const FILE_MAX: &str =
    "Descriptors that the whole machine may have open; beyond it accepting fails.";

pub(super) fn find(host: &Host, demand: &Demand) -> Vec<Finding> {
    vec![limit(host, demand), nr_open(host, demand), file_max(host, demand)]
}

fn limit(host: &Host, demand: &Demand) -> Finding {
    let Some((soft, hard)) = host.descriptor_limits() else {
        return Finding::unknown("descriptors", LIMIT, &host.process_path("limits"));
    };
    let needed = demand.descriptors();
    let severity = if hard < needed { Severity::WillHurt } else { Severity::Ok };
    let limit = demand.descriptor_limit();
    let fix = format!(
        "LimitNOFILE={limit} below [Service] (systemctl edit fanwire), then: systemctl daemon-reload && \
         systemctl restart fanwire\nin a shell: ulimit -Hn {limit} (as root)"
    );
    let of = host.process_path("limits");
    Finding::new("descriptors", LIMIT, format!("soft {soft}, hard {hard} (/{of})"))
        .needs(format!("hard {needed}"))
        .judged(severity, fix)
}

fn nr_open(host: &Host, demand: &Demand) -> Finding {
    const PATH: &str = "proc/sys/fs/nr_open";
    let Some(nr_open) = host.number(PATH) else {
        return Finding::unknown("nr_open", NR_OPEN, PATH);
    };
    let severity = if nr_open < demand.descriptors() {
        Severity::WillHurt
    } else if nr_open < demand.descriptor_limit() {
        Severity::Warning
    } else {
        Severity::Ok
    };
    Finding::new("nr_open", NR_OPEN, nr_open.to_string())
        .needs(demand.descriptor_limit().to_string())
        .judged(severity, tuning::fix("fs.nr_open", demand))
}

fn file_max(host: &Host, demand: &Demand) -> Finding {
    const PATH: &str = "proc/sys/fs/file-max";
    let Some(file_max) = host.number(PATH) else {
        return Finding::unknown("file_max", FILE_MAX, PATH);
    };
    let open = host.numbers("proc/sys/fs/file-nr").and_then(|numbers| numbers.first().copied());
    let open = open.unwrap_or(0);
    let is_enough = file_max.saturating_sub(open) >= demand.descriptors();
    let severity = if is_enough { Severity::Ok } else { Severity::WillHurt };
    Finding::new("file_max", FILE_MAX, format!("{file_max}, of which {open} are open"))
        .needs(format!("{} free", demand.descriptors()))
        .judged(severity, tuning::fix("fs.file-max", demand))
}
