//! WebSocket frames, RFC 6455 §5, from the client's side.

/// Largest payload of a frame that is read; a larger one ends the connection as broken.
pub const PAYLOAD_SIZE_MAX: u64 = 1 << 20;

/// Frame types, RFC 6455 §11.8.
pub mod opcode {
    /// Continues a fragmented message.
    pub const CONTINUATION: u8 = 0x0;
    /// UTF-8 text.
    pub const TEXT: u8 = 0x1;
    /// Bytes.
    pub const BINARY: u8 = 0x2;
    /// Close, with code and reason.
    pub const CLOSE: u8 = 0x8;
    /// Ping.
    pub const PING: u8 = 0x9;
    /// Pong.
    pub const PONG: u8 = 0xA;
}

/// One frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whether this is the last frame of its message.
    pub is_final: bool,
    /// Whether the message is compressed (RSV1, RFC 7692 §6).
    pub is_compressed: bool,
    /// Frame type.
    pub opcode: u8,
    /// The payload.
    pub payload: &'a [u8],
    /// Bytes of the whole frame.
    pub size: usize,
}

/// Reads one frame; `None` while it is incomplete.
///
/// # Errors
/// When the server breaks the protocol: reserved bits, a mask, an oversized or fragmented control
/// frame, or a payload over [`PAYLOAD_SIZE_MAX`].
pub fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x30 != 0 {
        return Err("reserved bits in a frame");
    }
    if second & 0x80 != 0 {
        return Err("the server masked a frame");
    }
    let (length, head) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if length > PAYLOAD_SIZE_MAX {
        return Err("a frame is too large");
    }
    let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
    if opcode >= opcode::CLOSE && (!is_final || length > 125) {
        return Err("a control frame is fragmented or too long");
    }
    let size = head + usize::try_from(length).unwrap_or(usize::MAX);
    let Some(payload) = bytes.get(head..size) else { return Ok(None) };
    Ok(Some(Frame { is_final, is_compressed: first & 0x40 != 0, opcode, payload, size }))
}

/// Appends a masked, final client frame.
///
/// The mask changes with each call but is no secret: nothing here needs hiding from a proxy.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | u8::try_from(length).unwrap_or(0)),
        length @ 126..=0xffff => {
            out.push(0xfe);
            out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
        length => {
            out.push(0xff);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, u8::try_from(out.len() & 0xff).unwrap_or(0x3d)];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match payload.len() {
            0..=125 => bytes.push(u8::try_from(payload.len()).unwrap()),
            126..=0xffff => {
                bytes.push(126);
                bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(127);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn frames_of_every_length_class_and_every_cut() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let bytes = server_frame(&payload);
            let frame = parse(&bytes).unwrap().unwrap();
            assert_eq!((frame.payload, frame.size), (payload.as_slice(), bytes.len()));
            for cut in (0..bytes.len()).step_by(1 + bytes.len() / 50) {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn rfc_example_and_protocol_errors() {
        // RFC 6455 §5.7: a single-frame unmasked text message.
        let frame = parse(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]).unwrap().unwrap();
        assert_eq!((frame.opcode, frame.payload), (opcode::TEXT, &b"Hello"[..]));
        assert!(parse(&[0x81, 0x85, 1, 2, 3, 4]).is_err());
        assert!(parse(&[0xA1, 0]).is_err());
        assert!(parse(&[0x09, 0]).is_err());
        assert!(parse(&[0x89, 126, 0, 126]).is_err());
        assert!(parse(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn client_frames_are_masked() {
        for length in [0, 5, 126, 70_000] {
            let payload: Vec<u8> = (0..length).map(|i: u32| (i % 251) as u8).collect();
            let mut out = Vec::new();
            write(&mut out, opcode::TEXT, &payload);
            assert_eq!((out[0], out[1] & 0x80), (0x81, 0x80));
            let head = out.len() - payload.len();
            let mask: Vec<u8> = out[head - 4..head].to_vec();
            let plain: Vec<u8> =
                out[head..].iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
            assert_eq!(plain, payload);
        }
    }
}
