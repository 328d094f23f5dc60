//! What to do about each refusal.

use crate::model::refusal::Refusal;

impl Refusal {
    /// What to do: for whoever sent the request or runs the broker.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Refusal::BadRequest => "Correct what `detail` names; the same request fails again.",
            Refusal::TargetTooLong => {
                "Name fewer topics in one address, or raise http.target_size_max."
            }
            Refusal::HeadersTooLarge => {
                "Send fewer or smaller header fields (cookies are the usual ones), or raise \
                 http.head_size_max."
            }
            Refusal::BodyTooLarge => "Send less at once, or raise the key that `detail` names.",
            Refusal::PayloadTooLarge => {
                "Publish a reference instead of the data, or raise the limit of \
                 applications.limits that `detail` names."
            }
            Refusal::BadUtf8 => "Encode the text as UTF-8; binary data goes as base64.",
            Refusal::BadJson => {
                "Check the body with a JSON parser; nesting beyond 128 is refused too."
            }
            Refusal::BadField => {
                "Correct the field that `detail` names; /openapi.json has them all."
            }
            Refusal::BadTopic => {
                "Topics are 1 to 255 bytes of UTF-8 without control characters, and no pattern."
            }
            Refusal::TooMany => "Split the request, or raise the key that `detail` names.",
            Refusal::LengthRequired => "Send Content-Length, or chunks.",
            Refusal::ExpectationFailed => "Leave out the Expect field.",
            Refusal::NotImplemented => "Send the body plain or chunked, without a content coding.",
            Refusal::BadVersion => "Speak HTTP/1.1; a proxy in front may translate from HTTP/2.",
            Refusal::UnknownRoute => "See /openapi.json for the routes there are.",
            Refusal::BadMethod => "Use a method that the answer's Allow field names.",
            Refusal::UnknownApplication => {
                "Check the path's application; `fanwire config show` lists those there are."
            }
            Refusal::ApplicationDisabled => {
                "Set applications.enabled = true if that was not on purpose."
            }
            Refusal::Unauthorized => {
                "Present a key or token of this application; `fanwire explain token` says what is \
                 wrong with one."
            }
            Refusal::Forbidden => {
                "Ask for a key or token with this right; `fanwire explain topic` says what a token \
                 allows."
            }
            Refusal::BadHandshake => {
                "A proxy in front must pass on Upgrade and Connection, and speak HTTP/1.1 to here."
            }
            Refusal::BadWebSocketVersion => "Use a client that speaks RFC 6455.",
            Refusal::TooManySubscriptions => {
                "Subscribe to fewer topics, or raise applications.limits.subscriptions_max."
            }
            Refusal::Timeout => {
                "Send again; when it lasts, look for a slow network or a proxy that holds bodies."
            }
            Refusal::Overloaded => {
                "Send again after Retry-After. When it lasts, `fanwire top` shows which shard does \
                 not keep up."
            }
            Refusal::Stopping => "Connect again after Retry-After; a balancer goes elsewhere.",
            Refusal::Internal => "This is a bug: report it with the log's lines around it.",
            Refusal::UnknownConnection => {
                "It may have ended; list those there are with GET /v1/{app}/connections."
            }
            Refusal::SourceForbidden => {
                "Add the network to client_source_address or admin_source_address of the application; \
                 behind a proxy it is the proxy's address that counts unless the proxy is trusted."
            }
            Refusal::OriginForbidden => "Add the page's origin to applications.cors_origins.",
            Refusal::RateLimited => {
                "Wait for Retry-After, or raise the rate in applications.limits that `detail` names."
            }
            Refusal::KeysUnavailable => {
                "The identity provider cannot be reached from the broker; the log names its address \
                 and the failure."
            }
            Refusal::StoreFailed => {
                "Look at the disk and the log, then restart the broker; send again with the same \
                 Idempotency-Key."
            }
        }
    }
}
