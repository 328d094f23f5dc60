//! Documents that must agree with the code: dependency comments, the table of refusals.

use fanwire::model::refusal::Refusal;

/// The head of the table of refusals in ARCHITECTURE.md.
pub(crate) const REFUSAL_HEAD: &str = "\
| number | code | HTTP | close | retry | meaning |
|---|---|---|---|---|---|
";

/// The rows of that table, as the code has them.
pub(crate) fn refusal_rows() -> Vec<String> {
    let row = |refusal: &Refusal| {
        let entry = refusal.entry();
        let retry = entry.retry_after.map_or("no".to_owned(), |s| format!("after {s} s"));
        format!(
            "| {} | `{}` | {} | {} | {retry} | {} |",
            entry.number, entry.code, entry.status, entry.close, entry.title
        )
    };
    Refusal::ALL.iter().map(row).collect()
}

/// The rows of that table that stand in `text`, in their order.
pub(crate) fn refusal_rows_in(text: &str) -> Vec<&str> {
    let Some(start) = text.find(REFUSAL_HEAD) else { return Vec::new() };
    let rows = text[start + REFUSAL_HEAD.len()..].lines();
    rows.take_while(|line| line.starts_with('|')).map(str::trim_end).collect()
}

/// The dependencies of a manifest that have no comment on the line above.
pub(crate) fn uncommented_dependencies(manifest: &str) -> Vec<&str> {
    let mut bare = Vec::new();
    let (mut in_dependencies, mut above) = (false, "");
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            in_dependencies = section.ends_with("dependencies");
            // `[dependencies.name]` is a dependency by itself.
            let own =
                section.rsplit_once('.').filter(|(parent, _)| parent.ends_with("dependencies"));
            if let Some((_, name)) = own
                && !above.starts_with('#')
            {
                bare.push(name);
            }
        } else if in_dependencies
            && let Some((name, _)) = line.split_once('=')
            && line.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !above.starts_with('#')
        {
            bare.push(name.trim());
        }
        above = line;
    }
    bare
}

#[test]
fn planted_violations_are_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n\n# Why.\n\n\
                    c = { version = \"1\" }\n[dev-dependencies]\nd.workspace = true\n\
                    [target.'cfg(unix)'.dependencies]\ne = \"1\"\n[dependencies.f]\nversion = \"1\"\n\
                    # Why.\n[dependencies.g]\nversion = \"1\"\n[features]\nh = []\n";
    assert_eq!(uncommented_dependencies(manifest), ["b", "c", "d.workspace", "e", "f"]);
}

#[test]
fn the_table_is_found_and_compared_whole() {
    let rows = refusal_rows();
    assert_eq!(rows[0], "| 1 | `bad_request` | 400 | 1002 | no | The request is malformed. |");
    let table = format!("# Title\n\n{REFUSAL_HEAD}{}\n\ntext | with bars\n", rows.join("\n"));
    assert_eq!(refusal_rows_in(&table), rows);
    let changed = table.replace("| 503 | 1013 |", "| 503 | 1012 |");
    assert_ne!(refusal_rows_in(&changed), rows);
    assert_ne!(refusal_rows_in(&table.replace(&format!("{}\n", rows[3]), "")), rows);
    assert_eq!(refusal_rows_in("no table").len(), 0);
}
