//! Server-to-client envelopes: always `{"topic":S,"messageType":S,"data":any}`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::id::ConnectionId;
use crate::model::identity::Identity;
use crate::model::message::{Message, Publisher};
use crate::model::position::Position;
use crate::model::recovery::{LossReason, Recovery};
use crate::model::refusal::Refused;
use crate::model::topic::TopicName;
use crate::proto::digits;
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
    match &publication.message_type {
        None => out.extend_from_slice(b",\"messageType\":\"broadcast\",\"data\":"),
        Some(message_type) => {
            out.extend_from_slice(b",\"messageType\":");
            json::escape_into(out, message_type);
            out.extend_from_slice(b",\"data\":");
        }
    }
    match &publication.publisher {
        None => append_payload(out, &publication.payload),
        Some(publisher) => wrapper(out, message, publisher),
    }
    if positions {
        out.extend_from_slice(b",\"id\":\"");
        digits::append_id(out, message.id);
        out.extend_from_slice(b"\",\"position\":\"");
        digits::append_position(out, message.position);
        out.push(b'"');
    }
    out.push(b'}');
}

/// Appends who published: `{"connectionId":S,"subject":S,"permissions":[S…]}`.
pub fn client(out: &mut Vec<u8>, publisher: &Publisher) {
    let _ = write!(out, "{{\"connectionId\":\"{}\",\"subject\":", publisher.connection);
    json::escape_into(out, &publisher.subject);
    out.extend_from_slice(b",\"permissions\":");
    permissions(out, &publisher.permissions);
    out.push(b'}');
}

fn wrapper(out: &mut Vec<u8>, message: &Message, publisher: &Publisher) {
    out.extend_from_slice(b"{\"client\":");
    client(out, publisher);
    out.extend_from_slice(b",\"payload\":");
    append_payload(out, &message.publication.payload);
    out.extend_from_slice(b",\"id\":");
    if let Some(id) = &message.publication.client_id {
        json::escape_into(out, id);
    } else {
        out.push(b'"');
        digits::append_id(out, message.id);
        out.push(b'"');
    }
    out.push(b'}');
}

fn permissions(out: &mut Vec<u8>, permissions: &[String]) {
    out.push(b'[');
    for (index, permission) in permissions.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::escape_into(out, permission);
    }
    out.push(b']');
}

/// Appends a welcome on `topic`: `main` right after the upgrade, then one per subscribe. With
/// `recovery`, `data` says what came of the position that the subscribe gave.
pub fn welcome(
    out: &mut Vec<u8>,
    topic: &str,
    connection: ConnectionId,
    app_id: &str,
    peer: SocketAddr,
    position: Option<Position>,
    recovery: Option<Recovery>,
) {
    out.extend_from_slice(b"{\"topic\":");
    json::escape_into(out, topic);
    out.extend_from_slice(b",\"messageType\":\"welcome\",\"data\":{\"connection\":{\"id\":\"");
    out.extend_from_slice(connection.text().as_bytes());
    out.extend_from_slice(b"\",\"appId\":");
    json::escape_into(out, app_id);
    let _ = write!(out, ",\"remoteAddress\":\"{}\"}}", peer.ip().to_canonical());
    if let Some(Recovery { loss, count }) = recovery {
        let _ = match loss {
            None => write!(out, ",\"recovery\":{{\"recovered\":true,\"count\":{count}}}"),
            Some(reason) => write!(
                out,
                ",\"recovery\":{{\"recovered\":false,\"reason\":\"{}\",\"count\":{count}}}",
                reason.code()
            ),
        };
    }
    out.push(b'}');
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

/// Appends the notice that messages of a topic up to `position` will not come. Ours; sent to every
/// subscriber whom it concerns.
pub fn lost(out: &mut Vec<u8>, topic: &TopicName, reason: LossReason, position: Position) {
    out.extend_from_slice(b"{\"topic\":\"priv/session\",\"messageType\":\"lost\",");
    out.extend_from_slice(b"\"data\":{\"topic\":");
    json::escape_into(out, topic.as_str());
    let reason = reason.code();
    let _ = write!(out, ",\"reason\":\"{reason}\",\"position\":\"{position}\"}}}}");
}

/// Appends a resume ticket with the position of `main`, which is no part of it, and with `retry` when to
/// come back with both.
pub fn ticket(out: &mut Vec<u8>, ticket: &str, main: Option<Position>, retry: Option<Duration>) {
    out.extend_from_slice(b"{\"topic\":\"priv/session\",\"messageType\":\"ticket\",");
    // A ticket is base64url: nothing to escape.
    let _ = write!(out, "\"data\":{{\"ticket\":\"{ticket}\"");
    if let Some(main) = main {
        let _ = write!(out, ",\"position\":\"{main}\"");
    }
    if let Some(retry) = retry {
        let _ = write!(out, ",\"retryMs\":{}", retry.as_millis());
    }
    out.extend_from_slice(b"}}");
}

/// What came of a resume.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resumed {
    /// Topics of which everything missed follows or came.
    pub recovered_count: u32,
    /// Topics of which something is gone.
    pub lost_count: u32,
    /// Messages that follow or came.
    pub message_count: u64,
}

/// Appends the last answer to a resume.
pub fn resumed(out: &mut Vec<u8>, resumed: Resumed) {
    let Resumed { recovered_count, lost_count, message_count } = resumed;
    let _ = write!(
        out,
        "{{\"topic\":\"priv/session\",\"messageType\":\"resumed\",\"data\":{{\"recovered\":\
         {recovered_count},\"lost\":{lost_count},\"messages\":{message_count}}}}}"
    );
}

/// When a token expires and, unless a new one is presented, its connection is closed; Unix seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// From then on the token is not valid.
    pub expires_at: u64,
    /// Then the connection is closed.
    pub closes_at: u64,
}

/// Appends the notice that the connection's token has expired. Ours; the platform judges tokens at
/// the upgrade only.
pub fn expired(out: &mut Vec<u8>, expiry: Expiry) {
    let Expiry { expires_at, closes_at } = expiry;
    let _ = write!(
        out,
        "{{\"topic\":\"priv/session\",\"messageType\":\"expired\",\
         \"data\":{{\"expiresAt\":{expires_at},\"closesAt\":{closes_at}}}}}"
    );
}

/// Appends the answer to an accepted `authenticate`: who the connection is from now on.
pub fn authenticated(out: &mut Vec<u8>, identity: &Identity) {
    out.extend_from_slice(b"{\"topic\":\"priv/session\",\"messageType\":\"authenticated\",");
    out.extend_from_slice(b"\"data\":{\"permissions\":");
    permissions(out, &identity.rights.presented);
    out.extend_from_slice(b",\"expiresAt\":");
    match identity.expires_at {
        Some(expires_at) => {
            let _ = write!(out, "{expires_at}");
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}}");
}

/// Appends the answer to a refused `authenticate`: the connection goes on as it was.
pub fn refused(out: &mut Vec<u8>, refused: &Refused) {
    out.extend_from_slice(b"{\"topic\":\"priv/session\",\"messageType\":\"refused\",");
    out.extend_from_slice(b"\"data\":{\"code\":");
    json::escape_into(out, refused.refusal.entry().code);
    out.extend_from_slice(b",\"detail\":");
    json::escape_into(out, &refused.detail);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::application::AppIndex;
    use crate::model::id::{ConnectionIds, MessageId};
    use crate::model::message::{Payload, Publication};
    use crate::model::position::{Epoch, Lane, Position};
    use crate::model::refusal::Refusal;
    use crate::model::rights::Rights;
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
            attributes: None,
        };
        let position = Position { epoch: Epoch(5), lane: Lane::Home(ShardIndex(0)), offset: 9 };
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
            text(|out| welcome(out, "main", connection, "demo", peer, None, None)),
            format!(
                r#"{{"topic":"main","messageType":"welcome","data":{{"connection":{{"id":"{connection}","appId":"demo","remoteAddress":"10.0.0.1"}}}}}}"#
            )
        );
        assert_eq!(
            text(|out| ack(out, "x\"y")),
            r#"{"topic":"priv/acks","messageType":"ack","data":{"data":"x\"y"}}"#
        );
    }

    #[test]
    fn a_welcome_says_what_came_of_a_position() {
        let connection = ConnectionIds::random().id(ShardIndex(0), Key { index: 1, generation: 2 });
        let peer = "10.0.0.1:99".parse().unwrap();
        let position = Position { epoch: Epoch(5), lane: Lane::Store, offset: 9 };
        let cases = [
            (None, r#"{"recovered":true,"count":3}"#),
            (Some(LossReason::TooOld), r#"{"recovered":false,"reason":"too_old","count":3}"#),
        ];
        for (loss, expected) in cases {
            let recovery = Some(Recovery { loss, count: 3 });
            let written = text(|out| {
                welcome(out, "t", connection, "demo", peer, Some(position), recovery);
            });
            let behind = format!(r#""recovery":{expected}}},"position":"s5.9"}}"#);
            assert!(written.ends_with(&behind), "{written}");
        }
    }

    #[test]
    fn the_notices_about_recovery() {
        let topic = TopicName::new("a\"b").unwrap();
        let position = Position { epoch: Epoch(5), lane: Lane::Store, offset: 9 };
        assert_eq!(
            text(|out| lost(out, &topic, LossReason::TooSlow, position)),
            r#"{"topic":"priv/session","messageType":"lost","data":{"topic":"a\"b","reason":"too_slow","position":"s5.9"}}"#
        );
        assert_eq!(
            text(|out| ticket(out, "abc", Some(position), Some(Duration::from_millis(1500)))),
            r#"{"topic":"priv/session","messageType":"ticket","data":{"ticket":"abc","position":"s5.9","retryMs":1500}}"#
        );
        let all = Resumed { recovered_count: 2, lost_count: 1, message_count: 7 };
        assert_eq!(
            text(|out| resumed(out, all)),
            r#"{"topic":"priv/session","messageType":"resumed","data":{"recovered":2,"lost":1,"messages":7}}"#
        );
    }

    #[test]
    fn the_notices_about_tokens() {
        let expiry = Expiry { expires_at: 17, closes_at: 47 };
        assert_eq!(
            text(|out| expired(out, expiry)),
            r#"{"topic":"priv/session","messageType":"expired","data":{"expiresAt":17,"closesAt":47}}"#
        );
        let rights = Rights::of_permissions(vec!["a\"b".to_owned()]);
        let identity = Identity { expires_at: Some(99), ..Identity::without_token(rights) };
        assert_eq!(
            text(|out| authenticated(out, &identity)),
            r#"{"topic":"priv/session","messageType":"authenticated","data":{"permissions":["a\"b"],"expiresAt":99}}"#
        );
        let why = Refused::new(Refusal::Unauthorized, "the token has expired");
        assert_eq!(
            text(|out| refused(out, &why)),
            r#"{"topic":"priv/session","messageType":"refused","data":{"code":"unauthorized","detail":"the token has expired"}}"#
        );
    }
}
