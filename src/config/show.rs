//! Writes a configuration as a file: the documented defaults, or what is in effect.

use std::fmt::Write as _;

use super::key::{self, Effect, Key, Kind};
use super::load::Loaded;
use super::problem::Origin;
use super::value::{self, Scalar};
use super::written;

const WIDTH: usize = 96;

/// Lists of tables at the root; TOML wants them behind everything else.
const LISTS: [&str; 2] = ["listeners", "applications"];

const HEAD: &str = "\
# Fanwire's configuration: every key, at its default. `fanwire config default` prints this file,
# `fanwire config check` judges yours, `fanwire config show` prints what is in effect and why.
#
# Later ones win: this file, environment variables, command line. Every key is a variable too, by
# its path in capitals: shards.mesh.capacity is FANWIRE_SHARDS_MESH_CAPACITY, and the first
# application's first key is FANWIRE_APPLICATIONS_0_KEYS_0_SECRET. FANWIRE_APPLICATIONS replaces
# all applications by a TOML or JSON array. With _FILE at its end a variable names a file that
# holds the value. An empty variable is passed over. FANWIRE_CONFIG may name this file.
#
# Sizes are bytes or text: 4096, \"64KiB\", \"1MiB\". Durations are text or seconds: \"15s\",
# \"200ms\", \"2m\", \"7d\", 0.5. Rates are text: \"100/s\", \"600/m\", \"100/s burst 500\", \"off\".
#
# SIGHUP (systemctl reload) has the broker read all of this again: if it is good, it takes effect at
# once and on who is connected, or else nothing changes and the log says why. Only keys that say
# \"Needs a restart.\" wait for one. `fanwire config diff OLD NEW` says what would happen.

";

/// The default file: every key with its documentation, applications as a commented example.
pub fn default_file() -> String {
    let mut out = HEAD.to_owned();
    let mut section = String::new();
    for key in key::all() {
        let mark = if list_of(key.path).is_some() { "#" } else { "" };
        if matches!(key.kind, Kind::Tables) {
            out.push('\n');
            comment(&mut out, key);
            let _ = writeln!(out, "{mark}[[{}]]", key.path.replace("[]", ""));
            // Its entries' keys follow and stand in this section already.
            section = format!("{}[]", key.path);
            continue;
        }
        if key.section() != section {
            key.section().clone_into(&mut section);
            let _ = writeln!(out, "\n{mark}[{}]", section.replace("[]", ""));
        }
        comment(&mut out, key);
        let _ = writeln!(out, "{mark}{} = {}", key.name(), default_of(key));
    }
    out
}

/// The default as the file writes it; for what has none, an example.
fn default_of(key: &Key) -> String {
    if let Some(default) = key.default {
        let read = value::read(key.kind, &Scalar::Bare(default.to_owned()));
        return written::show(key.kind, &read.expect("a test reads every default"));
    }
    match key.name() {
        _ if key.path == "listeners[].tls.certificates[].key_file" => "\"/etc/fanwire/tls.key\"",
        "address" => "\"unix:/run/fanwire/fanwire.sock\"",
        "certificate_file" => "\"/etc/fanwire/tls.crt\"",
        "id" => "\"demo\"",
        "secret" | "key" => "\"\"",
        "key_file" => "\"/etc/fanwire/public.pem\"",
        "jwks_uri" => "\"https://idp.example.com/.well-known/jwks.json\"",
        "secret_file" => "\"/run/credentials/fanwire.service/demo-key\"",
        "patterns" => "[\"orders/*\"]",
        "rights" => "[\"subscribe\", \"publish\"]",
        other => unreachable!("{other} has neither a default nor an example"),
    }
    .to_owned()
}

/// The list of tables that a key is or stands in, as the file's root holds it.
fn list_of(path: &str) -> Option<&str> {
    LISTS.into_iter().find(|list| path.starts_with(list))
}

fn comment(out: &mut String, key: &Key) {
    let mut line = String::from("#");
    let effect = if key.effect == Effect::Restart { " Needs a restart." } else { "" };
    for word in key.doc.split_whitespace().chain(effect.split_whitespace()) {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

impl Loaded {
    /// What is in effect, as a file; what is not a default says where it comes from. Secrets are
    /// masked.
    pub fn show(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for key in key::all().filter(|key| list_of(key.path).is_none()) {
            if key.section() != section {
                section = key.section();
                let _ = writeln!(out, "\n[{section}]");
            }
            self.line(&mut out, key.path, key);
        }
        for list in LISTS {
            let entries = self.values.entries(list);
            if entries.is_empty() && list == "applications" {
                out.push_str(
                    "\n# No application is declared: there is `demo`, open to everyone.\n",
                );
            }
            for entry in entries {
                self.entry(&mut out, &entry, list);
            }
        }
        out
    }

    /// One entry of a list of tables: its keys, its sections, then its own lists.
    fn entry(&self, out: &mut String, path: &str, list: &'static str) {
        let _ = writeln!(out, "\n[[{}]]", list.replace("[]", ""));
        let mut section = format!("{list}[]");
        let below = format!("{section}.");
        for key in key::all() {
            let Some(rest) = key.path.strip_prefix(&below) else { continue };
            if matches!(key.kind, Kind::Tables) {
                for entry in self.values.entries(&format!("{path}.{rest}")) {
                    self.entry(out, &entry, key.path);
                }
            } else if !rest.contains("[]") {
                if key.section() != section {
                    key.section().clone_into(&mut section);
                    let _ = writeln!(out, "\n[{}]", section.replace("[]", ""));
                }
                self.line(out, &format!("{path}.{rest}"), key);
            }
        }
    }

    fn line(&self, out: &mut String, path: &str, key: &Key) {
        let Some(effective) = self.values.effective(path) else { return };
        let _ = write!(out, "{} = {}", key.name(), written::show(key.kind, &effective.value));
        match effective.origin {
            Origin::Default => out.push('\n'),
            origin => {
                let _ = writeln!(out, "  # {origin}");
            }
        }
    }
}
