//! Reads one value by its kind: sizes, durations, rates, addresses, lists.

use std::net::SocketAddr;
use std::time::Duration;

use super::key::{Kind, Unit};
use super::tree::{self, Content};
use super::written::{show_duration, show_size};
use crate::model::rate::{Period, Rate};

/// The highest rate and burst: one unit per nanosecond.
const RATE_MAX: u64 = 1_000_000_000;

/// A value as written, before its key says what it should be.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Scalar {
    /// Text in quotes.
    Text(String),
    Integer(i128),
    Float(f64),
    Flag(bool),
    List(Vec<Scalar>),
    /// Text from where there are no quotes: it may stand for any kind.
    Bare(String),
    /// Something no key takes, by its name.
    Other(&'static str),
}

/// A value as its key takes it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Flag(bool),
    /// A count or bytes.
    Number(u64),
    Duration(Duration),
    /// `None` for "off".
    Rate(Option<Rate>),
    Address(SocketAddr),
    /// Text, a choice or a secret.
    Text(String),
    List(Vec<String>),
}

/// Reads `scalar` as `kind`, or says what was expected and (unless secret) what was found.
pub(super) fn read(kind: Kind, scalar: &Scalar) -> Result<Value, String> {
    match kind {
        Kind::Flag => flag(scalar).map(Value::Flag),
        Kind::Count { min, max } => {
            count(scalar).filter(|number| (min..=max).contains(number)).map(Value::Number)
        }
        Kind::Size { min, max } => {
            size(scalar).filter(|bytes| (min..=max).contains(bytes)).map(Value::Number)
        }
        Kind::Duration { min, max } => {
            duration(scalar).filter(|span| (min..=max).contains(span)).map(Value::Duration)
        }
        Kind::Rate(unit) => text(scalar).and_then(|text| rate(unit, text)),
        Kind::Choice(words) => text(scalar)
            .filter(|word| words.contains(word))
            .map(|word| Value::Text(word.to_owned())),
        Kind::Address => text(scalar).and_then(|text| text.parse().ok()).map(Value::Address),
        Kind::Text | Kind::Secret => text(scalar).map(|text| Value::Text(text.to_owned())),
        Kind::List => list(scalar).map(Value::List),
        Kind::Tables => None,
    }
    .ok_or_else(|| match kind {
        Kind::Secret => format!("expected {}", expected(kind)),
        _ => format!("expected {}, found {}", expected(kind), found(scalar)),
    })
}

/// What a key of this kind takes, in words.
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Flag => "true or false".to_owned(),
        Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Size { min, max } => {
            format!(
                "a size from {} to {}, such as 4096 or \"4KiB\"",
                show_size(min),
                show_size(max)
            )
        }
        Kind::Duration { min, max } => format!(
            "a duration from {} to {}, such as \"15s\" or \"200ms\"",
            show_duration(min),
            show_duration(max)
        ),
        Kind::Rate(unit) => {
            let examples = match unit {
                Unit::Count => ["\"100/s\"", "\"600/m\"", "\"100/s burst 500\""],
                Unit::Bytes => ["\"64KiB/s\"", "\"1MiB/m\"", "\"64KiB/s burst 1MiB\""],
            };
            format!("\"off\" or a rate from 1 to {RATE_MAX}, such as {}", examples.join(", "))
        }
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Address => "an IP address and port, such as 127.0.0.1:8480 or [::1]:8480".to_owned(),
        Kind::Text | Kind::Secret => "text".to_owned(),
        Kind::List => "a list of texts, such as [\"a\", \"b\"]".to_owned(),
        Kind::Tables => "a list of tables".to_owned(),
    }
}

fn found(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Text(text) | Scalar::Bare(text) => format!("{text:?}"),
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Flag(flag) => flag.to_string(),
        Scalar::List(_) => "a list of something else".to_owned(),
        Scalar::Other(name) => (*name).to_owned(),
    }
}

fn text(scalar: &Scalar) -> Option<&str> {
    match scalar {
        Scalar::Text(text) | Scalar::Bare(text) => Some(text),
        _ => None,
    }
}

fn flag(scalar: &Scalar) -> Option<bool> {
    match scalar {
        Scalar::Flag(flag) => Some(*flag),
        Scalar::Bare(text) => text.parse().ok(),
        _ => None,
    }
}

fn count(scalar: &Scalar) -> Option<u64> {
    match scalar {
        Scalar::Integer(number) => u64::try_from(*number).ok(),
        Scalar::Bare(text) => text.parse().ok(),
        _ => None,
    }
}

fn size(scalar: &Scalar) -> Option<u64> {
    let (Scalar::Text(text) | Scalar::Bare(text)) = scalar else { return count(scalar) };
    let (digits, unit) = split_unit(text);
    let factor = match unit {
        "" if matches!(scalar, Scalar::Bare(_)) => 1,
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn duration(scalar: &Scalar) -> Option<Duration> {
    let (digits, unit) = match scalar {
        Scalar::Integer(seconds) => {
            return u64::try_from(*seconds).ok().map(Duration::from_secs);
        }
        Scalar::Float(seconds) => return Duration::try_from_secs_f64(*seconds).ok(),
        Scalar::Text(text) => split_unit(text),
        Scalar::Bare(text) => match split_unit(text) {
            (digits, "") => (digits, "s"),
            parts => parts,
        },
        _ => return None,
    };
    let nanos: u64 = match unit {
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    Some(Duration::from_nanos(digits.parse::<u64>().ok()?.checked_mul(nanos)?))
}

/// `off`, or `100/s`, `600/m`, `100/s burst 500`; the burst's default is one second's worth.
fn rate(unit: Unit, text: &str) -> Option<Value> {
    if text == "off" {
        return Some(Value::Rate(None));
    }
    let (amount, rest) = text.split_once('/')?;
    let units = rate_amount(unit, amount)?;
    let (per, burst) = match rest.split_once("burst") {
        Some((per, burst)) => (per, Some(rate_amount(unit, burst)?)),
        None => (rest, None),
    };
    let per = match per.trim() {
        "s" => Period::Second,
        "m" => Period::Minute,
        _ => return None,
    };
    let rate = Rate::with_default_burst(units, per);
    Some(Value::Rate(Some(Rate { burst: burst.unwrap_or(rate.burst), ..rate })))
}

fn rate_amount(unit: Unit, text: &str) -> Option<u32> {
    let text = Scalar::Bare(text.trim().to_owned());
    let amount = match unit {
        Unit::Count => count(&text),
        Unit::Bytes => size(&text),
    };
    amount.filter(|amount| (1..=RATE_MAX).contains(amount))?.try_into().ok()
}

/// Digits and what follows them.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn list(scalar: &Scalar) -> Option<Vec<String>> {
    match scalar {
        Scalar::List(entries) => {
            entries.iter().map(|entry| text(entry).map(str::to_owned)).collect()
        }
        Scalar::Bare(text) if text.trim_start().starts_with('[') => {
            let Content::Array(entries) = tree::inline(text).ok()?.content else { return None };
            let entry = |entry: tree::Node| match entry.content {
                Content::Scalar(Scalar::Text(text)) => Some(text),
                _ => None,
            };
            entries.into_iter().map(entry).collect()
        }
        Scalar::Bare(text) => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Kind = Kind::Size { min: 0, max: u64::MAX };
    const SPAN: Kind = Kind::Duration { min: Duration::ZERO, max: Duration::MAX };

    fn in_quotes(text: &str) -> Scalar {
        Scalar::Text(text.to_owned())
    }

    fn bare(text: &str) -> Scalar {
        Scalar::Bare(text.to_owned())
    }

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        let cases = [
            (Scalar::Integer(5), Some(5)),
            (in_quotes("16KiB"), Some(16_384)),
            (in_quotes("3 MiB"), Some(3 << 20)),
            (in_quotes("1GiB"), Some(1 << 30)),
            (in_quotes("2TiB"), Some(2 << 40)),
            (in_quotes("7B"), Some(7)),
            (bare("7"), Some(7)),
            (in_quotes("7"), None),
            (in_quotes("16KB"), None),
            (in_quotes("KiB"), None),
            (in_quotes("-1KiB"), None),
            (in_quotes("17179869184GiB"), None),
            (Scalar::Integer(-1), None),
            (Scalar::Float(1.0), None),
        ];
        for (scalar, expected) in cases {
            assert_eq!(read(SIZE, &scalar).ok(), expected.map(Value::Number), "{scalar:?}");
        }
    }

    #[test]
    fn durations_have_units_or_are_seconds() {
        let cases = [
            (in_quotes("15s"), Some(15_000_000)),
            (in_quotes("200ms"), Some(200_000)),
            (in_quotes("50us"), Some(50)),
            (in_quotes("50 µs"), Some(50)),
            (in_quotes("2m"), Some(120_000_000)),
            (in_quotes("1h"), Some(3_600_000_000)),
            (in_quotes("7d"), Some(604_800_000_000)),
            (in_quotes("213504d"), None),
            (Scalar::Integer(3), Some(3_000_000)),
            (Scalar::Float(0.25), Some(250_000)),
            (bare("3"), Some(3_000_000)),
            (in_quotes("3"), None),
            (in_quotes("1.5s"), None),
            (in_quotes("s"), None),
            (Scalar::Integer(-3), None),
            (Scalar::Float(f64::NAN), None),
        ];
        for (scalar, expected) in cases {
            let expected = expected.map(|us| Value::Duration(Duration::from_micros(us)));
            assert_eq!(read(SPAN, &scalar).ok(), expected, "{scalar:?}");
        }
    }

    #[test]
    fn rates_have_a_period_and_may_have_a_burst() {
        let rate = |units, per, burst| Some(Rate { units, per, burst });
        let (second, minute) = (Period::Second, Period::Minute);
        let cases = [
            ("off", Some(None)),
            ("100/s", Some(rate(100, second, 100))),
            ("100/s burst 500", Some(rate(100, second, 500))),
            ("600/m", Some(rate(600, minute, 10))),
            (" 1 / m  burst  3 ", Some(rate(1, minute, 3))),
            ("1/m", Some(rate(1, minute, 1))),
            ("1000000000/s", Some(rate(1_000_000_000, second, 1_000_000_000))),
            ("1000000001/s", None),
            ("1/s burst 1000000001", None),
            ("0/s", None),
            ("100/s burst 0", None),
            ("100/s burst", None),
            ("100/s burst 5/s", None),
            ("100/h", None),
            ("100", None),
            ("/s", None),
            ("-1/s", None),
            ("1.5/s", None),
            ("1KiB/s", None),
            ("Off", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let kind = Kind::Rate(Unit::Count);
            assert_eq!(read(kind, &in_quotes(text)).ok(), expected.map(Value::Rate), "{text:?}");
        }
        let cases = [
            ("64KiB/s", Some(rate(65_536, second, 65_536))),
            ("1MiB/m burst 2000", Some(rate(1 << 20, minute, 2000))),
            ("5/s burst 1KiB", Some(rate(5, second, 1024))),
            ("1GiB/s", None),
            ("64KB/s", None),
        ];
        for (text, expected) in cases {
            let kind = Kind::Rate(Unit::Bytes);
            assert_eq!(read(kind, &bare(text)).ok(), expected.map(Value::Rate), "{text:?}");
        }
        let problem = read(Kind::Rate(Unit::Count), &Scalar::Integer(100)).unwrap_err();
        assert_eq!(
            problem,
            "expected \"off\" or a rate from 1 to 1000000000, such as \"100/s\", \"600/m\", \
             \"100/s burst 500\", found 100"
        );
    }

    #[test]
    fn the_other_kinds() {
        let count = Kind::Count { min: 1, max: 9 };
        assert_eq!(read(count, &Scalar::Integer(9)), Ok(Value::Number(9)));
        assert_eq!(read(count, &bare("1")), Ok(Value::Number(1)));
        assert_eq!(
            read(count, &Scalar::Integer(10)),
            Err("expected a whole number from 1 to 9, found 10".to_owned())
        );
        assert_eq!(read(Kind::Flag, &bare("true")), Ok(Value::Flag(true)));
        assert!(read(Kind::Flag, &in_quotes("true")).is_err());
        let word = Kind::Choice(&["a", "b"]);
        assert_eq!(read(word, &in_quotes("b")), Ok(Value::Text("b".to_owned())));
        assert_eq!(
            read(word, &in_quotes("c")),
            Err("expected one of a, b, found \"c\"".to_owned())
        );
        let listed = Ok(Value::List(vec!["a".to_owned(), "b".to_owned()]));
        for scalar in [bare("a, b"), bare("['a', 'b']"), bare("[\"a\",\"b\"]")] {
            assert_eq!(read(Kind::List, &scalar), listed, "{scalar:?}");
        }
        assert!(read(Kind::List, &Scalar::List(vec![Scalar::Integer(1)])).is_err());
        assert!(read(Kind::Address, &in_quotes("localhost:80")).is_err());
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_shown() {
        let problem = read(Kind::Secret, &Scalar::Integer(271_828_182_845)).unwrap_err();
        assert_eq!(problem, "expected text");
    }
}
