//! The gate of `benches/instructions`: it shuts on what costs more, and on nothing else.

#[path = "../benches/instructions/baseline.rs"]
mod baseline;
#[path = "../benches/instructions/machine.rs"]
mod machine;

use baseline::{Baseline, Verdict};
use machine::Machine;

const COMMITTED: &str = include_str!("../benches/instructions/baseline.json");

const TEXT: &str = r#"{
  "cpu": "avx2",
  "instructions": {
    "delivery": 500.0,
    "publish": 20000.5
  },
  "rustc": "1.0.0",
  "target": "x86_64-unknown-linux-gnu",
  "tolerance_percent": 3.0
}
"#;

fn baseline() -> Baseline {
    Baseline::parse(TEXT).expect("this is how it is written")
}

/// What the gate says of each figure, and whether it stays shut.
fn judge(measured: &[(&str, f64)], is_whole: bool) -> Vec<(String, Verdict, bool)> {
    let rows = baseline().compare(measured, is_whole);
    rows.into_iter().map(|row| (row.name, row.verdict, row.verdict.fails())).collect()
}

#[test]
fn a_figure_is_judged_at_the_tolerance() {
    let cases = [
        (500.0, Verdict::Same, false),
        (514.9, Verdict::Same, false),
        (515.1, Verdict::Worse, true),
        (5_000.0, Verdict::Worse, true),
        (485.1, Verdict::Same, false),
        (484.9, Verdict::Better, false),
        (1.0, Verdict::Better, false),
    ];
    for (now, verdict, fails) in cases {
        assert_eq!(
            judge(&[("delivery", now)], false),
            [("delivery".to_owned(), verdict, fails)],
            "{now}"
        );
    }
}

#[test]
fn one_bad_figure_among_good_ones_is_found() {
    let expected = [
        ("publish".to_owned(), Verdict::Same, false),
        ("delivery".to_owned(), Verdict::Worse, true),
    ];
    assert_eq!(judge(&[("publish", 20_001.0), ("delivery", 560.0)], true), expected);
}

#[test]
fn scenarios_that_the_baseline_does_not_share_shut_the_gate() {
    let measured = [("publish", 20_000.5), ("handshake", 50_000.0)];
    let both = [
        ("publish".to_owned(), Verdict::Same, false),
        ("handshake".to_owned(), Verdict::New, true),
    ];
    assert_eq!(judge(&measured, false), both, "who asks for some is not told of others");
    let gone = ("delivery".to_owned(), Verdict::Gone, true);
    assert_eq!(judge(&measured, true), [&both[..], &[gone]].concat());
}

#[test]
fn a_row_tells_the_change() {
    let measured = [("delivery", 510.0), ("handshake", 1.0)];
    let rows = baseline().compare(&measured, true);
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let change = row.change_percent().map(|change| format!("{change:+.1}"));
            (row.baseline, row.now, change, row.verdict.text())
        })
        .collect();
    let expected = [
        (Some(500.0), Some(510.0), Some("+2.0".to_owned()), "ok"),
        (None, Some(1.0), None, "NOT IN THE BASELINE (--renew)"),
        (Some(20_000.5), None, None, "ONLY IN THE BASELINE (--renew)"),
    ];
    assert_eq!(told, expected);
    assert_eq!(Verdict::Worse.text(), "WORSE");
    assert_eq!(Verdict::Better.text(), "better: renew the baseline (--renew)");
}

#[test]
fn what_is_written_is_read_again() {
    assert_eq!(baseline().text(), TEXT);
    let committed = Baseline::parse(COMMITTED).expect("the committed baseline is one");
    assert_eq!(committed.text(), COMMITTED);
}

#[test]
fn renewing_replaces_what_was_measured_and_keeps_the_tolerance() {
    let here = Machine { rustc: "2.0.0".into(), target: "t".into(), cpu: "c".into() };
    let measured = [("publish", 1.25), ("handshake", 2.0)];
    let renewed = |is_whole| baseline().renewed(here.clone(), &measured, is_whole);
    let figures = |baseline: &Baseline| {
        let text = baseline.text();
        let lines = text.lines().filter(|line| line.starts_with("    "));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(figures(&renewed(true)), [r#""handshake": 2.0,"#, r#""publish": 1.3"#]);
    let some = renewed(false);
    let expected = [r#""delivery": 500.0,"#, r#""handshake": 2.0,"#, r#""publish": 1.3"#];
    assert_eq!(figures(&some), expected);
    assert_eq!((&some.machine, some.tolerance_percent.to_bits()), (&here, 3.0_f64.to_bits()));
    assert_eq!(figures(&Baseline::empty(here)), [""; 0]);
}

#[test]
fn damaged_baselines_are_refused_by_name() {
    let cases = [
        ("\"rustc\": \"1.0.0\"", "\"rustc\": 1", "`rustc` is no text"),
        ("\"cpu\"", "\"gpu\"", "`cpu` is no text"),
        ("\"instructions\"", "\"figures\"", "`instructions` is no object"),
        ("500.0", "\"500\"", "`delivery` is no number above zero"),
        ("500.0", "0", "`delivery` is no number above zero"),
        ("3.0", "-3", "`tolerance_percent` is no number above zero"),
    ];
    for (from, to, expected) in cases {
        let problem = Baseline::parse(&TEXT.replace(from, to)).expect_err("it is damaged");
        assert_eq!(problem, expected, "{from} → {to}");
    }
    assert!(Baseline::parse("{").is_err());
}

#[test]
fn only_another_target_or_cpu_cannot_be_compared() {
    let here = Machine::this();
    assert!(!here.rustc.is_empty() && !here.target.is_empty(), "{here:?}");
    assert_eq!(here.why_incomparable(&here), None);
    let newer = Machine { rustc: "9.0.0".into(), ..here.clone() };
    assert_eq!(here.why_incomparable(&newer), None);
    let other_target = Machine { target: "other".into(), ..here.clone() };
    let other_cpu = Machine { cpu: "none".into(), ..here.clone() };
    for other in [other_target, other_cpu] {
        let reason = here.why_incomparable(&other).expect("it is another machine");
        assert!(reason.contains(&other.target) && reason.contains(&other.cpu), "{reason}");
    }
}
