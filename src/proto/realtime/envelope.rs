//! Server-to-client envelopes: always `{"topic":S,"messageType":S,"data":any}`.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::model::id::ConnectionId;
use crate::model::message::{Message, Publisher};
use crate::proto::encode::append_payload;
use crate::proto::json;

/// Appends a message's envelope. With `positions`, top-level `id` and `position` follow.
///
/// `data` is the payload itself when it came by HTTP, else the publisher wrapper
/// `{"client":{…},"payload":…,"id":…}`.
pub fn envelope(out: &mut Vec<u8>, message: &Message, positions: bool) {
    let publication = &message.publication;
    out.extend_from_slice(b"{\"topic\":");
    json::escape_into(out, publication.topic.as_str());
    out.extend_from_slice(b",\"messageType\":");
    json::escape_into(out, publication.message_type.as_deref().unwrap_or("broadcast"));
    out.extend_from_slice(b",\"data\":");
    match &publication.publisher {
        None => append_payload(out, &publication.payload),
        Some(publisher) => wrapper(out, message, publisher),
    }
    if positions {
        let _ = write!(out, ",\"id\":\"{}\",\"position\":\"{}\"", message.id, message.position);
    }
    out.push(b'}');
}

fn wrapper(out: &mut Vec<u8>, message: &Message, publisher: &Publisher) {
    let _ =
        write!(out, "{{\"client\":{{\"connectionId\":\"{}\",\"subject\":", publisher.connection);
    json::escape_into(out, &publisher.subject);
    out.extend_from_slice(b",\"permissions\":[");
    for (index, permission) in publisher.permissions.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::escape_into(out, permission);
    }
    out.extend_from_slice(b"]},\"payload\":");
    append_payload(out, &message.publication.payload);
    out.extend_from_slice(b",\"id\":");
    match &message.publication.client_id {
        Some(id) => json::escape_into(out, id),
        None => {
            let _ = write!(out, "\"{}\"", message.id);
        }
    }
    out.push(b'}');
}

/// Appends a welcome on `topic`: `main` right after the upgrade, then one per subscribe.
pub fn welcome(
    out: &mut Vec<u8>,
    topic: &str,
    connection: ConnectionId,
    app_id: &str,
    peer: SocketAddr,
    position: Option<&dyn std::fmt::Display>,
) {
    out.extend_from_slice(b"{\"topic\":");
    json::escape_into(out, topic);
    let _ = write!(
        out,
        ",\"messageType\":\"welcome\",\"data\":{{\"connection\":{{\"id\":\"{connection}\",\"appId\":"
    );
    json::escape_into(out, app_id);
    let _ = write!(out, ",\"remoteAddress\":\"{}\"}}}}", peer.ip().to_canonical());
    if let Some(position) = position {
        let _ = write!(out, ",\"position\":\"{position}\"");
    }
    out.push(b'}');
}

/// Appends the ack of a publish: the message's id stands at `data.data`, where all clients read it.
pub fn ack(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"{\"topic\":\"priv/acks\",\"messageType\":\"ack\",\"data\":{\"data\":");
    json::escape_into(out, id);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::application::AppIndex;
    use crate::model::id::{ConnectionIds, MessageId};
    use crate::model::message::{Payload, Publication};
    use crate::model::position::{Epoch, Position};
    use crate::model::shard::ShardIndex;
    use crate::model::topic::TopicName;
    use crate::stdx::slab::Key;

    fn message(publisher: Option<Publisher>, client_id: Option<&str>) -> Message {
        let publication = Publication {
            app: AppIndex(0),
            topic: TopicName::new("a\"b").unwrap(),
            payload: Payload::Json("{\"n\": 1.0}".into()),
            message_type: None,
            client_id: client_id.map(Into::into),
            publisher,
            compress: false,
        };
        let position = Position { epoch: Epoch(5), home: ShardIndex(0), offset: 9 };
        Message::new(publication, MessageId::new(1, position), position, 0, 0)
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_by_http_is_its_payload_byte_for_byte() {
        let message = message(None, None);
        assert_eq!(
            text(|out| envelope(out, &message, false)),
            r#"{"topic":"a\"b","messageType":"broadcast","data":{"n": 1.0}}"#
        );
        assert_eq!(
            text(|out| envelope(out, &message, true)),
            r#"{"topic":"a\"b","messageType":"broadcast","data":{"n": 1.0},"id":"00000000000000010000000000000009","position":"5-0.9"}"#
        );
    }

    #[test]
    fn a_message_by_websocket_names_its_publisher() {
        let connection = ConnectionIds::random().id(ShardIndex(0), Key { index: 1, generation: 2 });
        let publisher = Publisher {
            connection,
            subject: "me".into(),
            permissions: vec!["p\"q".to_owned(), "r".to_owned()].into(),
        };
        assert_eq!(
            text(|out| envelope(out, &message(Some(publisher), Some("my-id")), false)),
            format!(
                r#"{{"topic":"a\"b","messageType":"broadcast","data":{{"client":{{"connectionId":"{connection}","subject":"me","permissions":["p\"q","r"]}},"payload":{{"n": 1.0}},"id":"my-id"}}}}"#
            )
        );
    }

    #[test]
    fn the_welcome_and_the_ack_are_the_platforms() {
        let connection = ConnectionIds::random().id(ShardIndex(0), Key { index: 1, generation: 2 });
        let peer = "[::ffff:10.0.0.1]:99".parse().unwrap();
        assert_eq!(
            text(|out| welcome(out, "main", connection, "demo", peer, None)),
            format!(
                r#"{{"topic":"main","messageType":"welcome","data":{{"connection":{{"id":"{connection}","appId":"demo","remoteAddress":"10.0.0.1"}}}}}}"#
            )
        );
        assert_eq!(
            text(|out| ack(out, "x\"y")),
            r#"{"topic":"priv/acks","messageType":"ack","data":{"data":"x\"y"}}"#
        );
    }
}
