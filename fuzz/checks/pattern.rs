//! What must hold of patterns for any list and name: the verdict is that of a table filled in by
//! the definition. The input is a name and patterns, divided by the byte 0x1f.

use fanwire::model::pattern::Patterns;

/// Longest part that is tried: the table grows with name times pattern.
const SIZE_MAX: usize = 512;

/// Panics where the naive matcher disagrees.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut parts = text.split('\u{1f}');
    let name = parts.next().unwrap_or_default();
    let patterns: Vec<&str> = parts.collect();
    if name.len() > SIZE_MAX || patterns.iter().any(|pattern| pattern.len() > SIZE_MAX) {
        return;
    }
    let expected = naive_list(&patterns, name);
    assert_eq!(Patterns::new(&patterns).matches(name), expected, "{patterns:?} on {name:?}");
}

/// protocols.md §1.4.
fn naive_list(patterns: &[&str], name: &str) -> bool {
    let (negated, positive): (Vec<&str>, Vec<&str>) =
        patterns.iter().partition(|pattern| pattern.starts_with('!'));
    let is_excluded = negated.iter().any(|pattern| naive(&pattern[1..], name));
    let is_kept = positive.is_empty() || positive.iter().any(|pattern| naive(pattern, name));
    !patterns.is_empty() && !is_excluded && is_kept
}

/// Which prefixes of the name each prefix of the pattern matches, in UTF-16 as the oracle does.
fn naive(pattern: &str, name: &str) -> bool {
    let name: Vec<u16> = name.encode_utf16().map(canonical).collect();
    let mut matched: Vec<bool> = (0..=name.len()).map(|size| size == 0).collect();
    for unit in pattern.encode_utf16() {
        matched = if unit == u16::from(b'*') {
            let first = matched.iter().position(|matched| *matched).unwrap_or(usize::MAX);
            (0..=name.len()).map(|size| size >= first).collect()
        } else {
            let unit = canonical(unit);
            (0..=name.len())
                .map(|size| size > 0 && matched[size - 1] && name[size - 1] == unit)
                .collect()
        };
    }
    matched[name.len()]
}

/// ECMA-262 §22.2.2.7.3 for a regular expression with `i` and without `u`.
fn canonical(unit: u16) -> u16 {
    let text = String::from_utf16_lossy(&[unit]).to_uppercase();
    let units: Vec<u16> = text.encode_utf16().collect();
    match *units {
        // Half a surrogate pair has become U+FFFD.
        [upper] if !(0xd800..0xe000).contains(&unit) && (unit < 128 || upper >= 128) => upper,
        _ => unit,
    }
}
