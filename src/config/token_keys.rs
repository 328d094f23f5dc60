//! An application's token keys: where each comes from, for which algorithms, and whose tokens it
//! verifies. Key sets that several of them name are collected, so that each is fetched once.

use super::environment;
use super::key::{Key, Kind};
use super::load::ReadFile;
use super::values::Values;
use crate::auth;
use crate::model::token::{Algorithm, KeySetIndex, KeySetSource, KeySource, KeyText, TokenKey};

/// Most token keys of one role of one application; a token may be tried against all of them.
const TOKEN_KEYS_MAX: usize = 8;
/// Most key sets of all applications; each is fetched on its own.
const KEY_SETS_MAX: usize = 1024;

/// What a token key is without `algorithms`: the platform's default (protocols.md §1.4).
const ALGORITHMS_DEFAULT: &str = "ES512";

macro_rules! keys_of {
    ($list:literal, $role:literal) => {
        [
            Key::without_default(
                concat!("applications[].", $list),
                Kind::Tables,
                concat!(
                    "Keys that verify tokens of ", $role, ", tried in this order; several at once \
                     make a rotation. At most 8."
                ),
            ),
            Key::new(
                concat!("applications[].", $list, "[].source"),
                Kind::Choice(&["raw", "jwks"]),
                "raw",
                "Where the key comes from: this file (key, key_file), or a key set that is fetched \
                 (jwks_uri).",
            ),
            Key::without_default(
                concat!("applications[].", $list, "[].key"),
                Kind::Secret,
                "A public key or certificate as PEM; for HS256, HS384 and HS512 the secret, of which \
                 the characters themselves are the key.",
            ),
            Key::without_default(
                concat!("applications[].", $list, "[].key_file"),
                Kind::Text,
                "A file that holds the key instead, such as a systemd credential.",
            ),
            Key::new(
                concat!("applications[].", $list, "[].algorithms"),
                Kind::List,
                ALGORITHMS_DEFAULT,
                "Algorithms it is used for, whatever a token says: HS256, HS384, HS512, RS256, RS384, \
                 RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA. HS* stand alone.",
            ),
            Key::without_default(
                concat!("applications[].", $list, "[].issuer"),
                Kind::List,
                "Acceptable `iss` claims; an empty list takes any.",
            ),
            Key::without_default(
                concat!("applications[].", $list, "[].audience"),
                Kind::List,
                "Acceptable `aud` claims, of which a token must name one; an empty list takes any.",
            ),
            Key::without_default(
                concat!("applications[].", $list, "[].jwks_uri"),
                Kind::Text,
                "Where the key set (RFC 7517) is fetched from: an https URI.",
            ),
            Key::new(
                concat!("applications[].", $list, "[].allow_private_address"),
                Kind::Flag,
                "false",
                "Whether the key set may be at a loopback or private address and be fetched over \
                 plain http.",
            ),
        ]
    };
}

pub(super) const AUTH_KEYS: &[Key] = &keys_of!("auth_keys", "clients (the platform's authKey)");
pub(super) const ADMIN_KEYS: &[Key] = &keys_of!("admin_keys", "backends (the platform's adminKey)");

/// Reads the token keys in `list` of the application at `path` and notes every problem with them.
pub(super) fn keys(
    values: &mut Values,
    path: &str,
    list: &str,
    read: ReadFile<'_>,
    key_sets: &mut Vec<KeySetSource>,
) -> Vec<TokenKey> {
    let list = format!("{path}.{list}");
    let mut entries = values.entries(&list);
    if entries.len() > TOKEN_KEYS_MAX {
        values.problem(&list, format!("at most {TOKEN_KEYS_MAX} can be declared"));
        entries.truncate(TOKEN_KEYS_MAX);
    }
    entries.iter().filter_map(|entry| token_key(values, entry, read, key_sets)).collect()
}

fn token_key(
    values: &mut Values,
    entry: &str,
    read: ReadFile<'_>,
    key_sets: &mut Vec<KeySetSource>,
) -> Option<TokenKey> {
    let algorithms = algorithms(values, entry);
    let texts = |name: &str| -> Vec<Box<str>> {
        values.list(&format!("{entry}.{name}")).into_iter().map(String::into_boxed_str).collect()
    };
    let (issuers, audiences) = (texts("issuer"), texts("audience"));
    let source = if values.choice(&format!("{entry}.source")) == "jwks" {
        key_set(values, entry, &algorithms, key_sets)
    } else {
        raw_key(values, entry, &algorithms, read)
    };
    Some(TokenKey { source: source?, algorithms, issuers, audiences })
}

fn algorithms(values: &mut Values, entry: &str) -> Vec<Algorithm> {
    let path = format!("{entry}.algorithms");
    let mut algorithms = Vec::new();
    for name in values.list(&path) {
        match Algorithm::named(&name) {
            Some(algorithm) => algorithms.push(algorithm),
            None if name.eq_ignore_ascii_case("none") => {
                values.problem(&path, "\"none\" is no algorithm: it would let anyone in");
            }
            None => {
                let known = Algorithm::ALL.map(Algorithm::name).join(", ");
                values.problem(&path, format!("{name:?} is no algorithm; there are {known}"));
            }
        }
    }
    if algorithms.is_empty() && values.is_sound(&path) {
        values.problem(&path, "names no algorithm, so that no token could be verified");
    }
    let symmetric_count = algorithms.iter().filter(|algorithm| algorithm.is_symmetric()).count();
    if symmetric_count > 0 && symmetric_count < algorithms.len() {
        let text = "mixes HS* with others: one key cannot be a shared secret and a public key";
        values.problem(&path, text);
    }
    algorithms
}

fn raw_key(
    values: &mut Values,
    entry: &str,
    algorithms: &[Algorithm],
    read: ReadFile<'_>,
) -> Option<KeySource> {
    let (given, file) = (format!("{entry}.key"), format!("{entry}.key_file"));
    let (path, text) = match (values.text(&given), values.text(&file)) {
        (Some(_), Some(_)) => {
            values.problem(&file, "key is set too; keep one of them");
            return None;
        }
        (Some(text), None) => (given, text),
        (None, Some(name)) => match environment::read_value(&name, read) {
            Ok(text) => (file, text),
            Err(problem) => {
                values.problem(&file, problem);
                return None;
            }
        },
        (None, None) => {
            if values.is_sound(&given) && values.is_sound(&file) {
                values.problem(entry, "needs a key or a key_file (or source = \"jwks\")");
            }
            return None;
        }
    };
    let key = KeyText(text.into_boxed_str());
    if values.is_sound(&format!("{entry}.algorithms"))
        && let Err(problem) = auth::check_key(&key, algorithms)
    {
        values.problem(&path, problem);
        return None;
    }
    Some(KeySource::Raw(key))
}

fn key_set(
    values: &mut Values,
    entry: &str,
    algorithms: &[Algorithm],
    key_sets: &mut Vec<KeySetSource>,
) -> Option<KeySource> {
    let path = format!("{entry}.jwks_uri");
    if algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
        let text = "a key set is public, so HS* cannot be verified with one";
        values.problem(&format!("{entry}.algorithms"), text);
    }
    let allow_private = values.flag(&format!("{entry}.allow_private_address"));
    let Some(uri) = values.text(&path) else {
        if values.is_sound(&path) {
            values.problem(entry, "source = \"jwks\" needs a jwks_uri");
        }
        return None;
    };
    if let Err(problem) = check_uri(&uri, allow_private) {
        values.problem(&path, problem);
        return None;
    }
    let source = KeySetSource { uri: uri.into_boxed_str(), allow_private };
    let known = key_sets.iter().position(|known| *known == source);
    let index = known.unwrap_or_else(|| {
        key_sets.push(source);
        key_sets.len() - 1
    });
    if index >= KEY_SETS_MAX {
        values.problem(&path, format!("at most {KEY_SETS_MAX} key sets can be fetched"));
        return None;
    }
    u16::try_from(index).ok().map(|index| KeySource::Jwks(KeySetIndex(index)))
}

fn check_uri(uri: &str, allow_private: bool) -> Result<(), &'static str> {
    let Ok(parsed) = uri.parse::<http::Uri>() else {
        return Err("is no URI, such as https://idp.example/.well-known/jwks.json");
    };
    let Some(authority) = parsed.authority() else {
        return Err("names no host: it is scheme://host/path");
    };
    if authority.as_str().contains('@') {
        return Err("carries a user or password, which would stand in logs; remove them");
    }
    match parsed.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if allow_private => Ok(()),
        Some("http") => Err("is plain http, which anyone on the way could forge; use https (or \
                 allow_private_address = true for a provider on this machine)"),
        _ => Err("is neither https nor http"),
    }
}
