//! The table of keys: path, kind, default and documentation of everything that can be set.
//!
//! A path names list entries by `[]` in the table (`applications[].id`) and by number in a setting
//! (`applications[0].id`).

use std::time::Duration;

use super::{
    admin, api_keys, application_limits, applications, callers, families, key_sets, limits,
    listeners, log, poll, proxies, server, sessions, shards, store, tls, token_keys,
};

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Where it stands in the file, e.g. `shards.mesh.capacity`.
    pub(super) path: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// Its default as written in the file; `None` for what has none.
    pub(super) default: Option<&'static str>,
    /// What it does, its unit, and what happens at a limit.
    pub(super) doc: &'static str,
    /// When another value takes effect.
    pub(super) effect: Effect,
}

/// When another value of a key takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// With the next reload, on what runs.
    Live,
    /// With the next start; a reload says so and changes nothing.
    Restart,
}

impl Effect {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Effect::Live => "live",
            Effect::Restart => "restart",
        }
    }
}

/// These keys, all of them live. A key that is not said to be needs a restart.
pub(super) const fn live<const COUNT: usize>(mut keys: [Key; COUNT]) -> [Key; COUNT] {
    let mut index = 0;
    while index < COUNT {
        keys[index].effect = Effect::Live;
        index += 1;
    }
    keys
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
    /// How much may come: text such as `"100/s"`, `"600/m burst 20"` or `"off"`.
    Rate(Unit),
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

/// What a rate counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Whole things.
    Count,
    /// Bytes, with units as a size has them.
    Bytes,
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
        Key { path, kind, default: Some(default), doc, effect: Effect::Restart }
    }

    pub(super) const fn without_default(path: &'static str, kind: Kind, doc: &'static str) -> Key {
        Key { path, kind, default: None, doc, effect: Effect::Restart }
    }

    /// The same, live.
    pub(super) const fn live(self) -> Key {
        Key { effect: Effect::Live, ..self }
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
    // An application's own keys come before its sections, and its lists come last: TOML wants it so.
    [
        server::ROOT_KEYS,
        server::KEYS,
        proxies::KEYS,
        admin::KEYS,
        shards::KEYS,
        limits::KEYS,
        poll::KEYS,
        store::KEYS,
        key_sets::KEYS,
        log::KEYS,
        listeners::KEYS,
        tls::KEYS,
        applications::KEYS,
        callers::KEYS,
        families::OWN_KEYS,
        sessions::KEYS,
        families::HISTORY_KEYS,
        application_limits::KEYS,
        api_keys::KEYS,
        token_keys::AUTH_KEYS,
        token_keys::ADMIN_KEYS,
        families::TOPICS_KEYS,
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
pub(super) fn pattern_of(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            inside = (inside || *c == '[') && *c != ']';
            !(inside && c.is_ascii_digit())
        })
        .collect()
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
    fn these_keys_need_a_restart_and_no_others() {
        let paths: Vec<_> =
            all().filter(|key| key.effect == Effect::Restart).map(|key| key.path).collect();
        assert_eq!(
            paths,
            [
                "server.listen",
                "server.trusted_proxies",
                "server.client_header",
                "admin.listen",
                "admin.token",
                "admin.token_file",
                "shards.count",
                "shards.pin",
                "shards.steer_by_cpu",
                "shards.huge_pages",
                "shards.driver",
                "shards.send",
                "shards.backlog",
                "shards.connections_max",
                "shards.mesh.capacity",
                "shards.mesh.pending_size_max",
                "shards.socket.receive_size",
                "shards.socket.send_size",
                "shards.socket.notsent_lowat",
                "shards.socket.user_timeout",
                "shards.socket.busy_poll",
                "store.path",
                "store.commit_count_max",
                "store.sync",
                "log.format",
                "listeners",
                "listeners[].address",
                "listeners[].mode",
                "listeners[].proxy_protocol",
                "applications[].durable",
                "applications[].topics[].durable",
            ]
        );
    }

    #[test]
    fn places_are_told_apart() {
        assert!(matches!(place("shards.mesh.capacity"), Place::Value(_)));
        assert!(matches!(place("applications[12].keys[0].secret"), Place::Value(_)));
        assert!(matches!(place("applications"), Place::Tables));
        assert!(matches!(place("applications[3].keys"), Place::Tables));
        assert!(matches!(place("applications[3].topics[1].durable"), Place::Value(_)));
        assert!(matches!(place("applications[3].history"), Place::Section));
        assert!(matches!(place("shards.mesh"), Place::Section));
        assert!(matches!(place("applications[0].limits"), Place::Section));
        for unknown in ["shard", "shards.mes", "applications.id", "shards.mesh.capacity.x", ""] {
            assert!(matches!(place(unknown), Place::Unknown), "{unknown}");
        }
    }
}
