//! Keys of an application's sessions: how tokens age, what one subject may hold, what presence tells.

use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind, live};
use super::values::Values;
use crate::model::application::{PresenceOptions, SameSubject};
use crate::model::token::TokenExpiry;

const FIVE_MINUTES: Duration = Duration::from_mins(5);

pub(super) const KEYS: &[Key] = &live([
    Key::new(
        "applications[].token_leeway",
        Kind::Duration { min: Duration::ZERO, max: FIVE_MINUTES },
        "5s",
        "Clock difference that is forgiven when a token's times are judged, in whole seconds.",
    ),
    Key::new(
        "applications[].token_expiry",
        Kind::Choice(&["keep", "close"]),
        "keep",
        "What happens when an open connection's token expires: keep = nothing, tokens are judged at \
         the door only; close = the client is told, and closed (3000) unless it presents a new one.",
    ),
    Key::new(
        "applications[].token_expiry_grace",
        Kind::Duration { min: Duration::ZERO, max: DURATION_MAX },
        "30s",
        "With token_expiry = \"close\": time between the expiry and the close.",
    ),
    Key::new(
        "applications[].enable_websocket_inbound_topic",
        Kind::Flag,
        "true",
        "Whether clients may send to secure/inbound (`type: message`), where backends read them \
         and are told who connects and disconnects.",
    ),
    Key::new(
        "applications[].client_inbound_ack_enabled",
        Kind::Flag,
        "true",
        "Whether a Realtime client that publishes over its WebSocket gets an ack.",
    ),
    Key::new(
        "applications[].same_subject",
        Kind::Choice(&["replace_old", "reject_new", "allow"]),
        "replace_old",
        "What becomes of a second WebSocket of one token subject: replace_old closes the old one, \
         reject_new the new one (who lost a connection is locked out until that is noticed), allow \
         keeps both.",
    ),
    Key::new(
        "applications[].presence.debounce",
        Kind::Duration { min: Duration::ZERO, max: FIVE_MINUTES },
        "0s",
        "How long a subject may be gone from a topic before that is told; one that returns earlier \
         never left. 0 tells at once.",
    ),
    Key::new(
        "applications[].presence.members_max",
        Kind::Count { min: 0, max: 1 << 20 },
        "1000",
        "Members of a topic up to which joining and leaving names them. Above it only their number \
         is told.",
    ),
]);

/// Forgiven clock difference of the application at `path`, in seconds.
pub(super) fn token_leeway_s(values: &mut Values, path: &str) -> u32 {
    let key = format!("{path}.token_leeway");
    let leeway_ms = values.milliseconds(&key);
    if values.duration(&key) != Duration::from_secs((leeway_ms / 1000).into()) {
        values.problem(&key, "must be whole seconds: a token's times are");
    }
    leeway_ms / 1000
}

pub(super) fn token_expiry(values: &Values, path: &str) -> TokenExpiry {
    match &*values.choice(&format!("{path}.token_expiry")) {
        "keep" => TokenExpiry::Keep,
        "close" => TokenExpiry::Close {
            grace_ms: values.milliseconds(&format!("{path}.token_expiry_grace")),
        },
        other => unreachable!("{other} is no choice of token_expiry"),
    }
}

pub(super) fn same_subject(values: &Values, path: &str) -> SameSubject {
    match &*values.choice(&format!("{path}.same_subject")) {
        "replace_old" => SameSubject::ReplaceOld,
        "reject_new" => SameSubject::RejectNew,
        "allow" => SameSubject::Allow,
        other => unreachable!("{other} is no choice of same_subject"),
    }
}

pub(super) fn presence(values: &Values, path: &str) -> PresenceOptions {
    PresenceOptions {
        debounce_ms: values.milliseconds(&format!("{path}.presence.debounce")),
        members_max: values.number_u32(&format!("{path}.presence.members_max")),
    }
}
