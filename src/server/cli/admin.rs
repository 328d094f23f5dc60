//! What `top`, `tail` and `trace` share: the way to the admin door, and lines until told to stop.
//!
//! Invariant: the token is printed nowhere. As with keys, a variable or standard input keeps it from
//! the process's arguments.

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::connection::{Secret, Streams, told, variable};
use super::subscribe::end_on_signals;
use crate::integrations::{ADMIN, Client, ClientError, Credential, Notice};

/// Where the admin door is unless it is told otherwise.
const URL_DEFAULT: &str = "http://127.0.0.1:8481/";
/// The configuration's own variable: who runs the broker here has it.
const TOKEN_VARIABLE: &str = "FANWIRE_ADMIN_TOKEN";

/// Which admin door.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub(super) struct AdminArgs {
    /// The admin door's address.
    #[arg(long, value_name = "URL", default_value = URL_DEFAULT)]
    pub(super) url: String,
    /// The admin token; `-` reads it from standard input [variable: `FANWIRE_ADMIN_TOKEN`].
    #[arg(long, value_name = "TOKEN")]
    token: Option<Secret>,
}

impl AdminArgs {
    fn client(
        &self,
        environment: &[(String, String)],
        streams: &mut Streams<'_>,
    ) -> Result<Client, String> {
        let credential = match &self.token {
            Some(token) => Credential::Token(token.text(streams.input)?),
            None => variable(environment, TOKEN_VARIABLE)
                .map_or(Credential::None, |token| Credential::Token(token.to_owned())),
        };
        Client::new(&self.url, ADMIN, &credential).map_err(|error| error.to_string())
    }

    /// Reads a stream of the admin door and gives each event's kind and value to `print`, until that
    /// breaks or a signal ends the process. Drops and lost connections are told on standard error.
    pub(super) fn follow(
        &self,
        route: &str,
        query: &[(&str, &str)],
        environment: &[(String, String)],
        streams: &mut Streams<'_>,
        mut print: impl FnMut(&mut dyn std::io::Write, &Value) -> std::io::Result<ControlFlow<()>>,
    ) -> ExitCode {
        let ended = end_on_signals()
            .map_err(|error| format!("cannot handle signals: {error}"))
            .and_then(|()| self.client(environment, streams))
            .and_then(|client| {
                let on = |notice: Notice<'_>| take(notice, streams, &mut print);
                client.follow(route, query, on).map_err(|error| advised(&error))
            });
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                // Nowhere is left to report a failure of this write to.
                let _ = writeln!(streams.errors, "fanwire: {problem}");
                ExitCode::FAILURE
            }
        }
    }
}

fn take(
    notice: Notice<'_>,
    streams: &mut Streams<'_>,
    print: &mut impl FnMut(&mut dyn std::io::Write, &Value) -> std::io::Result<ControlFlow<()>>,
) -> ControlFlow<()> {
    match notice {
        Notice::Connected => ControlFlow::Continue(()),
        Notice::Lost(reason, wait) => {
            // Progress that nobody reads is no failure.
            let _ =
                writeln!(streams.errors, "fanwire: {reason}; again in {:.1} s", wait.as_secs_f32());
            ControlFlow::Continue(())
        }
        Notice::Event(event) => {
            let value: Value = serde_json::from_str(&event.data).unwrap_or_default();
            if event.kind == "dropped" {
                let _ = writeln!(
                    streams.errors,
                    "fanwire: {} events were dropped: too many for this stream",
                    value["events"]
                );
                return ControlFlow::Continue(());
            }
            // A reader that is gone (`| head`) is no failure.
            let flow = print(streams.out, &value).unwrap_or(ControlFlow::Break(()));
            if streams.out.flush().is_err() { ControlFlow::Break(()) } else { flow }
        }
    }
}

fn advised(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable(_) => {
            format!("{error}\nIs admin.listen on there? --url names another address.")
        }
        ClientError::Refused(problem) if problem.code == "unauthorized" => {
            format!("{error}\nSet {TOKEN_VARIABLE}, or pipe the token into --token -.")
        }
        other => told(other),
    }
}
