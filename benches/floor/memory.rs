//! User memory per idle connection: the growth of the broker's private pages between two crowds.

use serde_json::json;

use crate::report::{Report, per};
use crate::scenario::{Load, Scenario};
use crate::servers::Side;

/// Crowds: the first has touched all that is there once.
const CROWDS: [usize; 2] = [2_000, 10_000];
/// Bytes that a connection may take.
const SIZE_MAX: f64 = 512.0;

/// Measures subscribers of one topic with a name of 40 bytes, pings on.
pub(crate) fn measure(base: &Scenario, report: &mut Report) {
    let mut sizes = Vec::new();
    for count in CROWDS {
        let load = Load { subscribers: count, ..base.load };
        let scenario = Scenario { load, ..*base };
        let mut side = Side::start(&scenario, scenario.server, &serde_json::Value::Null);
        // A round of pings has passed over all of them.
        side.play(&crate::cpu::SoftIrqThread::find());
        sizes.push(side.private_size());
    }
    let each = per(sizes[1].saturating_sub(sizes[0]), (CROWDS[1] - CROWDS[0]) as u64);
    let is_met = each <= SIZE_MAX;
    let verdict = if is_met { "met" } else { "MISSED" };
    let line = format!(
        "{each:.0} bytes each ({} and {} KiB with {} and {} connections); at most {SIZE_MAX}: {verdict}",
        sizes[0] / 1024,
        sizes[1] / 1024,
        CROWDS[0],
        CROWDS[1]
    );
    report.note(base.name, &[line], json!({ "bytes_each": each, "private": sizes }), Some(is_met));
}
