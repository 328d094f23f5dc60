//! The outcome for people, as a table, and for programs, as JSON.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::baseline::Row;
use crate::machine::Machine;

/// Everything that is told of one run.
pub(crate) struct Report<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) tolerance_percent: f64,
    pub(crate) rows: &'a [Row],
}

impl Report<'_> {
    /// One line per scenario.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |name: &str, baseline: &str, now: &str, change: &str, verdict: &str| {
            writeln!(table, "{name:<20} {baseline:>10} {now:>10} {change:>9}  {verdict}")
                .expect("a string takes everything");
        };
        line("instructions per", "baseline", "now", "change", "verdict");
        for row in self.rows {
            let shown = |figure: Option<f64>| figure.map_or("-".into(), |it| format!("{it:.1}"));
            let change = row.change_percent().map_or("-".into(), |it| format!("{it:+.2} %"));
            line(&row.name, &shown(row.baseline), &shown(row.now), &change, row.verdict.text());
        }
        writeln!(table, "tolerance: {} %", self.tolerance_percent)
            .expect("a string takes everything");
        table
    }

    /// The same with what it was measured on.
    pub(crate) fn json(&self) -> String {
        let row = |row: &Row| {
            json!({
                "scenario": row.name,
                "baseline": row.baseline,
                "now": row.now,
                "change_percent": row.change_percent(),
                "verdict": row.verdict.text(),
            })
        };
        let document = json!({
            "rustc": self.machine.rustc,
            "target": self.machine.target,
            "cpu": self.machine.cpu,
            "tolerance_percent": self.tolerance_percent,
            "scenarios": self.rows.iter().map(row).collect::<Vec<Value>>(),
        });
        format!("{document:#}\n")
    }
}

/// Where the report and the profiles go; made when it is not there.
pub(crate) fn folder() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is below the target");
    let folder = target.join("instructions");
    std::fs::create_dir_all(&folder).expect("the target directory can be written");
    folder
}
