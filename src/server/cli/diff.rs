//! `fanwire config diff`: what a broker that runs with one configuration would do with another.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::args::{self, Options};
use super::connection::Streams;
use crate::config::{Change, Loaded};

/// Exit code for two that differ.
const DIFFERENT: u8 = 1;
/// Exit code when one of them cannot be used.
const TROUBLE: u8 = 2;

/// `config diff`.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct DiffArgs {
    /// The file that a broker runs with.
    old: PathBuf,
    /// The file that it would read again.
    new: PathBuf,
}

/// Prints the differences, each with when it takes effect. The environment counts for both files.
pub(super) fn run(
    args: &DiffArgs,
    environment: &[(String, String)],
    streams: &mut Streams<'_>,
) -> ExitCode {
    let load = |path: &PathBuf| -> Result<Loaded, String> {
        args::load(&Options::of_file(Some(path.clone())), environment.to_vec())
    };
    let (old, new) = match (load(&args.old), load(&args.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(problem), _) | (_, Err(problem)) => {
            // Nowhere is left to report a failure of this write to.
            let _ = writeln!(streams.errors, "fanwire: {problem}");
            return ExitCode::from(TROUBLE);
        }
    };
    let changes = old.diff(&new);
    if streams.out.write_all(told(&changes).as_bytes()).is_err() {
        return ExitCode::from(TROUBLE);
    }
    if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) }
}

fn told(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let _ = writeln!(text, "{:8}{change}", change.effect.word());
    }
    if changes.is_empty() {
        text.push_str("nothing differs\n");
    }
    text
}
