//! What differs between two configurations, and when each difference takes effect.
//!
//! Entries of lists are paired by what they are: applications by their ids, API keys by their secrets,
//! all others by their places. What an entry is added or removed with is not listed. A file that holds
//! a secret counts by its content. No secret is part of a difference.

use std::fmt;

use super::key::{self, Effect, Key, Kind};
use super::load::Loaded;
use super::value::Value;
use super::written;
use crate::model::application::Application;
use crate::model::succession::same_durability;

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The key, applications named by their ids: `applications[demo].limits.publishes`.
    pub path: String,
    /// What is different.
    pub what: Difference,
    /// When the new one takes effect in a broker that runs with the old one.
    pub effect: Effect,
}

/// What is different.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// The entry is new.
    Added,
    /// The entry is gone.
    Removed,
    /// The value; as files spell it, secrets masked. `None`: not set, and without a default.
    Value(Option<String>, Option<String>),
}

impl Change {
    /// The application that it is about.
    pub fn application(&self) -> Option<&str> {
        Some(self.path.strip_prefix("applications[")?.split_once(']')?.0)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            Difference::Added => write!(f, "{path}: added"),
            Difference::Removed => write!(f, "{path}: removed"),
            Difference::Value(old, new) if old == new => write!(f, "{path}: another content"),
            Difference::Value(old, new) => {
                let shown = |value: &Option<String>| value.clone().unwrap_or("not set".to_owned());
                write!(f, "{path}: {} -> {}", shown(old), shown(new))
            }
        }
    }
}

impl Loaded {
    /// What is different in `new`, in the order of the default file.
    pub fn diff(&self, new: &Loaded) -> Vec<Change> {
        let mut changes = Vec::new();
        let of_process = key::all()
            .filter(|key| !key.path.starts_with(APPLICATIONS) && !key.path.starts_with(LISTENERS));
        for key in of_process {
            compare(&mut changes, key, key.path, (self, key.path), (new, key.path));
        }
        let lists = (Entries::of(self, LISTENERS), Entries::of(new, LISTENERS));
        compare_lists(&mut changes, LISTENERS, LISTENERS, (self, &lists.0), (new, &lists.1));
        let lists = (Entries::of(self, APPLICATIONS), Entries::of(new, APPLICATIONS));
        compare_lists(&mut changes, APPLICATIONS, APPLICATIONS, (self, &lists.0), (new, &lists.1));
        for change in &mut changes {
            hold_back(change, self, new);
        }
        changes
    }
}

const APPLICATIONS: &str = "applications";
const LISTENERS: &str = "listeners";
/// What there is when no application is declared.
const DEMO: &str = "demo";

/// The entries of one list: what each is known by, what it is called, and its path.
struct Entries(Vec<(String, String, String)>);

impl Entries {
    fn of(loaded: &Loaded, list: &str) -> Entries {
        let pattern = key::pattern_of(list);
        let entries = loaded.values.entries(list).into_iter().enumerate();
        let entry = |(place, path): (usize, String)| match &*pattern {
            APPLICATIONS => {
                let id = loaded.values.text(&format!("{path}.id")).unwrap_or_default();
                (id.clone(), id, path)
            }
            "applications[].keys" => {
                let secret = loaded.values.content(&format!("{path}.secret_file"));
                let secret = secret.map(str::to_owned);
                let secret = secret.or_else(|| loaded.values.text(&format!("{path}.secret")));
                (secret.unwrap_or_default(), place.to_string(), path)
            }
            _ => (place.to_string(), place.to_string(), path),
        };
        let mut entries: Vec<_> = entries.map(entry).collect();
        if entries.is_empty() && pattern == APPLICATIONS {
            entries.push((DEMO.to_owned(), DEMO.to_owned(), IMPLIED.to_owned()));
        }
        Entries(entries)
    }

    fn find(&self, identity: &str) -> Option<&(String, String, String)> {
        self.0.iter().find(|(known, ..)| known == identity)
    }
}

/// Where nothing is written: the path of the application that is there when none is declared.
const IMPLIED: &str = "applications[0]";

type Side<'a, T> = (&'a Loaded, &'a T);

/// Compares two lists of tables whose keys begin with `list` in the table of keys; `name` is the
/// list's in what is told.
fn compare_lists(
    changes: &mut Vec<Change>,
    list: &'static str,
    name: &str,
    (old, old_entries): Side<'_, Entries>,
    (new, new_entries): Side<'_, Entries>,
) {
    let effect = key::all().find(|key| key.path == list).map_or(Effect::Live, |key| key.effect);
    let change = |called: &str, what| Change { path: format!("{name}[{called}]"), what, effect };
    for (identity, called, _) in &old_entries.0 {
        if new_entries.find(identity).is_none() {
            changes.push(change(called, Difference::Removed));
        }
    }
    for (identity, called, new_path) in &new_entries.0 {
        match old_entries.find(identity) {
            None => changes.push(change(called, Difference::Added)),
            Some((.., old_path)) => {
                let name = format!("{name}[{called}]");
                compare_entries(changes, list, &name, (old, old_path), (new, new_path));
            }
        }
    }
}

fn compare_entries(
    changes: &mut Vec<Change>,
    list: &'static str,
    name: &str,
    (old, old_path): Side<'_, String>,
    (new, new_path): Side<'_, String>,
) {
    let below = format!("{list}[].");
    for key in key::all() {
        let Some(rest) = key.path.strip_prefix(&below) else { continue };
        let name = format!("{name}.{rest}");
        let (old_path, new_path) = (format!("{old_path}.{rest}"), format!("{new_path}.{rest}"));
        if matches!(key.kind, Kind::Tables) {
            let lists = (Entries::of(old, &old_path), Entries::of(new, &new_path));
            compare_lists(changes, key.path, &name, (old, &lists.0), (new, &lists.1));
        } else if !rest.contains("[]") && rest != "id" {
            compare(changes, key, &name, (old, &old_path), (new, &new_path));
        }
    }
}

fn compare(
    changes: &mut Vec<Change>,
    key: &Key,
    name: &str,
    (old, old_path): Side<'_, str>,
    (new, new_path): Side<'_, str>,
) {
    let value = |loaded: &Loaded, path: &str| {
        let is_implied = loaded.values.entries(APPLICATIONS).is_empty();
        if is_implied && path == "applications[0].open" {
            return Some(Value::Flag(true));
        }
        loaded.values.effective(path).map(|effective| effective.value)
    };
    let values = (value(old, old_path), value(new, new_path));
    let contents = (old.values.content(old_path), new.values.content(new_path));
    if values.0 == values.1 && contents.0 == contents.1 {
        return;
    }
    let show = |value: Option<Value>| value.map(|value| written::show(key.kind, &value));
    changes.push(Change {
        path: name.to_owned(),
        what: Difference::Value(show(values.0), show(values.1)),
        effect: key.effect,
    });
}

/// What a running broker cannot do at once although the key as such is live: anything that would change
/// which topics are durable, or whether a listener speaks TLS.
fn hold_back(change: &mut Change, old: &Loaded, new: &Loaded) {
    if let Some(rest) = change.path.strip_prefix("listeners[") {
        let place = rest.split_once(']').and_then(|(place, _)| place.parse::<usize>().ok());
        let speaks_tls = |loaded: &Loaded| {
            let listener = place.and_then(|place| loaded.settings.listeners.get(place));
            listener.is_some_and(|listener| listener.seam.tls.is_some())
        };
        if !(speaks_tls(old) && speaks_tls(new)) {
            change.effect = Effect::Restart;
        }
        return;
    }
    let Some(rest) = change.path.strip_prefix("applications[") else { return };
    let Some((id, key)) = rest.split_once(']') else { return };
    let of = |loaded: &Loaded| -> Option<Application> {
        let applications = &loaded.settings.applications;
        Some(applications.get(applications.find(id)?).clone())
    };
    let is_held_back = match (of(old), of(new)) {
        (Some(old), Some(new)) => {
            let families = [".topics", ".durable", ".history", ".slow_consumer", ".sends_last"];
            families.iter().any(|start| key.starts_with(start)) && !same_durability(&old, &new)
        }
        (None, Some(added)) => added.has_durable_topics() && old.settings.store.is_none(),
        _ => false,
    };
    if is_held_back {
        change.effect = Effect::Restart;
    }
}
