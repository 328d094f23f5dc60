//! What a server says about recovery: in a topic's welcome, and when messages are lost.
//!
//! Positions are opaque texts here; they are only kept and given back.

use serde::Deserialize;

/// The welcome of a session or a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// The topic; `main` is the session's.
    pub topic: String,
    /// Where the subscription begins, for those that asked for positions.
    pub position: Option<String>,
    /// The answer to a position that the subscribe named.
    pub recovery: Option<Recovery>,
}

/// What became of the messages behind a position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Recovery {
    /// Whether all of them follow.
    pub recovered: bool,
    /// Why some do not.
    #[serde(default)]
    pub reason: Option<String>,
    /// How many messages follow before the live ones.
    #[serde(default)]
    pub count: u64,
}

/// The statement that messages are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Lost {
    /// Why.
    pub reason: String,
    /// Of which topics; a WebSocket names one, as `topic`.
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    topic: Option<String>,
    /// From where it goes on, where the topic has a position of its own.
    #[serde(default)]
    pub position: Option<String>,
}

/// What a welcome's `data` holds of interest here.
#[derive(Deserialize)]
struct WelcomeData {
    #[serde(default)]
    recovery: Option<Recovery>,
}

impl Welcome {
    /// Reads a welcome whose `data` is given as JSON.
    ///
    /// # Errors
    /// When its `recovery` is not one.
    pub fn read(topic: &str, position: Option<&str>, data: &str) -> Result<Welcome, String> {
        let explain = |error| format!("the welcome of {topic} cannot be read: {error}");
        let data: WelcomeData = serde_json::from_str(data).map_err(explain)?;
        Ok(Welcome {
            topic: topic.to_owned(),
            position: position.map(str::to_owned),
            recovery: data.recovery,
        })
    }
}

impl Lost {
    /// Reads the data of a `lost` event or frame.
    ///
    /// # Errors
    /// When it is not one, or names no topic.
    pub fn read(data: &[u8]) -> Result<Lost, String> {
        let explain = |error| format!("a statement of loss cannot be read: {error}");
        let lost: Lost = serde_json::from_slice(data).map_err(explain)?;
        if lost.topics().next().is_none() {
            return Err("a statement of loss names no topic".into());
        }
        Ok(lost)
    }

    /// The topics whose messages are lost.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().chain(&self.topic).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welcomes_with_and_without_recovery() {
        let plain = Welcome::read("a", None, r#"{"connection":{"id":"1"}}"#).unwrap();
        assert_eq!(plain, Welcome { topic: "a".into(), ..Welcome::default() });
        let data =
            r#"{"connection":{},"recovery":{"recovered":false,"reason":"too_old","count":3}}"#;
        let lost = Welcome::read("a", Some("p"), data).unwrap();
        let reason = Some("too_old".to_owned());
        let recovery = Some(Recovery { recovered: false, reason, count: 3 });
        assert_eq!(lost, Welcome { topic: "a".into(), position: Some("p".into()), recovery });
        assert!(Welcome::read("a", None, r#"{"recovery":{"recovered":1}}"#).is_err());
    }

    #[test]
    fn losses_of_both_doors() {
        let stream = Lost::read(br#"{"reason":"too_slow","topics":["a","b"]}"#).unwrap();
        assert_eq!(stream.topics().collect::<Vec<_>>(), ["a", "b"]);
        let socket = Lost::read(br#"{"topic":"a","reason":"too_old","position":"p"}"#).unwrap();
        assert_eq!(socket.topics().collect::<Vec<_>>(), ["a"]);
        assert_eq!((socket.reason.as_str(), socket.position.as_deref()), ("too_old", Some("p")));
        assert!(Lost::read(br#"{"reason":"too_old"}"#).is_err());
        assert!(Lost::read(br#"{"topics":["a"]}"#).is_err());
    }
}
