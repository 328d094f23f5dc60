//! The closing handshake (RFC 6455 §7): which codes may travel, and who still owes a frame.

/// Whether a code may stand in a close frame (RFC 6455 §7.4 and the IANA registry, which added
/// 1012–1014): 1000–1003, 1007–1014 and 3000–4999. tungstenite's own table lacks 1014.
pub const fn is_wire_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// How far a connection has come in closing; the caller keeps one per connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Closing {
    /// Neither side has sent a close frame.
    #[default]
    Open,
    /// Ours is sent, the peer's has not come; the caller bounds the wait.
    Sent,
    /// Both are done: the server closes the TCP connection first (RFC 6455 §7.1.1).
    Done,
}

impl Closing {
    /// We want to send a close frame; whether we may, which is so once.
    #[must_use]
    pub fn send(&mut self) -> bool {
        let first = *self == Closing::Open;
        if first {
            *self = Closing::Sent;
        }
        first
    }

    /// The peer's close frame came; whether it must be answered with one of ours.
    #[must_use]
    pub fn receive(&mut self) -> bool {
        let unanswered = *self == Closing::Open;
        *self = Closing::Done;
        unanswered
    }

    /// The peer is failed (`Event::Fail`): nothing it sends counts any more; whether our close
    /// frame is still to be sent before the connection goes.
    #[must_use]
    pub fn fail(&mut self) -> bool {
        self.receive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_at_the_edges_of_their_ranges() {
        for (code, expected) in [
            (0, false),
            (999, false),
            (1000, true),
            (1003, true),
            (1004, false),
            (1005, false),
            (1006, false),
            (1007, true),
            (1014, true),
            (1015, false),
            (1016, false),
            (2999, false),
            (3000, true),
            (4999, true),
            (5000, false),
            (u16::MAX, false),
        ] {
            assert_eq!(is_wire_code(code), expected, "{code}");
        }
    }

    #[test]
    fn each_side_sends_one_close() {
        let mut ours_first = Closing::default();
        assert!(ours_first.send());
        assert!(!ours_first.send());
        assert!(!ours_first.receive());
        assert_eq!(ours_first, Closing::Done);

        let mut theirs_first = Closing::default();
        assert!(theirs_first.receive());
        assert!(!theirs_first.send());
        assert!(!theirs_first.fail());
    }
}
