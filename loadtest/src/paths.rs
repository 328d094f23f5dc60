//! Where a broker that is not Fanwire takes a raw POST body and gives it out as an event's data.
//!
//! A template names the topic by `{topic}`, or a subscriber's topics by `{topics}`, a comma list.
//! Topic names hold nothing that a path or a query would escape. Templates are shown in reports:
//! they are no place for tokens.

use serde::{Deserialize, Serialize};

use crate::settings::{Door, PublishDoor, Settings};

const TOPIC: &str = "{topic}";
const TOPICS: &str = "{topics}";

/// Paths of another broker; none = Fanwire's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct Paths {
    /// Another broker's event stream, for --door sse-raw or sse: a path with {topic}, or with
    /// {topics} for the comma list of a subscriber's topics.
    #[arg(long = "stream-path", value_name = "TEMPLATE")]
    pub stream: Option<String>,
    /// Another broker's publish path, for --publish-door native: a path with {topic}. Any 2xx is an
    /// accepted message, whatever the answer's body.
    #[arg(long = "publish-path", value_name = "TEMPLATE")]
    pub publish: Option<String>,
}

impl Paths {
    /// The stream's path for a subscriber of these topics.
    #[must_use]
    pub fn stream_of(&self, topics: &str) -> Option<String> {
        // With `{topic}` there is only one (`problems`).
        let fill = |template: &String| template.replace(TOPICS, topics).replace(TOPIC, topics);
        self.stream.as_ref().map(fill)
    }

    /// The publish path before and after the topic.
    #[must_use]
    pub fn publish_parts(&self) -> Option<(&str, &str)> {
        self.publish.as_deref().and_then(|template| template.split_once(TOPIC))
    }

    /// What is wrong with them in this run, a clause each.
    #[must_use]
    pub fn problems(&self, settings: &Settings) -> Vec<String> {
        let mut problems = Vec::new();
        let mut rule = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        if let Some(path) = &self.stream {
            let (one, many) = (path.matches(TOPIC).count(), path.matches(TOPICS).count());
            let is_stream = matches!(settings.door, Door::Sse | Door::SseRaw);
            rule(is_stream, "--stream-path needs --door sse or sse-raw");
            rule(!settings.scenario.has_crowd(), "--stream-path cannot be used with a crowd");
            rule(one + many == 1, "--stream-path must hold {topic} or {topics} once");
            rule(
                one == 0 || settings.topics_per_subscriber == 1,
                "--stream-path with {topic} takes one topic per subscriber, {topics} takes more",
            );
            rule(is_path(path), "--stream-path must begin with '/' and be visible ASCII");
        }
        if let Some(path) = &self.publish {
            let is_native = settings.publish_door == PublishDoor::Native;
            rule(is_native, "--publish-path needs --publish-door native");
            rule(path.matches(TOPIC).count() == 1, "--publish-path must hold {topic} once");
            rule(is_path(path), "--publish-path must begin with '/' and be visible ASCII");
        }
        problems
    }
}

/// RFC 9112 §3.2.1: an absolute path and perhaps a query, without white space.
fn is_path(template: &str) -> bool {
    template.starts_with('/') && template.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Scenario, example};

    fn paths(stream: &str, publish: &str) -> Paths {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Paths { stream: given(stream), publish: given(publish) }
    }

    #[test]
    fn templates_are_filled() {
        let one = paths("/sub/{topic}?x=1", "/pub?id={topic}&y=2");
        assert_eq!(one.stream_of("a").as_deref(), Some("/sub/a?x=1"));
        assert_eq!(one.publish_parts(), Some(("/pub?id=", "&y=2")));
        assert_eq!(paths("/s/{topics}", "").stream_of("a,b").as_deref(), Some("/s/a,b"));
        assert_eq!(
            (Paths::default().stream_of("a"), Paths::default().publish_parts()),
            (None, None)
        );
    }

    #[track_caller]
    fn check(settings: &Settings, stream: &str, publish: &str, expected: &[&str]) {
        let problems = paths(stream, publish).problems(settings);
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, words) in problems.iter().zip(expected) {
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let raw = || Settings { door: Door::SseRaw, topics: 2, ..example() };
        check(&raw(), "/s/{topic}", "/p/{topic}", &[]);
        check(&raw(), "/s/{topics}", "", &[]);
        check(&raw(), "", "/p", &["--publish-path must hold {topic} once"]);
        check(&raw(), "/s", "", &["--stream-path must hold"]);
        check(&raw(), "/s/{topic}/{topics}", "", &["--stream-path must hold"]);
        check(
            &raw(),
            "s/{topic}",
            "/p {topic}",
            &["--stream-path must begin", "--publish-path must begin"],
        );
        check(&Settings { door: Door::Ws, ..raw() }, "/s/{topic}", "", &["--door sse"]);
        check(&Settings { door: Door::Buzz, ..raw() }, "/s/{topic}", "", &["--door sse"]);
        let two = Settings { topics_per_subscriber: 2, ..raw() };
        check(&two, "/s/{topic}", "", &["one topic per subscriber"]);
        check(&two, "/s/{topics}", "", &[]);
        let batch = Settings { publish_door: PublishDoor::Batch, ..raw() };
        check(&batch, "", "/p/{topic}", &["--publish-door native"]);
        let recover = Settings { scenario: Scenario::Recover, ..raw() };
        check(&recover, "/s/{topic}", "", &["crowd"]);
    }
}
