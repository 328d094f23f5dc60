//! `fanwire explain`: why a token is accepted or refused, and a topic allowed or not.
//!
//! The broker's own code judges (`auth::explain`, `Authenticator`, `Rights`); here is only what is
//! asked and how it is told. Key sets that a token needs are fetched once. What a running broker
//! alone knows is not looked at: revocations, and from where the caller comes.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::args;
use super::connection::Secret;
use super::explain_topic::{self, ExplainTopicArgs};
use super::token::Role;
use crate::auth::{Credential, Explanation, KeyRing, KeySet, KeySets, Request, Verdict, explain};
use crate::config::Settings;
use crate::integrations::{self, ParsedKeys};
use crate::model::application::{AppIndex, Applications};
use crate::model::identity;
use crate::model::token::KeySetIndex;
use crate::stdx::clock;

/// What a fetch may take beyond its own limit, before it is given up here.
const FETCH_SLACK: Duration = Duration::from_secs(1);

/// What `explain` is asked.
#[derive(Subcommand, Debug, Clone, PartialEq, Eq)]
pub enum ExplainCommand {
    /// Say which key and which rule accepts or refuses a token; exits with 0 if it is valid.
    Token(ExplainTokenArgs),
    /// Say whether a topic may be subscribed to and published to, and which rule decides.
    Topic(ExplainTopicArgs),
}

/// Which application of which configuration.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub(super) struct ApplicationArgs {
    /// Configuration file (TOML); without one, the variable `FANWIRE_CONFIG` may name it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The application.
    #[arg(long, value_name = "ID", default_value = "demo")]
    app: String,
}

/// What `explain token` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct ExplainTokenArgs {
    #[command(flatten)]
    application: ApplicationArgs,
    /// Whose keys are tried; without it a client's, then a backend's.
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// The token; `-` reads it from standard input.
    #[arg(value_name = "TOKEN", default_value = "-")]
    token: Secret,
}

/// What a command has to say, and whether that is good news.
pub(super) struct Told {
    pub(super) text: String,
    pub(super) is_good: bool,
}

impl ApplicationArgs {
    /// The settings of the configuration.
    pub(super) fn load(&self, environment: Vec<(String, String)>) -> Result<Settings, String> {
        Ok(args::load(&args::Options::of_file(self.config.clone()), environment)?.settings)
    }

    /// The application's place.
    pub(super) fn find(&self, applications: &Applications) -> Result<AppIndex, String> {
        applications.find(&self.app).ok_or_else(|| {
            let ids: Vec<_> = applications.iter().map(|(_, known)| &*known.id).collect();
            format!("there is no application {:?}; there are: {}", self.app, ids.join(", "))
        })
    }
}

/// Does what is asked, at `now_s` (Unix seconds).
///
/// # Errors
/// What keeps it from being judged at all.
pub(super) fn run(
    command: &ExplainCommand,
    environment: Vec<(String, String)>,
    input: &mut dyn BufRead,
    now_s: u64,
) -> Result<Told, String> {
    match command {
        ExplainCommand::Token(args) => token(args, environment, input, now_s),
        ExplainCommand::Topic(args) => explain_topic::topic(args, environment, input, now_s),
    }
}

/// Explains the token at `now_s` (Unix seconds).
///
/// # Errors
/// What keeps it from being judged at all.
pub(super) fn token(
    args: &ExplainTokenArgs,
    environment: Vec<(String, String)>,
    input: &mut dyn BufRead,
    now_s: u64,
) -> Result<Told, String> {
    let settings = args.application.load(environment)?;
    let app = args.application.find(&settings.applications)?;
    let application = settings.applications.get(app);
    let token = args.token.text(input)?;
    let roles = match args.role {
        Some(role) => vec![role.meant()],
        None => vec![identity::Role::Client, identity::Role::Admin],
    };
    let credential = Credential::Token(&token);
    let request = Request { app, application, roles: &roles, credential, now_s };
    let explanation = judge(&request, &settings)?;
    let verdict = match &explanation.verdict {
        Verdict::Known(_) if !application.enabled => "not valid: the application is not enabled",
        Verdict::Known(_) => "valid",
        Verdict::Refused(_) => "not valid",
        Verdict::NeedsKeys(_) => "not valid: no key is here that could have signed it",
    };
    let text = format!("- {}\n{verdict}\n", explanation.steps.join("\n- "));
    Ok(Told { text, is_good: verdict == "valid" })
}

/// Judges the token of `request`, fetching the key sets that it turns out to need.
pub(super) fn judge(request: &Request<'_>, settings: &Settings) -> Result<Explanation, String> {
    let ring = KeyRing::new(&settings.applications).map_err(|problem| problem.to_string())?;
    let explained = |key_sets: &KeySets| {
        explain(request, &ring, key_sets).expect("the request presents a token")
    };
    let first = explained(&KeySets::new());
    let Verdict::NeedsKeys(wanted) = &first.verdict else { return Ok(first) };
    let (key_sets, mut notes) = fetch(settings, wanted)?;
    let mut explanation = explained(&key_sets);
    notes.append(&mut explanation.steps);
    explanation.steps = notes;
    Ok(explanation)
}

/// The key sets at `wanted` as far as they can be had, and a sentence about each.
fn fetch(settings: &Settings, wanted: &[KeySetIndex]) -> Result<(KeySets, Vec<String>), String> {
    let source = |index: &KeySetIndex| settings.applications.key_set(*index).clone();
    let sources: Vec<_> = wanted.iter().map(source).collect();
    let parse = |document: &[u8]| {
        let keys = KeySet::parse(document)?;
        Ok(ParsedKeys { usable_count: keys.len(), keys })
    };
    let (sender, changes) = mpsc::channel();
    let options = settings.key_sets;
    let deadline = clock::now() + options.fetch_timeout + FETCH_SLACK;
    let on_change = move || {
        // A receiver that is gone has seen enough.
        let _ = sender.send(());
    };
    let board = integrations::start(&sources, None, options, parse, on_change)
        .map_err(|error| format!("cannot fetch key sets: {error}"))?;
    let places: Vec<_> = (0..).map(KeySetIndex).take(sources.len()).collect();
    while places.iter().any(|place| board.state(*place).attempt_count == 0) {
        let left = deadline.saturating_duration_since(clock::now());
        if changes.recv_timeout(left).is_err() {
            break;
        }
    }
    let (mut key_sets, mut notes) = (KeySets::new(), Vec::new());
    for (place, index) in places.iter().zip(wanted) {
        let state = board.state(*place);
        let number = index.0 + 1;
        notes.push(match (&state.keys, &state.last_failure) {
            (Some(keys), _) => format!("key set {number} was fetched: {} keys", keys.len()),
            (None, Some(failure)) => format!("key set {number} cannot be fetched: {failure}"),
            (None, None) => format!("key set {number} was not fetched in time"),
        });
        if let Some(keys) = state.keys {
            key_sets.insert(*index, Arc::clone(&keys));
        }
    }
    Ok((key_sets, notes))
}
