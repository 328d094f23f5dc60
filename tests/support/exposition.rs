//! A strict reader of the Prometheus text format, version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

/// A page: every sample by name and labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
    kinds: BTreeMap<String, String>,
}

impl Metrics {
    /// Reads a page; anything outside the format is a failure.
    pub(crate) fn parse(text: &str) -> Metrics {
        assert!(text.ends_with('\n'), "the last line ends too");
        let mut metrics = Metrics::default();
        let mut family = String::new();
        let mut seen = BTreeSet::new();
        let mut helped = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                rest.split_once(' ').expect("a help text").0.clone_into(&mut helped);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name, helped, "HELP comes before TYPE");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(seen.insert(name.to_owned()), "{name} begins twice");
                name.clone_into(&mut family);
                metrics.kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                metrics.sample(line, &family);
            }
        }
        metrics
    }

    fn sample(&mut self, line: &str, family: &str) {
        let name_size = line.find(['{', ' ']).expect("a value");
        let (name, mut rest) = line.split_at(name_size);
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(
            name.chars().all(legal) && !name.starts_with(|c: char| c.is_ascii_digit()),
            "{line}"
        );
        let suffix = name.strip_prefix(family).expect("a sample follows its family's head");
        let suffixes: &[&str] =
            if self.kinds[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line}");
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"").expect("a label");
                let label = label.strip_prefix(',').unwrap_or(label);
                let (value, after) = quoted(after);
                assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
                rest = after;
            }
            rest = &rest[1..];
        }
        let value = rest.strip_prefix(' ').expect("one space before the value");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let twice = self.samples.insert((name.to_owned(), labels), value);
        assert!(twice.is_none(), "twice: {line}");
    }

    /// Whether any sample of `name` carries `labels`.
    pub(crate) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.samples.keys().any(|(own, values)| {
            own == name
                && labels
                    .iter()
                    .all(|(label, value)| values.get(*label).is_some_and(|own| own == value))
        })
    }

    /// The sum of all samples of `name` that carry `labels`; at least one must.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |own: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| own.get(*label).is_some_and(|own| own == value))
        };
        let found: Vec<f64> = self
            .samples
            .iter()
            .filter(|((own, labels), _)| own == name && carries(labels))
            .map(|(_, value)| *value)
            .collect();
        assert!(!found.is_empty(), "no sample of {name} with {labels:?}");
        found.iter().sum()
    }

    /// The same as a whole number.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are small")]
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let sum = self.sum(name, labels);
        assert!(sum >= 0.0 && sum.fract() == 0.0, "{name} is {sum}");
        sum as u64
    }

    /// Cumulative buckets of each histogram never fall and end in the count.
    pub(crate) fn check_histograms(&self) {
        let mut checked = 0;
        for ((name, labels), count) in &self.samples {
            let Some(family) = name.strip_suffix("_count") else { continue };
            if self.kinds.get(family).is_none_or(|kind| kind != "histogram") {
                continue;
            }
            let mut buckets: Vec<(f64, f64)> = self
                .samples
                .iter()
                .filter(|((n, own), _)| {
                    *n == format!("{family}_bucket")
                        && labels.iter().all(|(label, value)| own.get(label) == Some(value))
                })
                .map(|((_, own), value)| (own["le"].parse().expect("a bound"), *value))
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name}: {buckets:?}");
            let last = buckets.last().expect("buckets");
            assert_eq!((last.0, last.1), (f64::INFINITY, *count), "{name}");
            assert!(self.samples.contains_key(&(format!("{family}_sum"), labels.clone())));
            checked += 1;
        }
        assert!(checked > 0, "no histogram");
    }
}

/// A label's value up to its closing quote, unescaped, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return (value, &text[index + 1..]),
            '\\' => match chars.next().expect("an escaped character").1 {
                'n' => value.push('\n'),
                plain @ ('\\' | '"') => value.push(plain),
                other => panic!("no such escape: \\{other}"),
            },
            '\n' => panic!("a bare line feed in a label"),
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}");
}
