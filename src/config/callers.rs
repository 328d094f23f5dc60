//! Keys of an application's callers: from which networks and which browser origins they may come.

use super::key::{Key, Kind, live};
use super::values::Values;
use crate::model::address::AddressList;
use crate::model::application::CorsOrigins;

/// Most entries of one address list; a caller is compared with all of them.
const ADDRESSES_MAX: usize = 1024;

pub(super) const KEYS: &[Key] = &live([
    Key::new(
        "applications[].client_source_address",
        Kind::List,
        "[]",
        "Networks from which clients may come, such as \"10.0.0.0/8\", \"2001:db8::/32\" or one \
         address; a leading `!` denies, whatever else matches. Empty = from anywhere. Others: 403.",
    ),
    Key::new(
        "applications[].admin_source_address",
        Kind::List,
        "[]",
        "The same for backends that publish by token and for administration.",
    ),
    Key::new(
        "applications[].cors_origins",
        Kind::List,
        "*",
        "Origins whose pages may read answers: \"*\" alone, or origins such as \
         \"https://app.example.com\".",
    ),
    Key::new(
        "applications[].cors_credentials",
        Kind::Flag,
        "false",
        "Whether pages of these origins may send cookies and other credentials that browsers \
         attach. Not with cors_origins = \"*\".",
    ),
]);

/// The networks at `path`; every entry that is none is a problem.
pub(super) fn addresses(values: &mut Values, path: &str) -> AddressList {
    let entries = values.list(path);
    if entries.len() > ADDRESSES_MAX {
        values.problem(path, format!("at most {ADDRESSES_MAX} networks can be listed"));
        return AddressList::default();
    }
    for entry in &entries {
        if AddressList::new([entry]).is_err() {
            let text = format!(
                "{entry:?} is no network: an address such as 192.0.2.7, or a prefix such as \
                 10.0.0.0/8 or 2001:db8::/32, with `!` before it to deny it"
            );
            values.problem(path, text);
        }
    }
    AddressList::new(&entries).unwrap_or_default()
}

/// The origins of the application at `path`; what is none is a problem.
pub(super) fn origins(values: &mut Values, path: &str) -> CorsOrigins {
    let (key, credentials) = (format!("{path}.cors_origins"), format!("{path}.cors_credentials"));
    let origins = values.list(&key);
    if *origins == ["*"] {
        if values.flag(&credentials) && values.is_sound(&key) {
            values.problem(
                &credentials,
                "browsers refuse credentials where cors_origins is \"*\" (Fetch standard, CORS \
                 protocol): list the origins",
            );
        }
        return CorsOrigins::Any;
    }
    for origin in &origins {
        if origin == "*" {
            values.problem(&key, "\"*\" stands alone: beside it, other origins mean nothing");
        } else if !is_origin(origin) {
            let text = format!(
                "{origin:?} is no origin: scheme://host or scheme://host:port, lower case, nothing \
                 behind it"
            );
            values.problem(&key, text);
        }
    }
    CorsOrigins::List(origins.into_iter().map(String::into_boxed_str).collect())
}

/// As browsers serialize it (WHATWG HTML §7.1.1): lower case, no path, no slash at the end.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && !host.is_empty()
        && host.bytes().all(legal)
}
