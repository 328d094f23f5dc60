//! Judges the suite's index report.

use serde_json::Value;

/// Cases that have no right answer: data after a close, and close codes 5000 and 65535.
const INFORMATIONAL: [&str; 3] = ["7.1.6", "7.13.1", "7.13.2"];

/// How many cases passed.
///
/// # Errors
/// One line per case that did not; a report that cannot be read is one as well.
pub(crate) fn judge(index: &str) -> Result<usize, Vec<String>> {
    let index: Value = serde_json::from_str(index).map_err(|error| vec![error.to_string()])?;
    let agents = index.as_object().ok_or_else(|| vec!["the report is no object".to_owned()])?;
    let mut passed = 0;
    let mut faults = Vec::new();
    for (case, result) in agents.values().filter_map(Value::as_object).flatten() {
        let behavior = ["behavior", "behaviorClose"].map(|key| result[key].as_str().unwrap_or("?"));
        if behavior.iter().all(|behavior| is_accepted(case, behavior)) {
            passed += 1;
        } else {
            faults.push(format!("{case}: {}, close {}", behavior[0], behavior[1]));
        }
    }
    if faults.is_empty() { Ok(passed) } else { Err(faults) }
}

fn is_accepted(case: &str, behavior: &str) -> bool {
    behavior == "OK" || (behavior == "INFORMATIONAL" && INFORMATIONAL.contains(&case))
}

#[test]
fn only_ok_passes() {
    let report = |case: &str, behavior: &str, close: &str| {
        let result = serde_json::json!({ "behavior": behavior, "behaviorClose": close });
        serde_json::json!({ "fanwire": { case: result, "1.1.1": { "behavior": "OK",
            "behaviorClose": "OK" } } })
        .to_string()
    };
    let fault = |line: &str| Err(vec![line.to_owned()]);
    assert_eq!(judge(&report("2.1", "OK", "OK")), Ok(2));
    assert_eq!(judge(&report("7.1.6", "INFORMATIONAL", "INFORMATIONAL")), Ok(2));
    assert_eq!(judge(&report("2.1", "INFORMATIONAL", "OK")), fault("2.1: INFORMATIONAL, close OK"),);
    assert_eq!(judge(&report("6.4.1", "NON-STRICT", "OK")), fault("6.4.1: NON-STRICT, close OK"));
    assert_eq!(judge(&report("2.1", "OK", "UNCLEAN")), fault("2.1: OK, close UNCLEAN"));
    assert_eq!(
        judge(&report("12.1.1", "UNIMPLEMENTED", "OK")),
        fault("12.1.1: UNIMPLEMENTED, close OK"),
    );
    assert!(judge("{").is_err());
    assert!(judge("[]").is_err());
}
