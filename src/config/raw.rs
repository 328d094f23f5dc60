//! The settings as written, by path: what a file, the environment and the command line set.

use std::collections::BTreeMap;

use super::key::{self, Place};
use super::problem::{Origin, Problem};
use super::suggestion::suggestion;
use super::tree::{Content, Node};
use super::value::Scalar;

/// One setting as written.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) scalar: Scalar,
    pub(super) origin: Origin,
}

/// All settings as written, by path (`applications[0].id`). A list entry itself stands at its path
/// too, with an empty list, so that an entry without any key is not overlooked. It holds secrets, so
/// it has no `Debug`.
#[derive(Default)]
pub(super) struct Raw {
    pub(super) settings: BTreeMap<String, Setting>,
    pub(super) problems: Vec<Problem>,
}

impl Raw {
    /// Sets one path, over whatever set it before.
    pub(super) fn set(&mut self, path: String, scalar: Scalar, origin: Origin) {
        // An entry named only by the environment exists by that.
        for (at, _) in path.match_indices(']') {
            let entry = Setting { scalar: Scalar::List(Vec::new()), origin: origin.clone() };
            self.settings.entry(path[..=at].to_owned()).or_insert(entry);
        }
        self.settings.insert(path, Setting { scalar, origin });
    }

    /// Forgets everything at and below `path`.
    pub(super) fn remove(&mut self, path: &str) {
        self.settings.retain(|set, _| {
            set.strip_prefix(path)
                .is_none_or(|rest| !(rest.is_empty() || rest.starts_with(['.', '['])))
        });
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, origin: Origin, path: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(origin, path, text));
    }

    /// Sets what a whole document says; `origin` tells where a line is.
    pub(super) fn document(&mut self, root: Node, origin: &dyn Fn(usize) -> Origin) {
        if let Content::Table(entries) = root.content {
            self.table("", entries, origin);
        }
    }

    fn table(
        &mut self,
        path: &str,
        entries: Vec<(String, Node)>,
        origin: &dyn Fn(usize) -> Origin,
    ) {
        for (name, node) in entries {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            // A quoted name with dots in it would pass for a path.
            let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if is_plain {
                self.entry(&path, node, origin);
            } else {
                self.unknown(origin(node.line), &path);
            }
        }
    }

    /// Sets what stands at `path` and below.
    pub(super) fn entry(&mut self, path: &str, node: Node, origin: &dyn Fn(usize) -> Origin) {
        let here = origin(node.line);
        match (key::place(path), node.content) {
            (Place::Unknown, _) => self.unknown(here, path),
            (Place::Section, Content::Table(entries)) => self.table(path, entries, origin),
            (Place::Section, _) => self.problem(here, path, "is a section: expected a table"),
            (Place::Tables, Content::Array(entries)) => self.tables(path, entries, origin),
            (Place::Tables, _) => self.problem(here, path, "expected a list of tables"),
            (Place::Value(_), Content::Scalar(scalar)) => self.set(path.to_owned(), scalar, here),
            (Place::Value(_), Content::Array(entries)) => {
                let entry = |entry: Node| match entry.content {
                    Content::Scalar(scalar) => scalar,
                    Content::Array(_) => Scalar::Other("a list"),
                    Content::Table(_) => Scalar::Other("a table"),
                };
                let list = entries.into_iter().map(entry).collect();
                self.set(path.to_owned(), Scalar::List(list), here);
            }
            (Place::Value(_), Content::Table(_)) => {
                self.set(path.to_owned(), Scalar::Other("a table"), here);
            }
        }
    }

    fn tables(&mut self, path: &str, entries: Vec<Node>, origin: &dyn Fn(usize) -> Origin) {
        for (index, node) in entries.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let here = origin(node.line);
            match node.content {
                Content::Table(fields) => {
                    self.set(path.clone(), Scalar::List(Vec::new()), here);
                    self.table(&path, fields, origin);
                }
                _ => self.problem(here, &path, "expected a table"),
            }
        }
    }

    fn unknown(&mut self, origin: Origin, path: &str) {
        let text = match suggestion(path) {
            Some(meant) => format!("there is no such key; did you mean `{meant}`?"),
            None => "there is no such key; `fanwire config default` prints all".to_owned(),
        };
        self.problem(origin, path, text);
    }
}
