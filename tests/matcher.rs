//! Topic patterns against npm `matcher` 5.0.0, whose answers stand in `matcher/vectors.json`.
//!
//! `matcher/generate.mjs` makes that file; running it again gives the same bytes.

use fanwire::model::pattern::Patterns;

/// What the oracle said.
#[derive(Debug)]
struct Vectors {
    cases: Vec<(Vec<String>, String, bool)>,
    /// Characters in pairs, each a case of the other, that match one another.
    equal: Vec<[char; 2]>,
    /// Pairs that do not.
    different: Vec<[char; 2]>,
}

fn vectors() -> Vectors {
    let root: serde_json::Value =
        serde_json::from_str(include_str!("matcher/vectors.json")).expect("the vectors are JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    let pairs = |name: &str| {
        let characters: Vec<char> = text(&root[name]).chars().collect();
        let (pairs, []) = characters.as_chunks::<2>() else { panic!("{name} is not in pairs") };
        pairs.to_vec()
    };
    let case = |case: &serde_json::Value| {
        let patterns = case[0].as_array().expect("patterns").iter().map(text).collect();
        (patterns, text(&case[1]), case[2] == 1)
    };
    let cases = root["cases"].as_array().expect("cases").iter().map(case).collect();
    Vectors { cases, equal: pairs("equal"), different: pairs("different") }
}

#[test]
fn every_list_matches_as_the_oracle_says() {
    let cases = vectors().cases;
    let wrong: Vec<_> = cases
        .iter()
        .filter(|(patterns, name, expected)| Patterns::new(patterns).matches(name) != *expected)
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ: {wrong:#?}", wrong.len(), cases.len());
    let matched_count = cases.iter().filter(|(_, _, matched)| *matched).count();
    assert!(
        cases.len() >= 4000 && (1000..=3000).contains(&matched_count),
        "the vectors are lopsided"
    );
}

#[test]
fn every_character_folds_as_the_oracle_says() {
    let Vectors { equal, different, .. } = vectors();
    assert!(equal.len() > 1000 && !different.is_empty());
    let all = equal.iter().map(|pair| (pair, true)).chain(different.iter().map(|p| (p, false)));
    let wrong: Vec<_> = all
        .filter(|([name, pattern], expected)| {
            Patterns::new([pattern.to_string()]).matches(&name.to_string()) != *expected
        })
        .collect();
    assert!(wrong.is_empty(), "{} differ: {wrong:?}", wrong.len());
}
