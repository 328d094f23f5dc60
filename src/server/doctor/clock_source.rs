//! The clock source: what reading the time costs.

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;

const WHAT: &str = "Each turn reads the clock. From tsc (or a hypervisor's page) that takes some 20 ns in user space; \
     from hpet or acpi_pm it is a system call and a slow bus, a microsecond or more.";
/// Sources that user space reads without the kernel.
const FAST: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
/// Sources known to be slow.
const SLOW: [&str; 4] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies"];

pub(super) fn find(host: &Host, _demand: &Demand) -> Vec<Finding> {
    const ID: &str = "clock_source";
    const FOLDER: &str = "sys/devices/system/clocksource/clocksource0";
    let path = format!("{FOLDER}/current_clocksource");
    let Some(source) = host.text(&path) else {
        return vec![Finding::unknown(ID, WHAT, &path)];
    };
    let severity = match &*source {
        source if FAST.contains(&source) => Severity::Ok,
        source if SLOW.contains(&source) => Severity::WillHurt,
        _ => Severity::Warning,
    };
    let available = host.text(&format!("{FOLDER}/available_clocksource")).unwrap_or_default();
    let better = available.split_whitespace().find(|name| FAST.contains(name));
    let fix = match better {
        Some(name) => format!(
            "echo {name} > /{path}; to keep it: clocksource={name} on the kernel's command line"
        ),
        None => "the kernel trusts no fast source here; `dmesg | grep -i clocksource` says why"
            .to_owned(),
    };
    vec![Finding::new(ID, WHAT, source).needs(FAST.join(", ")).judged(severity, fix)]
}
