//! Writes one value back as the file spells it; what is written reads as the same value.

use std::fmt::Write as _;
use std::time::Duration;

use super::key::{Kind, Unit};
use super::value::Value;
use crate::model::rate::{Period, Rate};

/// A value as it is written in the file.
pub(super) fn show(kind: Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Secret, Value::Text(text)) if text.is_empty() => quote(""),
        (Kind::Secret, _) => quote("***"),
        (Kind::Size { .. }, Value::Number(bytes)) => {
            let shown = show_size(*bytes);
            if shown.ends_with('B') { quote(&shown) } else { shown }
        }
        (Kind::Rate(unit), Value::Rate(Some(rate))) => quote(&show_rate(unit, rate)),
        (_, Value::Rate(_)) => quote("off"),
        (_, Value::Number(number)) => number.to_string(),
        (_, Value::Flag(flag)) => flag.to_string(),
        (_, Value::Duration(span)) => quote(&show_duration(*span)),
        (_, Value::Address(address)) => quote(&address.to_string()),
        (_, Value::Text(text)) => quote(text),
        (_, Value::List(entries)) => {
            let quoted: Vec<_> = entries.iter().map(|entry| quote(entry)).collect();
            format!("[{}]", quoted.join(", "))
        }
    }
}

/// Bytes in the largest unit that shows them exactly.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in units {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// A span in days, or in the largest unit up to seconds, that shows it exactly.
pub(super) fn show_duration(span: Duration) -> String {
    const DAY: Duration = Duration::from_hours(24);
    let is_days = span.as_nanos().is_multiple_of(DAY.as_nanos());
    if is_days && !span.is_zero() {
        format!("{}d", span.as_secs() / DAY.as_secs())
    } else if !span.subsec_micros().is_multiple_of(1000) {
        format!("{}us", span.as_micros())
    } else if span.subsec_millis() != 0 {
        format!("{}ms", span.as_millis())
    } else {
        format!("{}s", span.as_secs())
    }
}

/// A rate; its burst only where it is not the default.
fn show_rate(unit: Unit, rate: &Rate) -> String {
    let amount = |amount: u32| match unit {
        Unit::Count => amount.to_string(),
        Unit::Bytes => show_size(amount.into()),
    };
    let per = match rate.per {
        Period::Second => "s",
        Period::Minute => "m",
    };
    let burst = if *rate == Rate::with_default_burst(rate.units, rate.per) {
        String::new()
    } else {
        format!(" burst {}", amount(rate.burst))
    };
    format!("{}/{per}{burst}", amount(rate.units))
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::super::tree::{self, Content};
    use super::super::value::{Scalar, read};
    use super::*;

    const SIZE: Kind = Kind::Size { min: 0, max: u64::MAX };
    const SPAN: Kind = Kind::Duration { min: Duration::ZERO, max: Duration::MAX };

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1025, 5 << 20, 3 << 30, 7 << 40] {
            let shown = show(SIZE, &Value::Number(bytes));
            let tree = tree::inline(&shown).unwrap();
            let Content::Scalar(scalar) = tree.content else { panic!("{shown}") };
            assert_eq!(read(SIZE, &scalar), Ok(Value::Number(bytes)), "{shown}");
        }
        let day_us = 86_400_000_000;
        for us in
            [0, 1, 999, 1_000, 1_001, 1_500_000, 75_000_000, 3_600_000_000, day_us, day_us + 1]
        {
            let value = Value::Duration(Duration::from_micros(us));
            let Content::Scalar(scalar) = tree::inline(&show(SPAN, &value)).unwrap().content else {
                panic!("{us}")
            };
            assert_eq!(read(SPAN, &scalar), Ok(value), "{us}");
        }
        for text in ["off", "100/s", "100/s burst 500", "1/m", "90/m burst 2", "2048/s burst 4096"]
        {
            for kind in [Kind::Rate(Unit::Count), Kind::Rate(Unit::Bytes)] {
                let value = read(kind, &Scalar::Text(text.to_owned())).unwrap();
                let Content::Scalar(scalar) = tree::inline(&show(kind, &value)).unwrap().content
                else {
                    panic!("{text}")
                };
                assert_eq!(read(kind, &scalar), Ok(value), "{text}");
            }
        }
        assert_eq!(
            show(
                Kind::Rate(Unit::Bytes),
                &Value::Rate(Some(Rate { units: 2048, per: Period::Minute, burst: 4096 }))
            ),
            "\"2KiB/m burst 4KiB\""
        );
        for text in ["", "a\"b\\c", "line\nfeed\u{7f}", "é"] {
            let value = Value::Text(text.to_owned());
            let Content::Scalar(scalar) = tree::inline(&show(Kind::Text, &value)).unwrap().content
            else {
                panic!("{text:?}")
            };
            assert_eq!(read(Kind::Text, &scalar), Ok(value));
        }
    }
}
