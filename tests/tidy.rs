//! The house rules that no compiler knows: layers, confinement, `unsafe`, shape, documents.
//!
//! Each rule is a function over text that returns what is wrong, tried on planted violations in its
//! own file, and run here over the whole repository.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/tokens.rs"]
mod tokens;
#[path = "tidy/unsafety.rs"]
mod unsafety;

use std::fs;
use std::path::Path;

/// One file of the repository, its path relative to the root.
struct Source {
    path: String,
    text: String,
}

/// All files below the root whose names end in `ending`, sorted by path.
fn sources(ending: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("so can its entries").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_foreign = name.starts_with('.') || name == "target" || name == "node_modules";
            if path.is_dir() && !is_foreign {
                open.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                let relative = path.strip_prefix(root).expect("the walk began there");
                let text = fs::read_to_string(&path).expect("source files are UTF-8");
                found.push(Source { path: relative.display().to_string(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "the repository has no {ending} files: the root is wrong");
    found
}

/// Fails with every violation that `check` finds in the repository's Rust files.
fn assert_tidy(check: impl Fn(&Source) -> Vec<String>) {
    let report = |source: &Source| {
        let name = source.path.clone();
        check(source).into_iter().map(move |problem| format!("{name}: {problem}")).collect()
    };
    let problems: Vec<String> =
        sources(".rs").iter().flat_map(|s| -> Vec<_> { report(s) }).collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn arrows_of_use_run_downward() {
    assert_tidy(|source| layers::check(&source.path, &source.text));
}

#[test]
fn unsafe_code_is_named_and_argued() {
    assert_tidy(|source| unsafety::check(&source.path, &source.text, unsafety::FILES));
    let all = sources(".rs");
    for listed in unsafety::FILES {
        assert!(all.iter().any(|source| source.path == *listed), "{listed} is listed but absent");
    }
}

#[test]
fn files_have_a_header_and_a_size() {
    assert_tidy(|source| shape::check(&source.path, &source.text, shape::LONG_FILES));
}

#[test]
fn every_dependency_says_why_it_is_there() {
    for manifest in sources("Cargo.toml") {
        let bare = documents::uncommented_dependencies(&manifest.text);
        assert!(bare.is_empty(), "{}: no comment above {bare:?}", manifest.path);
    }
}

#[test]
fn the_documented_refusals_are_the_ones_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = fs::read_to_string(path).unwrap_or_default();
    let expected = documents::refusal_rows();
    let found = documents::refusal_rows_in(&text);
    let table = [documents::REFUSAL_HEAD, &expected.join("\n")].concat();
    assert!(found == expected, "ARCHITECTURE.md's table of refusals must be this:\n\n{table}\n");
}
