//! `fanwire subscribe`: the events of topics, one per line, until told to stop.
//!
//! Standard output holds events only; progress and failures go to standard error. SIGINT and SIGTERM
//! end it with 0: that is how a person says "enough".

use std::io::Write;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

use super::connection::{ConnectionArgs, Streams, told};
use crate::integrations::Notice;

/// What `subscribe` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct SubscribeArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Print the data alone, as it is; otherwise a JSON object with topic, id, time and data.
    #[arg(long)]
    raw: bool,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

/// Prints events until a signal, the count, or a refusal.
pub(super) fn run(
    args: &SubscribeArgs,
    environment: &[(String, String)],
    streams: &mut Streams<'_>,
) -> ExitCode {
    let Streams { input, out, errors } = streams;
    let ended = end_on_signals()
        .map_err(|error| format!("cannot handle signals: {error}"))
        .and_then(|()| args.connection.client(environment, input))
        .and_then(|client| {
            let mut printer = Printer { args, out, errors, left: args.count.map(NonZeroU64::get) };
            client
                .subscribe(&args.topics, args.raw, |notice| printer.take(notice))
                .map_err(|error| told(&error))
        });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // Nowhere is left to report a failure of this write to.
            let _ = writeln!(errors, "fanwire: {problem}");
            ExitCode::FAILURE
        }
    }
}

pub(super) fn end_on_signals() -> std::io::Result<()> {
    // In the handler itself: a reader of the output that has stopped reading must not hold up the end.
    for signal in [SIGINT, SIGTERM] {
        register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)))?;
    }
    Ok(())
}

struct Printer<'p> {
    args: &'p SubscribeArgs,
    out: &'p mut dyn Write,
    errors: &'p mut dyn Write,
    /// Events still to come, if there is an end.
    left: Option<u64>,
}

impl Printer<'_> {
    fn take(&mut self, notice: Notice<'_>) -> ControlFlow<()> {
        match notice {
            Notice::Connected => {
                let topics = self.args.topics.join(", ");
                // Progress that nobody reads is no failure.
                let _ = writeln!(self.errors, "fanwire: subscribed to {topics}");
                ControlFlow::Continue(())
            }
            Notice::Lost(reason, wait) => {
                let wait_s = wait.as_secs_f32();
                let _ = writeln!(self.errors, "fanwire: {reason}; again in {wait_s:.1} s");
                ControlFlow::Continue(())
            }
            Notice::Event(event) => self.print(&event.data),
        }
    }

    fn print(&mut self, data: &str) -> ControlFlow<()> {
        // An envelope's line ends are JSON's white space, since in strings they are escaped.
        let line = if self.args.raw { format!("{data}\n") } else { data.replace('\n', " ") + "\n" };
        let written = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
        self.left = self.left.map(|left| left - 1);
        // `fanwire subscribe news | head` is no failure.
        if written.is_err() || self.left == Some(0) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::integrations::Event;

    /// What is printed to both streams for `data`, and how many events were taken.
    fn printed(raw: bool, count: Option<u64>, data: &[&str]) -> (String, String, usize) {
        let connection =
            ConnectionArgs { url: None, app: "demo".to_owned(), key: None, token: None };
        let count = count.and_then(NonZeroU64::new);
        let args = SubscribeArgs { connection, raw, count, topics: vec!["a".into(), "b".into()] };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let left = count.map(NonZeroU64::get);
        let mut printer = Printer { args: &args, out: &mut out, errors: &mut errors, left };
        assert!(printer.take(Notice::Connected).is_continue());
        assert!(printer.take(Notice::Lost("gone", Duration::from_millis(1250))).is_continue());
        let mut taken = 0;
        for data in data {
            let event = Event { kind: "message".to_owned(), data: (*data).to_owned() };
            taken += 1;
            if printer.take(Notice::Event(&event)).is_break() {
                break;
            }
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(errors), taken)
    }

    #[test]
    fn events_and_progress_go_their_own_ways() {
        let told = "fanwire: subscribed to a, b\nfanwire: gone; again in 1.2 s\n";
        let (out, errors, taken) = printed(false, None, &["{\n\"a\":1}", "2"]);
        assert_eq!((&*out, &*errors, taken), ("{ \"a\":1}\n2\n", told, 2));
        assert_eq!(printed(true, None, &["a\nb", ""]).0, "a\nb\n\n");
    }

    #[test]
    fn the_count_ends_it() {
        assert_eq!(printed(true, Some(2), &["a", "b", "c"]).0, "a\nb\n");
        assert_eq!(printed(true, Some(2), &["a", "b", "c"]).2, 2);
    }
}
