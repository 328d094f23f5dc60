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
        /// What its `id:` says.
        id: EventId,
    },
    /// One item of a long poll's answer.
    Poll {
        /// Whether the poll reads several topics.
        merged: bool,
    },
}

/// What an event's `id:` says, which is the stream's cursor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventId {
    /// The stream has one topic: the message's position. The block is shared whole.
    Position,
    /// Several topics that one lane counts: the message's position, which is a cursor because events
    /// come in the lane's order. The block is shared whole.
    LanePosition,
    /// Topics of several lanes: a cursor of the stream's own. The block is left open for that line.
    Cursor,
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
pub const SLOT_COUNT: usize = 23;

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
            Form::Sse { body, id } => {
                let raw = usize::from(body == SseBody::Raw);
                2 * REALTIME_SLOTS + 2 * raw + usize::from(id != EventId::Cursor)
            }
            Form::Poll { .. } => SLOT_COUNT - 1,
        }
    }

    /// Whether messages of several topics must come in their lane's order, because what is told of
    /// the last one stands for all before it.
    pub fn is_merged(self) -> bool {
        match self {
            Form::Realtime { .. } => false,
            Form::Sse { id, .. } => id != EventId::Position,
            Form::Poll { merged } => merged,
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
                let id = if positions { EventId::Position } else { EventId::Cursor };
                assert!(seen.insert(Form::Sse { body, id }.slot(true)));
            }
        }
        assert!(seen.insert(Form::Poll { merged: true }.slot(true)));
        assert_eq!(seen.len(), SLOT_COUNT);
        assert!(seen.iter().all(|slot| *slot < SLOT_COUNT));
    }
}
