//! Tokens as other makers mint them: put together here and signed by aws-lc-rs, not by the broker's
//! own code; and applications that know their keys.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanwire::stdx::clock;
use serde_json::{Value, json};

use super::{Broker, Response, WebSocket};

/// What signs and verifies clients' tokens of an [`application`].
pub(crate) const CLIENT_SECRET: &str = "q7Tn2xVd0aJmUe9cLrYk4sWb8ZhPf3Gi";
/// The same of its backends' tokens.
pub(crate) const ADMIN_SECRET: &str = "M5gRj1oXw6uNzKt8DyHe2bQvCs7LpAf4";

/// Unix seconds now.
pub(crate) fn now_s() -> u64 {
    clock::unix_ms() / 1000
}

/// Claims of a token for ten minutes from now.
pub(crate) fn claims(subject: &str, permissions: &[&str]) -> Value {
    json!({"sub": subject, "permissions": permissions, "iat": now_s(), "exp": now_s() + 600})
}

/// A token with any header and claims, signed by HMAC-SHA-256.
pub(crate) fn hs256(secret: &str, header: &Value, claims: &Value) -> String {
    compact(header.to_string().as_bytes(), claims.to_string().as_bytes(), |signed| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hmac::sign(&key, signed).as_ref().to_vec()
    })
}

/// The compact form (RFC 7515 §3.1) of whatever it is given.
pub(crate) fn compact(header: &[u8], claims: &[u8], sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The header of ordinary tokens.
pub(crate) fn hs256_header() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

/// A client's token.
pub(crate) fn client_token(subject: &str, permissions: &[&str]) -> String {
    hs256(CLIENT_SECRET, &hs256_header(), &claims(subject, permissions))
}

/// A backend's token.
pub(crate) fn admin_token(permissions: &[&str]) -> String {
    hs256(ADMIN_SECRET, &hs256_header(), &claims("backend", permissions))
}

/// The value of an Authorization field.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Configures the application `demo` with both secrets and, of its own keys, `settings`.
pub(crate) fn application(settings: &str) -> String {
    let key = |list: &str, secret: &str| {
        format!(
            "[[applications.{list}]]\nsource = \"raw\"\nkey = \"{secret}\"\n\
             algorithms = [\"HS256\"]\n"
        )
    };
    format!(
        "buzzpost_application = \"demo\"\n[[applications]]\nid = \"demo\"\n{settings}\n{}{}",
        key("auth_keys", CLIENT_SECRET),
        key("admin_keys", ADMIN_SECRET)
    )
}

/// Fails where the log shows a credential or a part of one. Parts shorter than eight characters
/// would be found by chance.
pub(crate) fn assert_unlogged(log: &str, credential: &str) {
    assert!(!log.contains(credential), "a credential in the log: {log}");
    for part in credential.split('.').filter(|part| part.len() >= 8) {
        assert!(!log.contains(part), "{part:?}, a part of a credential, in the log: {log}");
    }
}

/// Every permission there is.
pub(crate) const EVERYTHING: [&str; 5] = [
    "realtime:subscriber:read:topic:*",
    "realtime:publisher:write:topic:*",
    "realtime:admin:manage:subscribers",
    "realtime:admin:manage:connections",
    "realtime:admin:manage:application",
];

/// A welcomed WebSocket on `demo` with a client's token.
pub(crate) fn enter(broker: &Broker, subject: &str, permissions: &[&str]) -> WebSocket {
    enter_with(broker, &client_token(subject, permissions))
}

/// The same with a token of any make.
pub(crate) fn enter_with(broker: &Broker, token: &str) -> WebSocket {
    WebSocket::open(broker.connect(), &format!("/apps/demo?access_token={token}"))
}

/// A request of a backend's with this token; the response whatever it says.
pub(crate) fn ask(
    broker: &Broker,
    method: &str,
    target: &str,
    token: &str,
    body: &str,
) -> Response {
    let fields = [("Authorization", &*bearer(token))];
    broker.http().request(method, target, &fields, body.as_bytes())
}
