//! What a caller may do: the outcome of authentication, asked by every door.

use super::pattern::Patterns;
use super::topic::{TopicClass, TopicName};

/// What an identity may do in its application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Topics it may publish to.
    pub publish: Patterns,
    /// Topics it may subscribe to.
    pub subscribe: Patterns,
    /// Whether it may administer the application.
    pub admin: bool,
    /// The permission strings as presented, for the Realtime envelope's `client.permissions`.
    pub presented: Vec<String>,
}

impl Rights {
    /// Everything on every topic; what an open application grants to everyone.
    pub fn everything() -> Rights {
        Rights {
            publish: Patterns::new(["*"]),
            subscribe: Patterns::new(["*"]),
            admin: false,
            presented: Vec::new(),
        }
    }

    /// Whether it may publish to `topic`.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        self.publish.matches(topic.as_str())
    }

    /// Whether it may ask to be subscribed to `topic`. Private topics are never asked for.
    pub fn may_subscribe(&self, topic: &TopicName) -> bool {
        topic.class() != TopicClass::Private && self.subscribe.matches(topic.as_str())
    }
}
