//! What an operator may have meant by a key that does not exist.

use super::key::{all, pattern_of};

/// Keys that had or have another name elsewhere, by it, with what they are called here: former names
/// of ours, and names of the platform's application object (protocols.md §1.4) that are not ours
/// in snake case.
const RENAMED: [(&str, &str); 2] = [
    ("websocket.idle_timeout", "applications[].limits.idle_timeout"),
    ("applications[].app_id", "applications[].id"),
];

/// What the operator may have meant by the unknown `path`: what it is called now, a key of another
/// section spelled the same but for dots, a sibling that is spelled alike (camel case is snake case
/// spelled otherwise), else a key of that very name elsewhere.
pub(super) fn suggestion(path: &str) -> Option<String> {
    let pattern = in_snake_case(&pattern_of(path));
    if let Some((_, now)) = RENAMED.iter().find(|(former, _)| *former == pattern) {
        return Some((*now).to_owned());
    }
    let joined = |path: &str| path.replace('.', "_");
    if let Some(key) = all().find(|key| joined(key.path) == joined(&pattern)) {
        return Some(key.path.to_owned());
    }
    let (parent, name) = match pattern.rsplit_once('.') {
        Some((parent, name)) => (format!("{parent}."), name),
        None => (String::new(), &*pattern),
    };
    let children = all().filter_map(|key| {
        let rest = key.path.strip_prefix(&*parent)?;
        Some(rest.split(['.', '[']).next().unwrap_or(rest))
    });
    let alike = children
        .map(|child| (strsim::damerau_levenshtein(child, name), child))
        .filter(|(distance, child)| *distance <= (child.len() / 3).max(1))
        .min();
    if let Some((_, child)) = alike {
        return Some(format!("{parent}{child}"));
    }
    all().find(|key| key.name() == name).map(|key| key.path.to_owned())
}

/// `clientSourceAddress` → `client_source_address`; runs of capitals are one word.
fn in_snake_case(text: &str) -> String {
    let mut out = String::new();
    let mut before = None;
    for c in text.chars() {
        let begins_word =
            before.is_some_and(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if c.is_ascii_uppercase() && begins_word {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
        before = Some(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_understood_and_nonsense_is_not() {
        let cases = [
            ("sever", Some("server")),
            ("server.listne", Some("server.listen")),
            ("server.head_size_max", Some("http.head_size_max")),
            ("shards.mesh.capacty", Some("shards.mesh.capacity")),
            ("aplications", Some("applications")),
            ("applications[2].enable", Some("applications[].enabled")),
            ("applications[0].keys[0].topic", Some("applications[].keys[].topics")),
            ("websocket.idle_timeout", Some("applications[].limits.idle_timeout")),
            ("applications[0].history_count_max", Some("applications[].history.count_max")),
            ("applications[0].topics[0].patern", Some("applications[].topics[].patterns")),
            ("applications[0].history.durable", Some("applications[].durable")),
            ("stor.path", Some("store.path")),
            ("zebra", None),
        ];
        for (path, expected) in cases {
            assert_eq!(suggestion(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn the_platforms_names_are_understood() {
        let cases = [
            ("appId", Some("id")),
            ("authKey", Some("auth_keys")),
            ("adminKey", Some("admin_keys")),
            ("clientSourceAddress", Some("client_source_address")),
            ("adminSourceAddress", Some("admin_source_address")),
            ("enableWebSocketInboundTopic", Some("enable_websocket_inbound_topic")),
            ("clientInboundAckEnabled", Some("client_inbound_ack_enabled")),
            ("auth_keys[0].jwksUri", Some("auth_keys[].jwks_uri")),
            ("auth_keys[0].jwksURI", Some("auth_keys[].jwks_uri")),
            ("amazonSnsForwarder", None),
        ];
        for (name, expected) in cases {
            let expected = expected.map(|name| format!("applications[].{name}"));
            assert_eq!(suggestion(&format!("applications[3].{name}")), expected, "{name}");
        }
    }
}
