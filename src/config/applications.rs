//! Keys of the applications themselves, and how the files beside this one make a list of them:
//! `callers`, `families`, `sessions`, `application_limits`, `api_keys`, `token_keys`.

use std::collections::HashMap;
use std::sync::Arc;

use super::key::{Key, Kind, live};
use super::load::ReadFile;
use super::token_keys::{self, KeySets};
use super::values::Values;
use super::{api_keys, application_limits, callers, families, poll, sessions};
use crate::model::application::{Application, Applications};

/// Most applications; each costs some series in the metrics.
const APPLICATIONS_MAX: usize = 4096;
/// Longest id.
const ID_LENGTH_MAX: usize = 64;
/// Longest name and description, in bytes.
const PROSE_SIZE_MAX: usize = 1024;
/// The one application when none is declared.
const DEMO: &str = "demo";

pub(super) const KEYS: &[Key] = &live([
    Key::without_default(
        "applications",
        Kind::Tables,
        "Isolated tenants, each with topics, keys and limits of its own. With none declared there \
         is one, `demo`, open to everyone who reaches the listener (which must then be loopback).",
    ),
    Key::without_default(
        "applications[].id",
        Kind::Text,
        "Its name in paths: 1 to 64 of A-Z a-z 0-9 _ - and dots.",
    ),
    Key::new("applications[].name", Kind::Text, "", "Its name for people."),
    Key::new("applications[].description", Kind::Text, "", "What it is for."),
    Key::new("applications[].enabled", Kind::Flag, "true", "Whether it serves at all."),
    Key::new(
        "applications[].open",
        Kind::Flag,
        "false",
        "Whether everyone may subscribe and publish without a key. Only on a loopback listener.",
    ),
]);

/// Reads the applications and notes every problem with them. What a problem leaves out is filled
/// in anyhow: the result counts only if there is no problem at all.
pub(super) fn applications(values: &mut Values, read: ReadFile<'_>) -> Applications {
    let mut entries = values.entries("applications");
    if entries.len() > APPLICATIONS_MAX {
        values.problem("applications", format!("at most {APPLICATIONS_MAX} can be declared"));
        entries.truncate(APPLICATIONS_MAX);
    }
    let mut key_sets = KeySets::default();
    let mut list: Vec<_> =
        entries.iter().map(|path| application(values, path, read, &mut key_sets)).collect();
    if list.is_empty() {
        let demo = without_keys(values, "applications[0]");
        list.push(Application { id: Arc::from(DEMO), open: true, ..demo });
    }
    let mut seen = HashMap::new();
    for (application, path) in list.iter().zip(&entries) {
        if let Some(first) = seen.insert(Arc::clone(&application.id), path) {
            values.problem(&format!("{path}.id"), format!("is the id of {first} already"));
        }
    }
    let buzzpost = buzzpost(values, &list);
    let applications =
        Applications::new(list, buzzpost.as_deref()).with_key_sets(key_sets.into_sources());
    poll::with_simple_form(values, applications)
}

/// The root path's application. The default is only a guess, so it may be missing from the list.
fn buzzpost(values: &mut Values, list: &[Application]) -> Option<String> {
    let path = "buzzpost_application";
    let id = values.text(path)?;
    if list.iter().any(|application| *application.id == *id) {
        return Some(id);
    }
    if values.is_set(path) {
        values.problem(path, format!("there is no application {id:?}"));
    }
    None
}

fn application(
    values: &mut Values,
    path: &str,
    read: ReadFile<'_>,
    key_sets: &mut KeySets,
) -> Application {
    let id_path = format!("{path}.id");
    let id = values.text(&id_path).unwrap_or_default();
    if values.is_sound(&id_path) && !is_id(&id) {
        let text = "every application needs an id: 1 to 64 of A-Z a-z 0-9 _ - and dots";
        values.problem(&id_path, text);
    }
    let mut token_keys =
        |list| token_keys::token_keys(values, &format!("{path}.{list}"), read, key_sets);
    let (auth_keys, admin_keys) = (token_keys("auth_keys"), token_keys("admin_keys"));
    let application = Application {
        id: Arc::from(id),
        keys: api_keys::keys(values, path, read),
        auth_keys,
        admin_keys,
        ..without_keys(values, path)
    };
    if !is_reachable(&application) && values.is_sound(&format!("{path}.open")) {
        values.problem(
            path,
            "nobody can use it: declare a key ([[applications.keys]], [[applications.auth_keys]] or \
             [[applications.admin_keys]]), or set open = true",
        );
    }
    application
}

/// Whether anyone can use it, or nobody is meant to.
fn is_reachable(application: &Application) -> bool {
    let has_keys = !application.keys.is_empty()
        || !application.auth_keys.is_empty()
        || !application.admin_keys.is_empty();
    has_keys || application.open || !application.enabled
}

/// All but its id and keys.
fn without_keys(values: &mut Values, path: &str) -> Application {
    let at = |name: &str| format!("{path}.{name}");
    application_limits::check_ping(values, path);
    Application {
        name: prose(values, &at("name")),
        description: prose(values, &at("description")),
        enabled: values.flag(&at("enabled")),
        open: values.flag(&at("open")),
        client_source_address: callers::addresses(values, &at("client_source_address")),
        admin_source_address: callers::addresses(values, &at("admin_source_address")),
        cors_origins: callers::origins(values, path),
        cors_credentials: values.flag(&at("cors_credentials")),
        token_leeway_s: sessions::token_leeway_s(values, path),
        token_expiry: sessions::token_expiry(values, path),
        websocket_inbound_topic_enabled: values.flag(&at("enable_websocket_inbound_topic")),
        client_inbound_ack_enabled: values.flag(&at("client_inbound_ack_enabled")),
        same_subject: sessions::same_subject(values, path),
        presence: sessions::presence(values, path),
        limits: application_limits::limits(values, path),
        families: families::families(values, path),
        idempotency_window_ms: families::idempotency_window_ms(values, path),
        ..Application::new("")
    }
}

/// Text for people.
fn prose(values: &mut Values, path: &str) -> Box<str> {
    let text = values.text(path).unwrap_or_default();
    if text.len() > PROSE_SIZE_MAX {
        values.problem(path, format!("is longer than {PROSE_SIZE_MAX} bytes"));
    }
    text.into()
}

/// Not only dots: clients shorten such paths (RFC 3986 §5.2.4).
fn is_id(id: &str) -> bool {
    (1..=ID_LENGTH_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && id.bytes().any(|byte| byte != b'.')
}
