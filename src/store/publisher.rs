//! A publisher as bytes: connection id (16), then subject and permissions, each text behind its length
//! (4 bytes, big-endian).
//!
//! Invariant: `decode(encode(p)) == Some(p)`; bytes of any other shape are `None`.

use std::sync::Arc;

use crate::model::id::ConnectionId;
use crate::model::message::Publisher;

/// The bytes of a publisher.
pub(super) fn encode(publisher: &Publisher) -> Vec<u8> {
    let mut bytes = publisher.connection.to_bytes().to_vec();
    push_text(&mut bytes, &publisher.subject);
    for permission in publisher.permissions.iter() {
        push_text(&mut bytes, permission);
    }
    bytes
}

/// The publisher of these bytes.
pub(super) fn decode(bytes: &[u8]) -> Option<Publisher> {
    let (connection, mut rest) = bytes.split_first_chunk::<16>()?;
    let subject = Arc::from(take_text(&mut rest)?);
    let mut permissions = Vec::new();
    while !rest.is_empty() {
        permissions.push(take_text(&mut rest)?.to_owned());
    }
    let connection = ConnectionId::from_bytes(*connection);
    Some(Publisher { connection, subject, permissions: permissions.into() })
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let size = u32::try_from(text.len()).expect("a token is far smaller");
    bytes.extend(size.to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (size, behind) = rest.split_first_chunk::<4>()?;
    let (text, behind) = behind.split_at_checked(u32::from_be_bytes(*size) as usize)?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_read_back_and_other_bytes_do_not() {
        for permissions in [vec![], vec!["a:b".to_owned()], vec![String::new(), "é".to_owned()]] {
            let publisher = Publisher {
                connection: ConnectionId::from_bytes([7; 16]),
                subject: Arc::from("ann"),
                permissions: permissions.into(),
            };
            let bytes = encode(&publisher);
            assert_eq!(decode(&bytes), Some(publisher.clone()));
            for cut in 0..bytes.len() {
                assert_ne!(decode(&bytes[..cut]), Some(publisher.clone()), "cut at {cut}");
            }
            assert_eq!(decode(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
