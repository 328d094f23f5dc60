//! The live view: one line on standard error, rewritten on a terminal, appended elsewhere.

use std::io::{self, IsTerminal, Write as _};
use std::sync::atomic::Ordering;

use crate::chart::append;
use crate::report::Second;
use crate::run::Run;

/// Shows progress.
pub struct LiveLine {
    is_terminal: bool,
}

impl LiveLine {
    /// Looks at what standard error is.
    #[must_use]
    pub fn new() -> LiveLine {
        LiveLine { is_terminal: io::stderr().is_terminal() }
    }

    /// Shows one second.
    pub fn show(&self, run: &Run, second: &Second) {
        let line = line(run, second);
        let mut out = io::stderr().lock();
        // Progress that cannot be shown must not stop the run.
        let _ = if self.is_terminal {
            write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{line}")
        };
    }

    /// Leaves the line, so that what follows starts on its own.
    pub fn end(&self) {
        if self.is_terminal {
            let _ = writeln!(io::stderr());
        }
    }
}

impl Default for LiveLine {
    fn default() -> LiveLine {
        LiveLine::new()
    }
}

fn line(run: &Run, second: &Second) -> String {
    let mut line = format!(
        "{:4.0} s {:8} subs {}/{}",
        second.at_s, second.phase, second.live, run.settings.subscribers
    );
    let progress = &run.progress;
    let due = progress.due.load(Ordering::Relaxed);
    let mut add = |text: std::fmt::Arguments<'_>| append(&mut line, text);
    if due > 0 {
        let accepted = progress.accepted.load(Ordering::Relaxed);
        add(format_args!(" | published {accepted}/{due}"));
        add(format_args!(" delivered {} ({}/s)", run.delivered(), short(second.delivered)));
    }
    if let Some([median, p99, longest]) = second.latency {
        let (a, b, c) = (milliseconds(median), milliseconds(p99), milliseconds(longest));
        add(format_args!(" | p50 {a} p99 {b} max {c}"));
    }
    if let (Some(cpus), Some(rss)) = (second.server_cpus, second.server_rss) {
        add(format_args!(" | server {:.0} % {} MiB", cpus * 100.0, rss >> 20));
    }
    add(format_args!(" | generator {:.0} %", second.generator_cpu * 100.0));
    let wrong = run.counters.sum(|row| &row.wrong);
    let failures = run.counters.sum(|row| &row.failures);
    let refused = progress.refused.load(Ordering::Relaxed);
    for (name, count) in [("WRONG", wrong), ("refused", refused), ("failed connects", failures)] {
        if count > 0 {
            add(format_args!(" | {name} {count}"));
        }
    }
    line
}

/// Nanoseconds as milliseconds with a sensible number of places.
#[must_use]
pub fn milliseconds(ns: u64) -> String {
    let ms = crate::run::per(ns, 1e6);
    if ms < 10.0 {
        format!("{ms:.3} ms")
    } else if ms < 100.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

/// A number with k or M behind it.
#[must_use]
pub fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        n if n >= 100.0 => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(milliseconds(1_234_567), "1.235 ms");
        assert_eq!(milliseconds(12_345_678), "12.3 ms");
        assert_eq!(milliseconds(1_234_567_890), "1235 ms");
        assert_eq!([short(3.0), short(25_300.0), short(2.5e6)], ["3.0", "25.3 k", "2.50 M"]);
    }
}
