//! Bodies of the platform's administration routes (protocols.md §1.1).

use std::borrow::Cow;

use crate::model::refusal::{Refusal, Refused};
use crate::proto::json::{Scanner, Value};

/// Most patterns of one request, as on the platform.
pub const TOPIC_PATTERNS_MAX: usize = 50;

/// The body of `POST /api/topics/{appId}/unsubscribe`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpUnsubscribe<'a> {
    /// 1–50 patterns.
    pub topic_patterns: Vec<Cow<'a, str>>,
    /// Whose subscriptions end.
    pub subject: Cow<'a, str>,
}

/// Reads `{"topicPatterns":[…],"subject":S}`. Its Content-Type is not asked.
///
/// # Errors
/// Says what is wrong with it, for a problem body.
pub fn parse_http_unsubscribe<'a>(
    scanner: &mut Scanner,
    body: &'a [u8],
) -> Result<HttpUnsubscribe<'a>, Refused> {
    let document = scanner.scan(body)?;
    let [patterns, subject] = document.root().fields(["topicPatterns", "subject"])?;
    let bad = |detail: &str| Refused::new(Refusal::BadField, detail);
    let subject = subject.and_then(|subject| subject.as_str());
    let subject = subject.ok_or_else(|| bad("`subject` is missing or not a string"))?;
    let elements = patterns.as_ref().and_then(Value::elements);
    let elements = elements.ok_or_else(|| bad("`topicPatterns` is missing or not an array"))?;
    let mut topic_patterns = Vec::new();
    for pattern in elements {
        if topic_patterns.len() == TOPIC_PATTERNS_MAX {
            let detail = format!("at most {TOPIC_PATTERNS_MAX} patterns are taken");
            return Err(Refused::new(Refusal::TooMany, detail));
        }
        let pattern = pattern.as_str();
        topic_patterns.push(pattern.ok_or_else(|| bad("`topicPatterns` holds a non-string"))?);
    }
    if topic_patterns.is_empty() {
        return Err(bad("`topicPatterns` is empty"));
    }
    Ok(HttpUnsubscribe { topic_patterns, subject })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<(usize, &str), Refusal>) {
        let mut scanner = Scanner::new(64);
        let parsed = parse_http_unsubscribe(&mut scanner, body.as_bytes());
        let seen = match &parsed {
            Ok(parsed) => Ok((parsed.topic_patterns.len(), parsed.subject.as_ref())),
            Err(refused) => Err(refused.refusal),
        };
        assert_eq!(seen, expected, "{body}");
    }

    #[test]
    fn bodies_at_the_edges() {
        let many = |count| {
            format!(r#"{{"topicPatterns":[{}],"subject":"s"}}"#, vec!["\"a*\""; count].join(","))
        };
        check(r#"{"topicPatterns":["a/*","!b"],"subject":"u\u0031"}"#, Ok((2, "u1")));
        check(&many(50), Ok((50, "s")));
        check(&many(51), Err(Refusal::TooMany));
        check(&many(0), Err(Refusal::BadField));
        check(r#"{"topicPatterns":"a","subject":"s"}"#, Err(Refusal::BadField));
        check(r#"{"topicPatterns":[1],"subject":"s"}"#, Err(Refusal::BadField));
        check(r#"{"topicPatterns":["a"]}"#, Err(Refusal::BadField));
        check(r#"{"topicPatterns":["a"],"subject":null}"#, Err(Refusal::BadField));
        check("[]", Err(Refusal::BadField));
        check("{", Err(Refusal::BadJson));
    }
}
