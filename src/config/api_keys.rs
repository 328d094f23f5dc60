//! An application's API keys: secrets from the file or beside it, and what they allow.

use std::sync::Arc;

use super::environment;
use super::key::{Key, Kind, live};
use super::load::ReadFile;
use super::secret;
use super::values::Values;
use crate::model::application::ApiKey;
use crate::model::identity::Identity;
use crate::model::pattern::Patterns;
use crate::model::rights::{self, Manage, Rights};

/// Most keys of one application; all of them are compared at every request.
const KEYS_MAX: usize = 64;
const RIGHTS: [&str; 3] = ["subscribe", "publish", "admin"];

pub(super) const KEYS: &[Key] = &live([
    Key::without_default(
        "applications[].keys",
        Kind::Tables,
        "API keys; a caller presents one. At most 64.",
    ),
    Key::without_default(
        "applications[].keys[].secret",
        Kind::Secret,
        "The key itself: at least 16 visible ASCII characters. Placeholders are refused.",
    ),
    Key::without_default(
        "applications[].keys[].secret_file",
        Kind::Text,
        "A file that holds the key instead, such as a systemd credential.",
    ),
    Key::without_default(
        "applications[].keys[].rights",
        Kind::List,
        "What it allows: any of \"subscribe\", \"publish\", \"admin\".",
    ),
    Key::new(
        "applications[].keys[].topics",
        Kind::List,
        "*",
        "Topics to which it may subscribe or publish: patterns with `*`; a leading `!` excludes.",
    ),
]);

/// Reads the keys of the application at `path` and notes every problem with them.
pub(super) fn keys(values: &mut Values, path: &str, read: ReadFile<'_>) -> Vec<ApiKey> {
    let mut entries = values.entries(&format!("{path}.keys"));
    if entries.len() > KEYS_MAX {
        values.problem(&format!("{path}.keys"), format!("at most {KEYS_MAX} can be declared"));
        entries.truncate(KEYS_MAX);
    }
    let mut keys: Vec<ApiKey> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    for entry in entries {
        let secret = secret_of(values, &entry, read);
        let identity = Arc::new(Identity::without_token(rights_of(values, &entry)));
        if let Some(first) =
            keys.iter().position(|key| !secret.is_empty() && *key.secret == *secret)
        {
            values.problem(&entry, format!("has the same secret as {}", found[first]));
        }
        keys.push(ApiKey { secret: secret.into_boxed_str(), identity });
        found.push(entry);
    }
    keys
}

/// The secret; empty after a problem.
fn secret_of(values: &mut Values, entry: &str, read: ReadFile<'_>) -> String {
    let (given, file) = (format!("{entry}.secret"), format!("{entry}.secret_file"));
    let (path, secret) = match (values.text(&given), values.text(&file)) {
        (Some(_), Some(_)) => {
            values.problem(&file, "secret is set too; keep one of them");
            return String::new();
        }
        (Some(secret), None) => (given, secret),
        (None, Some(name)) => match environment::read_value(&name, read) {
            Ok(secret) => {
                values.note_content(&file, &secret);
                (file, secret)
            }
            Err(problem) => {
                values.problem(&file, problem);
                return String::new();
            }
        },
        (None, None) => {
            if values.is_sound(&given) && values.is_sound(&file) {
                values.problem(entry, "needs a secret or a secret_file");
            }
            return String::new();
        }
    };
    if let Err(problem) = secret::check(&secret) {
        values.problem(&path, problem);
        return String::new();
    }
    secret
}

fn rights_of(values: &mut Values, entry: &str) -> Rights {
    let path = format!("{entry}.rights");
    let names = values.list(&path);
    if names.is_empty() && values.is_sound(&path) {
        values.problem(&path, "needs at least one of \"subscribe\", \"publish\", \"admin\"");
    }
    for name in &names {
        if !RIGHTS.contains(&&**name) {
            let text = format!("{name:?} is no right; there are {}", RIGHTS.join(", "));
            values.problem(&path, text);
        }
    }
    let topics = values.list(&format!("{entry}.topics"));
    let has = |right: &str| names.iter().any(|name| name == right);
    let patterns = |granted| if granted { Patterns::new(&topics) } else { Patterns::default() };
    Rights {
        publish: patterns(has("publish")),
        subscribe: patterns(has("subscribe")),
        public_is_limited: true,
        manage: if has("admin") { Manage::EVERYTHING } else { Manage::default() },
        presented: rights::permissions(has("subscribe"), has("publish"), has("admin"), &topics)
            .into(),
    }
}
