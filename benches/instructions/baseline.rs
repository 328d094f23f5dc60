//! The committed figures, and what it means when others are measured.
//!
//! Pure: text in, rows and text out. `tests/instructions_baseline.rs` includes this file, because a
//! bench has no tests of its own.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::machine::Machine;

/// How far a figure may be off before it means something, where no baseline says otherwise. Two
/// runs of one build differ by less than a quarter of that, on a busy machine too.
const TOLERANCE_PERCENT_DEFAULT: f64 = 3.0;

/// Instructions per scenario, and where they were counted.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Baseline {
    pub(crate) machine: Machine,
    pub(crate) tolerance_percent: f64,
    figures: BTreeMap<String, f64>,
}

/// What a figure means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Within the tolerance.
    Same,
    /// More than the tolerance allows.
    Worse,
    /// Less by more than the tolerance: unless the baseline is renewed, as much may creep back unseen.
    Better,
    /// The baseline does not know the scenario.
    New,
    /// The baseline knows a scenario that there is not.
    Gone,
}

/// One scenario's figures beside each other.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) baseline: Option<f64>,
    pub(crate) now: Option<f64>,
    pub(crate) verdict: Verdict,
}

impl Baseline {
    /// One that knows no scenario.
    pub(crate) fn empty(machine: Machine) -> Baseline {
        let tolerance_percent = TOLERANCE_PERCENT_DEFAULT;
        Baseline { machine, tolerance_percent, figures: BTreeMap::new() }
    }

    /// Reads what [`Baseline::text`] has written.
    ///
    /// # Errors
    /// Not JSON, or a member is missing, of the wrong type or not above zero.
    pub(crate) fn parse(text: &str) -> Result<Baseline, String> {
        let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let word = |name: &str| {
            let value = document[name].as_str().ok_or_else(|| format!("`{name}` is no text"));
            value.map(str::to_owned)
        };
        let members = document["instructions"].as_object().ok_or("`instructions` is no object")?;
        let figures =
            members.iter().map(|(name, value)| Ok((name.clone(), positive(name, value)?)));
        Ok(Baseline {
            machine: Machine { rustc: word("rustc")?, target: word("target")?, cpu: word("cpu")? },
            tolerance_percent: positive("tolerance_percent", &document["tolerance_percent"])?,
            figures: figures.collect::<Result<_, String>>()?,
        })
    }

    /// The file, ready to be committed.
    pub(crate) fn text(&self) -> String {
        let tenths = |figure: f64| json!((figure * 10.0).round() / 10.0);
        let figures: Map<String, Value> =
            self.figures.iter().map(|(name, figure)| (name.clone(), tenths(*figure))).collect();
        let document = json!({
            "rustc": self.machine.rustc,
            "target": self.machine.target,
            "cpu": self.machine.cpu,
            "tolerance_percent": self.tolerance_percent,
            "instructions": figures,
        });
        format!("{document:#}\n")
    }

    /// Judges what was measured, in its order; when that is the whole set, also what is missing.
    pub(crate) fn compare(&self, measured: &[(&str, f64)], is_whole: bool) -> Vec<Row> {
        let mut rows: Vec<Row> = measured.iter().map(|(name, now)| self.row(name, *now)).collect();
        if is_whole {
            rows.extend(self.gone(measured));
        }
        rows
    }

    fn row(&self, name: &str, now: f64) -> Row {
        let baseline = self.figures.get(name).copied();
        let verdict = match baseline.map(|baseline| change_percent(baseline, now)) {
            None => Verdict::New,
            Some(change) if change > self.tolerance_percent => Verdict::Worse,
            Some(change) if change < -self.tolerance_percent => Verdict::Better,
            Some(_) => Verdict::Same,
        };
        Row { name: name.to_owned(), baseline, now: Some(now), verdict }
    }

    fn gone(&self, measured: &[(&str, f64)]) -> impl Iterator<Item = Row> {
        let is_gone = |name: &str| measured.iter().all(|(known, _)| *known != name);
        self.figures.iter().filter(move |(name, _)| is_gone(name)).map(|(name, figure)| Row {
            name: name.clone(),
            baseline: Some(*figure),
            now: None,
            verdict: Verdict::Gone,
        })
    }

    /// The baseline with these figures in it; when they are the whole set, without others.
    pub(crate) fn renewed(
        mut self,
        machine: Machine,
        measured: &[(&str, f64)],
        is_whole: bool,
    ) -> Baseline {
        self.machine = machine;
        if is_whole {
            self.figures.clear();
        }
        self.figures.extend(measured.iter().map(|(name, figure)| ((*name).to_owned(), *figure)));
        self
    }
}

impl Verdict {
    /// Whether the gate stays shut.
    pub(crate) fn fails(self) -> bool {
        match self {
            Verdict::Worse | Verdict::New | Verdict::Gone => true,
            Verdict::Same | Verdict::Better => false,
        }
    }

    /// What the table says of it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Verdict::Same => "ok",
            Verdict::Worse => "WORSE",
            Verdict::Better => "better: renew the baseline (--renew)",
            Verdict::New => "NOT IN THE BASELINE (--renew)",
            Verdict::Gone => "ONLY IN THE BASELINE (--renew)",
        }
    }
}

impl Row {
    /// By how much it has grown, in per cent.
    pub(crate) fn change_percent(&self) -> Option<f64> {
        Some(change_percent(self.baseline?, self.now?))
    }
}

fn change_percent(before: f64, now: f64) -> f64 {
    (now / before - 1.0) * 100.0
}

fn positive(name: &str, value: &Value) -> Result<f64, String> {
    let number = value.as_f64().filter(|number| *number > 0.0);
    number.ok_or_else(|| format!("`{name}` is no number above zero"))
}
