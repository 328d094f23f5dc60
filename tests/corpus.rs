//! Replays the fuzz corpora through the checks of the fuzz targets.

use std::path::Path;

#[path = "../fuzz/checks/buzzpost.rs"]
mod buzzpost;
#[path = "../fuzz/checks/deflate.rs"]
mod deflate;
#[path = "../fuzz/checks/fields.rs"]
mod fields;
#[path = "../fuzz/checks/http1.rs"]
mod http1;
#[path = "../fuzz/checks/json.rs"]
mod json;
#[path = "../fuzz/checks/names.rs"]
mod names;
#[path = "../fuzz/checks/native.rs"]
mod native;
#[path = "../fuzz/checks/objects.rs"]
mod objects;
#[path = "../fuzz/checks/pattern.rs"]
mod pattern;
#[path = "../fuzz/checks/proxy.rs"]
mod proxy;
#[path = "../fuzz/checks/query.rs"]
mod query;
#[path = "../fuzz/checks/realtime.rs"]
mod realtime;
#[path = "../fuzz/checks/sse.rs"]
mod sse;
#[path = "../fuzz/checks/token.rs"]
mod token;
#[path = "../fuzz/checks/ws.rs"]
mod ws;

type Check = fn(&[u8]);

/// Every fuzz target and its check.
const TARGETS: [(&str, Check); 13] = [
    ("buzzpost", buzzpost::check),
    ("deflate", deflate::check),
    ("http1", http1::check),
    ("json", json::check),
    ("names", names::check),
    ("native", native::check),
    ("pattern", pattern::check),
    ("proxy", proxy::check),
    ("query", query::check),
    ("realtime", realtime::check),
    ("sse", sse::check),
    ("token", token::check),
    ("ws", ws::check),
];

/// The names in a folder of `fuzz`, sorted, without their extensions.
fn names_in(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = std::fs::read_dir(folder).expect("a part of the repository");
    let stem = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("readable").path();
        path.file_stem().expect("a name").to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(stem).collect();
    names.sort();
    names
}

#[test]
fn every_target_has_a_corpus_and_is_replayed() {
    let replayed = TARGETS.map(|(name, _)| name);
    assert_eq!(names_in("fuzz_targets"), replayed);
    assert_eq!(names_in("corpus"), replayed);
}

#[test]
fn every_corpus_passes_its_check() {
    for (target, check) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
            let path = entry.expect("readable").path();
            let data = std::fs::read(&path).expect("readable");
            let result = std::panic::catch_unwind(|| check(&data));
            assert!(result.is_ok(), "{} fails", path.display());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}
