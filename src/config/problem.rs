//! What is wrong with a configuration: every problem with its place, never with a secret.

use std::fmt;

/// Where a setting comes from; the later ones win.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File {
        /// Counted from 1.
        line: usize,
        /// As given on the command line.
        name: String,
    },
    /// An environment variable.
    Environment(String),
    /// An option of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { line, name } => write!(f, "{name}:{line}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it was written.
    pub origin: Origin,
    /// The key; empty when it is about the text as a whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl Problem {
    pub(super) fn new(origin: Origin, path: impl Into<String>, text: impl Into<String>) -> Problem {
        Problem { origin, path: path.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// Everything that is wrong, in the order of origin and line. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(Vec<Problem>);

impl ConfigError {
    /// All problems found.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }

    /// `Err` if there are any.
    pub(super) fn unless_empty(mut problems: Vec<Problem>) -> Result<(), ConfigError> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        Err(ConfigError(problems))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {noun}:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}
