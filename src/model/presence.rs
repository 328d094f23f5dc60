//! Presence: the topics on which it is told, and the words it is told in.
//!
//! Two kinds. A connection's coming and going is told on [`INBOUND`] in the platform's own shape
//! (protocols.md §1.3). Who is on a topic `T` is told on `secure/presence/T`, to whoever may read
//! that. This file only knows names and texts; who is present is the broker's business.

use super::id::ConnectionId;
use super::identity::Identity;

/// Where clients' inbound messages, and their coming and going, are told (protocols.md §1.3).
pub const INBOUND: &str = "secure/inbound";

/// The `messageType` of everything that is told here.
pub const MESSAGE_TYPE: &str = "presence";

/// Bytes of a connection's event without its subject and permissions, and a little more.
const EVENT_SIZE: usize = 176;

/// What `secure/presence/{topic}` starts with.
const PREFIX: &str = "secure/presence/";

/// The topic whose members are told on `name`, if it is such a topic. Presence topics have no
/// members of their own to tell, nor have private topics, to which nobody subscribes.
pub fn watched_topic(name: &str) -> Option<&str> {
    let topic = name.strip_prefix(PREFIX)?;
    let has_members =
        !(topic.is_empty() || topic.starts_with(PREFIX) || topic.starts_with("priv/"));
    has_members.then_some(topic)
}

/// Where the members of `topic` are told.
pub fn presence_topic(topic: &str) -> String {
    [PREFIX, topic].concat()
}

/// Whether a connection came or went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attendance {
    /// It came.
    Connected,
    /// It went.
    Disconnected,
}

/// The `data` of a connection's coming or going (protocols.md §1.3, "presence").
pub fn connection_event(
    connection: ConnectionId,
    identity: &Identity,
    attendance: Attendance,
) -> String {
    let id = connection.text();
    let subject = identity.subject.as_deref().unwrap_or(&id);
    let permissions = &identity.rights.presented;
    let permissions_size: usize = permissions.iter().map(|permission| permission.len() + 3).sum();
    let mut event = String::with_capacity(EVENT_SIZE + subject.len() + permissions_size);
    event.push_str(r#"{"client":{"connectionId":""#);
    event.push_str(&id);
    event.push_str(r#"","subject":"#);
    push_escaped(&mut event, subject);
    event.push_str(r#","permissions":["#);
    for (index, permission) in permissions.iter().enumerate() {
        if index > 0 {
            event.push(',');
        }
        push_escaped(&mut event, permission);
    }
    event.push_str(match attendance {
        Attendance::Connected => r#"]},"subProtocol":1,"payload":{"code":0,"status":"connected"}}"#,
        Attendance::Disconnected => {
            r#"]},"subProtocol":1,"payload":{"code":-1,"status":"disconnected"}}"#
        }
    });
    event
}

/// What happened to a topic's members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberEvent<'a> {
    /// This subject's first connection joined.
    Join(&'a str),
    /// This subject's last connection left.
    Leave(&'a str),
    /// Too many to name each.
    Count,
}

/// The `data` of a change of `topic`'s members, of which there are now `count`.
pub fn member_event(event: MemberEvent<'_>, topic: &str, count: usize) -> String {
    let topic = escaped(topic);
    let (event, subject) = match event {
        MemberEvent::Join(subject) => ("join", Some(subject)),
        MemberEvent::Leave(subject) => ("leave", Some(subject)),
        MemberEvent::Count => ("count", None),
    };
    let subject = subject.map_or_else(String::new, |s| format!(r#","subject":{}"#, escaped(s)));
    format!(r#"{{"event":"{event}","topic":{topic}{subject},"count":{count}}}"#)
}

/// Appends a JSON string of these characters (RFC 8259 §7).
fn push_escaped(out: &mut String, text: &str) {
    // Looks at every byte, because without a way out the loop becomes a few vector instructions.
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | is_special(byte)) {
        return out.push_str(&escaped(text));
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// A JSON string of these characters, whatever they are.
fn escaped(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ConnectionIds;
    use crate::model::rights::Rights;
    use crate::model::shard::ShardIndex;
    use crate::stdx::slab::Key;

    #[test]
    fn only_topics_with_members_are_watched() {
        let cases = [
            ("secure/presence/chat", Some("chat")),
            ("secure/presence/secure/inbound", Some("secure/inbound")),
            ("secure/presence/secure/presence", Some("secure/presence")),
            ("secure/presence/secure/presence/chat", None),
            ("secure/presence/priv/me", None),
            ("secure/presence/", None),
            ("secure/presence", None),
            ("presence/chat", None),
        ];
        for (name, expected) in cases {
            assert_eq!(watched_topic(name), expected, "{name}");
        }
        assert_eq!(watched_topic(&presence_topic("a/b")), Some("a/b"));
    }

    #[test]
    fn a_connections_coming_and_going_is_told_in_the_platforms_shape() {
        let ids = ConnectionIds::random();
        let connection = ids.id(ShardIndex(1), Key { index: 2, generation: 3 });
        let rights = Rights::of_permissions(vec!["a\"b".to_owned(), "c\\\n".to_owned()]);
        let named = Identity {
            subject: Some("\u{1}\"é\u{2028}".into()),
            ..Identity::without_token(rights.clone())
        };
        assert_eq!(
            connection_event(connection, &named, Attendance::Connected),
            format!(
                r#"{{"client":{{"connectionId":"{connection}","subject":"\u0001\"é{}","permissions":["a\"b","c\\\n"]}},"subProtocol":1,"payload":{{"code":0,"status":"connected"}}}}"#,
                '\u{2028}'
            )
        );
        let unnamed = Identity::without_token(Rights::of_permissions(Vec::new()));
        assert_eq!(
            connection_event(connection, &unnamed, Attendance::Disconnected),
            format!(
                r#"{{"client":{{"connectionId":"{connection}","subject":"{connection}","permissions":[]}},"subProtocol":1,"payload":{{"code":-1,"status":"disconnected"}}}}"#
            )
        );
    }

    #[test]
    fn a_topics_members_are_told_by_name_or_number() {
        let cases = [
            (
                MemberEvent::Join("a\"b"),
                r#"{"event":"join","topic":"t\\","subject":"a\"b","count":7}"#,
            ),
            (MemberEvent::Leave("b"), r#"{"event":"leave","topic":"t\\","subject":"b","count":7}"#),
            (MemberEvent::Count, r#"{"event":"count","topic":"t\\","count":7}"#),
        ];
        for (event, expected) in cases {
            assert_eq!(member_event(event, "t\\", 7), expected);
        }
    }
}
