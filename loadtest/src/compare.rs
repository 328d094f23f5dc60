//! Two reports side by side, with a stated threshold below which a difference is noise.

use std::fmt;

use crate::report::{FORM, Report};

/// Whether more of a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Higher,
    Lower,
}

/// What a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Below the threshold.
    Noise,
    /// Above it, for the better.
    Improved,
    /// Above it, for the worse.
    Worse,
}

/// One figure in both reports.
#[derive(Clone, Debug)]
pub struct Row {
    name: &'static str,
    before: f64,
    after: f64,
    percent: f64,
    /// What the difference means.
    pub change: Change,
}

/// The comparison of two runs.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Figures present in both.
    pub rows: Vec<Row>,
    /// What makes the comparison doubtful.
    pub doubts: Vec<String>,
    threshold: f64,
    has_failed: bool,
}

/// Compares `after` with `before`; differences below `threshold` percent are noise.
///
/// # Errors
/// When a report has another form, or the runs are of different scenarios.
pub fn compare(before: &Report, after: &Report, threshold: f64) -> Result<Comparison, String> {
    if before.form != FORM || after.form != FORM {
        return Err(format!("a report's form is not {FORM}"));
    }
    let (a, b) = (&before.settings, &after.settings);
    if a.scenario != b.scenario {
        return Err(format!("{} against {}", a.scenario.name(), b.scenario.name()));
    }
    let differs = [
        ("door", a.door != b.door),
        ("publish door", a.publish_door != b.publish_door),
        ("paths", a.paths != b.paths),
        ("subscribers", a.subscribers != b.subscribers),
        ("storm", a.storm != b.storm),
        ("topics", a.topics != b.topics),
        ("size", a.size != b.size),
        ("rate", (a.rate - b.rate).abs() > f64::EPSILON),
        ("processes", a.processes != b.processes),
        ("CPU", before.environment.cpu != after.environment.cpu),
        ("kernel", before.environment.kernel != after.environment.kernel),
    ];
    let mut doubts: Vec<String> = differs
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| format!("{name} differs between the runs"))
        .collect();
    for (name, report) in [("first", before), ("second", after)] {
        if report.generator.is_saturated {
            doubts.push(format!("the generator was saturated in the {name} run"));
        }
        if !report.passed {
            doubts.push(format!("the {name} run failed: {}", report.headline()));
        }
    }
    let rows = figures(before)
        .into_iter()
        .zip(figures(after))
        .filter(|(before, after)| before.2 > 0.0 && after.2 > 0.0)
        .map(|((name, better, before), (_, _, after))| row(name, better, before, after, threshold))
        .collect();
    Ok(Comparison { rows, doubts, threshold, has_failed: !after.passed })
}

fn row(name: &'static str, better: Better, before: f64, after: f64, threshold: f64) -> Row {
    let percent = (after - before) / before * 100.0;
    let gain = if better == Better::Higher { percent } else { -percent };
    let change = match gain {
        gain if gain.abs() <= threshold => Change::Noise,
        gain if gain > 0.0 => Change::Improved,
        _ => Change::Worse,
    };
    Row { name, before, after, percent, change }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn figures(report: &Report) -> Vec<(&'static str, Better, f64)> {
    let latency = &report.latency_corrected;
    let server = report.server.clone().unwrap_or_default();
    let storm = report.storm.clone().unwrap_or_default();
    let came = || storm.phases.iter().filter(|phase| phase.connects > 0);
    let slowest = came().map(|phase| phase.connects_per_second).reduce(f64::min);
    let dearest = came().filter_map(|phase| phase.server_cpu_us_per_connect).reduce(f64::max);
    let memory = report.memory.last().and_then(|step| step.private_per_subscriber);
    vec![
        ("delivered frames/s", Better::Higher, report.publish.delivered_per_second),
        ("accepted publishes/s", Better::Higher, report.publish.rate_achieved),
        ("subscribed/s", Better::Higher, report.connect.rate_achieved),
        ("handshake p99 ms", Better::Lower, report.connect.handshake.p99_ns as f64 / 1e6),
        ("latency p50 ms", Better::Lower, latency.p50_ns as f64 / 1e6),
        ("latency p99 ms", Better::Lower, latency.p99_ns as f64 / 1e6),
        ("latency p99.9 ms", Better::Lower, latency.p99_9_ns as f64 / 1e6),
        ("latency max ms", Better::Lower, latency.max_ns as f64 / 1e6),
        ("server CPU us/delivery", Better::Lower, server.cpu_us_per_delivery),
        ("server rss max MiB", Better::Lower, server.rss_max as f64 / 1_048_576.0),
        ("storm p99 : quiet", Better::Lower, storm.ratio),
        ("storm connects/s, slowest", Better::Higher, slowest.unwrap_or(0.0)),
        ("storm CPU us/connect, worst", Better::Lower, dearest.unwrap_or(0.0)),
        ("private bytes/connection", Better::Lower, memory.unwrap_or(0.0)),
    ]
}

impl Comparison {
    /// Whether the second run failed or any figure is worse by more than the threshold.
    #[must_use]
    pub fn has_regression(&self) -> bool {
        self.has_failed || self.rows.iter().any(|row| row.change == Change::Worse)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:26} {:>12} {:>12} {:>9}", "figure", "before", "after", "change")?;
        for row in &self.rows {
            let word = match row.change {
                Change::Noise => "noise",
                Change::Improved => "better",
                Change::Worse => "WORSE",
            };
            writeln!(
                f,
                "{:26} {:12.3} {:12.3} {:+8.1} %  {word}",
                row.name, row.before, row.after, row.percent
            )?;
        }
        for doubt in &self.doubts {
            writeln!(f, "doubt: {doubt}")?;
        }
        let verdict = if self.has_regression() { "REGRESSION" } else { "no regression" };
        write!(f, "{verdict} (differences up to {} % count as noise)", self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_and_threshold_decide() {
        let change = |better, before, after| row("x", better, before, after, 5.0).change;
        assert_eq!(change(Better::Higher, 100.0, 104.0), Change::Noise);
        assert_eq!(change(Better::Higher, 100.0, 106.0), Change::Improved);
        assert_eq!(change(Better::Higher, 100.0, 94.0), Change::Worse);
        assert_eq!(change(Better::Lower, 100.0, 94.0), Change::Improved);
        assert_eq!(change(Better::Lower, 100.0, 106.0), Change::Worse);
    }
}
