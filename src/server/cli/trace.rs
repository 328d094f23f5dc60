//! `fanwire trace`: what happens to one user's connections, one event per line.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin::AdminArgs;
use super::connection::Streams;

/// What `trace` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct TraceArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// The application.
    #[arg(long, value_name = "ID", default_value = "demo")]
    app: String,
    /// Print each event as the JSON object that the broker tells.
    #[arg(long)]
    json: bool,
    /// A token's subject, or a connection's id.
    #[arg(value_name = "SUBJECT")]
    subject: String,
}

pub(super) fn run(
    args: &TraceArgs,
    environment: &[(String, String)],
    streams: &mut Streams<'_>,
) -> ExitCode {
    let query = [("app", &*args.app), ("subject", &*args.subject)];
    args.admin.follow("trace", &query, environment, streams, |out, event| {
        let line = if args.json { event.to_string() } else { line(event) };
        writeln!(out, "{line}")?;
        Ok(ControlFlow::Continue(()))
    })
}

/// Time, connection and event, then the rest as `name=value`.
fn line(event: &Value) -> String {
    const FIRST: [&str; 3] = ["time", "connection", "event"];
    let text = |name: &str| event[name].as_str().unwrap_or("?");
    let mut line = FIRST.map(text).join(" ");
    for (name, value) in event.as_object().into_iter().flatten() {
        if !FIRST.contains(&name.as_str()) && !value.is_null() {
            // JSON escapes control characters, so none reaches the terminal.
            let _ = write!(line, " {name}={value}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_every_member() {
        let event = serde_json::json!({
            "time": "T", "connection": "c", "event": "closed", "number": 106, "cause": "slow_consumer", "x": null
        });
        assert_eq!(line(&event), "T c closed cause=\"slow_consumer\" number=106");
    }
}
