//! Environment variables: every key by its path in capitals, `FANWIRE_SHARDS_MESH_CAPACITY`.
//!
//! - A list entry is named by its number: `FANWIRE_APPLICATIONS_0_KEYS_0_SECRET`.
//! - A list of tables can be replaced whole: `FANWIRE_APPLICATIONS` holds a TOML or JSON array.
//! - `…_FILE` names a file that holds the value; one newline at its end is cut. For secrets.
//! - An empty variable is as good as none: that is how compose files pass on what is unset.
//! - Unknown `FANWIRE_…` variables are errors. Only those are passed over that Kubernetes injects
//!   for a service which happens to be called `fanwire…`, and the three of the client commands.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use super::key::{self, Kind};
use super::load::ReadFile;
use super::problem::Origin;
use super::raw::Raw;
use super::tree;
use super::value::Scalar;

/// What every variable's name begins with.
const PREFIX: &str = "FANWIRE_";
/// The variable that names the configuration file; not a key, since the command line reads it.
pub const FILE_VARIABLE: &str = "FANWIRE_CONFIG";
/// The broker that the client commands speak to; like its fellows not a key, and no broker's matter.
pub const CLIENT_URL_VARIABLE: &str = "FANWIRE_CLIENT_URL";
/// The API key of the client commands.
pub const CLIENT_KEY_VARIABLE: &str = "FANWIRE_CLIENT_KEY";
/// The token of the client commands.
pub const CLIENT_TOKEN_VARIABLE: &str = "FANWIRE_CLIENT_TOKEN";

/// Names with the prefix that stand for no key.
const OTHERS: [&str; 4] =
    [FILE_VARIABLE, CLIENT_URL_VARIABLE, CLIENT_KEY_VARIABLE, CLIENT_TOKEN_VARIABLE];

/// Sets what the environment says over what `raw` holds.
pub(super) fn apply(raw: &mut Raw, variables: &[(String, String)], read: ReadFile<'_>) {
    let mut named: Vec<_> = variables
        .iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, value)| !OTHERS.contains(&name.as_str()) && !is_injected(name, value))
        .map(|(name, value)| (resolve(name), name, value))
        .collect();
    // A whole list first, the outer before the inner, then single keys on top.
    named.sort_by_key(|(target, name, _)| match target {
        Some(Target { path, kind: Kind::Tables, .. }) => (path.len(), *name),
        _ => (usize::MAX, *name),
    });
    let mut set_by = HashMap::new();
    for (target, name, value) in named {
        let origin = Origin::Environment(name.clone());
        let Some(Target { path, kind, from_file }) = target else {
            raw.problem(origin, "", unknown(name));
            continue;
        };
        if let Some(other) = set_by.insert(path.clone(), name) {
            raw.problem(origin, &path, format!("is set by {other} too; keep one of them"));
        } else if from_file {
            match read_value(value, read) {
                Ok(text) => set(raw, &path, kind, &text, origin),
                Err(problem) => raw.problem(origin, &path, problem),
            }
        } else {
            set(raw, &path, kind, value, origin);
        }
    }
}

/// The text of the file `name` without the newline that editors put at its end. A problem does not
/// repeat the name: who mistakes `…_FILE` may have put the secret there.
pub(super) fn read_value(name: &str, read: ReadFile<'_>) -> Result<String, String> {
    let text = read(Path::new(name)).map_err(|error| format!("cannot read the file: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn set(raw: &mut Raw, path: &str, kind: Kind, text: &str, origin: Origin) {
    if !matches!(kind, Kind::Tables) {
        raw.set(path.to_owned(), Scalar::Bare(text.to_owned()), origin);
        return;
    }
    match tree::inline(text) {
        Ok(node) => {
            raw.remove(path);
            raw.entry(path, node, &|_| origin.clone());
        }
        Err(problem) => raw.problem(origin, path, problem),
    }
}

struct Target {
    path: String,
    kind: Kind,
    from_file: bool,
}

/// What a variable stands for. A key's own name comes before `_FILE` as a suffix, since a key may
/// end in `_file` itself.
fn resolve(name: &str) -> Option<Target> {
    let find = |name: &str, from_file| {
        key::all().find_map(|key| {
            let path = path_if_named(key.path, name)?;
            Some(Target { path, kind: key.kind, from_file })
        })
    };
    find(name, false).or_else(|| find(name.strip_suffix("_FILE")?, true))
}

/// The path that the variable `name` stands for, if it is one of `pattern`'s.
fn path_if_named(pattern: &str, name: &str) -> Option<String> {
    let mut rest = name.strip_prefix(PREFIX)?;
    let mut path = String::new();
    for (index, part) in pattern.split("[]").enumerate() {
        if index > 0 {
            let digits = rest.strip_prefix('_')?;
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            // Read as a number, so that `00` and `0` are one entry.
            let number: u16 = digits[..end].parse().ok()?;
            let _ = write!(path, "[{number}]");
            rest = &digits[end..];
        }
        rest = rest.strip_prefix(&*capitals(part))?;
        path.push_str(part);
    }
    rest.is_empty().then_some(path)
}

/// `shards.mesh` → `SHARDS_MESH`, `.id` → `_ID`.
fn capitals(path: &str) -> String {
    path.replace('.', "_").to_ascii_uppercase()
}

/// The variable of a key; list entries by the number 0.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", capitals(&path.replace("[]", "_0")))
}

fn unknown(name: &str) -> String {
    let candidates = key::all().map(|key| variable_of(key.path));
    let alike = candidates
        .map(|candidate| (strsim::damerau_levenshtein(&candidate, name), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match alike {
        Some((_, meant)) => format!("no key has this variable; did you mean {meant}?"),
        None => "no key has this variable; `fanwire config default` prints all keys".to_owned(),
    }
}

/// Whether Kubernetes made it: `FANWIRE_PORT=tcp://10.0.0.1:80`, `FANWIRE_PORT_80_TCP_ADDR`,
/// `FANWIRE_SERVICE_HOST`, `FANWIRE_SERVICE_PORT_HTTP`.
fn is_injected(name: &str, value: &str) -> bool {
    let is_url = value.starts_with("tcp://") || value.starts_with("udp://");
    let has_port = name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"));
    (name.contains("_PORT") && is_url)
        || has_port
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_variable_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for key in key::all() {
            let variable = variable_of(key.path);
            assert!(seen.insert(variable.clone()), "{variable} stands for two keys");
            let target = resolve(&variable).unwrap();
            assert_eq!(target.path, key.path.replace("[]", "[0]"));
            assert!(!target.from_file);
            assert!(!is_injected(&variable, "8480"), "{variable}");
        }
    }

    #[test]
    fn entries_are_numbered_and_files_named() {
        let resolved = |name| resolve(name).map(|target| (target.path, target.from_file));
        let cases = [
            ("FANWIRE_APPLICATIONS_07_KEYS_1_SECRET", "applications[7].keys[1].secret", false),
            ("FANWIRE_APPLICATIONS_0_ID_FILE", "applications[0].id", true),
            (
                "FANWIRE_APPLICATIONS_0_KEYS_0_SECRET_FILE",
                "applications[0].keys[0].secret_file",
                false,
            ),
            ("FANWIRE_APPLICATIONS_FILE", "applications", true),
        ];
        for (name, path, from_file) in cases {
            assert_eq!(resolved(name), Some((path.to_owned(), from_file)), "{name}");
        }
        for name in
            ["FANWIRE_APPLICATIONS_X_ID", "FANWIRE_APPLICATIONS__ID", "FANWIRE_", "FANWIRE_SERVER"]
        {
            assert_eq!(resolved(name), None, "{name}");
        }
    }
}
