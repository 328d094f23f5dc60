//! Every reason for which a request or command is refused: one table.
//!
//! HTTP doors answer with `problem+json` (RFC 9457) built from it, WebSocket doors close with its
//! close code; ARCHITECTURE.md's table is compared with this one by `tests/tidy.rs`.

use std::time::Duration;

/// Why a request, a frame or a command was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// The request line or a header field breaks the grammar or is ambiguous.
    BadRequest,
    /// The request target is over the limit.
    TargetTooLong,
    /// Header section over the limit.
    HeadersTooLarge,
    /// Body over the door's limit.
    BodyTooLarge,
    /// One message's payload over the limit.
    PayloadTooLarge,
    /// Body is not UTF-8.
    BadUtf8,
    /// Body is not JSON the broker can carry.
    BadJson,
    /// JSON, but a field is missing or of another type.
    BadField,
    /// The topic's name is not allowed.
    BadTopic,
    /// More topics or messages in one request than allowed.
    TooMany,
    /// A header that is needed to frame the body is absent.
    LengthRequired,
    /// An `Expect` that is not `100-continue`.
    ExpectationFailed,
    /// A transfer coding or HTTP version this server does not speak.
    NotImplemented,
    /// HTTP version not 1.0 or 1.1.
    BadVersion,
    /// No such route.
    UnknownRoute,
    /// The route exists, the method does not.
    BadMethod,
    /// No such application.
    UnknownApplication,
    /// The application is switched off.
    ApplicationDisabled,
    /// The key is absent or wrong.
    Unauthorized,
    /// The caller may not do this to this topic.
    Forbidden,
    /// A WebSocket handshake that RFC 6455 §4.2.1 does not allow.
    BadHandshake,
    /// A WebSocket version other than 13.
    BadWebSocketVersion,
    /// Too many subscriptions on one connection.
    TooManySubscriptions,
    /// The request or handshake did not arrive in time.
    Timeout,
    /// The broker has no room for this publish now.
    Overloaded,
    /// The broker is stopping.
    Stopping,
    /// A bug: the request was dropped, the connection closed.
    Internal,
    /// No connection of this id.
    UnknownConnection,
    /// The caller's address is not among those that may come.
    SourceForbidden,
    /// The page's origin is not among those that may come.
    OriginForbidden,
    /// More than the rate allows.
    RateLimited,
    /// The key set that would verify the token could not be had yet.
    KeysUnavailable,
    /// The store has failed; what it may have kept of the message is not known.
    StoreFailed,
}

/// What the table says of one refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Number, stable for ever.
    pub number: u16,
    /// Name, stable for ever; the `code` member of the problem body.
    pub code: &'static str,
    /// One sentence for a person.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// WebSocket close code (RFC 6455 §7.4).
    pub close: u16,
    /// Seconds after which a retry may succeed; `None` when a retry alone will not help.
    pub retry_after: Option<u32>,
}

const fn entry(
    number: u16,
    code: &'static str,
    title: &'static str,
    status: u16,
    close: u16,
    retry_after: Option<u32>,
) -> Entry {
    Entry { number, code, title, status, close, retry_after }
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Refusal; 33] = [
        Refusal::BadRequest,
        Refusal::TargetTooLong,
        Refusal::HeadersTooLarge,
        Refusal::BodyTooLarge,
        Refusal::PayloadTooLarge,
        Refusal::BadUtf8,
        Refusal::BadJson,
        Refusal::BadField,
        Refusal::BadTopic,
        Refusal::TooMany,
        Refusal::LengthRequired,
        Refusal::ExpectationFailed,
        Refusal::NotImplemented,
        Refusal::BadVersion,
        Refusal::UnknownRoute,
        Refusal::BadMethod,
        Refusal::UnknownApplication,
        Refusal::ApplicationDisabled,
        Refusal::Unauthorized,
        Refusal::Forbidden,
        Refusal::BadHandshake,
        Refusal::BadWebSocketVersion,
        Refusal::TooManySubscriptions,
        Refusal::Timeout,
        Refusal::Overloaded,
        Refusal::Stopping,
        Refusal::Internal,
        Refusal::UnknownConnection,
        Refusal::SourceForbidden,
        Refusal::OriginForbidden,
        Refusal::RateLimited,
        Refusal::KeysUnavailable,
        Refusal::StoreFailed,
    ];

    /// The table's row.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one table, kept in one place")]
    pub const fn entry(self) -> Entry {
        match self {
            Refusal::BadRequest => {
                entry(1, "bad_request", "The request is malformed.", 400, 1002, None)
            }
            Refusal::TargetTooLong => {
                entry(2, "target_too_long", "The request target is too long.", 414, 1009, None)
            }
            Refusal::HeadersTooLarge => {
                entry(3, "headers_too_large", "The header section is too large.", 431, 1009, None)
            }
            Refusal::BodyTooLarge => {
                entry(4, "body_too_large", "The request body is too large.", 413, 1009, None)
            }
            Refusal::PayloadTooLarge => entry(
                5,
                "payload_too_large",
                "The message's payload is too large.",
                413,
                1009,
                None,
            ),
            Refusal::BadUtf8 => entry(6, "bad_utf8", "The text is not UTF-8.", 400, 1007, None),
            Refusal::BadJson => {
                entry(7, "bad_json", "The body is not JSON this broker can carry.", 400, 1008, None)
            }
            Refusal::BadField => {
                entry(8, "bad_field", "A field is missing or has the wrong type.", 400, 1008, None)
            }
            Refusal::BadTopic => {
                entry(9, "bad_topic", "The topic's name is not allowed.", 400, 1008, None)
            }
            Refusal::TooMany => entry(
                10,
                "too_many",
                "The request names too many topics or messages.",
                400,
                1008,
                None,
            ),
            Refusal::LengthRequired => {
                entry(11, "length_required", "The body needs a Content-Length.", 411, 1002, None)
            }
            Refusal::ExpectationFailed => entry(
                12,
                "expectation_failed",
                "Only 100-continue may be expected.",
                417,
                1002,
                None,
            ),
            Refusal::NotImplemented => entry(
                13,
                "not_implemented",
                "The transfer coding is not supported.",
                501,
                1002,
                None,
            ),
            Refusal::BadVersion => entry(
                14,
                "bad_version",
                "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
                505,
                1002,
                None,
            ),
            Refusal::UnknownRoute => {
                entry(15, "unknown_route", "There is nothing at this path.", 404, 1008, None)
            }
            Refusal::BadMethod => {
                entry(16, "bad_method", "The path does not take this method.", 405, 1008, None)
            }
            Refusal::UnknownApplication => {
                entry(17, "unknown_application", "There is no such application.", 404, 1008, None)
            }
            Refusal::ApplicationDisabled => {
                entry(18, "application_disabled", "The application is disabled.", 403, 1008, None)
            }
            Refusal::Unauthorized => {
                entry(19, "unauthorized", "A valid key or token is needed.", 401, 1008, None)
            }
            Refusal::Forbidden => {
                entry(20, "forbidden", "The key or token does not allow this.", 403, 1008, None)
            }
            Refusal::BadHandshake => {
                entry(21, "bad_handshake", "The WebSocket handshake is not valid.", 400, 1002, None)
            }
            Refusal::BadWebSocketVersion => entry(
                22,
                "bad_websocket_version",
                "WebSocket version 13 is needed.",
                426,
                1002,
                None,
            ),
            Refusal::TooManySubscriptions => entry(
                23,
                "too_many_subscriptions",
                "The connection has too many subscriptions.",
                400,
                1008,
                None,
            ),
            Refusal::Timeout => {
                entry(24, "timeout", "The request did not arrive in time.", 408, 1008, Some(1))
            }
            Refusal::Overloaded => {
                entry(25, "overloaded", "The broker has no room for this now.", 503, 1013, Some(1))
            }
            Refusal::Stopping => {
                entry(26, "stopping", "The broker is stopping.", 503, 1001, Some(2))
            }
            Refusal::Internal => {
                entry(27, "internal", "The broker failed on this request.", 500, 1011, None)
            }
            Refusal::UnknownConnection => {
                entry(28, "unknown_connection", "There is no such connection.", 404, 1008, None)
            }
            Refusal::SourceForbidden => {
                entry(29, "source_forbidden", "Your address may not come here.", 403, 1008, None)
            }
            Refusal::OriginForbidden => {
                entry(30, "origin_forbidden", "Your page's origin may not come.", 403, 1008, None)
            }
            Refusal::RateLimited => {
                entry(31, "rate_limited", "This is more than the rate allows.", 429, 1013, Some(1))
            }
            Refusal::KeysUnavailable => entry(
                32,
                "keys_unavailable",
                "The keys that verify your token cannot be had now.",
                503,
                1013,
                Some(2),
            ),
            Refusal::StoreFailed => entry(
                33,
                "store_failed",
                "The store cannot keep this message.",
                503,
                1013,
                Some(30),
            ),
        }
    }
}

/// A refusal with what was wrong in this case and, where one was met, the limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Which refusal.
    pub refusal: Refusal,
    /// What was wrong here, and the limit with its configuration key; never a secret.
    pub detail: String,
    /// Seconds after which a retry may succeed, where more is known than the table says.
    pub known_retry_after: Option<u32>,
}

impl Refused {
    /// A refusal with its detail.
    pub fn new(refusal: Refusal, detail: impl Into<String>) -> Refused {
        Refused { refusal, detail: detail.into(), known_retry_after: None }
    }

    /// The same, to be tried again after `wait`, in whole seconds and at least one.
    #[must_use]
    pub fn retry_in(self, wait: Duration) -> Refused {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = u32::try_from(whole).unwrap_or(u32::MAX);
        Refused { known_retry_after: Some(seconds.max(1)), ..self }
    }

    /// Seconds after which a retry may succeed; `None` when a retry alone will not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.known_retry_after.or(self.refusal.entry().retry_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_one_without_a_gap_and_codes_are_unique() {
        let mut codes = std::collections::HashSet::new();
        for (index, refusal) in Refusal::ALL.iter().enumerate() {
            let entry = refusal.entry();
            assert_eq!(usize::from(entry.number), index + 1);
            assert!(codes.insert(entry.code), "{} stands twice", entry.code);
            assert!((400..600).contains(&entry.status));
            assert!((1000..1016).contains(&entry.close));
        }
    }
}
