//! The table of keys: path, kind, default and documentation of everything that can be set.
//!
//! A path names list entries by `[]` in the table (`applications[].id`) and by number in a setting
//! (`applications[0].id`).

use std::time::Duration;

use super::{application_limits, applications, limits, log, server, shards, token_keys};

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Where it stands in the file, e.g. `shards.mesh.capacity`.
    pub(super) path: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// Its default as written in the file; `None` for what has none.
    pub(super) default: Option<&'static str>,
    /// What it does, its unit, and what happens at a limit.
    pub(super) doc: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number in a range.
    Count { min: u64, max: u64 },
    /// Bytes in a range: a whole number, or text such as `"16KiB"`.
    Size { min: u64, max: u64 },
    /// A span in a range: text such as `"15s"`, or a number of seconds.
    Duration { min: Duration, max: Duration },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An IP address and port.
    Address,
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A list of texts.
    List,
    /// A list of tables; each of its entries has keys of its own.
    Tables,
}

/// The longest duration that may be set; the clock's ticks tell spans of up to 24 days apart.
pub(super) const DURATION_MAX: Duration = Duration::from_hours(24);

impl Key {
    pub(super) const fn new(
        path: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Key {
        Key { path, kind, default: Some(default), doc }
    }

    pub(super) const fn without_default(path: &'static str, kind: Kind, doc: &'static str) -> Key {
        Key { path, kind, default: None, doc }
    }

    /// The section it stands in, e.g. `shards.mesh`; empty for the top of the file.
    pub(super) fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within the section.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }
}

/// All keys, in the order of the default file.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [
        server::ROOT_KEYS,
        server::KEYS,
        shards::KEYS,
        limits::KEYS,
        log::KEYS,
        applications::KEYS,
        application_limits::KEYS,
        token_keys::AUTH_KEYS,
        token_keys::ADMIN_KEYS,
    ]
    .into_iter()
    .flatten()
}

/// What stands at a path.
#[derive(Debug)]
pub(super) enum Place {
    /// A key that holds a value.
    Value(&'static Key),
    /// A list of tables.
    Tables,
    /// A table that only groups others.
    Section,
    /// Nothing.
    Unknown,
}

/// What stands at `path`, list entries named by number or by `[]`.
pub(super) fn place(path: &str) -> Place {
    let pattern = pattern_of(path);
    if let Some(key) = all().find(|key| key.path == pattern) {
        return if matches!(key.kind, Kind::Tables) { Place::Tables } else { Place::Value(key) };
    }
    let is_section =
        all().any(|key| key.path.strip_prefix(&*pattern).is_some_and(|rest| rest.starts_with('.')));
    if is_section { Place::Section } else { Place::Unknown }
}

/// The key at a path that the program names itself.
pub(super) fn known(path: &str) -> &'static Key {
    match place(path) {
        Place::Value(key) => key,
        place => unreachable!("the program asks for {path}, where the table has {place:?}"),
    }
}

/// `applications[12].id` → `applications[].id`.
fn pattern_of(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            inside = (inside || *c == '[') && *c != ']';
            !(inside && c.is_ascii_digit())
        })
        .collect()
}

/// What the operator may have meant by the unknown `path`: a sibling that is spelled alike, else a
/// key of that very name elsewhere.
pub(super) fn suggestion(path: &str) -> Option<String> {
    let pattern = pattern_of(path);
    let (parent, name) = match pattern.rsplit_once('.') {
        Some((parent, name)) => (format!("{parent}."), name),
        None => (String::new(), &*pattern),
    };
    let children = all().filter_map(|key| {
        let rest = key.path.strip_prefix(&*parent)?;
        Some(rest.split(['.', '[']).next().unwrap_or(rest))
    });
    let alike = children
        .map(|child| (strsim::damerau_levenshtein(child, name), child))
        .filter(|(distance, child)| *distance <= (child.len() / 3).max(1))
        .min();
    if let Some((_, child)) = alike {
        return Some(format!("{parent}{child}"));
    }
    all().find(|key| key.name() == name).map(|key| key.path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn paths_are_unique_documented_and_spelled_alike() {
        let mut seen = HashSet::new();
        for key in all() {
            assert!(seen.insert(key.path), "{} stands twice", key.path);
            assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}: {:?}", key.path, key.doc);
            let legal = |c: char| c.is_ascii_lowercase() || "_.[]".contains(c);
            assert!(key.path.chars().all(legal), "{}", key.path);
        }
    }

    #[test]
    fn places_are_told_apart() {
        assert!(matches!(place("shards.mesh.capacity"), Place::Value(_)));
        assert!(matches!(place("applications[12].keys[0].secret"), Place::Value(_)));
        assert!(matches!(place("applications"), Place::Tables));
        assert!(matches!(place("applications[3].keys"), Place::Tables));
        assert!(matches!(place("shards.mesh"), Place::Section));
        assert!(matches!(place("applications[0].limits"), Place::Section));
        for unknown in ["shard", "shards.mes", "applications.id", "shards.mesh.capacity.x", ""] {
            assert!(matches!(place(unknown), Place::Unknown), "{unknown}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_understood_and_nonsense_is_not() {
        let cases = [
            ("sever", Some("server")),
            ("server.listne", Some("server.listen")),
            ("server.head_size_max", Some("http.head_size_max")),
            ("shards.mesh.capacty", Some("shards.mesh.capacity")),
            ("aplications", Some("applications")),
            ("applications[2].enable", Some("applications[].enabled")),
            ("applications[0].keys[0].topic", Some("applications[].keys[].topics")),
            ("zebra", None),
        ];
        for (path, expected) in cases {
            assert_eq!(suggestion(path).as_deref(), expected, "{path}");
        }
    }
}
