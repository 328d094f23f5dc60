//! Resume tickets: a session's topics with their positions as one opaque word.
//!
//! base64url of lines, each a position, a blank and a topic's name (which holds no line end). It is not
//! signed: whoever resumes is judged for each topic as if it had named the topic itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::position::{Cursor, Position};
use crate::model::topic::TopicName;

/// Longest ticket, in characters; a session with more to say gets none.
pub const TICKET_SIZE_MAX: usize = 48 * 1024;

/// The ticket of a session that stands at these positions; `None` when it would be too long.
pub fn issue_ticket(places: &[(TopicName, Position)]) -> Option<String> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (topic, position) in places {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{position} {}", topic.as_str());
    }
    let ticket = URL_SAFE_NO_PAD.encode(text);
    (ticket.len() <= TICKET_SIZE_MAX).then_some(ticket)
}

/// What a ticket says; `None` for what is none.
pub fn read_ticket(ticket: &str) -> Option<Vec<(TopicName, Cursor)>> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(ticket).ok()?).ok()?;
    let place = |line: &str| {
        let (position, topic) = line.split_once(' ')?;
        Some((TopicName::new(topic).ok()?, Cursor::parse(position)?))
    };
    text.lines().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::{Epoch, Lane};
    use crate::model::shard::ShardIndex;

    fn place(topic: &str, offset: u64) -> (TopicName, Position) {
        let position = Position { epoch: Epoch(7), lane: Lane::Home(ShardIndex(1)), offset };
        (TopicName::new(topic).unwrap(), position)
    }

    #[test]
    fn a_ticket_reads_back() {
        let places = [place("a b", 3), place("secure/ü", 4)];
        let ticket = issue_ticket(&places).unwrap();
        assert!(ticket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let expected: Vec<_> =
            places.iter().map(|(topic, p)| (topic.clone(), Cursor::from(*p))).collect();
        assert_eq!(read_ticket(&ticket), Some(expected));
        assert_eq!(read_ticket(&issue_ticket(&[]).unwrap()), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        for text in ["!", "YQ", "YQ==", "NS0wLjE"] {
            assert_eq!(read_ticket(text), None, "{text}");
        }
    }

    #[test]
    fn a_ticket_is_bounded() {
        let many: Vec<_> = (0..1024).map(|n| place(&format!("{n:0>60}"), n)).collect();
        assert_eq!(issue_ticket(&many), None);
    }
}
