//! Writes the Prometheus text format, version 0.0.4: families, samples, escaping.
//!
//! It knows no metric by name; `metrics` does. A family's samples must follow its head directly,
//! which the calls' shape ensures: samples are written through the [`Family`] that a head returns.

use std::fmt;
use std::io::Write as _;

use super::histogram::{BOUNDED_COUNT, Reading, bound_us};

/// The `Content-Type` of what is written here.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A family's `TYPE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, sum and count.
    Histogram,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A label's name and value.
pub type Label<'a> = (&'static str, &'a str);

/// A page being written.
#[derive(Debug)]
pub struct Exposition<'a> {
    out: &'a mut Vec<u8>,
}

/// A family whose head has been written and whose samples follow.
#[derive(Debug)]
pub struct Family<'a> {
    out: &'a mut Vec<u8>,
    name: &'static str,
}

impl<'a> Exposition<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Exposition<'a> {
        Exposition { out }
    }

    /// Begins the family `name`. Each name may begin once per page.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        self.out.extend_from_slice(b"# HELP ");
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b' ');
        escape(self.out, help, false);
        write(self.out, format_args!("\n# TYPE {name} {}\n", kind.word()));
        Family { out: self.out, name }
    }
}

impl Family<'_> {
    /// One sample of a counter or gauge.
    pub fn sample(&mut self, labels: &[Label<'_>], value: u64) -> &mut Self {
        self.line("", labels, None, format_args!("{value}"))
    }

    /// One sample that is not a whole number.
    pub fn sample_f64(&mut self, labels: &[Label<'_>], value: f64) -> &mut Self {
        self.line("", labels, None, format_args!("{value}"))
    }

    /// The buckets, sum and count of one histogram, in seconds.
    pub fn histogram(&mut self, labels: &[Label<'_>], reading: &Reading) -> &mut Self {
        let mut seen: u64 = 0;
        for (bucket, count) in reading.buckets.iter().enumerate() {
            seen = seen.wrapping_add(*count);
            let bound = if bucket < BOUNDED_COUNT {
                Seconds(bound_us(bucket)).to_string()
            } else {
                "+Inf".to_owned()
            };
            self.line("_bucket", labels, Some(("le", &bound)), format_args!("{seen}"));
        }
        self.line("_sum", labels, None, format_args!("{}", Seconds(reading.sum_us)));
        self.line("_count", labels, None, format_args!("{seen}"))
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[Label<'_>],
        extra: Option<Label<'_>>,
        value: fmt::Arguments<'_>,
    ) -> &mut Self {
        self.out.extend_from_slice(self.name.as_bytes());
        self.out.extend_from_slice(suffix.as_bytes());
        let mut separator = b'{';
        for (name, text) in labels.iter().copied().chain(extra) {
            self.out.push(separator);
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"=\"");
            escape(self.out, text, true);
            self.out.push(b'"');
            separator = b',';
        }
        if separator == b',' {
            self.out.push(b'}');
        }
        write(self.out, format_args!(" {value}\n"));
        self
    }
}

/// Microseconds shown as seconds, exactly.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{micros:06}");
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

fn write(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

/// A backslash and a line feed are escaped everywhere, a quote only in label values.
fn escape(out: &mut Vec<u8>, text: &str, quote: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quote => out.extend_from_slice(b"\\\""),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::histogram::Histogram;

    fn page(fill: impl FnOnce(&mut Exposition<'_>)) -> String {
        let mut out = Vec::new();
        fill(&mut Exposition::new(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn heads_labels_and_escapes() {
        let text = page(|page| {
            page.family("a_total", Kind::Counter, "back\\slash, \"quote\",\nline")
                .sample(&[], 1)
                .sample(&[("x", "\\ \" \n é"), ("y", "")], u64::MAX);
            page.family("b", Kind::Gauge, "b").sample_f64(&[], 1.5);
        });
        let expected = "# HELP a_total back\\\\slash, \"quote\",\\nline\n# TYPE a_total counter\n\
                        a_total 1\na_total{x=\"\\\\ \\\" \\n é\",y=\"\"} 18446744073709551615\n\
                        # HELP b b\n# TYPE b gauge\nb 1.5\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_is_cumulative_and_in_seconds() {
        let histogram = Histogram::default();
        for us in [1, 3, 3, 1 << 25, 1 << 40] {
            histogram.observe_us(us);
        }
        let text = page(|page| {
            page.family("h_seconds", Kind::Histogram, "h")
                .histogram(&[("shard", "0")], &histogram.read());
        });
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), BOUNDED_COUNT + 3);
        assert_eq!(lines[0], "h_seconds_bucket{shard=\"0\",le=\"0.000001\"} 1");
        assert_eq!(lines[1], "h_seconds_bucket{shard=\"0\",le=\"0.000002\"} 1");
        assert_eq!(lines[2], "h_seconds_bucket{shard=\"0\",le=\"0.000004\"} 3");
        assert_eq!(lines[25], "h_seconds_bucket{shard=\"0\",le=\"33.554432\"} 4");
        assert_eq!(lines[26], "h_seconds_bucket{shard=\"0\",le=\"+Inf\"} 5");
        assert_eq!(lines[27], "h_seconds_sum{shard=\"0\"} 1099545.182215");
        assert_eq!(lines[28], "h_seconds_count{shard=\"0\"} 5");
    }

    #[test]
    fn seconds_are_exact() {
        let cases = [(0, "0"), (1, "0.000001"), (1_500_000, "1.5"), (2_000_000, "2")];
        for (us, expected) in cases {
            assert_eq!(Seconds(us).to_string(), expected);
        }
    }
}
