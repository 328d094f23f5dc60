//! The shape of a file: its header, its length, and that `mod.rs` only declares.

use crate::tokens::tokens;

/// Lines a file may have.
const LENGTH_MAX: usize = 500;
/// Lines a listed file, or a table of tests, may have.
const LONG_LENGTH_MAX: usize = 800;

/// Files that may be longer than usual, each with its reason beside it.
pub(crate) const LONG_FILES: &[&str] = &[];

/// What is wrong with the shape of the Rust file at `path`.
pub(crate) fn check(path: &str, source: &str, long_files: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    if !source.starts_with("//! ") {
        problems.push("does not open with `//!`".to_owned());
    }
    let length = source.lines().count();
    let is_test = path.starts_with("tests/") || path.contains("/tests/");
    let is_long = is_test || long_files.contains(&path);
    let length_max = if is_long { LONG_LENGTH_MAX } else { LENGTH_MAX };
    if length > length_max {
        problems.push(format!("has {length} lines, more than {length_max}"));
    }
    if is_long && !is_test && length <= LENGTH_MAX {
        problems.push("is listed as long and is not".to_owned());
    }
    // Cargo leaves tests no other way to share code than a folder's mod.rs.
    let is_mod = path.ends_with("/mod.rs") && !is_test;
    if is_mod && let Some(token) = tokens(source).iter().find(|token| token.text == "fn") {
        problems.push(format!("line {}: mod.rs holds a function", token.line));
    }
    problems
}

#[test]
fn planted_violations_are_found() {
    let lines = |count: usize| "//! Header.\n".repeat(count);
    let cases = [
        ("src/a/mod.rs", "//! Modules, no fn.\npub mod b;\n".to_owned(), vec![]),
        ("src/a/b.rs", "//! Logic.\nfn f() {}\n".to_owned(), vec![]),
        ("src/a/b.rs", lines(500), vec![]),
        ("src/a/long.rs", lines(800), vec![]),
        ("tests/a.rs", lines(800), vec![]),
        ("tests/a.rs", lines(801), vec!["has 801 lines, more than 800"]),
        ("tests/a/mod.rs", "//! Shared.\nfn f() {}\n".to_owned(), vec![]),
        ("src/a/b.rs", "// Logic.\n".to_owned(), vec!["does not open with `//!`"]),
        ("src/a/b.rs", "\n//! Late.\n".to_owned(), vec!["does not open with `//!`"]),
        ("src/a/b.rs", String::new(), vec!["does not open with `//!`"]),
        ("src/a/b.rs", lines(501), vec!["has 501 lines, more than 500"]),
        ("src/a/long.rs", lines(801), vec!["has 801 lines, more than 800"]),
        ("src/a/long.rs", lines(500), vec!["is listed as long and is not"]),
        (
            "src/a/mod.rs",
            "//! M.\n\nfn f() {}\n".to_owned(),
            vec!["line 3: mod.rs holds a function"],
        ),
    ];
    for (path, source, expected) in cases {
        assert_eq!(check(path, &source, &["src/a/long.rs"]), expected, "{path}");
    }
}
