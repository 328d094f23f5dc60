//! Replays the fuzz corpora through the checks of the fuzz targets.

use std::path::Path;

#[path = "../fuzz/checks/http1.rs"]
mod http1;
#[path = "../fuzz/checks/json.rs"]
mod json;

fn replay(target: &str, check: fn(&[u8])) {
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

#[test]
fn http1_corpus() {
    replay("http1", http1::check);
}

#[test]
fn json_corpus() {
    replay("json", json::check);
}
