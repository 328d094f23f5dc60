//! Keys of the applications: who may use the broker, for what, within which limits.

use std::collections::HashMap;
use std::sync::Arc;

use super::api_keys;
use super::key::{Key, Kind};
use super::load::ReadFile;
use super::values::Values;
use crate::model::application::{AppLimits, Application, Applications, CorsOrigins};

/// Most applications; each costs some series in the metrics.
const APPLICATIONS_MAX: usize = 4096;
/// Longest id.
const ID_LENGTH_MAX: usize = 64;
/// The one application when none is declared.
const DEMO: &str = "demo";

const PAYLOAD_SIZE: Kind = Kind::Size { min: 64, max: 1 << 28 };

pub(super) const KEYS: &[Key] = &[
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
    Key::new("applications[].enabled", Kind::Flag, "true", "Whether it serves at all."),
    Key::new(
        "applications[].open",
        Kind::Flag,
        "false",
        "Whether everyone may subscribe and publish without a key. Only on a loopback listener.",
    ),
    Key::new(
        "applications[].client_inbound_ack_enabled",
        Kind::Flag,
        "true",
        "Whether a Realtime client that publishes over its WebSocket gets an ack.",
    ),
    Key::new(
        "applications[].cors_origins",
        Kind::List,
        "*",
        "Origins whose pages may read answers: \"*\" alone, or origins such as \
         \"https://app.example.com\".",
    ),
    Key::new(
        "applications[].limits.realtime_payload_size_max",
        PAYLOAD_SIZE,
        "5KiB",
        "Largest payload through the Realtime dialect. Over it: close 1009, or 413.",
    ),
    Key::new(
        "applications[].limits.native_payload_size_max",
        PAYLOAD_SIZE,
        "256KiB",
        "Largest payload through the native routes and buzzPost. Over it: 413.",
    ),
    Key::new(
        "applications[].limits.outbound_size_max",
        Kind::Size { min: 4096, max: 1 << 30 },
        "64KiB",
        "Most bytes queued for one connection. Over it the connection is closed as a slow consumer.",
    ),
    Key::new(
        "applications[].limits.subscriptions_max",
        Kind::Count { min: 1, max: 1 << 20 },
        "1024",
        "Most topics one connection may be subscribed to. Over it the subscription is refused.",
    ),
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
];

/// Reads the applications and notes every problem with them. What a problem leaves out is filled
/// in anyhow: the result counts only if there is no problem at all.
pub(super) fn applications(values: &mut Values, read: ReadFile<'_>) -> Applications {
    let mut entries = values.entries("applications");
    if entries.len() > APPLICATIONS_MAX {
        values.problem("applications", format!("at most {APPLICATIONS_MAX} can be declared"));
        entries.truncate(APPLICATIONS_MAX);
    }
    let mut list: Vec<_> = entries.iter().map(|path| application(values, path, read)).collect();
    if list.is_empty() {
        list.push(Application {
            id: Arc::from(DEMO),
            open: true,
            ..plain(values, "applications[0]")
        });
    }
    let mut seen = HashMap::new();
    for (application, path) in list.iter().zip(&entries) {
        if let Some(first) = seen.insert(Arc::clone(&application.id), path) {
            values.problem(&format!("{path}.id"), format!("is the id of {first} already"));
        }
    }
    let buzzpost = buzzpost(values, &list);
    Applications::new(list, buzzpost.as_deref())
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

fn application(values: &mut Values, path: &str, read: ReadFile<'_>) -> Application {
    let id_path = format!("{path}.id");
    let id = values.text(&id_path).unwrap_or_default();
    if values.is_sound(&id_path) && !is_id(&id) {
        let text = "every application needs an id: 1 to 64 of A-Z a-z 0-9 _ - and dots";
        values.problem(&id_path, text);
    }
    let application = Application {
        id: Arc::from(id),
        keys: api_keys::keys(values, path, read),
        ..plain(values, path)
    };
    check_origins(values, &format!("{path}.cors_origins"));
    let is_reachable = application.open || !application.enabled || !application.keys.is_empty();
    if !is_reachable && values.is_sound(&format!("{path}.open")) {
        values.problem(
            path,
            "nobody can use it: declare a key ([[applications.keys]]), or set open = true",
        );
    }
    application
}

/// What needs no check beyond its kind.
fn plain(values: &Values, path: &str) -> Application {
    let at = |name: &str| format!("{path}.{name}");
    let origins = values.list(&at("cors_origins"));
    Application {
        enabled: values.flag(&at("enabled")),
        open: values.flag(&at("open")),
        client_inbound_ack_enabled: values.flag(&at("client_inbound_ack_enabled")),
        limits: AppLimits {
            realtime_payload_size_max: values.number(&at("limits.realtime_payload_size_max")),
            native_payload_size_max: values.number(&at("limits.native_payload_size_max")),
            outbound_size_max: values.number(&at("limits.outbound_size_max")),
            subscriptions_max: values.number(&at("limits.subscriptions_max")),
            ..AppLimits::default()
        },
        cors_origins: match &*origins {
            [any] if any == "*" => CorsOrigins::Any,
            _ => CorsOrigins::List(origins.into_iter().map(String::into_boxed_str).collect()),
        },
        ..Application::new("")
    }
}

/// Not only dots: clients shorten such paths (RFC 3986 §5.2.4).
fn is_id(id: &str) -> bool {
    (1..=ID_LENGTH_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && id.bytes().any(|byte| byte != b'.')
}

fn check_origins(values: &mut Values, path: &str) {
    let origins = values.list(path);
    if *origins == ["*"] {
        return;
    }
    for origin in origins {
        if origin == "*" {
            values.problem(path, "\"*\" stands alone: beside it, other origins mean nothing");
        } else if !is_origin(&origin) {
            let text = format!(
                "{origin:?} is no origin: scheme://host or scheme://host:port, \
                                 lower case, nothing behind it"
            );
            values.problem(path, text);
        }
    }
}

/// As browsers serialize it (WHATWG HTML §7.1.1): lower case, no path, no slash at the end.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && !host.is_empty()
        && host.bytes().all(legal)
}
