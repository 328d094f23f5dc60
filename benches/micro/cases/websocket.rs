//! WebSocket: frames out, frames in, compression.

use fanwire::proto::ws::{Deflater, Event, Inflater, Limits, Opcode, Reader, WINDOW_MAX, frame};

use super::{Op, text};

const LIMITS: Limits = Limits { message_size_max: 1 << 20 };

/// A whole text frame into a buffer that has room.
pub(crate) fn encode<const SIZE: usize>() -> Op {
    let payload = text(SIZE);
    let mut out = Vec::with_capacity(SIZE + frame::SERVER_HEADER_SIZE_MAX);
    Box::new(move || {
        out.clear();
        frame::append(&mut out, Opcode::Text, true, false, payload.as_bytes());
        out.len()
    })
}

/// A masked binary frame that lies whole in the input: header, limits, unmasking in place. What is
/// read is masked again by the next round's mask: its content does not matter.
pub(crate) fn read<const SIZE: usize>() -> Op {
    read_frame(SIZE, 0x82)
}

/// The same as text: UTF-8 is checked too. The mask is zero, so that the text stays one.
pub(crate) fn read_text<const SIZE: usize>() -> Op {
    read_frame(SIZE, 0x81)
}

fn read_frame(size: usize, first: u8) -> Op {
    let mask: [u8; 4] = if first == 0x81 { [0; 4] } else { [0x37, 0xfa, 0x21, 0x3d] };
    let mut bytes = Vec::new();
    frame::append_header(&mut bytes, Opcode::Binary, true, false, size);
    bytes[0] = first;
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&mask);
    bytes.extend_from_slice(text(size).as_bytes());
    let mut reader = Reader::new(false);
    let mut inflater = Inflater::new();
    Box::new(move || {
        let (used, event) = reader.read(&mut bytes, &LIMITS, &mut inflater);
        let (Event::Binary(_) | Event::Text(_)) = event else { panic!("{event:?}") };
        used
    })
}

/// One message's payload compressed, once for all its subscribers of the largest window.
pub(crate) fn deflate<const SIZE: usize>() -> Op {
    let payload = text(SIZE);
    let mut deflater = Deflater::default();
    let mut out = Vec::with_capacity(2 * SIZE);
    Box::new(move || {
        out.clear();
        deflater.append_frame(&mut out, WINDOW_MAX, Opcode::Binary, payload.as_bytes());
        out.len()
    })
}
