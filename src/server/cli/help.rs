//! `fanwire help`: what a number of the broker means and what to do.

use std::fmt::Write as _;

use clap::Args;

use crate::model::code::{self, Code, CodeKind};

/// What `help` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct HelpArgs {
    /// A number or name, such as 19 or `unauthorized`; without one, all codes are listed.
    #[arg(value_name = "CODE", conflicts_with = "markdown")]
    code: Option<String>,
    /// Print all codes as the documentation's page.
    #[arg(long)]
    markdown: bool,
}

/// The page's head.
const HEAD: &str = "\
# Codes

Every refusal, close and failed start has a number and a name; both are stable. `fanwire help CODE`
prints one of them. This page is printed by `fanwire help --markdown`.
";

/// What is told.
///
/// # Errors
/// No code has this number or name.
pub(super) fn run(args: &HelpArgs) -> Result<String, String> {
    match &args.code {
        Some(text) => explain(text),
        None if args.markdown => Ok(page()),
        None => Ok(list()),
    }
}

fn explain(text: &str) -> Result<String, String> {
    let found = code::find(text);
    if found.is_empty() {
        let near = code::all()
            .map(|code| (strsim::damerau_levenshtein(code.name, text), code.name))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        return Err(match near {
            Some((_, name)) => format!("no code {text:?}; did you mean {name}?"),
            None => format!(
                "no code {text:?}; `fanwire help` lists all codes, `fanwire --help` the commands"
            ),
        });
    }
    let texts: Vec<String> = found.iter().map(paragraph).collect();
    Ok(texts.join("\n"))
}

fn paragraph(code: &Code) -> String {
    let Code { number, name, sentence, advice, kind } = code;
    let kind = match kind {
        CodeKind::Refusal => "refusal",
        CodeKind::Close => "close",
        CodeKind::Start => "failed start",
    };
    format!("{number} {name} ({kind})\n  {sentence}\n  What to do: {advice}\n")
}

fn list() -> String {
    let mut out = String::from("fanwire help CODE says what to do. The commands: fanwire --help\n");
    for kind in CodeKind::ALL {
        let _ = writeln!(out, "\n{}", kind.title());
        for code in code::all().filter(|code| code.kind == kind) {
            let _ = writeln!(out, "  {:>3}  {:<22}  {}", code.number, code.name, code.sentence);
        }
    }
    out
}

fn page() -> String {
    let mut out = HEAD.to_owned();
    for kind in CodeKind::ALL {
        let _ = writeln!(out, "\n## {}\n", kind.title());
        out.push_str("| number | name | what happened | what to do |\n|---|---|---|---|\n");
        for Code { number, name, sentence, advice, .. } in code::all().filter(|c| c.kind == kind) {
            let _ = writeln!(out, "| {number} | `{name}` | {sentence} | {advice} |");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_explained_and_a_typing_error_met() {
        let told = explain("19").unwrap();
        assert!(told.starts_with("19 unauthorized (refusal)\n  A valid key or token is needed.\n"));
        assert!(told.contains("What to do: "));
        assert_eq!(explain("internal").unwrap().matches("What to do").count(), 2);
        assert_eq!(
            explain("unautorized").unwrap_err(),
            "no code \"unautorized\"; did you mean unauthorized?"
        );
        assert!(explain("999").unwrap_err().contains("`fanwire help` lists all codes"));
    }

    #[test]
    fn every_code_is_listed() {
        let (list, page) = (list(), page());
        for code in code::all() {
            assert!(list.contains(&format!("{:>3}  {} ", code.number, code.name)), "{code:?}");
            assert!(page.contains(&format!("| {} | `{}` |", code.number, code.name)), "{code:?}");
        }
    }
}
