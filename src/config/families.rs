//! Keys of topic families: how much of a topic is kept, how safely, and what a slow consumer gets.
//!
//! `[[applications.topics]]` are an application's families in the file's order; its own keys and
//! `[applications.history]` are the last family, which matches every topic. A family inherits
//! nothing from another: what it does not set is the default.

use std::time::Duration;

use super::key::{DURATION_MAX, Key, Kind, live};
use super::values::Values;
use crate::model::family::{Family, HistoryLimits, SlowConsumer};
use crate::model::pattern::Patterns;

/// Most families in front of an application's last; each new topic is compared with all of them.
const FAMILIES_MAX: usize = 64;
/// Most patterns of one family.
const PATTERNS_MAX: usize = 256;

const COUNT: Kind = Kind::Count { min: 0, max: 10_000_000 };
const SIZE: Kind = Kind::Size { min: 0, max: 1 << 40 };
/// Ten years; ages are kept in 64 bits of milliseconds and never become a timer's span.
const AGE: Kind = Kind::Duration { min: Duration::ZERO, max: Duration::from_hours(24 * 3650) };
const SLOW_CONSUMER: Kind = Kind::Choice(&["close", "drop_oldest", "keep_latest", "recover"]);

/// Keys of an application itself.
pub(super) const OWN_KEYS: &[Key] = &[
    Key::new(
        "applications[].slow_consumer",
        SLOW_CONSUMER,
        "close",
        "What happens when a connection's outbound queue has met limits.outbound_size_max: close = \
         it is closed (1013) and may come back with its position; the others keep it, and once it \
         has caught up it gets: drop_oldest = the newest messages that fit, and how many were \
         dropped; keep_latest = the latest message per key; recover = what it missed, from history, \
         and is told if some is gone. All but close need history.",
    )
    .live(),
    Key::new(
        "applications[].sends_last",
        Kind::Flag,
        "false",
        "Whether who subscribes without a position gets the topic's last message first. Needs \
         history.",
    )
    .live(),
    Key::new(
        "applications[].durable",
        Kind::Flag,
        "false",
        "Whether messages are kept in the store, so that they survive a restart; each is \
         acknowledged and delivered only once it is safe there. Needs history and store.path.",
    ),
    Key::new(
        "applications[].idempotency_window",
        Kind::Duration { min: Duration::ZERO, max: DURATION_MAX },
        "5m",
        "How long a repeated publish is known by its idempotency key and answered as the first was. \
         Later it is a new message. 0s = never known.",
    )
    .live(),
];

/// Keys of the last family's history.
pub(super) const HISTORY_KEYS: &[Key] = &live([
    Key::new(
        "applications[].history.count_max",
        COUNT,
        "1000",
        "Messages kept of each topic that no [[applications.topics]] matches, for those who come \
         back; 0 = none. Over this or the next two limits, whichever is met first, the oldest go, \
         and who asks for them is told that they are gone. Topics `priv/*` never have history.",
    ),
    Key::new(
        "applications[].history.size_max",
        SIZE,
        "1MiB",
        "Bytes of payloads kept of each topic; a message larger than this is not kept. 0 = none.",
    ),
    Key::new(
        "applications[].history.age_max",
        AGE,
        "5m",
        "Age up to which messages are kept, such as \"5m\" or \"7d\", at most 10 years; 0s = \
         whatever their age.",
    ),
]);

/// Keys of the families in front of the last.
pub(super) const TOPICS_KEYS: &[Key] = &[
    Key::without_default(
        "applications[].topics",
        Kind::Tables,
        "Topics that are kept otherwise than the rest; the first entry that matches a topic counts. \
         What an entry does not set is the default, not the application's own value. At most 64.",
    )
    .live(),
    Key::without_default(
        "applications[].topics[].patterns",
        Kind::List,
        "Which topics: patterns with `*`; a leading `!` excludes. At least one, at most 256. Where a \
         topic of the application is durable, another list of patterns needs a restart.",
    )
    .live(),
    Key::new(
        "applications[].topics[].history_count_max",
        COUNT,
        "1000",
        "Messages kept of each of these topics; 0 = none. Over this or the next two limits the \
         oldest go, as with history.count_max. Topics `priv/*` never have history, whatever matches.",
    )
    .live(),
    Key::new(
        "applications[].topics[].history_size_max",
        SIZE,
        "1MiB",
        "Bytes of payloads kept of each of these topics; a message larger than this is not kept. 0 \
         = none.",
    )
    .live(),
    Key::new(
        "applications[].topics[].history_age_max",
        AGE,
        "5m",
        "Age up to which messages are kept, at most 10 years; 0s = whatever their age.",
    )
    .live(),
    Key::new(
        "applications[].topics[].durable",
        Kind::Flag,
        "false",
        "Whether messages of these topics are kept in the store, acknowledged and delivered only \
         once they are safe there. Needs history and store.path.",
    ),
    Key::new(
        "applications[].topics[].slow_consumer",
        SLOW_CONSUMER,
        "close",
        "What happens on these topics when a connection's outbound queue has met its limit, as with \
         the application's slow_consumer. All but close need history.",
    )
    .live(),
    Key::new(
        "applications[].topics[].sends_last",
        Kind::Flag,
        "false",
        "Whether who subscribes to one of these topics without a position gets its last message \
         first. Needs history.",
    )
    .live(),
];

/// The families of the application at `path`, the one of every topic last.
pub(super) fn families(values: &mut Values, path: &str) -> Vec<Family> {
    let list = format!("{path}.topics");
    let mut entries = values.entries(&list);
    if entries.len() > FAMILIES_MAX {
        values.problem(&list, format!("at most {FAMILIES_MAX} can be declared"));
        entries.truncate(FAMILIES_MAX);
    }
    let mut families = Vec::with_capacity(entries.len() + 1);
    for entry in entries {
        let patterns = patterns(values, &entry);
        families.push(Family { patterns, ..family(values, &entry, '_') });
    }
    families.push(family(values, path, '.'));
    families
}

/// Milliseconds that a repeated publish is known in the application at `path`.
pub(super) fn idempotency_window_ms(values: &Values, path: &str) -> u64 {
    values.milliseconds_long(&format!("{path}.idempotency_window"))
}

fn patterns(values: &mut Values, entry: &str) -> Patterns {
    let path = format!("{entry}.patterns");
    let texts = values.list(&path);
    if texts.is_empty() && values.is_sound(&path) {
        values.problem(&path, "needs at least one pattern, such as \"news/*\"");
    }
    if texts.iter().any(String::is_empty) {
        values.problem(&path, "holds an empty text, which matches no topic");
    }
    if texts.len() > PATTERNS_MAX {
        values.problem(&path, format!("at most {PATTERNS_MAX} patterns can be listed"));
    }
    Patterns::new(&texts)
}

/// The family at `path` for every topic; `join` stands between `history` and its limits' names.
fn family(values: &mut Values, path: &str, join: char) -> Family {
    let at = |name: &str| format!("{path}.{name}");
    let family = Family {
        history: history(values, &format!("{path}.history{join}")),
        durable: values.flag(&at("durable")),
        slow_consumer: slow_consumer(values, &at("slow_consumer")),
        sends_last: values.flag(&at("sends_last")),
        ..Family::default()
    };
    check_history(values, path, join, &family);
    if family.durable && values.is_sound("store.path") && !values.is_text("store.path") {
        values.problem(&at("durable"), "needs a store: set store.path");
    }
    family
}

/// The limits at the paths that begin with `start`. There are two ways to keep none, and one form.
fn history(values: &Values, start: &str) -> HistoryLimits {
    let age_max_ms = values.milliseconds_long(&format!("{start}age_max"));
    let limits = HistoryLimits {
        count_max: values.number_u32(&format!("{start}count_max")),
        size_max: values.number(&format!("{start}size_max")),
        age_max_ms: Some(age_max_ms).filter(|age_ms| *age_ms > 0),
    };
    if limits.count_max == 0 || limits.size_max == 0 { HistoryLimits::NONE } else { limits }
}

fn slow_consumer(values: &Values, path: &str) -> SlowConsumer {
    match &*values.choice(path) {
        "close" => SlowConsumer::Close,
        "drop_oldest" => SlowConsumer::DropOldest,
        "keep_latest" => SlowConsumer::KeepLatest,
        "recover" => SlowConsumer::Recover,
        other => unreachable!("{other} is no choice of slow_consumer"),
    }
}

/// Whether what the family at `path` promises from history is kept at all.
fn check_history(values: &mut Values, path: &str, join: char, family: &Family) {
    if family.history.keeps() {
        return;
    }
    let limit = |name: &str| format!("{path}.history{join}{name}");
    let is_count = values.number(&limit("count_max")) == 0;
    let zero = limit(if is_count { "count_max" } else { "size_max" });
    let promises = [
        ("durable", family.durable),
        ("slow_consumer", family.slow_consumer != SlowConsumer::Close),
        ("sends_last", family.sends_last),
    ];
    for (name, _) in promises.into_iter().filter(|(_, is_promised)| *is_promised) {
        values.problem(&format!("{path}.{name}"), format!("needs history, and {zero} is 0"));
    }
}
