//! What a caller may do: the outcome of authentication, asked by every door.

use std::sync::Arc;

use super::pattern::Patterns;
use super::topic::{TopicClass, TopicName};

/// A permission to subscribe, up to the topic pattern (protocols.md §1.4).
const SUBSCRIBE: &str = "realtime:subscriber:read:topic:";
/// A permission to publish, up to the topic pattern.
const PUBLISH: &str = "realtime:publisher:write:topic:";
/// A permission to administer, up to what is administered.
const MANAGE: &str = "realtime:admin:manage:";

/// What an identity may do in its application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Topics it may publish to.
    pub publish: Patterns,
    /// Topics for whose reading it has a right.
    pub subscribe: Patterns,
    /// Whether public topics, too, are only read where `subscribe` says so. API keys are bounded
    /// by their patterns; a token needs no permission for a public topic (protocols.md §1.4).
    pub public_is_limited: bool,
    /// What it may administer.
    pub manage: Manage,
    /// The permission strings as presented, for the Realtime envelope's `client.permissions`.
    pub presented: Arc<[String]>,
}

/// What an identity may administer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manage {
    /// End other people's subscriptions.
    pub subscribers: bool,
    /// See and end connections; revoke tokens.
    pub connections: bool,
    /// See topics, counts and who is on a topic.
    pub application: bool,
}

impl Manage {
    /// All of it.
    pub const EVERYTHING: Manage =
        Manage { subscribers: true, connections: true, application: true };
}

impl Rights {
    /// Every topic, and nothing to administer; what an open application grants to everyone.
    pub fn every_topic() -> Rights {
        Rights {
            publish: Patterns::new(["*"]),
            subscribe: Patterns::new(["*"]),
            public_is_limited: false,
            manage: Manage::default(),
            presented: Arc::from([]),
        }
    }

    /// The rights that permission strings grant; strings of other systems grant nothing.
    pub fn of_permissions(presented: Vec<String>) -> Rights {
        let behind =
            |prefix| presented.iter().filter_map(move |permission| permission.strip_prefix(prefix));
        let manages = |what| behind(MANAGE).any(|managed| managed == what);
        Rights {
            publish: Patterns::new(behind(PUBLISH)),
            subscribe: Patterns::new(behind(SUBSCRIBE)),
            public_is_limited: false,
            manage: Manage {
                subscribers: manages("subscribers"),
                connections: manages("connections"),
                application: manages("application"),
            },
            presented: presented.into(),
        }
    }

    /// Whether it may publish to `topic`.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        self.publish.matches(topic.as_str())
    }

    /// Whether it may ask to be subscribed to `topic`. Private topics are never asked for.
    pub fn may_subscribe(&self, topic: &TopicName) -> bool {
        match topic.class() {
            TopicClass::Private => false,
            TopicClass::Public if !self.public_is_limited => true,
            TopicClass::Public | TopicClass::Secure => self.subscribe.matches(topic.as_str()),
        }
    }
}

/// The permission strings with the same meaning as an API key's rights.
pub fn permissions(
    subscribe: bool,
    publish: bool,
    administer: bool,
    topics: &[String],
) -> Vec<String> {
    let mut strings = Vec::new();
    for topic in topics {
        if subscribe {
            strings.push(format!("{SUBSCRIBE}{topic}"));
        }
        if publish {
            strings.push(format!("{PUBLISH}{topic}"));
        }
    }
    if administer {
        let managed = ["subscribers", "connections", "application"];
        strings.extend(managed.map(|what| format!("{MANAGE}{what}")));
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_strings_grant_what_they_say_and_no_more() {
        let texts = [
            "realtime:subscriber:read:topic:secure/a*",
            "realtime:subscriber:read:topic:!secure/ab",
            "realtime:publisher:write:topic:chat",
            "realtime:admin:manage:connections",
            "realtime:admin:manage:*",
            "Realtime:publisher:write:topic:other",
            "billing:read",
        ];
        let rights = Rights::of_permissions(texts.map(str::to_owned).to_vec());
        let topic = |name| TopicName::new(name).unwrap();
        for (name, subscribe, publish) in [
            ("public", true, false),
            ("chat", true, true),
            ("other", true, false),
            ("secure/a1", true, false),
            ("SECURE/A1", true, false),
            ("secure/ab", false, false),
            ("secure/b", false, false),
            ("priv/x", false, false),
        ] {
            assert_eq!(rights.may_subscribe(&topic(name)), subscribe, "subscribe {name}");
            assert_eq!(rights.may_publish(&topic(name)), publish, "publish {name}");
        }
        let manage = Manage { connections: true, ..Manage::default() };
        assert_eq!(rights.manage, manage);
        assert_eq!(rights.presented.len(), texts.len());
    }

    #[test]
    fn a_limited_caller_needs_a_pattern_for_public_topics_too() {
        let rights = Rights {
            public_is_limited: true,
            subscribe: Patterns::new(["news*"]),
            ..Rights::every_topic()
        };
        assert!(rights.may_subscribe(&TopicName::new("news/1").unwrap()));
        assert!(!rights.may_subscribe(&TopicName::new("other").unwrap()));
    }
}
