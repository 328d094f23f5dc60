//! Keys of fetching key sets (JWKS, RFC 7517 §5): how often, how long, how much, for all of them.

use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind, live};
use super::values::Values;
use crate::integrations::KeySetOptions;

const SECOND: Duration = Duration::from_secs(1);
const SPAN: Kind = Kind::Duration { min: SECOND, max: DURATION_MAX };

pub(super) const KEYS: &[Key] = &live([
    Key::new(
        "key_sets.refresh_min",
        SPAN,
        "60s",
        "Shortest lifetime of a fetched key set (JWKS), whatever its Cache-Control says.",
    ),
    Key::new(
        "key_sets.refresh_max",
        SPAN,
        "1h",
        "Longest lifetime of a fetched key set, also where its provider states none.",
    ),
    Key::new(
        "key_sets.stale_max",
        SPAN,
        "24h",
        "How long the last good key set serves while its provider is down. Then tokens that need it \
         are refused.",
    ),
    Key::new(
        "key_sets.cooldown",
        SPAN,
        "10s",
        "Time after a fetch in which tokens with an unknown key id cause no other; strangers can \
         invent such ids.",
    ),
    Key::new(
        "key_sets.fetch_timeout",
        Kind::Duration { min: Duration::from_millis(100), max: Duration::from_mins(1) },
        "5s",
        "Time for one fetch, from the connection to the last byte.",
    ),
    Key::new(
        "key_sets.size_max",
        Kind::Size { min: 1024, max: 16 << 20 },
        "256KiB",
        "Largest key set document. A larger one counts as a failed fetch.",
    ),
]);

pub(super) fn key_sets(values: &mut Values) -> KeySetOptions {
    let options = KeySetOptions {
        refresh_min: values.duration("key_sets.refresh_min"),
        refresh_max: values.duration("key_sets.refresh_max"),
        stale_max: values.duration("key_sets.stale_max"),
        cool_down: values.duration("key_sets.cooldown"),
        fetch_timeout: values.duration("key_sets.fetch_timeout"),
        body_size_max: values.number("key_sets.size_max"),
        ..KeySetOptions::default()
    };
    in_order(values, "key_sets.refresh_min", "key_sets.refresh_max");
    in_order(values, "key_sets.refresh_max", "key_sets.stale_max");
    options
}

fn in_order(values: &mut Values, lower: &str, upper: &str) {
    let sound = values.is_sound(lower) && values.is_sound(upper);
    if sound && values.duration(lower) > values.duration(upper) {
        values.problem(lower, format!("must not be above {upper}"));
    }
}
