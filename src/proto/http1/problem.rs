//! A refusal as a `problem+json` response (RFC 9457).
//!
//! `type` is a URN per refusal, `title` and `code` come from the refusal table and never change,
//! `detail` says what was wrong this time.

use http::StatusCode;

use super::date::Date;
use super::head::Terms;
use super::response::Response;
use crate::model::refusal::{Refusal, Refused};
use crate::proto::json::escape_into;

/// Appends the whole response. `fields` are further header fields, such as the Allow that a 405
/// must have (RFC 9110 §15.5.6) or CORS fields; those that a status demands and that are always the
/// same are added here.
pub fn problem(
    out: &mut Vec<u8>,
    refused: &Refused,
    terms: Terms,
    date: &Date,
    fields: &[(&str, &str)],
) {
    let entry = refused.refusal.entry();
    let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let start = out.len();
    // The body goes first, to know its length, and changes places with the head at the end.
    write_body(out, refused);
    let body_size = out.len() - start;
    let mut response =
        Response::start(out, status, terms, date).header("Cache-Control", "no-store");
    for (name, value) in demanded_fields(refused.refusal).iter().chain(fields) {
        response = response.header(name, value);
    }
    if let Some(seconds) = refused.retry_after() {
        response = response.header_number("Retry-After", u64::from(seconds));
    }
    response.finish_apart("application/problem+json", body_size);
    out[start..].rotate_left(body_size);
    if terms.head_only {
        out.truncate(out.len() - body_size);
    }
}

/// RFC 9110 §15.5.2 (401 names a scheme, RFC 6750 §3) and RFC 6455 §4.4 (426 names the version).
fn demanded_fields(refusal: Refusal) -> &'static [(&'static str, &'static str)] {
    match refusal {
        Refusal::Unauthorized => &[("WWW-Authenticate", "Bearer")],
        Refusal::BadWebSocketVersion => {
            &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        }
        _ => &[],
    }
}

fn write_body(out: &mut Vec<u8>, refused: &Refused) {
    let entry = refused.refusal.entry();
    out.extend_from_slice(b"{\"type\":\"urn:fanwire:problem:");
    out.extend_from_slice(entry.code.as_bytes());
    out.extend_from_slice(b"\",\"title\":");
    escape_into(out, entry.title);
    out.extend_from_slice(b",\"status\":");
    out.extend_from_slice(itoa::Buffer::new().format(entry.status).as_bytes());
    out.extend_from_slice(b",\"number\":");
    out.extend_from_slice(itoa::Buffer::new().format(entry.number).as_bytes());
    out.extend_from_slice(b",\"code\":");
    escape_into(out, entry.code);
    out.extend_from_slice(b",\"detail\":");
    escape_into(out, &refused.detail);
    out.extend_from_slice(b"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(refused: &Refused, terms: Terms, fields: &[(&str, &str)], expected: &str) {
        let mut out = b"before|".to_vec();
        problem(&mut out, refused, terms, &Date::new(0), fields);
        let expected = expected.replace("DATE", "Date: Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(String::from_utf8(out), Ok(format!("before|{expected}")));
    }

    #[test]
    fn a_problem_names_its_code_detail_and_retry() {
        let body = "{\"type\":\"urn:fanwire:problem:overloaded\",\
                    \"title\":\"The broker has no room for this now.\",\"status\":503,\"number\":25,\
                    \"code\":\"overloaded\",\"detail\":\"\\\"a\\\" is full\"}";
        let terms = Terms { keep_alive: true, ..Terms::CLOSING };
        check(
            &Refused::new(Refusal::Overloaded, "\"a\" is full"),
            terms,
            &[("Vary", "Origin")],
            &format!(
                "HTTP/1.1 503 Service Unavailable\r\nDATE\r\nCache-Control: no-store\r\n\
                 Vary: Origin\r\nRetry-After: 1\r\nContent-Type: application/problem+json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
    }

    #[test]
    fn after_head_the_body_is_left_out_and_its_length_kept() {
        check(
            &Refused::new(Refusal::Unauthorized, ""),
            Terms { head_only: true, ..Terms::CLOSING },
            &[],
            "HTTP/1.1 401 Unauthorized\r\nDATE\r\nCache-Control: no-store\r\n\
             WWW-Authenticate: Bearer\r\nContent-Type: application/problem+json\r\n\
             Content-Length: 144\r\nConnection: close\r\n\r\n",
        );
    }

    #[test]
    fn every_refusal_makes_a_problem_of_valid_json() {
        for refusal in Refusal::ALL {
            let mut out = Vec::new();
            let refused = Refused::new(refusal, "tab\there, \u{1} and é");
            problem(&mut out, &refused, Terms::CLOSING, &Date::new(0), &[]);
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["code"], refusal.entry().code);
            assert_eq!(body["number"], refusal.entry().number);
            assert_eq!(body["detail"], "tab\there, \u{1} and é");
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", refusal.entry().status)));
        }
    }
}
