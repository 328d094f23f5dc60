//! From a message to the bytes of one wire form. Every form's bytes are made here and nowhere else.

use super::json;
use super::realtime;
use super::sse;
use super::ws::{self, Opcode};
use crate::model::form::{EventId, Form, SseBody};
use crate::model::message::{Message, Payload};

/// One shard's encoder: the compressor's state and a scratch buffer, shared by all connections.
#[derive(Debug)]
pub struct Encoder {
    deflater: ws::Deflater,
    scratch: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder { deflater: ws::Deflater::new(ws::DEFLATE_LEVEL_DEFAULT), scratch: Vec::new() }
    }
}

impl Encoder {
    /// The bytes of `message` in `form`, as [`Encoder::append`] appends them.
    pub fn encode(&mut self, form: Form, message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append(&mut bytes, form, message);
        bytes
    }

    /// Appends `message` in `form`: a whole WebSocket frame, an item of a poll's answer, or a
    /// server-sent event (one whose id is the stream's own cursor lacks that line and the blank line
    /// that ends it).
    pub fn append(&mut self, out: &mut Vec<u8>, form: Form, message: &Message) {
        match form {
            Form::Realtime { positions, window } => {
                self.scratch.clear();
                realtime::envelope(&mut self.scratch, message, positions);
                match (message.publication.compress, window) {
                    (false, _) => {
                        ws::frame::append(out, Opcode::Text, true, false, &self.scratch);
                    }
                    (true, None) => {
                        ws::frame::append(out, Opcode::Binary, true, false, &self.scratch);
                    }
                    (true, Some(window)) => {
                        let deflater = &mut self.deflater;
                        deflater.append_frame(out, window, Opcode::Binary, &self.scratch);
                    }
                }
            }
            Form::Poll { .. } => sse::envelope(out, message, true),
            Form::Sse { body, id } => {
                self.scratch.clear();
                let data = match body {
                    SseBody::Native => {
                        sse::envelope(&mut self.scratch, message, false);
                        &self.scratch[..]
                    }
                    SseBody::Raw => match &message.publication.payload {
                        Payload::Text(text) => text.as_bytes(),
                        Payload::Json(text) => {
                            // A JSON text may have blanks around it; only a string has characters of its own.
                            let characters = json::characters(text.trim_ascii());
                            let characters = characters.unwrap_or_else(|| text.as_ref().into());
                            self.scratch.extend_from_slice(characters.as_bytes());
                            &self.scratch[..]
                        }
                    },
                };
                out.reserve(data.len() + EVENT_LINES_SIZE);
                if id == EventId::Cursor {
                    sse::append_data(out, data);
                } else {
                    sse::append_position_id(out, message.position);
                    sse::append_data(out, data);
                    out.push(b'\n');
                }
            }
        }
    }
}

/// What an event has beside its data, in bytes: an id, field names, line ends.
const EVENT_LINES_SIZE: usize = 80;

/// Appends a payload as a JSON value: its own bytes, or its characters as a string.
pub(super) fn append_payload(out: &mut Vec<u8>, payload: &Payload) {
    match payload {
        Payload::Json(text) => out.extend_from_slice(text.as_bytes()),
        Payload::Text(text) => json::escape_into(out, text),
    }
}
