//! Who may name whom: the table of ARCHITECTURE.md's layers, and crates kept to one layer.

use crate::tokens::{Token, tokens};

/// A layer and the layers it may name; its own name goes without saying.
const LAYERS: [(&str, &[&str]); 12] = [
    ("stdx", &[]),
    ("model", &["stdx"]),
    ("proto", &["stdx", "model"]),
    ("auth", &["stdx", "model"]),
    ("broker", &["stdx", "model"]),
    ("telemetry", &["stdx", "model"]),
    ("mesh", &["stdx", "model"]),
    ("shard", &["stdx", "model", "proto", "auth", "broker", "telemetry", "mesh"]),
    ("integrations", &["stdx", "model", "telemetry", "mesh"]),
    ("store", &["stdx", "model", "telemetry", "mesh"]),
    (
        "config",
        &[
            "stdx",
            "model",
            "proto",
            "auth",
            "broker",
            "telemetry",
            "mesh",
            "shard",
            "integrations",
            "store",
        ],
    ),
    (
        "server",
        &[
            "stdx",
            "model",
            "proto",
            "auth",
            "broker",
            "telemetry",
            "mesh",
            "shard",
            "integrations",
            "store",
            "config",
        ],
    ),
];

/// Crates and the one layer that names them.
const CONFINED: [(&str, &str); 11] = [
    ("monoio", "shard"),
    ("io_uring", "shard"),
    ("rustls", "shard"),
    ("webpki", "shard"),
    ("jsonwebtoken", "auth"),
    ("subtle", "auth"),
    ("tokio", "integrations"),
    ("rusqlite", "store"),
    ("tracing_subscriber", "telemetry"),
    ("toml", "config"),
    ("clap", "server"),
];

/// What the Rust file at `path` names against the table.
pub(crate) fn check(path: &str, source: &str) -> Vec<String> {
    let Some(module) = module_of(path) else { return Vec::new() };
    let Some(layer) = module.first() else { return Vec::new() };
    let Some((_, below)) = LAYERS.iter().find(|(name, _)| name == layer) else {
        return vec![format!("{layer} is no layer; add it to the table with what it may name")];
    };
    let tokens = tokens(source);
    let mut problems = Vec::new();
    for (named, line) in named_layers(&tokens, &module) {
        if named != *layer && !below.contains(&&*named) {
            problems.push(format!("line {line}: {layer} names {named}"));
        }
    }
    for token in &tokens {
        let home = CONFINED.iter().find(|(name, home)| *name == token.text && home != layer);
        if let Some((name, home)) = home {
            problems.push(format!("line {}: {name} is named outside of {home}", token.line));
        }
    }
    problems
}

/// The module that a file of the library holds: `src/a/b.rs` → `a::b`. `None` for files that are
/// not of the library, and for the binary, which may name everything.
fn module_of(path: &str) -> Option<Vec<&str>> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    if inside == "main" || inside.starts_with("bin/") {
        return None;
    }
    let mut module: Vec<_> = inside.split('/').collect();
    if matches!(*module.last()?, "mod" | "lib") {
        module.pop();
    }
    Some(module)
}

/// First segments, seen from the crate's root, of every path that starts at the root, and lines.
fn named_layers(tokens: &[Token<'_>], file: &[&str]) -> Vec<(String, usize)> {
    let mut module: Vec<&str> = file.to_vec();
    // For each open brace, whether it is an inline module's.
    let mut braces = Vec::new();
    let mut named = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = |back: usize| index.checked_sub(back).map_or("", |at| tokens[at].text);
        match token.text {
            "{" if before(2) == "mod" => {
                module.push(before(1));
                braces.push(true);
            }
            "{" => braces.push(false),
            "}" if braces.pop() == Some(true) => {
                module.pop();
            }
            // A path's first segment only, which two colons may stand before if it is a crate's.
            "crate" | "super" | "self" if before(1) != ":" => {
                follow(&tokens[index..], &module, &mut named);
            }
            "fanwire" if before(1) != ":" || !is_segment(before(3)) => {
                follow(&tokens[index..], &module, &mut named);
            }
            _ => {}
        }
    }
    named
}

/// Whether a path may go on behind this token: `a::`, `a<b>::`.
fn is_segment(text: &str) -> bool {
    text == ">" || text.starts_with(|c: char| c.is_alphanumeric() || c == '_') && text != "use"
}

/// Follows one path or group of paths whose first token is `tokens[0]`, seen from module `from`;
/// returns how many tokens it took.
fn follow(tokens: &[Token<'_>], from: &[&str], named: &mut Vec<(String, usize)>) -> usize {
    let Some(first) = tokens.first() else { return 0 };
    let continues = matches!(tokens, [_, a, b, ..] if a.text == ":" && b.text == ":");
    let base = match first.text {
        "crate" | "fanwire" if continues => &[],
        // `pub(crate)`; a path ends with its last segment.
        "crate" | "fanwire" => {
            let is_alias = tokens.get(1).is_some_and(|next| next.text == "as");
            if is_alias {
                named.push(("the whole crate by another name".to_owned(), first.line));
            }
            return 1;
        }
        "super" => from.split_last().map_or(from, |(_, rest)| rest),
        "self" if !from.is_empty() => from,
        "{" => {
            let mut at = 1;
            while at < tokens.len() && tokens[at].text != "}" {
                let took = follow(&tokens[at..], from, named);
                at += took.max(1);
                // The rest of the path cannot leave the layer any more.
                at += rest_of_entry(&tokens[at..]);
            }
            return at + 1;
        }
        other => {
            if from.is_empty() {
                named.push((other.to_owned(), first.line));
            }
            return 1;
        }
    };
    if continues { 3 + follow(&tokens[3..], base, named) } else { 1 }
}

/// Tokens up to the comma behind this entry of a group (taken too) or the group's end (not taken).
fn rest_of_entry(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => depth += 1,
            "}" if depth == 0 => return index,
            "}" => depth -= 1,
            "," if depth == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn planted_violations_are_found() {
    let cases = [
        ("src/proto/ws.rs", "use crate::shard::Options;", "line 1: proto names shard"),
        (
            "src/proto/ws.rs",
            "fn f() {\n crate::broker::topic::f()\n}",
            "line 2: proto names broker",
        ),
        ("src/proto/ws.rs", "use crate::{model::id, mesh::port};", "line 1: proto names mesh"),
        (
            "src/proto/ws.rs",
            "use crate::{model::{id, topic}, stdx, mesh};",
            "line 1: proto names mesh",
        ),
        ("src/proto/ws.rs", "use super::super::auth::keys;", "line 1: proto names auth"),
        ("src/proto/mod.rs", "use super::auth;", "line 1: proto names auth"),
        ("src/proto/a/b.rs", "use super::{super::super::auth::keys};", "line 1: proto names auth"),
        (
            "src/proto/ws.rs",
            "mod tests { use super::super::super::auth; }",
            "line 1: proto names auth",
        ),
        ("src/proto/ws.rs", "mod a {}\nuse super::super::auth;", "line 2: proto names auth"),
        ("src/proto/ws.rs", "self::super::super::auth::f()", "line 1: proto names auth"),
        ("src/proto/ws.rs", "use fanwire::auth;", "line 1: proto names auth"),
        ("src/proto/ws.rs", "use ::fanwire::auth;", "line 1: proto names auth"),
        (
            "src/proto/ws.rs",
            "use crate as all;",
            "line 1: proto names the whole crate by another name",
        ),
        ("src/proto/ws.rs", "use crate::*;", "line 1: proto names *"),
        (
            "src/proto/ws.rs",
            "macro_rules! m { () => { $crate::shard::f() } }",
            "line 1: proto names shard",
        ),
        ("src/stdx/slab.rs", "use crate::model::id;", "line 1: stdx names model"),
        ("src/broker/topic.rs", "monoio::spawn(f)", "line 1: monoio is named outside of shard"),
        (
            "src/server/run.rs",
            "use io_uring::IoUring;",
            "line 1: io_uring is named outside of shard",
        ),
        ("src/broker/home.rs", "rusqlite::Row", "line 1: rusqlite is named outside of store"),
        ("src/store/row.rs", "use crate::broker::Home;", "line 1: store names broker"),
        ("src/attic/a.rs", "", "attic is no layer; add it to the table with what it may name"),
    ];
    for (path, source, expected) in cases {
        assert_eq!(check(path, source), [expected], "{source}");
    }
}

#[test]
fn legal_uses_pass() {
    let cases = [
        (
            "src/shard/run.rs",
            "use crate::{broker, proto::ws};\nuse monoio::net;\npub(crate) fn f() {}",
        ),
        ("src/proto/ws.rs", "// crate::shard\nlet s = \"crate::shard monoio\"; use super::http1;"),
        ("src/proto/ws.rs", "mod tests { use super::*; use super::super::sse; }"),
        ("src/proto/ws.rs", "pub(super) fn f() { self::g(); super::sse::h() }"),
        ("src/proto/ws.rs", "use crate::model::{topic, shard::{ShardIndex, broker}};"),
        ("src/config/load.rs", "use crate::shard::Options;\nuse super::server;"),
        ("src/lib.rs", "pub mod shard;\nuse crate::shard;"),
        ("src/main.rs", "fanwire::server::main()"),
        ("tests/a.rs", "use fanwire::shard; use monoio::x;"),
    ];
    for (path, source) in cases {
        assert_eq!(check(path, source), [""; 0], "{source}");
    }
}
