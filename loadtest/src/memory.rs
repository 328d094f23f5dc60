//! What a subscriber that returns must remember: how far it had come, and when it may come back.
//!
//! A WebSocket has a position per subscription, an event stream one cursor for all. Both are opaque
//! texts of the server's. A welcome's own position counts only where no messages follow it: with
//! messages on their way, whoever is cut before they arrive must ask for them again.

use serde::{Deserialize, Serialize};

use crate::wire::notice::{Lost, Welcome};

/// One subscriber's memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Per subscription, the last position seen; empty on event streams.
    pub positions: Vec<Option<String>>,
    /// The last `id` of the event stream.
    pub cursor: Option<String>,
    /// What the event stream said last that a return has to wait, milliseconds.
    pub retry_ms: Option<u64>,
    /// When the messages sent last of those that came were sent, nanoseconds.
    pub sent_ns: u64,
    /// What the returns have brought since it was last taken.
    pub brought: Brought,
}

/// What answers to positions have brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// Subscriptions that got everything.
    pub recovered: u64,
    /// Subscriptions that got a part, and were told so.
    pub lost: u64,
    /// Messages announced.
    pub messages: u64,
}

impl Brought {
    /// Adds what another has brought.
    pub fn add(&mut self, other: Brought) {
        self.recovered += other.recovered;
        self.lost += other.lost;
        self.messages += other.messages;
    }
}

impl Memory {
    /// Of a subscriber with so many subscriptions that has seen nothing.
    #[must_use]
    pub fn new(subscriptions: usize) -> Memory {
        Memory { positions: vec![None; subscriptions], ..Memory::default() }
    }

    /// Notes a delivery.
    pub fn delivered(&mut self, index: usize, sent_ns: u64, position: Option<&str>) {
        self.sent_ns = self.sent_ns.max(sent_ns);
        if let (Some(kept), Some(position)) = (self.positions.get_mut(index), position) {
            let kept = kept.get_or_insert_default();
            kept.clear();
            kept.push_str(position);
        }
    }

    /// Notes the welcome of a subscription; answers whether messages of it are lost.
    pub fn welcomed(&mut self, index: usize, welcome: &Welcome) -> bool {
        let follow = welcome.recovery.as_ref().map_or(0, |recovery| recovery.count);
        if follow == 0
            && let (Some(kept), Some(position)) = (self.positions.get_mut(index), &welcome.position)
        {
            *kept = Some(position.clone());
        }
        self.brought.messages += follow;
        match &welcome.recovery {
            Some(recovery) if recovery.recovered => self.brought.recovered += 1,
            Some(_) => self.brought.lost += 1,
            None => {}
        }
        welcome.recovery.as_ref().is_some_and(|recovery| !recovery.recovered)
    }

    /// Notes a loss on a subscription that stands.
    pub fn lost(&mut self, index: usize, lost: &Lost) {
        if let (Some(kept), Some(position)) = (self.positions.get_mut(index), &lost.position) {
            *kept = Some(position.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::notice::Recovery;

    fn welcome(position: &str, recovered: bool, count: u64) -> Welcome {
        let recovery = Some(Recovery { recovered, reason: None, count });
        Welcome { topic: "t".into(), position: Some(position.into()), recovery }
    }

    #[test]
    fn a_welcome_with_messages_behind_it_moves_no_position() {
        let mut memory = Memory::new(2);
        memory.delivered(1, 70, Some("p7"));
        assert!(!memory.welcomed(1, &welcome("p9", true, 2)));
        assert_eq!(memory.positions, [None, Some("p7".into())]);
        assert!(!memory.welcomed(1, &welcome("p9", true, 0)));
        assert!(memory.welcomed(0, &welcome("p9", false, 0)));
        assert_eq!(memory.positions, [Some("p9".into()), Some("p9".into())]);
        assert_eq!(memory.brought, Brought { recovered: 2, lost: 1, messages: 2 });
        memory.delivered(1, 60, Some("p10"));
        assert_eq!((memory.positions[1].as_deref(), memory.sent_ns), (Some("p10"), 70));
    }
}
