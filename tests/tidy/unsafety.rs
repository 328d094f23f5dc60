//! Where `unsafe` may stand, and what must stand beside it.

use crate::tokens::tokens;

/// The files that may hold `unsafe`.
pub(crate) const FILES: &[&str] = &[
    // Shared memory between the load test's processes; system calls no crate wraps.
    "loadtest/src/shared.rs",
    "loadtest/src/sys.rs",
    // An option of prctl that no crate wraps.
    "src/server/huge_pages.rs",
    // Submission entries carry raw pointers.
    "src/shard/send/ring.rs",
    // A socket option no crate wraps.
    "src/shard/steering.rs",
    // A counting allocator.
    "tests/allocation.rs",
    // SQLite's file system interface is C.
    "tests/durable/vfs.rs",
];

/// What is wrong with the `unsafe` in the file at `path`, if `files` may hold some.
pub(crate) fn check(path: &str, source: &str, files: &[&str]) -> Vec<String> {
    let tokens = tokens(source);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut problems = Vec::new();
    let mut is_expected = false;
    let mut is_used = false;
    for (at, token) in tokens.iter().enumerate() {
        match (token.text, text(at + 1)) {
            ("unsafe", next) => {
                is_used = true;
                if matches!(next, "{" | "impl") && !is_argued(source, token.line) {
                    problems.push(format!("line {}: unsafe without a SAFETY comment", token.line));
                }
            }
            ("expect", "(") if text(at + 2) == "unsafe_code" => {
                is_expected = true;
                if (text(at + 3), text(at + 4)) != (",", "reason") {
                    problems.push(format!("line {}: expected without a reason", token.line));
                }
            }
            ("allow", "(") if text(at + 2) == "unsafe_code" => {
                problems.push(format!("line {}: use expect, not allow", token.line));
            }
            _ => {}
        }
    }
    let is_listed = files.contains(&path);
    if is_used && !is_listed {
        problems.push("holds unsafe, which tests/tidy/unsafety.rs does not list".to_owned());
    }
    if is_used && !is_expected {
        problems.push("holds unsafe without #[expect(unsafe_code, reason = …)]".to_owned());
    }
    if is_listed && !is_used {
        problems.push("is listed as unsafe and holds none".to_owned());
    }
    problems
}

/// Whether a `// SAFETY:` comment stands above the statement that holds the given line.
fn is_argued(source: &str, line: usize) -> bool {
    let above: Vec<_> = source.lines().take(line - 1).map(str::trim).collect();
    for text in above.into_iter().rev() {
        if text.starts_with("//") {
            if text.contains("SAFETY:") {
                return true;
            }
        } else if text.is_empty() || text.ends_with([';', '{', '}', ',']) {
            return false;
        }
    }
    false
}

#[test]
fn planted_violations_are_found() {
    let expect = "#![expect(unsafe_code, reason = \"r\")]\n";
    let argued = "// SAFETY: because\n// of this\nlet x =\n    unsafe { f() };\n";
    let listed: &[&str] = &["a.rs"];
    let cases = [
        ("a.rs", format!("{expect}{argued}"), vec![]),
        ("a.rs", format!("{expect}// SAFETY: s\nunsafe impl Send for X {{}}"), vec![]),
        ("a.rs", format!("{expect}unsafe fn f() {{}}"), vec![]),
        ("b.rs", "// unsafe { }\nlet s = \"unsafe\";".to_owned(), vec![]),
        (
            "b.rs",
            format!("{expect}{argued}"),
            vec!["holds unsafe, which tests/tidy/unsafety.rs does not list"],
        ),
        (
            "a.rs",
            argued.to_owned(),
            vec!["holds unsafe without #[expect(unsafe_code, reason = …)]"],
        ),
        (
            "a.rs",
            format!("{expect}// SAFETY: of another\ng();\nunsafe {{ f() }}"),
            vec!["line 4: unsafe without a SAFETY comment"],
        ),
        (
            "a.rs",
            format!("#![expect(unsafe_code)]\n{argued}"),
            vec!["line 1: expected without a reason"],
        ),
        ("a.rs", "fn f() {}".to_owned(), vec!["is listed as unsafe and holds none"]),
        (
            "b.rs",
            "#![allow(unsafe_code, reason = \"r\")]".to_owned(),
            vec!["line 1: use expect, not allow"],
        ),
    ];
    for (path, source, expected) in cases {
        assert_eq!(check(path, &source, listed), expected, "{source}");
    }
}
