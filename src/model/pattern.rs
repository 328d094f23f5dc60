//! Topic patterns with the semantics of npm `matcher` (protocols.md §1.4).
//!
//! Case-insensitive, anchored at both ends; only `*` is special and stands for any run of
//! characters, `/` and newline included; a leading `!` negates; a backslash is literal. Matching
//! is linear in the name for each part between stars (greedy from the left is exact).

/// One pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    negated: bool,
    /// The text between stars, folded; one part means no star.
    parts: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; every string is one.
    pub fn new(text: &str) -> Pattern {
        let (negated, body) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Pattern { negated, parts: fold(body).split('*').map(str::to_owned).collect() }
    }

    /// Whether it is a bare star, which most lists are: every name matches.
    fn is_all(&self) -> bool {
        !self.negated && self.parts.len() == 2 && self.parts.iter().all(String::is_empty)
    }

    fn matches_folded(&self, name: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts[0] == name;
        };
        let Some(rest) = name.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

/// A list of patterns, judged as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Reads a list.
    pub fn new<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Patterns {
        Patterns(texts.into_iter().map(|text| Pattern::new(text.as_ref())).collect())
    }

    /// Whether the list lets `name` through: no negated pattern matches, and a positive one does
    /// or there are no positive ones. An empty list lets nothing through.
    pub fn matches(&self, name: &str) -> bool {
        match &self.0[..] {
            [] => return false,
            [only] if only.is_all() => return true,
            _ => {}
        }
        let name = fold(name);
        let mut positive_seen = false;
        let mut positive_matched = false;
        for pattern in &self.0 {
            if pattern.negated {
                if pattern.matches_folded(&name) {
                    return false;
                }
            } else {
                positive_seen = true;
                positive_matched = positive_matched || pattern.matches_folded(&name);
            }
        }
        positive_matched || !positive_seen
    }
}

/// Folds case as JavaScript's `i` flag does without `u` (ECMA-262 §22.2.2.7.3, Canonicalize): to
/// upper case, one UTF-16 code unit to one. So ß, ı and ſ match only themselves, and so does every
/// character outside the Basic Multilingual Plane.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars().map(canonical).collect()
}

fn canonical(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None)
            if is_code_unit(c) && is_code_unit(u) && (c.is_ascii() || !u.is_ascii()) =>
        {
            u
        }
        _ => c,
    }
}

fn is_code_unit(c: char) -> bool {
    u32::from(c) <= 0xFFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_negation_and_lists() {
        let cases: [(&[&str], &str, bool); 16] = [
            (&["a"], "a", true),
            (&["a"], "A", true),
            (&["a"], "ab", false),
            (&["a*"], "a/b\nc", true),
            (&["*b"], "ab", true),
            (&["a*a"], "a", false),
            (&["a*a"], "aa", true),
            (&["*"], "", true),
            (&["a*b*c"], "a-bb-c", true),
            (&["a**c"], "abc", true),
            (&["!a*"], "b", true),
            (&["!a*"], "ab", false),
            (&["a*", "!ab"], "ab", false),
            (&["a*", "!ab"], "ac", true),
            (&[], "a", false),
            (&["a\\*"], "a\\b", true),
        ];
        for (list, name, expected) in cases {
            assert_eq!(Patterns::new(list).matches(name), expected, "{list:?} on {name:?}");
        }
    }
}
