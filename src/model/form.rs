//! Wire forms: in which shapes one message may be needed.
//!
//! A subscriber has one `Form` for its whole life; subscribers of equal form share the same bytes.
//! A message caches its bytes per *slot*, because a message that did not ask for compression looks
//! the same to subscribers with and without a negotiated window.

/// How a subscriber wants its messages on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// A WebSocket frame with the Realtime envelope.
    Realtime {
        /// Whether the envelope carries top-level `id` and `position`.
        positions: bool,
        /// The negotiated deflate window in bits (9–15), if any.
        window: Option<u8>,
    },
    /// One server-sent event.
    Sse {
        /// What stands in its `data:` lines.
        body: SseBody,
        /// Whether the message's own position is the stream's cursor, so that the block carries its
        /// `id:` and is shared whole; otherwise the block is left open for a line per connection.
        shared_id: bool,
    },
}

/// What an event's data is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SseBody {
    /// The native JSON envelope: topic, id, time, data.
    Native,
    /// The payload alone: a string's characters, else the JSON text (also buzzPost's form).
    Raw,
}

/// How many distinct byte forms one message can have.
pub const SLOT_COUNT: usize = 22;

const WINDOW_MIN: u8 = 9;
const REALTIME_SLOTS: usize = 9;

impl Form {
    /// Where a message caches its bytes for this form, `0..SLOT_COUNT`. Two forms share a slot
    /// exactly when the bytes are equal for a message with this `compress`.
    pub fn slot(self, compress: bool) -> usize {
        match self {
            Form::Realtime { positions, window } => {
                let shape = match (compress, window) {
                    (false, _) => 0,
                    (true, None) => 1,
                    (true, Some(bits)) => 2 + usize::from(bits.clamp(WINDOW_MIN, 15) - WINDOW_MIN),
                };
                usize::from(positions) * REALTIME_SLOTS + shape
            }
            Form::Sse { body, shared_id } => {
                2 * REALTIME_SLOTS + 2 * usize::from(body == SseBody::Raw) + usize::from(shared_id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_within_bounds_and_distinct() {
        let mut seen = std::collections::HashSet::new();
        for positions in [false, true] {
            for bits in 9..=15 {
                assert!(seen.insert(Form::Realtime { positions, window: Some(bits) }.slot(true)));
            }
            assert!(seen.insert(Form::Realtime { positions, window: None }.slot(true)));
            assert!(seen.insert(Form::Realtime { positions, window: None }.slot(false)));
            for body in [SseBody::Native, SseBody::Raw] {
                assert!(seen.insert(Form::Sse { body, shared_id: positions }.slot(true)));
            }
        }
        assert_eq!(seen.len(), SLOT_COUNT);
        assert!(seen.iter().all(|slot| *slot < SLOT_COUNT));
    }
}
