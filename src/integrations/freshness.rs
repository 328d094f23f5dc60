//! How long an answer is fresh by its own headers (RFC 9111 §4.2.1), for a private cache.
//!
//! Does not know requests' directives, validation or heuristics: a key set that states nothing gets
//! the configured lifetime.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES};
use http::{HeaderMap, HeaderName};

/// The freshness that `headers` leave; `None` when they state none. `now_unix` stands in for a
/// missing `Date`.
pub(super) fn lifetime(headers: &HeaderMap, now_unix: Duration) -> Option<Duration> {
    let stated = by_cache_control(headers).or_else(|| by_expires(headers, now_unix))?;
    let age = text(headers, &AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    Some(stated.saturating_sub(Duration::from_secs(age)))
}

fn by_cache_control(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") && max_age.is_none() {
            max_age = Some(seconds(argument.trim().trim_matches('"')));
        }
    }
    max_age
}

/// Delta-seconds (RFC 9111 §1.2.2): too large a number is very long, anything else counts as stale.
fn seconds(text: &str) -> Duration {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { text.parse().unwrap_or(u64::MAX) } else { 0 };
    Duration::from_secs(number)
}

fn by_expires(headers: &HeaderMap, now_unix: Duration) -> Option<Duration> {
    let expires = text(headers, &EXPIRES)?;
    // RFC 9111 §5.3: what is no date, `0` above all, lies in the past.
    let Some(expires) = unix(expires) else { return Some(Duration::ZERO) };
    let date = text(headers, &DATE).and_then(unix).unwrap_or(now_unix);
    Some(expires.saturating_sub(date))
}

fn unix(date: &str) -> Option<Duration> {
    httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    // A value that is not ASCII is no date and no number either.
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    type Fields<'a> = &'a [(&'static str, &'a str)];

    #[test]
    fn lifetimes_are_read_as_rfc_9111_says() {
        const NOW: u64 = 784_111_777;
        let (at, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:51:17 GMT");
        let cases: &[(Fields<'_>, Option<u64>)] = &[
            (&[], None),
            (&[("cache-control", "public")], None),
            (&[("cache-control", "public, max-age=300, must-revalidate")], Some(300)),
            (&[("cache-control", "Max-Age = \"300\"")], Some(300)),
            (&[("cache-control", "s-maxage=5"), ("cache-control", "max-age=7")], Some(7)),
            (&[("cache-control", "max-age=7,max-age=9")], Some(7)),
            (&[("cache-control", "max-age=99999999999999999999")], Some(u64::MAX)),
            (&[("cache-control", "max-age=-1")], Some(0)),
            (&[("cache-control", "max-age=")], Some(0)),
            (&[("cache-control", "max-age=+5")], Some(0)),
            (&[("cache-control", "max-age=300, no-cache")], Some(0)),
            (&[("cache-control", "no-store"), ("expires", later)], Some(0)),
            (&[("cache-control", "max-age=300"), ("age", "120")], Some(180)),
            (&[("cache-control", "max-age=300"), ("age", "400")], Some(0)),
            (&[("cache-control", "max-age=300"), ("age", "old")], Some(300)),
            (&[("cache-control", "max-age=300"), ("expires", "0")], Some(300)),
            (&[("expires", later)], Some(100)),
            (&[("expires", later), ("date", later)], Some(0)),
            (&[("expires", later), ("date", at), ("age", "40")], Some(60)),
            (&[("expires", at), ("date", later)], Some(0)),
            (&[("expires", "0")], Some(0)),
            (&[("expires", "\u{e9}")], Some(0)),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                headers.append(HeaderName::from_static(name), value);
            }
            let found = lifetime(&headers, Duration::from_secs(NOW));
            assert_eq!(found, expected.map(Duration::from_secs), "{fields:?}");
        }
    }
}
