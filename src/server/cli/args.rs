//! The command line: which options and subcommands there are, and what `config` prints.
//!
//! `fanwire` alone is `fanwire serve`. Nothing here starts anything: serving is the caller's.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::capacity::{self, CapacityArgs};
use super::connection::Streams;
use super::diff::{self, DiffArgs};
use super::doctor::{self, DoctorArgs};
use super::explain::{self, ExplainCommand, Told};
use super::generate::{self, GenerateCommand};
use super::help::{self, HelpArgs};
use super::publish::{self, PublishArgs};
use super::subscribe::{self, SubscribeArgs};
use super::tail::{self, TailArgs};
use super::token::{self, TokenCommand};
use super::top::{self, TopArgs};
use super::trace::{self, TraceArgs};
use crate::config::{self, ConfigFile, Flag, Loaded, Sources};
use crate::model::code::StartFailure;
use crate::stdx::clock;

/// The command line as typed.
#[derive(Parser, Debug)]
#[command(name = "fanwire", version, about, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
pub struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve until a signal ends it (the default).
    Serve(Options),
    /// Judge or print the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Publish one message to a running broker.
    Publish(PublishArgs),
    /// Print the events of topics of a running broker, one per line.
    Subscribe(SubscribeArgs),
    /// Make keys and tokens, or judge a token.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Say why a token or a topic is allowed or refused.
    Explain {
        #[command(subcommand)]
        command: ExplainCommand,
    },
    /// Make what a package holds beside the binary.
    #[command(hide = true)]
    Generate {
        #[command(subcommand)]
        command: GenerateCommand,
    },
    /// Say what of this host will hurt the broker, and the exact fix; exits with 1 if something will.
    Doctor(DoctorArgs),
    /// Show what a running broker does, by shard, application and topic.
    Top(TopArgs),
    /// Print the messages of topics as they are published, with time, id, size and door.
    Tail(TailArgs),
    /// Print what happens to one user's connections.
    Trace(TraceArgs),
    /// Say what a number or name of a refusal, close or failed start means, and what to do.
    Help(HelpArgs),
    /// Measure what a connection costs on this host, and say how many it holds and what binds first.
    Capacity(CapacityArgs),
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Check what `serve` would start with; exits with 1 and tells every problem.
    Check(Options),
    /// Print what is in effect and where it comes from; secrets are masked.
    Show(Options),
    /// Print what differs between two files, and what of it a running broker would take over at once;
    /// exits with 0 when they are equal, 1 when they differ, 2 when one cannot be used.
    Diff(DiffArgs),
    /// Print the default file with every key and its documentation.
    Default,
}

/// Options that `serve` and the `config` subcommands share.
#[derive(Args, Debug, Default, Clone, PartialEq, Eq)]
pub struct Options {
    /// Configuration file (TOML); without one, the variable `FANWIRE_CONFIG` may name it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on [key: server.listen].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Shards to run; 0 = one per CPU [key: shards.count].
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// What the threads wait with [key: shards.driver].
    #[arg(long)]
    driver: Option<Driver>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Auto,
    Uring,
    Epoll,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve.
    Serve(Options),
    /// `config check`.
    Check(Options),
    /// `config show`.
    Show(Options),
    /// `config diff`.
    Diff(DiffArgs),
    /// `config default`.
    Default,
    /// `publish`.
    Publish(PublishArgs),
    /// `subscribe`.
    Subscribe(SubscribeArgs),
    /// `token`.
    Token(TokenCommand),
    /// `explain`.
    Explain(ExplainCommand),
    /// `generate`.
    Generate(GenerateCommand),
    /// `doctor`.
    Doctor(DoctorArgs),
    /// `top`.
    Top(TopArgs),
    /// `tail`.
    Tail(TailArgs),
    /// `trace`.
    Trace(TraceArgs),
    /// `help`.
    Help(HelpArgs),
    /// `capacity`.
    Capacity(CapacityArgs),
}

/// Reads a command line, program name first.
///
/// # Errors
/// A wrong line, `--help` and `--version`, each with the text and exit code to end with.
pub fn parse<I>(line: I) -> Result<Action, clap::Error>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let line = CommandLine::try_parse_from(line)?;
    Ok(match line.command {
        None => Action::Serve(line.options),
        Some(Command::Serve(options)) => Action::Serve(options),
        Some(Command::Config { command: ConfigCommand::Check(options) }) => Action::Check(options),
        Some(Command::Config { command: ConfigCommand::Show(options) }) => Action::Show(options),
        Some(Command::Config { command: ConfigCommand::Diff(args) }) => Action::Diff(args),
        Some(Command::Config { command: ConfigCommand::Default }) => Action::Default,
        Some(Command::Publish(args)) => Action::Publish(args),
        Some(Command::Subscribe(args)) => Action::Subscribe(args),
        Some(Command::Token { command }) => Action::Token(command),
        Some(Command::Explain { command }) => Action::Explain(command),
        Some(Command::Generate { command }) => Action::Generate(command),
        Some(Command::Doctor(args)) => Action::Doctor(args),
        Some(Command::Top(args)) => Action::Top(args),
        Some(Command::Tail(args)) => Action::Tail(args),
        Some(Command::Trace(args)) => Action::Trace(args),
        Some(Command::Help(args)) => Action::Help(args),
        Some(Command::Capacity(args)) => Action::Capacity(args),
    })
}

/// Reads everything again that the command line and the environment name; the error is a sentence, or one
/// line per problem.
pub type Reread = Box<dyn Fn() -> Result<Loaded, String>>;

/// Runs the program: `serve` with the settings and how to read them again, or what a command was asked, with the given streams.
pub fn run(
    action: &Action,
    environment: Vec<(String, String)>,
    streams: &mut Streams<'_>,
    serve: impl FnOnce(Loaded, Reread) -> ExitCode,
) -> ExitCode {
    let written = match action {
        Action::Publish(args) => return publish::run(args, &environment, streams),
        Action::Subscribe(args) => return subscribe::run(args, &environment, streams),
        Action::Top(args) => return top::run(args, &environment, streams),
        Action::Tail(args) => return tail::run(args, &environment, streams),
        Action::Trace(args) => return trace::run(args, &environment, streams),
        Action::Token(command) => {
            let told = token::run(command, environment, streams.input, clock::unix_ms() / 1000);
            return tell(told, streams.out, streams.errors);
        }
        Action::Explain(command) => {
            let told = explain::run(command, environment, streams.input, clock::unix_ms() / 1000);
            return tell(told, streams.out, streams.errors);
        }
        Action::Diff(args) => return diff::run(args, &environment, streams),
        Action::Generate(command) => generate::run(command, streams.out),
        Action::Doctor(args) => {
            return tell(doctor::run(args, environment), streams.out, streams.errors);
        }
        Action::Capacity(args) => {
            let told = capacity::run(args, environment, streams);
            return tell(told, streams.out, streams.errors);
        }
        Action::Help(args) => {
            let told = help::run(args).map(|text| Told { text, is_good: true });
            return tell(told, streams.out, streams.errors);
        }
        Action::Default => streams.out.write_all(config::default_file().as_bytes()),
        Action::Serve(options) | Action::Check(options) | Action::Show(options) => {
            match (load(options, environment.clone()), action) {
                (Err(problem), _) => {
                    // Nowhere is left to report a failure of this write to.
                    let number = StartFailure::Configuration.number();
                    let _ = writeln!(
                        streams.errors,
                        "fanwire: {problem}\nSee `fanwire help {number}`."
                    );
                    return ExitCode::FAILURE;
                }
                (Ok(loaded), Action::Serve(options)) => {
                    let options = options.clone();
                    return serve(loaded, Box::new(move || load(&options, environment.clone())));
                }
                (Ok(loaded), Action::Show(_)) => streams.out.write_all(loaded.show().as_bytes()),
                (Ok(_), _) => writeln!(streams.out, "the configuration is good"),
            }
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // `fanwire config default | head` is no failure worth a word.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints what a command has to say, or why it has nothing.
fn tell(told: Result<Told, String>, out: &mut dyn Write, errors: &mut dyn Write) -> ExitCode {
    let is_good = match told {
        Ok(told) => out.write_all(told.text.as_bytes()).is_ok() && told.is_good,
        Err(problem) => {
            // Nowhere is left to report a failure of this write to.
            let _ = writeln!(errors, "fanwire: {problem}");
            false
        }
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads everything that `options` and the environment name.
///
/// # Errors
/// The file that cannot be read, or all problems of the configuration; either as a sentence.
pub(super) fn load(
    options: &Options,
    environment: Vec<(String, String)>,
) -> Result<Loaded, String> {
    let named =
        environment.iter().find(|(name, value)| name == config::FILE_VARIABLE && !value.is_empty());
    let path = options.config.clone().or_else(|| named.map(|(_, value)| PathBuf::from(value)));
    let file = match path {
        Some(path) => Some(read_config(&path).map_err(|error| {
            format!("cannot read the configuration {}: {error}", path.display())
        })?),
        None => None,
    };
    let read = |path: &Path| std::fs::read_to_string(path);
    let sources = Sources { file, environment, flags: options.flags(), read: &read };
    config::load(&sources).map_err(|error| error.to_string())
}

fn read_config(path: &Path) -> io::Result<ConfigFile> {
    Ok(ConfigFile { name: path.display().to_string(), text: std::fs::read_to_string(path)? })
}

impl Options {
    /// Only a configuration file, or none.
    pub(super) fn of_file(config: Option<PathBuf>) -> Options {
        Options { config, ..Options::default() }
    }

    /// The keys they set.
    fn flags(&self) -> Vec<Flag> {
        let driver = self.driver.and_then(|driver| driver.to_possible_value());
        let flags = [
            ("--listen", "server.listen", self.listen.clone()),
            ("--shards", "shards.count", self.shards.clone()),
            ("--driver", "shards.driver", driver.map(|value| value.get_name().to_owned())),
        ];
        flags
            .into_iter()
            .filter_map(|(name, path, value)| Some(Flag { name, path, value: value? }))
            .collect()
    }
}

/// The environment as text. What is not UTF-8 in a name or value shows as U+FFFD, which no key
/// takes.
pub fn environment() -> Vec<(String, String)> {
    let text = |os: OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Action, clap::error::ErrorKind> {
        parse(line.split_whitespace()).map_err(|error| error.kind())
    }

    fn ran(line: &str, environment: &[(&str, &str)]) -> (bool, String, String) {
        let environment =
            environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let mut streams = Streams { input: &mut io::empty(), out: &mut out, errors: &mut errors };
        let code = run(&parsed(line).unwrap(), environment, &mut streams, |loaded, reread| {
            assert_eq!(loaded.settings.server.shard_count, Some(3));
            assert!(loaded.diff(&reread().unwrap()).is_empty());
            ExitCode::SUCCESS
        });
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code == ExitCode::SUCCESS, text(out), text(errors))
    }

    #[test]
    fn the_bare_command_serves_with_the_same_options() {
        let options = Options {
            config: Some(PathBuf::from("f.toml")),
            listen: Some("[::1]:0".to_owned()),
            shards: Some("2".to_owned()),
            driver: Some(Driver::Epoll),
        };
        let given = "--config f.toml --listen [::1]:0 --shards 2 --driver epoll";
        assert_eq!(parsed(&format!("fanwire {given}")), Ok(Action::Serve(options.clone())));
        assert_eq!(parsed(&format!("fanwire serve {given}")), Ok(Action::Serve(options.clone())));
        assert_eq!(parsed(&format!("fanwire config check {given}")), Ok(Action::Check(options)));
        assert_eq!(parsed("fanwire"), Ok(Action::Serve(Options::default())));
        assert_eq!(parsed("fanwire config default"), Ok(Action::Default));
    }

    #[test]
    fn wrong_lines_are_told_apart() {
        use clap::error::ErrorKind;
        let cases = [
            ("fanwire --lisen x", ErrorKind::UnknownArgument),
            ("fanwire --driver kqueue", ErrorKind::InvalidValue),
            ("fanwire confg", ErrorKind::InvalidSubcommand),
            ("fanwire --version", ErrorKind::DisplayVersion),
            ("fanwire publish", ErrorKind::MissingRequiredArgument),
            ("fanwire publish --key a --token b t", ErrorKind::ArgumentConflict),
            ("fanwire subscribe", ErrorKind::MissingRequiredArgument),
            ("fanwire subscribe --count 0 t", ErrorKind::ValueValidation),
        ];
        for (line, kind) in cases {
            assert_eq!(parsed(line), Err(kind), "{line}");
        }
    }

    #[test]
    fn serving_gets_the_settings_of_all_sources() {
        assert_eq!(ran("fanwire --shards 3", &[]), (true, String::new(), String::new()));
        assert!(ran("fanwire serve", &[("FANWIRE_SHARDS_COUNT", "3")]).0);
    }

    #[test]
    fn config_commands_print_and_judge() {
        let (good, out, _) = ran("fanwire config check", &[]);
        assert_eq!((good, &*out), (true, "the configuration is good\n"));
        let (good, out, errors) =
            ran("fanwire config check --shards x --listen here", &[("FANWIRE_LOG_LEVEL", "loud")]);
        assert!(!good && out.is_empty());
        for part in ["3 problems", "--shards: ", "--listen: ", "environment FANWIRE_LOG_LEVEL: "] {
            assert!(errors.contains(part), "{part} in {errors}");
        }
        let (_, out, _) = ran("fanwire config show --shards 3", &[]);
        assert!(out.contains("\ncount = 3  # --shards\n"), "{out}");
        assert_eq!(ran("fanwire config default", &[]).1, config::default_file());
    }

    #[test]
    fn commands_to_a_running_broker_fail_with_a_sentence() {
        let both = [("FANWIRE_CLIENT_KEY", "a"), ("FANWIRE_CLIENT_TOKEN", "b")];
        for (line, environment, part) in [
            ("fanwire publish --key - t", &[][..], "both the key or token and the data"),
            ("fanwire publish --url nowhere t x", &[], "the broker's URL is none"),
            ("fanwire publish t @/no/such.file", &[], "cannot read the data: No such file"),
            ("fanwire subscribe t", &both, "are both set"),
        ] {
            let (good, out, errors) = ran(line, environment);
            assert!(!good && out.is_empty(), "{line}");
            assert!(errors.starts_with("fanwire: ") && errors.contains(part), "{line}: {errors}");
        }
    }

    #[test]
    fn variables_of_the_client_commands_are_no_keys() {
        let client = ["FANWIRE_CLIENT_URL", "FANWIRE_CLIENT_KEY", "FANWIRE_CLIENT_TOKEN"];
        let environment = client.map(|name| (name, "x"));
        assert!(ran("fanwire config check", &environment).0);
        let (good, _, errors) = ran("fanwire config check", &[("FANWIRE_CLIENT_KEYS", "x")]);
        assert!(!good && errors.contains("FANWIRE_CLIENT_KEYS"), "{errors}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let (good, _, errors) = ran("fanwire config check", &[("FANWIRE_CONFIG", "/no/such.toml")]);
        assert!(!good);
        assert!(errors.starts_with("fanwire: cannot read the configuration /no/such.toml: "));
    }
}
