//! Keys of the proxies in front: who may speak for clients, and by which field.

use super::callers;
use super::key::{Key, Kind};
use super::values::Values;
use crate::model::proxies::{ClientField, TrustedProxies};

const TRUSTED: &str = "server.trusted_proxies";
const FIELD: &str = "server.client_header";

pub(super) const KEYS: &[Key] = &[
    Key::new(
        TRUSTED,
        Kind::List,
        "[]",
        "Networks of the proxies in front, such as \"10.0.0.0/8\" or one address; \"127.0.0.1\" stands \
         for Unix sockets too. Their Forwarded or X-Forwarded-For names the client: the list is read \
         from its right end, trusted addresses are passed over, and the first other one counts in \
         address rules, rates and logs. Where that cannot be read, the proxy's own address counts. \
         Others' fields are ignored.",
    ),
    Key::new(
        FIELD,
        Kind::Choice(&["any", "forwarded", "x-forwarded-for"]),
        "any",
        "The field in which trusted proxies name the client. any = Forwarded, or X-Forwarded-For where \
         a request has none; only safe where the proxies set or drop both, since a client can send \
         either. Name the one that yours sets.",
    ),
];

pub(super) fn proxies(values: &mut Values) -> TrustedProxies {
    let field = match &*values.choice(FIELD) {
        "forwarded" => ClientField::Forwarded,
        "x-forwarded-for" => ClientField::XForwardedFor,
        _ => ClientField::Any,
    };
    TrustedProxies::new(callers::addresses(values, TRUSTED), field)
}
