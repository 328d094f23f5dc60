//! Keys of long polling: how long, how much, and the application of its simple form.

use std::time::Duration;

use super::key::{Key, Kind, live};
use super::values::Values;
use crate::model::application::Applications;
use crate::model::topic::{TopicClass, TopicName};
use crate::shard::options::PollOptions;

pub(super) const KEYS: &[Key] = &live([
    Key::new(
        "poll.wait_max",
        Kind::Duration { min: Duration::ZERO, max: Duration::from_mins(5) },
        "25s",
        "How long a poll may wait for a message, and how long it waits unless it asks for less; a \
         larger `wait` is cut to it. Then the answer is empty. Keep it below the timeout of a proxy \
         in front.",
    ),
    Key::new(
        "poll.messages_max",
        Kind::Count { min: 1, max: 1000 },
        "100",
        "Most messages of one answer. Further ones come with the next poll.",
    ),
    Key::new(
        "poll.size_max",
        Kind::Size { min: 1024, max: 1 << 30 },
        "1MiB",
        "Bytes of one answer beyond which no message is added to it; its first is sent whatever its \
         size. Further ones come with the next poll.",
    ),
    Key::new(
        "poll.topics_max",
        Kind::Count { min: 1, max: 65_536 },
        "256",
        "Most topics of one poll. Over it: 400.",
    ),
    Key::new(
        "poll.simple_application",
        Kind::Text,
        "",
        "Id of the application whose topic the simple form of polling reads. Empty = there is no \
         simple form.",
    ),
    Key::new(
        "poll.simple_topic",
        Kind::Text,
        "main",
        "The topic that the simple form of polling reads.",
    ),
]);

pub(super) fn poll(values: &Values) -> PollOptions {
    PollOptions {
        wait_max: values.duration("poll.wait_max"),
        messages_max: values.number("poll.messages_max"),
        size_max: values.number("poll.size_max"),
        topics_max: values.number("poll.topics_max"),
    }
}

/// The applications with what the simple form reads, if there is one.
pub(super) fn with_simple_form(values: &mut Values, applications: Applications) -> Applications {
    let path = "poll.simple_application";
    let topic = topic(values);
    let Some(id) = values.text(path).filter(|id| !id.is_empty()) else { return applications };
    let Some(application) = applications.find(&id) else {
        values.problem(path, format!("there is no application {id:?}"));
        return applications;
    };
    match topic {
        Some(topic) => applications.with_simple_poll(application, topic),
        None => applications,
    }
}

/// The simple form's topic; `None` after a problem.
fn topic(values: &mut Values) -> Option<TopicName> {
    let path = "poll.simple_topic";
    let problem = match TopicName::new(&values.text(path)?) {
        Ok(topic) if topic.class() != TopicClass::Private => return Some(topic),
        Ok(_) => "is private: `priv/*` is never subscribed to by request",
        Err(error) => error.text(),
    };
    values.problem(path, problem);
    None
}
