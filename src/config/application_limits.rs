//! Keys of an application's limits: sizes, silence, and how fast its callers may come.

use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind, Unit, live};
use super::values::Values;
use crate::model::application::AppLimits;

const PAYLOAD_SIZE: Kind = Kind::Size { min: 64, max: 1 << 28 };

pub(super) const KEYS: &[Key] = &live([
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
        "Most bytes queued for one connection. Over it slow_consumer says what happens.",
    ),
    Key::new(
        "applications[].limits.subscriptions_max",
        Kind::Count { min: 1, max: 1 << 20 },
        "1024",
        "Most topics one connection may be subscribed to. Over it the subscription is refused.",
    ),
    Key::new(
        "applications[].limits.idle_timeout",
        Kind::Duration { min: Duration::from_millis(100), max: DURATION_MAX },
        "30s",
        "Silence of a WebSocket client after which it is closed; a pong or any byte ends the \
         silence. Above websocket.ping_interval.",
    ),
    Key::new(
        "applications[].limits.connections_per_address",
        Kind::Rate(Unit::Count),
        "off",
        "Connections that one address (IPv6: one /64) may begin. Over it: 429 with Retry-After. \
         Rates are text: \"100/s\", \"600/m\", \"100/s burst 500\", or \"off\"; without a burst it is \
         one second's worth.",
    ),
    Key::new(
        "applications[].limits.commands_per_connection",
        Kind::Rate(Unit::Count),
        "off",
        "Commands that one WebSocket may send. Over it: close 1013.",
    ),
    Key::new(
        "applications[].limits.bytes_per_connection",
        Kind::Rate(Unit::Bytes),
        "off",
        "Bytes of messages that one WebSocket may send, such as \"64KiB/s burst 256KiB\". A message \
         larger than the burst waits for silence. Over it: close 1013.",
    ),
    Key::new(
        "applications[].limits.publishes",
        Kind::Rate(Unit::Count),
        "off",
        "Publishes of the whole application, through every door. Over it: 429 with Retry-After, or \
         close 1013.",
    ),
]);

/// The limits of the application at `path`.
pub(super) fn limits(values: &Values, path: &str) -> AppLimits {
    let at = |name: &str| format!("{path}.limits.{name}");
    AppLimits {
        realtime_payload_size_max: values.number(&at("realtime_payload_size_max")),
        native_payload_size_max: values.number(&at("native_payload_size_max")),
        outbound_size_max: values.number(&at("outbound_size_max")),
        subscriptions_max: values.number(&at("subscriptions_max")),
        idle_timeout_ms: values.milliseconds(&at("idle_timeout")),
        connections_per_address: values.rate(&at("connections_per_address")),
        commands_per_connection: values.rate(&at("commands_per_connection")),
        bytes_per_connection: values.rate(&at("bytes_per_connection")),
        publishes: values.rate(&at("publishes")),
    }
}

/// Whether a silent client of the application at `path` would be pinged before it is closed. The
/// problem is told of the key that someone set: the application's own, else the one for all.
pub(super) fn check_ping(values: &mut Values, path: &str) {
    let (ping, idle) = ("websocket.ping_interval", format!("{path}.limits.idle_timeout"));
    let sound = values.is_sound(ping) && values.is_sound(&idle);
    if !sound || values.duration(ping) < values.duration(&idle) {
        return;
    }
    if values.is_set(&idle) {
        let text = format!("must be above {ping}: no client would live to answer");
        values.problem(&idle, text);
    } else {
        let text = "must be below limits.idle_timeout of every application, which is 30s unless \
                    set: no client would live to answer";
        values.problem(ping, text);
    }
}
