//! Keys of the log.

use tracing::Level;

use super::key::{Key, Kind};
use super::values::Values;
use crate::telemetry::{LogFormat, LogOptions};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "Least severe level that is written.",
    )
    .live(),
    Key::new(
        "log.format",
        Kind::Choice(&["text", "json"]),
        "text",
        "text = for people; json = one object per line. Either goes to standard error.",
    ),
];

pub(super) fn log(values: &Values) -> LogOptions {
    let level = match &*values.choice("log.level") {
        "error" => Level::ERROR,
        "warn" => Level::WARN,
        "info" => Level::INFO,
        "debug" => Level::DEBUG,
        "trace" => Level::TRACE,
        other => unreachable!("{other} is no choice of log.level"),
    };
    let format = match &*values.choice("log.format") {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => unreachable!("{other} is no choice of log.format"),
    };
    LogOptions { level, format }
}
