//! Keys of the applications: who may use the broker, for what, within which limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::key::{Key, Kind};
use super::load::ReadFile;
use super::values::Values;
use super::{api_keys, application_limits, token_keys};
use crate::model::address::AddressList;
use crate::model::application::{
    Application, Applications, CorsOrigins, PresenceOptions, SameSubject,
};
use crate::model::token::{KeySetSource, TokenExpiry};

/// Most applications; each costs some series in the metrics.
const APPLICATIONS_MAX: usize = 4096;
/// Longest id.
const ID_LENGTH_MAX: usize = 64;
/// The one application when none is declared.
const DEMO: &str = "demo";

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
    Key::new("applications[].name", Kind::Text, "", "Its name for people."),
    Key::new("applications[].description", Kind::Text, "", "What it is for."),
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
        "applications[].enable_websocket_inbound_topic",
        Kind::Flag,
        "true",
        "Whether clients may send type \"message\", and presence is told, on secure/inbound.",
    ),
    Key::new(
        "applications[].same_subject",
        Kind::Choice(&["replace_old", "reject_new", "allow"]),
        "replace_old",
        "What becomes of a second WebSocket of one token subject: the old one is closed, the new one \
         is, or both stay. reject_new locks a user who was cut off out until that is noticed.",
    ),
    Key::new(
        "applications[].token_leeway",
        Kind::Duration { min: Duration::ZERO, max: Duration::from_mins(5) },
        "5s",
        "Clock difference that is forgiven when a token's times are judged.",
    ),
    Key::new(
        "applications[].token_expiry",
        Kind::Choice(&["keep", "close"]),
        "keep",
        "What happens when the token of an open connection expires: nothing, as on the platform; or \
         it is told, and closed (3000) after token_expiry_grace unless it presents a new one.",
    ),
    Key::new(
        "applications[].token_expiry_grace",
        Kind::Duration { min: Duration::ZERO, max: Duration::from_hours(1) },
        "30s",
        "Time that a connection has to present a new token.",
    ),
    Key::without_default(
        "applications[].client_source_address",
        Kind::List,
        "Networks from which clients may come: 10.0.0.0/8, 2001:db8::/32, 192.0.2.7; a leading `!` \
         denies. An empty list lets everyone come. Others get 403.",
    ),
    Key::without_default(
        "applications[].admin_source_address",
        Kind::List,
        "Networks from which backends may publish and administer, in the same form.",
    ),
    Key::new(
        "applications[].presence.debounce",
        Kind::Duration { min: Duration::ZERO, max: Duration::from_mins(5) },
        "0s",
        "How long a subject may be gone before it is told; one that returns earlier never left.",
    ),
    Key::new(
        "applications[].presence.members_max",
        Kind::Count { min: 0, max: 1_000_000 },
        "1000",
        "Members of a topic up to which they are named; above it only their number is told.",
    ),
    Key::new(
        "applications[].cors_credentials",
        Kind::Flag,
        "false",
        "Whether pages of listed origins may send credentials; browsers refuse that with \"*\".",
    ),
    Key::new(
        "applications[].cors_origins",
        Kind::List,
        "*",
        "Origins whose pages may read answers: \"*\" alone, or origins such as \
         \"https://app.example.com\".",
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
    let mut key_sets = Vec::new();
    let mut list: Vec<_> =
        entries.iter().map(|path| application(values, path, read, &mut key_sets)).collect();
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
    Applications::new(list, buzzpost.as_deref()).with_key_sets(key_sets)
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
    key_sets: &mut Vec<KeySetSource>,
) -> Application {
    let id_path = format!("{path}.id");
    let id = values.text(&id_path).unwrap_or_default();
    if values.is_sound(&id_path) && !is_id(&id) {
        let text = "every application needs an id: 1 to 64 of A-Z a-z 0-9 _ - and dots";
        values.problem(&id_path, text);
    }
    let application = Application {
        id: Arc::from(id),
        keys: api_keys::keys(values, path, read),
        auth_keys: token_keys::keys(values, path, "auth_keys", read, key_sets),
        admin_keys: token_keys::keys(values, path, "admin_keys", read, key_sets),
        client_source_address: addresses(values, &format!("{path}.client_source_address")),
        admin_source_address: addresses(values, &format!("{path}.admin_source_address")),
        ..plain(values, path)
    };
    application_limits::check(values, path);
    check_origins(values, path);
    let has_keys = !application.keys.is_empty()
        || !values.entries(&format!("{path}.auth_keys")).is_empty()
        || !values.entries(&format!("{path}.admin_keys")).is_empty();
    let is_reachable = application.open || !application.enabled || has_keys;
    if !is_reachable && values.is_sound(&format!("{path}.open")) {
        values.problem(
            path,
            "nobody can use it: declare a key ([[applications.keys]], [[applications.auth_keys]]), or \
             set open = true",
        );
    }
    application
}

/// What needs no check beyond its kind.
fn plain(values: &Values, path: &str) -> Application {
    let at = |name: &str| format!("{path}.{name}");
    let origins = values.list(&at("cors_origins"));
    let text = |name: &str| values.text(&at(name)).unwrap_or_default().into_boxed_str();
    Application {
        enabled: values.flag(&at("enabled")),
        open: values.flag(&at("open")),
        client_inbound_ack_enabled: values.flag(&at("client_inbound_ack_enabled")),
        name: text("name"),
        description: text("description"),
        token_leeway_s: u32::try_from(values.duration(&at("token_leeway")).as_secs())
            .expect("the key's range"),
        token_expiry: if values.choice(&at("token_expiry")) == "close" {
            TokenExpiry::Close { grace_ms: milliseconds(values, &at("token_expiry_grace")) }
        } else {
            TokenExpiry::Keep
        },
        websocket_inbound_topic_enabled: values.flag(&at("enable_websocket_inbound_topic")),
        same_subject: match &*values.choice(&at("same_subject")) {
            "allow" => SameSubject::Allow,
            "reject_new" => SameSubject::RejectNew,
            _ => SameSubject::ReplaceOld,
        },
        presence: PresenceOptions {
            debounce_ms: milliseconds(values, &at("presence.debounce")),
            members_max: u32::try_from(values.number(&at("presence.members_max")))
                .expect("the key's range"),
        },
        cors_credentials: values.flag(&at("cors_credentials")),
        limits: application_limits::limits(values, path),
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

fn milliseconds(values: &Values, path: &str) -> u32 {
    u32::try_from(values.duration(path).as_millis()).expect("the key's range")
}

fn addresses(values: &mut Values, path: &str) -> AddressList {
    AddressList::new(values.list(path)).unwrap_or_else(|entry| {
        let text = format!("{entry:?} is no network, such as 10.0.0.0/8 or !2001:db8::/32");
        values.problem(path, text);
        AddressList::default()
    })
}

fn check_origins(values: &mut Values, path: &str) {
    let (credentials, path) = (format!("{path}.cors_credentials"), &format!("{path}.cors_origins"));
    let origins = values.list(path);
    if *origins == ["*"] {
        if values.flag(&credentials) {
            let text = "needs cors_origins to list origins: browsers refuse credentials with \"*\"";
            values.problem(&credentials, text);
        }
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
