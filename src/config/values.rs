//! The settings read by their kinds, with defaults behind them: what the sections are made from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::key::{self, Place};
use super::problem::{Origin, Problem};
use super::raw::Raw;
use super::value::{self, Scalar, Value};
use crate::model::rate::Rate;

/// A value and where it comes from.
#[derive(Clone)]
pub(super) struct Effective {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Everything that is set and well-formed, and the problems so far.
///
/// Invariant: a path whose setting was malformed reads as its default and is not `sound`, so that
/// its problem is told once and no consequence of it.
///
/// It holds secrets, so it has no `Debug`.
pub(super) struct Values {
    set: BTreeMap<String, Effective>,
    entries: BTreeMap<String, Origin>,
    broken: BTreeSet<String>,
    /// What the files hold that settings name.
    contents: BTreeMap<String, String>,
    pub(super) problems: Vec<Problem>,
}

impl Values {
    /// Reads every setting by its key's kind.
    pub(super) fn new(raw: Raw) -> Values {
        let mut values = Values {
            set: BTreeMap::new(),
            entries: BTreeMap::new(),
            broken: BTreeSet::new(),
            contents: BTreeMap::new(),
            problems: raw.problems,
        };
        for (path, setting) in raw.settings {
            if path.ends_with(']') {
                values.entries.insert(path, setting.origin);
                continue;
            }
            match value::read(key::known(&path).kind, &setting.scalar) {
                Ok(value) => {
                    values.set.insert(path, Effective { value, origin: setting.origin });
                }
                Err(text) => values.problem_from(setting.origin, &path, text),
            }
        }
        values
    }

    /// Notes a problem with what stands at `path`.
    pub(super) fn problem(&mut self, path: &str, text: impl Into<String>) {
        self.problem_from(self.origin(path), path, text);
    }

    fn problem_from(&mut self, origin: Origin, path: &str, text: impl Into<String>) {
        self.broken.insert(path.to_owned());
        self.problems.push(Problem::new(origin, path, text));
    }

    /// Notes what the file holds that the setting at `path` names.
    pub(super) fn note_content(&mut self, path: &str, content: &str) {
        self.contents.insert(path.to_owned(), content.to_owned());
    }

    /// What the file holds that the setting at `path` names; a secret, for comparing.
    pub(super) fn content(&self, path: &str) -> Option<&str> {
        self.contents.get(path).map(String::as_str)
    }

    /// Whether nothing is known to be wrong with `path`.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        !self.broken.contains(path)
    }

    /// Where `path` was set: the key, else its list entry, else the default.
    pub(super) fn origin(&self, path: &str) -> Origin {
        if let Some(effective) = self.set.get(path) {
            return effective.origin.clone();
        }
        let entry = path.rfind(']').and_then(|end| self.entries.get(&path[..=end]));
        entry.cloned().unwrap_or(Origin::Default)
    }

    /// Whether someone set `path`, well or badly.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.set.contains_key(path) || self.broken.contains(path)
    }

    /// The paths of the entries of the list of tables at `path`, in order.
    pub(super) fn entries(&self, path: &str) -> Vec<String> {
        let mut numbers: Vec<u32> = self
            .entries
            .keys()
            .filter_map(|entry| {
                entry.strip_prefix(path)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
            })
            .collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| format!("{path}[{number}]")).collect()
    }

    /// The value at `path`, or its default; `None` if there is neither.
    pub(super) fn effective(&self, path: &str) -> Option<Effective> {
        if let Some(effective) = self.set.get(path) {
            return Some(effective.clone());
        }
        let Place::Value(key) = key::place(path) else { return None };
        let default = Scalar::Bare(key.default?.to_owned());
        let value = value::read(key.kind, &default).expect("a test reads every default");
        Some(Effective { value, origin: Origin::Default })
    }

    /// Text, or `None` where there is no default.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        match self.effective(path)?.value {
            Value::Text(text) => Some(text),
            _ => wrong_kind(path),
        }
    }

    /// Whether there is a text at `path` that is not empty.
    pub(super) fn is_text(&self, path: &str) -> bool {
        self.text(path).is_some_and(|text| !text.is_empty())
    }

    pub(super) fn choice(&self, path: &str) -> String {
        self.text(path).expect("a choice has a default")
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        match self.present(path) {
            Value::Flag(flag) => flag,
            _ => wrong_kind(path),
        }
    }

    /// A count or a size in bytes. The table keeps each within what the options' types hold.
    pub(super) fn number(&self, path: &str) -> usize {
        match self.present(path) {
            Value::Number(number) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => wrong_kind(path),
        }
    }

    /// A count that the table keeps within 32 bits.
    pub(super) fn number_u32(&self, path: &str) -> u32 {
        u32::try_from(self.number(path)).expect("the table bounds it")
    }

    /// A number of which 0 means "not set".
    pub(super) fn number_unless_zero(&self, path: &str) -> Option<usize> {
        Some(self.number(path)).filter(|number| *number > 0)
    }

    pub(super) fn duration(&self, path: &str) -> Duration {
        match self.present(path) {
            Value::Duration(span) => span,
            _ => wrong_kind(path),
        }
    }

    /// A span of which zero means "not set".
    pub(super) fn duration_unless_zero(&self, path: &str) -> Option<Duration> {
        Some(self.duration(path)).filter(|span| !span.is_zero())
    }

    /// Milliseconds. The table keeps each span within a day.
    pub(super) fn milliseconds(&self, path: &str) -> u32 {
        u32::try_from(self.duration(path).as_millis()).unwrap_or(u32::MAX)
    }

    /// Milliseconds of a span that may be longer than a day, rounded up: only zero is 0.
    pub(super) fn milliseconds_long(&self, path: &str) -> u64 {
        let span_ms = self.duration(path).as_nanos().div_ceil(1_000_000);
        u64::try_from(span_ms).unwrap_or(u64::MAX)
    }

    /// A rate; `None` = off.
    pub(super) fn rate(&self, path: &str) -> Option<Rate> {
        match self.present(path) {
            Value::Rate(rate) => rate,
            _ => wrong_kind(path),
        }
    }

    pub(super) fn address(&self, path: &str) -> SocketAddr {
        match self.present(path) {
            Value::Address(address) => address,
            _ => wrong_kind(path),
        }
    }

    pub(super) fn list(&self, path: &str) -> Vec<String> {
        match self.effective(path).map(|effective| effective.value) {
            Some(Value::List(entries)) => entries,
            None => Vec::new(),
            Some(_) => wrong_kind(path),
        }
    }

    fn present(&self, path: &str) -> Value {
        self.effective(path).expect("the table gives it a default").value
    }
}

fn wrong_kind(path: &str) -> ! {
    unreachable!("{path} is asked for as another kind than the table gives it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_legal() {
        for key in key::all() {
            if let Some(default) = key.default {
                let scalar = Scalar::Bare(default.to_owned());
                assert!(value::read(key.kind, &scalar).is_ok(), "{}: {default}", key.path);
            }
        }
    }
}
