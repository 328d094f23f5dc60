//! Findings as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::demand::Demand;
use super::finding::{Finding, Severity};
use super::host::Host;

/// Columns of the text.
const WIDTH: usize = 100;
/// Where a finding's sentences begin.
const INDENT: &str = "           ";

/// The findings for people, the worst first.
pub(in crate::server) fn text(findings: &[Finding], host: &Host, demand: &Demand) -> String {
    let mut out = format!(
        "For {} connections on {} shards, about {} of memory:\n\n",
        demand.connections,
        demand.shard_count,
        show_size(demand.memory_size(host.page_size))
    );
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in sorted {
        write_finding(&mut out, finding);
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let _ = writeln!(
        out,
        "\n{} will hurt, {} warnings, {} notes, {} ok",
        count(Severity::WillHurt),
        count(Severity::Warning),
        count(Severity::Note),
        count(Severity::Ok)
    );
    out
}

fn write_finding(out: &mut String, finding: &Finding) {
    let mark = match finding.severity {
        Severity::WillHurt => "WILL HURT",
        Severity::Warning => "warning",
        Severity::Note => "note",
        Severity::Ok => "ok",
    };
    let _ = writeln!(out, "{mark:<10} {}: {}", finding.id, finding.found);
    if finding.severity == Severity::Ok {
        return;
    }
    if !finding.needed.is_empty() {
        wrap(out, &format!("needed: {}", finding.needed), INDENT, WIDTH);
    }
    wrap(out, finding.what, INDENT, WIDTH);
    for line in finding.fix.lines() {
        // A command must stay on one line to be copied.
        let _ = writeln!(out, "{INDENT}  {line}");
    }
}

/// The same for programs, in the order of examination.
pub(in crate::server) fn json(findings: &[Finding], host: &Host, demand: &Demand) -> Value {
    let one = |finding: &Finding| {
        json!({
            "id": finding.id,
            "severity": finding.severity.name(),
            "what": finding.what,
            "found": finding.found,
            "needed": finding.needed,
            "fix": finding.fix,
        })
    };
    json!({
        "connections": demand.connections,
        "shards": demand.shard_count,
        "memory_bytes": demand.memory_size(host.page_size),
        "findings": findings.iter().map(one).collect::<Vec<_>>(),
    })
}

/// Bytes in the largest unit of which there is one, with a decimal.
pub(in crate::server) fn show_size(bytes: u64) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1u64 << 10)];
    for (unit, factor) in units {
        if bytes >= factor {
            let tenths = u128::from(bytes) * 10 / u128::from(factor);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// Appends `text` in lines of at most `width` columns, each behind `prefix`.
pub(super) fn wrap(out: &mut String, text: &str, prefix: &str, width: usize) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.chars().count() > width {
            out.push('\n');
            column = 0;
        }
        let before = if column == 0 { prefix } else { " " };
        out.push_str(before);
        out.push_str(word);
        column += before.chars().count() + word.chars().count();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_their_unit() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (256 << 10, "256.0 KiB"),
            (5 << 30, "5.0 GiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(show_size(bytes), expected);
        }
    }

    #[test]
    fn lines_are_wrapped_behind_their_prefix() {
        let mut out = String::new();
        wrap(&mut out, "one two three four", "# ", 10);
        assert_eq!(out, "# one two\n# three\n# four\n");
    }
}
