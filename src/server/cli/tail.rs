//! `fanwire tail`: messages of topics as their home places them, one per line.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin::AdminArgs;
use super::connection::Streams;

/// What `tail` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct TailArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Show payloads too, each up to 4096 bytes.
    #[arg(long)]
    payload: bool,
    /// Print each message as the JSON object that the broker tells.
    #[arg(long)]
    json: bool,
    /// End after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// The application.
    #[arg(value_name = "APP")]
    app: String,
    /// The topic, or a pattern with `*`.
    #[arg(value_name = "TOPIC")]
    topic: String,
}

pub(super) fn run(
    args: &TailArgs,
    environment: &[(String, String)],
    streams: &mut Streams<'_>,
) -> ExitCode {
    let payload = args.payload.to_string();
    let query = [("app", &*args.app), ("topic", &*args.topic), ("payload", &*payload)];
    let mut left = args.count.map(NonZeroU64::get);
    args.admin.follow("tail", &query, environment, streams, |out, message| {
        let line = if args.json { message.to_string() } else { line(message) };
        writeln!(out, "{line}")?;
        left = left.map(|left| left - 1);
        Ok(if left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

/// Time, topic, id, size, door and, where it is told, the payload.
fn line(message: &Value) -> String {
    let text = |name: &str| message[name].as_str().unwrap_or("?");
    let mut line = format!(
        "{} {} {} {} B {}",
        text("time"),
        // Names may hold anything but control characters.
        text("topic"),
        text("id"),
        message["size"],
        text("door")
    );
    if let Some(subject) = message["subject"].as_str() {
        let _ = write!(line, " {subject:?}");
    }
    if let Some(payload) = message["payload"].as_str() {
        let cut = if message["truncated"] == true { " …" } else { "" };
        // Control characters of a payload must not reach the terminal.
        let shown: String =
            payload.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let _ = write!(line, " {shown}{cut}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_is_told_and_no_control_characters() {
        let mut message = serde_json::json!({
            "time": "2026-01-01T00:00:00.000Z", "topic": "a", "id": "1", "size": 3, "door": "http"
        });
        assert_eq!(line(&message), "2026-01-01T00:00:00.000Z a 1 3 B http");
        message["payload"] = "x\u{1b}[2J".into();
        message["truncated"] = true.into();
        message["subject"] = "al\"ice".into();
        assert!(line(&message).ends_with("http \"al\\\"ice\" x\u{fffd}[2J …"));
    }
}
