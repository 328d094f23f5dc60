//! Tokens that others made: those of the RFCs, and 1,700 of `vectors.json`, of which all but the few
//! valid ones are wrong in one way each.

use std::collections::HashMap;

use fanwire::auth::Verdict;
use fanwire::model::token::Algorithm;
use serde_json::Value;

use crate::door::{Door, NOT_VALID_HERE, NOW_S, jwks, raw};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("the data are JSON")
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().expect("a string")
}

fn algorithm(value: &Value) -> Algorithm {
    value.as_str().and_then(Algorithm::named).expect("a known algorithm")
}

/// The door that a case's key configures.
fn door(key: &Value) -> Door {
    let algorithms: Vec<_> =
        key["algorithms"].as_array().expect("a list").iter().map(algorithm).collect();
    if let Some(pem) = key["raw"].as_str() {
        let mut key = raw(algorithms[0], pem);
        key.algorithms = algorithms;
        return Door::new(vec![key]);
    }
    let mut door = Door::new(vec![jwks(0, &algorithms)]);
    door.give(0, &key["jwks"].to_string());
    door
}

#[test]
fn valid_tokens_hold_and_all_others_are_refused_alike() {
    let data = json(include_str!("vectors.json"));
    assert_eq!(data["now"], NOW_S);
    let keys = data["keys"].as_object().expect("an object");
    let mut doors: HashMap<_, _> =
        keys.iter().map(|(name, key)| (name.as_str(), door(key))).collect();
    let (mut wrong, mut valid_count, mut invalid_count) = (Vec::new(), 0, 0);
    for case in data["cases"].as_array().expect("a list") {
        let door = doors.get_mut(text(case, "key")).expect("a key of that name");
        let verdict = door.ask(text(case, "token"));
        let is_right = match (&verdict, case["valid"].as_bool().expect("a truth value")) {
            (Verdict::Known(_), is_valid) => {
                valid_count += 1;
                is_valid
            }
            (Verdict::Refused(refused), is_valid) => {
                invalid_count += 1;
                // The one kind of fault that is found behind the signature.
                let is_form = refused.detail.contains("strict base64url");
                !is_valid && (refused.detail == NOT_VALID_HERE || is_form)
            }
            (Verdict::NeedsKeys(_), is_valid) => {
                invalid_count += 1;
                !is_valid && keys[text(case, "key")]["jwks"].is_object()
            }
        };
        if !is_right {
            let (group, name) = (text(case, "group"), text(case, "name"));
            wrong.push(format!("{group}: {name} ({}): {verdict:?}", text(case, "key")));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(valid_count > 80 && invalid_count > 1500, "{valid_count}, {invalid_count}");
}

#[test]
fn the_rfc_tokens_that_are_claims_hold_until_they_expire() {
    for vector in json(include_str!("rfc.json")).as_array().expect("a list") {
        if !matches!(text(vector, "source"), "RFC 7515 §A.2" | "RFC 7515 §A.3") {
            continue;
        }
        let mut door = Door::new(vec![jwks(0, &[Algorithm::Rs256, Algorithm::Es256])]);
        door.give(0, &format!("{{\"keys\":[{}]}}", vector["jwk"]));
        // Its exp is 1300819380, and 5 s are forgiven.
        door.now_s = 1_300_819_384;
        assert_eq!(door.identity(text(vector, "token")).expires_at, Some(1_300_819_380));
        door.now_s = 1_300_819_385;
        let detail = door.refusal(text(vector, "token"));
        assert_eq!(detail, "the token expired 5 s ago, at 1300819380 (Unix seconds)");
    }
}
