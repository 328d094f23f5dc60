//! `fanwire explain topic`: what a topic's name means, and which rule lets a caller use it.
//!
//! The whole judgement is `Rights`'; which rule decided is found by asking the same code about one
//! rule at a time.

use std::fmt::Write as _;
use std::io::BufRead;
use std::sync::Arc;

use clap::Args;

use super::connection::Secret;
use super::explain::{ApplicationArgs, Told, judge};
use crate::auth::{Authenticator, Credential, Request, Verdict};
use crate::config::Settings;
use crate::model::application::AppIndex;
use crate::model::identity::Role;
use crate::model::rights::{self, Rights};
use crate::model::topic::{TopicClass, TopicName};

/// What `explain topic` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct ExplainTopicArgs {
    #[command(flatten)]
    application: ApplicationArgs,
    /// The caller's token; `-` reads it from standard input. Without any, a caller with nothing.
    #[arg(long, conflicts_with_all = ["key", "permissions"])]
    token: Option<Secret>,
    /// The caller's API key; `-` reads it from standard input.
    #[arg(long, conflicts_with = "permissions")]
    key: Option<Secret>,
    /// A permission that the caller's token would have; may be repeated.
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<String>,
    /// The topic.
    topic: String,
}

/// Explains the topic at `now_s` (Unix seconds). Good news is a legal name and a caller who is known.
///
/// # Errors
/// What keeps it from being judged at all.
pub(super) fn topic(
    args: &ExplainTopicArgs,
    environment: Vec<(String, String)>,
    input: &mut dyn BufRead,
    now_s: u64,
) -> Result<Told, String> {
    let topic = match TopicName::new(&args.topic) {
        Ok(topic) => topic,
        Err(error) => {
            return Ok(Told {
                text: format!("name: not legal: {}\n", error.text()),
                is_good: false,
            });
        }
    };
    let settings = args.application.load(environment)?;
    let app = args.application.find(&settings.applications)?;
    let mut text = name_of(&topic);
    let rights = match args.rights(app, &settings, input, now_s)? {
        Ok(rights) => rights,
        Err(refusal) => {
            let _ = writeln!(text, "caller: refused: {refusal}");
            return Ok(Told { text, is_good: false });
        }
    };
    let _ = writeln!(text, "subscribe: {}", subscribing(&rights, &topic));
    let _ = writeln!(text, "publish: {}", publishing(&rights, &topic));
    Ok(Told { text, is_good: true })
}

fn name_of(topic: &TopicName) -> String {
    let class = match topic.class() {
        TopicClass::Public => "public: a token needs no permission to subscribe",
        TopicClass::Secure => "secure: subscribing needs a permission",
        TopicClass::Private => "private: a connection's or subject's own, never subscribed to",
    };
    match TopicName::native(topic.as_str()) {
        Ok(_) => format!("name: legal\nclass: {class}\n"),
        Err(error) => {
            format!("name: legal, but not on the native routes: {}\nclass: {class}\n", error.text())
        }
    }
}

impl ExplainTopicArgs {
    /// The caller's rights, or why the caller is refused.
    fn rights(
        &self,
        app: AppIndex,
        settings: &Settings,
        input: &mut dyn BufRead,
        now_s: u64,
    ) -> Result<Result<Rights, String>, String> {
        if !self.permissions.is_empty() {
            return Ok(Ok(Rights::of_permissions(self.permissions.clone())));
        }
        let application = settings.applications.get(app);
        let secret = self.token.as_ref().or(self.key.as_ref());
        let text = secret.map(|secret| secret.text(input)).transpose()?.unwrap_or_default();
        if self.token.is_some() {
            let (roles, credential) = (&[Role::Client, Role::Admin], Credential::Token(&text));
            let request = Request { app, application, roles, credential, now_s };
            return Ok(match judge(&request, settings)?.verdict {
                Verdict::Known(identity) => Ok(identity.rights.clone()),
                Verdict::Refused(_) | Verdict::NeedsKeys(_) => {
                    Err("the token is not valid; `fanwire explain token` says why".to_owned())
                }
            });
        }
        let key = self.key.as_ref().map(|_| &*text);
        Ok(match Authenticator::default().authenticate(application, key) {
            Ok(identity) => Ok(identity.rights.clone()),
            Err(_) if key.is_some() => Err("it is no API key of this application".to_owned()),
            Err(_) => {
                Err("the application is not open: give --token, --key or --permission".to_owned())
            }
        })
    }
}

fn subscribing(rights: &Rights, topic: &TopicName) -> String {
    match topic.class() {
        TopicClass::Private => {
            "refused: private topics come by themselves, to whom they belong".to_owned()
        }
        TopicClass::Public if !rights.public_is_limited => {
            "allowed: the topic is public".to_owned()
        }
        TopicClass::Public | TopicClass::Secure => {
            let kind = rights::permissions(true, false, false, &[String::new()]);
            decided(rights, topic, &kind[0], Rights::may_subscribe)
        }
    }
}

fn publishing(rights: &Rights, topic: &TopicName) -> String {
    let kind = rights::permissions(false, true, false, &[String::new()]);
    decided(rights, topic, &kind[0], Rights::may_publish)
}

/// Whether `may` holds, and by which of the permissions that begin with `kind`.
fn decided(
    rights: &Rights,
    topic: &TopicName,
    kind: &str,
    may: impl Fn(&Rights, &TopicName) -> bool,
) -> String {
    let is_allowed = may(rights, topic);
    let of_kind: Vec<_> =
        rights.presented.iter().filter(|permission| permission.starts_with(kind)).collect();
    // An exclusion alone lets through what it does not exclude.
    let decides = |permission: &&&String| {
        let alone = Rights {
            public_is_limited: true,
            presented: Arc::from([]),
            ..Rights::of_permissions(vec![(**permission).clone()])
        };
        let is_exclusion = permission[kind.len()..].starts_with('!');
        is_exclusion != is_allowed && may(&alone, topic) == is_allowed
    };
    let deciding: Vec<_> = of_kind.iter().filter(decides).map(|p| format!("{p:?}")).collect();
    let verdict = if is_allowed { "allowed" } else { "refused" };
    let reason = match (is_allowed, deciding.is_empty(), of_kind.is_empty()) {
        (_, false, _) => format!("by {}", deciding.join(", ")),
        (true, true, true) => "the application is open".to_owned(),
        (true, true, false) => "there are only exclusions, and none matches".to_owned(),
        (false, true, true) => format!("there is no permission {kind}PATTERN"),
        (false, true, false) => format!("no permission {kind}PATTERN matches"),
    };
    format!("{verdict}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_that_decided_is_named() {
        let read = |pattern: &str| format!("realtime:subscriber:read:topic:{pattern}");
        let write = |pattern: &str| format!("realtime:publisher:write:topic:{pattern}");
        let cases: [(&[String], &str, &str, &str); 9] = [
            (&[], "news", "allowed: the topic is public", "refused: there is no permission "),
            (&[], "priv/x", "refused: private topics", "refused: there is no permission "),
            (&[], "secure/a", "refused: there is no permission ", "refused: there is no"),
            (&[read("secure/*")], "secure/a", "allowed: by \"realtime:sub", "refused: there is no"),
            (&[read("secure/b")], "secure/a", "refused: no permission ", "refused: there is no"),
            (
                &[read("secure/*"), read("!secure/a")],
                "secure/a",
                "refused: by \"realtime:subscriber:read:topic:!secure/a\"",
                "refused: there is no",
            ),
            (&[read("!secure/b")], "SECURE/a", "allowed: the topic is public", "refused: there is"),
            (&[read("!secure/b")], "secure/a", "allowed: there are only exclusions", "refused: "),
            (
                &[write("a*"), write("*b"), write("c")],
                "ab",
                "allowed: the topic is public",
                "allowed: by \"realtime:publisher:write:topic:a*\", \
                 \"realtime:publisher:write:topic:*b\"",
            ),
        ];
        for (permissions, name, subscribe, publish) in cases {
            let rights = Rights::of_permissions(permissions.to_vec());
            let topic = TopicName::new(name).unwrap();
            let (read, written) = (subscribing(&rights, &topic), publishing(&rights, &topic));
            assert!(read.starts_with(subscribe), "{name} {permissions:?}: {read}");
            assert!(written.starts_with(publish), "{name} {permissions:?}: {written}");
            assert_eq!(read.starts_with("allowed"), rights.may_subscribe(&topic));
            assert_eq!(written.starts_with("allowed"), rights.may_publish(&topic));
        }
        let everyone = Rights { public_is_limited: true, ..Rights::every_topic() };
        let topic = TopicName::new("secure/a").unwrap();
        assert_eq!(publishing(&everyone, &topic), "allowed: the application is open");
    }
}
