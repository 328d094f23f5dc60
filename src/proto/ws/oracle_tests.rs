//! tungstenite as the other side: what its client says we read, what we write it reads.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::frame;
use super::handshake;
use super::opcode::Opcode;
use super::testing::{LIMITS, Seen, read_all};
use crate::model::close::Close;

/// Both ends of a wire in memory; reading an empty one would block.
#[derive(Default)]
struct Wire {
    toward_client: VecDeque<u8>,
    from_client: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.toward_client.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.toward_client.read(out)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_client.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client() -> WebSocket<Wire> {
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    WebSocket::from_raw_socket(Wire::default(), Role::Client, Some(config))
}

/// What a peer may say, with the places where a message is cut into fragments.
#[derive(Clone, Debug)]
enum Said {
    Message { seen: Seen, cuts: Vec<prop::sample::Index> },
    Control(Seen),
}

fn said() -> impl Strategy<Value = Said> {
    let bytes = || {
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..200),
            1 => (prop::sample::select(&[125_usize, 126, 127, 65_535, 65_536, 70_000][..]), any::<u8>())
                .prop_map(|(size, byte)| vec![byte; size]),
        ]
    };
    let message = prop_oneof![any::<String>().prop_map(Seen::Text), bytes().prop_map(Seen::Binary)];
    let small = prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        3 => (message, prop::collection::vec(any::<prop::sample::Index>(), 0..5))
            .prop_map(|(seen, cuts)| Said::Message { seen, cuts }),
        1 => small.clone().prop_map(|bytes| Said::Control(Seen::Ping(bytes))),
        1 => small.prop_map(|bytes| Said::Control(Seen::Pong(bytes))),
    ]
}

/// A message's payload and opcode.
fn parts(seen: &Seen) -> (Opcode, &[u8]) {
    match seen {
        Seen::Text(text) => (Opcode::Text, text.as_bytes()),
        Seen::Binary(bytes) => (Opcode::Binary, bytes),
        Seen::Ping(bytes) => (Opcode::Ping, bytes),
        Seen::Pong(bytes) => (Opcode::Pong, bytes),
        Seen::Close(_) | Seen::Fail(_) => unreachable!("not said here"),
    }
}

/// The fragments of a payload, cut at `cuts`; empty ones where cuts coincide.
fn fragments<'a>(payload: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
    places.sort_unstable();
    places.push(payload.len());
    let mut start = 0;
    places.into_iter().map(|end| &payload[std::mem::replace(&mut start, end)..end]).collect()
}

/// Every frame of what is said: opcode, fin, payload.
fn script(list: &[Said]) -> Vec<(Opcode, bool, Vec<u8>)> {
    let mut script = Vec::new();
    for said in list {
        let (seen, cuts) = match said {
            Said::Message { seen, cuts } => (seen, &cuts[..]),
            Said::Control(seen) => (seen, &[][..]),
        };
        let (opcode, payload) = parts(seen);
        let fragments = fragments(payload, cuts);
        for (index, fragment) in fragments.iter().enumerate() {
            let opcode = if index == 0 { opcode } else { Opcode::Continuation };
            script.push((opcode, index + 1 == fragments.len(), fragment.to_vec()));
        }
    }
    script
}

fn expected(list: &[Said]) -> Vec<Seen> {
    let seen = list.iter().map(|said| match said {
        Said::Message { seen, .. } | Said::Control(seen) => seen.clone(),
    });
    seen.collect()
}

fn from_oracle(message: Message) -> Seen {
    match message {
        Message::Text(text) => Seen::Text(text.as_str().to_owned()),
        Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        Message::Ping(bytes) => Seen::Ping(bytes.to_vec()),
        Message::Pong(bytes) => Seen::Pong(bytes.to_vec()),
        Message::Close(close) => {
            Seen::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned())))
        }
        Message::Frame(_) => unreachable!("only ever written"),
    }
}

fn read_by_oracle(bytes: &[u8]) -> Vec<Seen> {
    let mut client = client();
    client.get_mut().toward_client.extend(bytes);
    let mut seen = Vec::new();
    loop {
        match client.read() {
            Ok(message) => seen.push(from_oracle(message)),
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                return seen;
            }
            Err(tungstenite::Error::ConnectionClosed) => return seen,
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #[test]
    fn what_its_client_says_is_read(
        list in prop::collection::vec(said(), 0..8),
        piece_sizes in prop::collection::vec(1_usize..3000, 1..8),
    ) {
        let mut client = client();
        for (opcode, fin, payload) in script(&list) {
            let header = FrameHeader { is_final: fin, opcode: opcode.into(), ..Default::default() };
            client.send(Message::Frame(Frame::from_payload(header, payload.into()))).unwrap();
        }
        let mut rest = &client.get_ref().from_client[..];
        let mut sizes = piece_sizes.iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let size = rest.len().min(*sizes.next()?);
            let (piece, after) = rest.split_at(size);
            rest = after;
            (size > 0).then_some(piece)
        });
        prop_assert_eq!(read_all(false, LIMITS, pieces), expected(&list));
    }

    #[test]
    fn what_we_write_it_reads(list in prop::collection::vec(said(), 0..8)) {
        let mut bytes = Vec::new();
        for (opcode, fin, payload) in script(&list) {
            match opcode {
                Opcode::Ping => frame::append_ping(&mut bytes, &payload),
                Opcode::Pong => frame::append_pong(&mut bytes, &payload),
                _ => frame::append(&mut bytes, opcode, fin, false, &payload),
            }
        }
        prop_assert_eq!(read_by_oracle(&bytes), expected(&list));
    }

    #[test]
    fn close_frames_go_both_ways(
        code in prop_oneof![1000_u16..=1003, 1007_u16..=1013, 3000_u16..=4999],
        reason in any::<String>(),
    ) {
        let cut = reason[..reason.floor_char_boundary(123)].to_owned();
        let seen = [Seen::Close(Some((code, cut.clone())))];
        let mut bytes = Vec::new();
        frame::append_close(&mut bytes, &Close { code, reason: reason.into() });
        prop_assert_eq!(read_by_oracle(&bytes), &seen[..]);

        let mut client = client();
        client.close(Some(CloseFrame { code: code.into(), reason: cut.into() })).unwrap();
        prop_assert_eq!(read_all(false, LIMITS, [&client.get_ref().from_client[..]]), &seen[..]);
    }
}

/// A server that answers the first request whole, for the client's handshake in memory.
#[derive(Default)]
struct Upgrading(Wire);

impl Read for Upgrading {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Upgrading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.from_client.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&self.0.from_client).unwrap().is_complete() {
            let (get, http11) = (request.method == Some("GET"), request.version == Some(1));
            let field = |name: &'static str| {
                let named = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
                named.map(|header| header.value)
            };
            let accepted = handshake::decide(get, http11, field, Some(15)).unwrap();
            let mut response = Vec::new();
            accepted.append_response(&mut response);
            frame::append(&mut response, Opcode::Text, true, false, b"welcome");
            self.0.toward_client.extend(response);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn its_client_accepts_our_handshake() {
    let (mut socket, response) =
        tungstenite::client("ws://localhost/path", Upgrading::default()).unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(socket.read().unwrap(), Message::Text("welcome".into()));
}

#[test]
fn opcodes_have_the_numbers_of_the_oracle() {
    for number in 0..16 {
        let known = Opcode::of_first_byte(number).map(OpCode::from);
        let reserved = matches!(number, 3..=7 | 11..=15);
        assert_eq!(known.is_none(), reserved, "{number}");
        assert_eq!(known.unwrap_or(OpCode::from(number)), OpCode::from(number));
    }
    assert_eq!(OpCode::from(Opcode::Continuation), OpCode::Data(Data::Continue));
}
