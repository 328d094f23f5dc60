//! Keys that verify an application's tokens: given by the configuration, or by key sets (JWKS).
//!
//! `applications[].auth_keys` and `applications[].admin_keys` have the same keys; the list that a key
//! stands in is its role. Key sets of the same URI are shared among all applications.

use super::environment;
use super::key::{Key, Kind, live};
use super::load::ReadFile;
use super::secret;
use super::values::Values;
use crate::auth::check_key;
use crate::model::token::{Algorithm, KeySetIndex, KeySetSource, KeySource, KeyText, TokenKey};

/// Most keys of one list; a token without a known key id is tried with all of them.
const KEYS_MAX: usize = 8;
/// Most key sets of all applications together; each is fetched and kept.
const KEY_SETS_MAX: usize = 1024;
/// Longest URI of a key set, in bytes.
const URI_SIZE_MAX: usize = 2048;

/// What the platform's documentation names as the default (protocols.md §1.4).
const RAW_ALGORITHM: Algorithm = Algorithm::Es512;

macro_rules! keys_of {
    ($list:literal, $doc:literal) => {
        &live([
            Key::without_default(concat!("applications[].", $list), Kind::Tables, $doc),
            Key::new(
                concat!("applications[].", $list, "[].source"),
                Kind::Choice(&["raw", "jwks"]),
                "raw",
                "Where the key comes from: raw = `key` or `key_file`, jwks = a key set that is \
                 fetched from `jwks_uri`.",
            ),
            Key::without_default(
                concat!("applications[].", $list, "[].key"),
                Kind::Secret,
                "With raw: a public key or certificate in PEM, or for HS* the secret itself, of \
                 which the UTF-8 bytes count. Placeholders are refused.",
            ),
            Key::without_default(
                concat!("applications[].", $list, "[].key_file"),
                Kind::Text,
                "With raw: a file that holds the key instead.",
            ),
            Key::new(
                concat!("applications[].", $list, "[].algorithms"),
                Kind::List,
                "[]",
                "Signature algorithms that the key is used for; a token's header only chooses among \
                 these. Empty = \"ES512\" with raw, every public-key algorithm with jwks.",
            ),
            Key::new(
                concat!("applications[].", $list, "[].issuer"),
                Kind::List,
                "[]",
                "Acceptable issuers (`iss`). Empty = any.",
            ),
            Key::new(
                concat!("applications[].", $list, "[].audience"),
                Kind::List,
                "[]",
                "Acceptable audiences (`aud`), of which a token must name one. Empty = any.",
            ),
            Key::without_default(
                concat!("applications[].", $list, "[].jwks_uri"),
                Kind::Text,
                "With jwks: the https address of the key set.",
            ),
            Key::new(
                concat!("applications[].", $list, "[].allow_private_address"),
                Kind::Flag,
                "false",
                "With jwks: whether it may be fetched from loopback and private addresses and \
                 without TLS. For tests and closed networks.",
            ),
        ])
    };
}

pub(super) const AUTH_KEYS: &[Key] = keys_of!(
    "auth_keys",
    "Keys that verify tokens of clients (the platform's authKey), tried in order. At most 8."
);
pub(super) const ADMIN_KEYS: &[Key] = keys_of!(
    "admin_keys",
    "Keys that verify tokens of backends (the platform's adminKey): for publishing over HTTP and \
     administration. At most 8."
);

/// The key sets that the keys read so far name.
#[derive(Default)]
pub(super) struct KeySets(Vec<KeySetSource>);

impl KeySets {
    /// All of them, in the order of their index.
    pub(super) fn into_sources(self) -> Vec<KeySetSource> {
        self.0
    }

    /// The index of `source`, which is added unless it is known; `None` when there are too many.
    fn index_of(&mut self, source: KeySetSource) -> Option<KeySetIndex> {
        let index = self.0.iter().position(|known| *known == source).unwrap_or(self.0.len());
        if index == self.0.len() {
            if index == KEY_SETS_MAX {
                return None;
            }
            self.0.push(source);
        }
        u16::try_from(index).ok().map(KeySetIndex)
    }
}

/// Reads the keys of the list at `path` and notes every problem with them. What a problem leaves out
/// is filled in, so that the list is empty only where nothing was declared.
pub(super) fn token_keys(
    values: &mut Values,
    path: &str,
    read: ReadFile<'_>,
    key_sets: &mut KeySets,
) -> Vec<TokenKey> {
    let mut entries = values.entries(path);
    if entries.len() > KEYS_MAX {
        values.problem(path, format!("at most {KEYS_MAX} can be declared"));
        entries.truncate(KEYS_MAX);
    }
    entries.iter().map(|entry| token_key(values, entry, read, key_sets)).collect()
}

fn token_key(
    values: &mut Values,
    entry: &str,
    read: ReadFile<'_>,
    key_sets: &mut KeySets,
) -> TokenKey {
    let algorithms_path = format!("{entry}.algorithms");
    let is_raw = values.choice(&format!("{entry}.source")) == "raw";
    let algorithms = algorithms(values, &algorithms_path, is_raw);
    if values.is_sound(&format!("{entry}.source")) {
        check_foreign(values, entry, is_raw);
    }
    let source = if is_raw {
        KeySource::Raw(raw_key(values, entry, &algorithms, read))
    } else {
        KeySource::Jwks(key_set(values, entry, key_sets))
    };
    TokenKey {
        source,
        algorithms,
        issuers: names(values, &format!("{entry}.issuer")),
        audiences: names(values, &format!("{entry}.audience")),
    }
}

/// Keys that are set and mean nothing with the source. A flag that is off says nothing either.
fn check_foreign(values: &mut Values, entry: &str, is_raw: bool) {
    let (source, foreign): (_, &[_]) = if is_raw {
        ("raw", &["jwks_uri", "allow_private_address"])
    } else {
        ("jwks", &["key", "key_file"])
    };
    for name in foreign {
        let path = format!("{entry}.{name}");
        let is_off = *name == "allow_private_address" && !values.flag(&path);
        if values.is_set(&path) && values.is_sound(&path) && !is_off {
            values.problem(&path, format!("means nothing with source = {source:?}; remove it"));
        }
    }
}

/// The algorithms at `path`, or the default of the source.
fn algorithms(values: &mut Values, path: &str, is_raw: bool) -> Vec<Algorithm> {
    let mut algorithms = Vec::new();
    for name in values.list(path) {
        match Algorithm::named(&name) {
            Some(algorithm) if algorithms.contains(&algorithm) => {}
            Some(algorithm) => algorithms.push(algorithm),
            None => values.problem(path, no_algorithm(&name)),
        }
    }
    let symmetric_count = algorithms.iter().filter(|algorithm| algorithm.is_symmetric()).count();
    if symmetric_count > 0 && !is_raw {
        values.problem(path, "HS* needs a shared secret, which a key set cannot hold");
    } else if symmetric_count > 0 && symmetric_count < algorithms.len() {
        values.problem(
            path,
            "mixes HS* with public-key algorithms: whoever knows the public key could then sign. \
             Declare two keys",
        );
    }
    match (algorithms.is_empty(), is_raw) {
        (false, _) => algorithms,
        (true, true) => vec![RAW_ALGORITHM],
        (true, false) => {
            Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()).collect()
        }
    }
}

fn no_algorithm(name: &str) -> String {
    if name.eq_ignore_ascii_case("none") {
        return "\"none\" would let everyone in: an unsigned token proves nothing, and is never \
                accepted"
            .to_owned();
    }
    let alike = Algorithm::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
    if let Some(algorithm) = alike {
        return format!("{name:?} is no algorithm; did you mean {:?}?", algorithm.name());
    }
    let names = Algorithm::ALL.map(Algorithm::name).join(", ");
    format!("{name:?} is no algorithm; there are {names}")
}

/// The key itself; empty after a problem.
fn raw_key(
    values: &mut Values,
    entry: &str,
    algorithms: &[Algorithm],
    read: ReadFile<'_>,
) -> KeyText {
    let Some((path, text)) = key_text(values, entry, read) else { return KeyText(Box::default()) };
    let key = KeyText(text.into());
    let is_judgeable = values.is_sound(&format!("{entry}.algorithms"));
    let is_secret = algorithms.iter().all(|algorithm| algorithm.is_symmetric());
    let judged = match secret::check_strength(&key.0) {
        Err(problem) if is_secret => Err(problem.to_owned()),
        _ => check_key(&key, algorithms),
    };
    if let Err(problem) = judged
        && is_judgeable
    {
        values.problem(&path, problem);
    }
    key
}

/// The key's text and the path that gave it; `None` after a problem.
fn key_text(values: &mut Values, entry: &str, read: ReadFile<'_>) -> Option<(String, String)> {
    let (given, file) = (format!("{entry}.key"), format!("{entry}.key_file"));
    match (values.text(&given), values.text(&file)) {
        (Some(_), Some(_)) => values.problem(&file, "key is set too; keep one of them"),
        (Some(text), None) => return Some((given, text)),
        (None, Some(name)) => match environment::read_value(&name, read) {
            Ok(text) => {
                values.note_content(&file, &text);
                return Some((file, text));
            }
            Err(problem) => values.problem(&file, problem),
        },
        (None, None) if values.is_sound(&given) && values.is_sound(&file) => {
            values.problem(entry, "needs a key or a key_file, or source = \"jwks\"");
        }
        (None, None) => {}
    }
    None
}

/// The key set's place; any after a problem.
fn key_set(values: &mut Values, entry: &str, key_sets: &mut KeySets) -> KeySetIndex {
    let path = format!("{entry}.jwks_uri");
    let allow_private = values.flag(&format!("{entry}.allow_private_address"));
    let Some(uri) = values.text(&path) else {
        if values.is_sound(&path) {
            values.problem(entry, "needs a jwks_uri, or source = \"raw\"");
        }
        return KeySetIndex(0);
    };
    if let Err(problem) = check_uri(&uri, allow_private) {
        values.problem(&path, problem);
        return KeySetIndex(0);
    }
    key_sets.index_of(KeySetSource { uri: uri.into(), allow_private }).unwrap_or_else(|| {
        values.problem(&path, format!("at most {KEY_SETS_MAX} key sets can be used together"));
        KeySetIndex(0)
    })
}

/// What is wrong with a key set's URI. The text does not repeat it: userinfo is a secret.
fn check_uri(uri: &str, allow_private: bool) -> Result<(), String> {
    if uri.len() > URI_SIZE_MAX {
        return Err(format!("is longer than {URI_SIZE_MAX} bytes"));
    }
    let parsed: Option<http::Uri> = uri.parse().ok();
    let Some((scheme, authority)) =
        parsed.as_ref().and_then(|parsed| Some((parsed.scheme_str()?, parsed.authority()?)))
    else {
        return Err("is no absolute URI such as https://idp.example.com/jwks.json".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("holds a user name or password; key sets are public, remove it".to_owned());
    }
    if authority.host().is_empty() {
        return Err("names no host".to_owned());
    }
    if uri.contains('#') {
        return Err("has a fragment (`#`), which is never sent; remove it".to_owned());
    }
    match scheme {
        "https" => Ok(()),
        "http" if allow_private => Ok(()),
        "http" => Err("must be https: whoever is on the way could replace the keys (for tests: \
                       allow_private_address = true)"
            .to_owned()),
        _ => Err("must be https".to_owned()),
    }
}

/// Issuers or audiences.
fn names(values: &mut Values, path: &str) -> Vec<Box<str>> {
    let names = values.list(path);
    if names.iter().any(String::is_empty) {
        values.problem(path, "holds an empty text, which no token names");
    }
    names.into_iter().map(String::into_boxed_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_key_sets() {
        let cases = [
            ("https://idp.example.com/jwks.json", false, None),
            ("https://idp.example.com:8443/a/b?tenant=1", false, None),
            ("https://[2001:db8::1]/jwks", false, None),
            ("https://idp.example.com", false, None),
            ("HTTPS://idp.example.com/jwks", false, None),
            ("http://idp.example.com/jwks.json", false, Some("must be https")),
            ("http://127.0.0.1:9000/jwks.json", true, None),
            ("https://127.0.0.1:9000/jwks.json", true, None),
            ("ftp://idp.example.com/jwks", true, Some("must be https")),
            ("file:///etc/passwd", true, Some("no absolute URI")),
            ("https://user@idp.example.com/", false, Some("user name")),
            ("https://user:hunter2@idp.example.com/", true, Some("user name")),
            ("https://idp.example.com/jwks#a", false, Some("fragment")),
            ("idp.example.com/jwks", false, Some("no absolute URI")),
            ("/jwks", false, Some("no absolute URI")),
            ("https:///jwks", false, Some("no absolute URI")),
            ("https://idp example.com/", false, Some("no absolute URI")),
            ("", false, Some("no absolute URI")),
        ];
        for (uri, allow_private, expected) in cases {
            let found = check_uri(uri, allow_private);
            let matches = match (&found, expected) {
                (Ok(()), None) => true,
                (Err(found), Some(part)) => found.contains(part) && !found.contains("hunter2"),
                _ => false,
            };
            assert!(matches, "{uri}: {found:?}");
        }
        let longest = format!("https://a/{}", "x".repeat(URI_SIZE_MAX - 10));
        assert_eq!(check_uri(&longest, false), Ok(()));
        assert!(check_uri(&(longest + "x"), false).is_err());
    }

    #[test]
    fn equal_key_sets_share_a_place_up_to_the_limit() {
        let source = |number: usize, allow_private| KeySetSource {
            uri: format!("https://a/{number}").into(),
            allow_private,
        };
        let mut key_sets = KeySets::default();
        for number in 0..KEY_SETS_MAX {
            let index = Some(KeySetIndex(u16::try_from(number).unwrap()));
            assert_eq!(key_sets.index_of(source(number, false)), index);
            assert_eq!(key_sets.index_of(source(number, false)), index);
        }
        assert_eq!(key_sets.index_of(source(0, true)), None);
        assert_eq!(key_sets.into_sources().len(), KEY_SETS_MAX);
    }
}
