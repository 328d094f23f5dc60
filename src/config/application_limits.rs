//! An application's limits: sizes, counts, times and rates.

use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind};
use super::values::Values;
use crate::model::application::{AppLimits, Rate};

const PAYLOAD_SIZE: Kind = Kind::Size { min: 64, max: 1 << 28 };

pub(super) const KEYS: &[Key] = &[
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
    Key::new(
        "applications[].limits.idle_timeout",
        Kind::Duration { min: Duration::from_secs(1), max: DURATION_MAX },
        "30s",
        "Silence of a WebSocket client after which it is closed; a pong or any byte ends the silence. \
         Above websocket.ping_interval.",
    ),
    Key::new(
        "applications[].limits.connections_per_address",
        Kind::Text,
        OFF,
        "Connections that one address (IPv6: one /64) may begin: \"off\", or a rate such as \"100/s\" \
         or \"100/s burst 500\". Over it: 429 with Retry-After.",
    ),
    Key::new(
        "applications[].limits.commands_per_connection",
        Kind::Text,
        OFF,
        "Commands that one WebSocket may send, as a rate. Over it: close 1013.",
    ),
    Key::new(
        "applications[].limits.bytes_per_connection",
        Kind::Text,
        OFF,
        "Bytes of commands that one WebSocket may send, as a rate. Over it: close 1013.",
    ),
    Key::new(
        "applications[].limits.publishes",
        Kind::Text,
        OFF,
        "Publishes of the whole application through every door, as a rate. Over it: 429, close 1013.",
    ),
];

const OFF: &str = "off";
const RATES: [&str; 4] =
    ["connections_per_address", "commands_per_connection", "bytes_per_connection", "publishes"];

/// The limits of the application at `path`. A malformed rate counts as none; `check` tells it.
pub(super) fn limits(values: &Values, path: &str) -> AppLimits {
    let at = |name: &str| format!("{path}.limits.{name}");
    let rate = |name: &str| values.text(&at(name)).and_then(|text| read_rate(&text).ok()).flatten();
    let idle_timeout = values.duration(&at("idle_timeout"));
    AppLimits {
        realtime_payload_size_max: values.number(&at("realtime_payload_size_max")),
        native_payload_size_max: values.number(&at("native_payload_size_max")),
        outbound_size_max: values.number(&at("outbound_size_max")),
        subscriptions_max: values.number(&at("subscriptions_max")),
        idle_timeout_ms: u32::try_from(idle_timeout.as_millis()).expect("the key's range"),
        connections_per_address: rate("connections_per_address"),
        commands_per_connection: rate("commands_per_connection"),
        bytes_per_connection: rate("bytes_per_connection"),
        publishes: rate("publishes"),
    }
}

/// Notes every problem with the limits of the application at `path`.
pub(super) fn check(values: &mut Values, path: &str) {
    for name in RATES {
        let key = format!("{path}.limits.{name}");
        if let Some(Err(problem)) = values.text(&key).map(|text| read_rate(&text)) {
            values.problem(&key, problem);
        }
    }
    let (idle, ping) = (format!("{path}.limits.idle_timeout"), "websocket.ping_interval");
    let sound = values.is_sound(&idle) && values.is_sound(ping);
    if sound && values.duration(&idle) <= values.duration(ping) {
        values.problem(&idle, format!("must be above {ping}: no client would live to answer"));
    }
}

/// `off`, `N/s` or `N/s burst M`.
fn read_rate(text: &str) -> Result<Option<Rate>, &'static str> {
    const WRONG: &str = "is no rate: \"off\", \"100/s\" or \"100/s burst 500\"";
    if text == OFF {
        return Ok(None);
    }
    let (rate, burst) = text.split_once(" burst ").map_or((text, None), |(r, b)| (r, Some(b)));
    let per_second: u32 = rate.strip_suffix("/s").and_then(|n| n.parse().ok()).ok_or(WRONG)?;
    let burst: u32 = burst.map_or(Ok(per_second), |burst| burst.parse().map_err(|_| WRONG))?;
    if per_second == 0 || burst == 0 {
        return Err("would let nothing through: rates and bursts are at least 1");
    }
    Ok(Some(Rate { per_second, burst }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_as_people_write_them() {
        let rate = |per_second, burst| Ok(Some(Rate { per_second, burst }));
        assert_eq!(read_rate("off"), Ok(None));
        assert_eq!(read_rate("100/s"), rate(100, 100));
        assert_eq!(read_rate("100/s burst 500"), rate(100, 500));
        for wrong in
            ["", "100", "0/s", "5/s burst 0", "-1/s", "1.5/s", "100/m", "5/s burst", "OFF", "5 /s"]
        {
            assert!(read_rate(wrong).is_err(), "{wrong:?}");
        }
    }
}
