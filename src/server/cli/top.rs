//! `fanwire top`: what a running broker does, each second: rates from two tellings of its totals.
//!
//! On a terminal the picture is drawn over; elsewhere each second is printed behind the other.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::admin::AdminArgs;
use super::connection::Streams;

/// Rows of topics that are shown.
const TOPICS_SHOWN_MAX: usize = 15;

/// What `top` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct TopArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print one second and end.
    #[arg(long)]
    once: bool,
    /// Print one JSON object per second, with rates per second.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    args: &TopArgs,
    environment: &[(String, String)],
    streams: &mut Streams<'_>,
) -> ExitCode {
    let redraws = !args.once && !args.json && std::io::stdout().is_terminal();
    let mut before: Option<Value> = None;
    // Topics are told up to a second late: the first telling has none, the second not all.
    let mut passed_over = args.once;
    args.admin.follow("load", &[], environment, streams, |out, now| {
        if std::mem::take(&mut passed_over) {
            return Ok(ControlFlow::Continue(()));
        }
        let Some(earlier) = before.replace(now.clone()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(rates) = rates(&earlier, now) else { return Ok(ControlFlow::Continue(())) };
        if args.json {
            writeln!(out, "{rates}")?;
        } else {
            if redraws {
                // ECMA-48: cursor to the first place, erase what follows.
                out.write_all(b"\x1b[H\x1b[J")?;
            }
            out.write_all(picture(&rates).as_bytes())?;
        }
        Ok(if args.once { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

/// Totals that become rates; everything else is shown as it is now.
const TOTALS: [&str; 5] = ["published", "delivered", "receivedBytes", "sentBytes", "turns"];

/// The later telling with rates per second in the place of totals; `None` when another broker, or a
/// new life of it, answers, or no time has passed.
fn rates(earlier: &Value, now: &Value) -> Option<Value> {
    let seconds = (now["timeMicroseconds"].as_f64()? - earlier["timeMicroseconds"].as_f64()?) / 1e6;
    if seconds <= 0.0 || earlier["startedAt"] != now["startedAt"] {
        return None;
    }
    let mut out = now.clone();
    for list in ["shards", "applications"] {
        for (index, entry) in out[list].as_array_mut()?.iter_mut().enumerate() {
            // Applications come and go by reloads.
            let same = |other: &&Value| other["application"] == entry["application"];
            let before = match list {
                "applications" => earlier[list].as_array().and_then(|all| all.iter().find(same)),
                _ => earlier[list].get(index),
            };
            let before = before.unwrap_or(&Value::Null);
            let gained = |name: &str| {
                entry[name].as_f64().zip(before[name].as_f64()).map(|(now, then)| now - then)
            };
            let busy = gained("turnMicroseconds").map(|us| us / 1e6 / seconds);
            let gains = TOTALS.map(|name| gained(name).map(|gain| gain / seconds));
            for (name, rate) in TOTALS.into_iter().zip(gains) {
                if let Some(rate) = rate {
                    entry[name] = rounded(rate);
                }
            }
            if let Some(busy) = busy {
                entry["busy"] = json!((busy * 1000.0).round() / 1000.0);
            }
        }
    }
    for topic in out["topics"].as_array_mut().into_iter().flatten() {
        for name in ["published", "delivered"] {
            topic[name] = rounded(topic[name].as_f64().unwrap_or(0.0) / seconds);
        }
    }
    Some(out)
}

fn rounded(rate: f64) -> Value {
    json!((rate * 10.0).round() / 10.0)
}

fn picture(rates: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "fanwire {}  {}  {}  since {}\n",
        text(&rates["version"]),
        text(&rates["time"]),
        text(&rates["stage"]),
        text(&rates["startedAt"])
    );
    out.push_str(
        "SHARD  BUSY   HTTP     WS    SSE   TOPICS      IN/s     OUT/s   SENT/s  BLOCKED  WAITING  HISTORY\n",
    );
    for shard in rates["shards"].as_array().into_iter().flatten() {
        let doors = &shard["connections"];
        let busy = shard["busy"].as_f64().unwrap_or(0.0) * 100.0;
        let _ = write!(out, "{:>5} {busy:>4.0}%", text(&shard["shard"]));
        for (value, width) in [
            (text(&doors["http"]), 6),
            (text(&doors["websocket"]), 6),
            (text(&doors["sse"]), 6),
            (text(&shard["topics"]), 8),
            (text(&shard["published"]), 9),
            (text(&shard["delivered"]), 9),
            (size(&shard["sentBytes"]), 8),
            (text(&shard["blocked"]), 8),
            (size(&shard["waitingBytes"]), 8),
            (size(&shard["historyBytes"]), 8),
        ] {
            let _ = write!(out, " {value:>width$}");
        }
        out.push('\n');
    }
    out.push_str("\n    IN/s     OUT/s  SESSIONS  APPLICATION\n");
    for app in rates["applications"].as_array().into_iter().flatten() {
        let [published, delivered, sessions, name] =
            ["published", "delivered", "sessions", "application"].map(|name| text(&app[name]));
        let _ = writeln!(out, "{published:>8} {delivered:>9} {sessions:>9}  {name}");
    }
    out.push_str("\n    IN/s     OUT/s  TOPIC\n");
    for topic in rates["topics"].as_array().into_iter().flatten().take(TOPICS_SHOWN_MAX) {
        let [published, delivered, app, name] =
            ["published", "delivered", "application", "topic"].map(|name| text(&topic[name]));
        let _ = writeln!(out, "{published:>8} {delivered:>9}  {app}: {name}");
    }
    out
}

/// A string without its quotes, or a number as it is.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Bytes in a unit that fits.
fn size(value: &Value) -> String {
    let mut size = value.as_f64().unwrap_or(0.0);
    for unit in ["B", "K", "M", "G"] {
        if size < 1000.0 {
            return format!("{size:.0}{unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.0}T")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(second: u64, total: u64) -> Value {
        json!({
            "version": "1", "time": "T", "startedAt": "S", "stage": "running",
            "timeMicroseconds": second * 1_000_000,
            "shards": [{"shard": 0, "connections": {"http": 1, "websocket": 2, "sse": 3},
                "published": total, "delivered": 10 * total, "sentBytes": 4096 * total, "turns": total,
                "turnMicroseconds": 1000 * total, "topics": 5, "blocked": 0, "waitingBytes": 0,
                "historyBytes": 2048}],
            "applications": [{"application": "demo", "sessions": 5, "published": total, "delivered": total}],
            "topics": [{"application": "demo", "topic": "a", "published": 4, "delivered": 40}],
        })
    }

    #[test]
    fn rates_are_gains_by_the_time_between() {
        let rates = rates(&status(10, 100), &status(12, 300)).unwrap();
        let shard = &rates["shards"][0];
        assert_eq!((&shard["published"], &shard["delivered"]), (&json!(100.0), &json!(1000.0)));
        assert_eq!((&shard["busy"], &shard["topics"]), (&json!(0.1), &json!(5)));
        assert_eq!(rates["applications"][0]["published"], json!(100.0));
        assert_eq!(rates["topics"][0]["delivered"], json!(20.0));
        let picture = picture(&rates);
        assert!(picture.contains(" 20.0  demo: a"), "{picture}");
        let lines: Vec<&str> = picture.lines().collect();
        assert_eq!(lines[2].len(), lines[3].len(), "columns stand under their heads:\n{picture}");
        assert_eq!(super::rates(&status(10, 1), &status(10, 2)), None);
        let mut other = status(12, 3);
        other["startedAt"] = "later".into();
        assert_eq!(super::rates(&status(10, 1), &other), None);
    }

    #[test]
    fn sizes_are_short() {
        let cases = [(0_u64, "0B"), (999, "999B"), (2048, "2K"), (5 << 20, "5M"), (3 << 40, "3T")];
        for (bytes, expected) in cases {
            assert_eq!(size(&json!(bytes)), expected);
        }
    }
}
