//! A message as a row of the table, and back.
//!
//! Invariant: what is read back equals what was written in everything that a wire form shows.
//! SQLite counts in 63 bits; offsets and times beyond them, which no counter or clock reaches, are cut.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::publisher;
use crate::model::application::AppIndex;
use crate::model::id::MessageId;
use crate::model::message::{Attributes, Message, Payload, Publication};
use crate::model::store::StoreIdentity;
use crate::model::topic::TopicName;

const KIND_TEXT: i64 = 1;
const KIND_COMPRESS: i64 = 2;

const INSERT: &str = "
INSERT INTO message (offset, topic, previous, ordinal, time_us, expires_us, kind, payload,
                     message_type, client_id, publisher, key, idempotency_key)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

const SELECT: &str = "
SELECT previous, time_us, expires_us, kind, payload, message_type, client_id, publisher, key,
       idempotency_key
FROM message WHERE offset = ?1";

/// Where a message stands among others of the store and of its topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) topic: i64,
    pub(super) offset: u64,
    pub(super) previous: u64,
    pub(super) ordinal: u64,
}

/// Writes a message at its place.
pub(super) fn insert(
    connection: &Connection,
    place: Place,
    publication: &Publication,
    time_us: u64,
) -> rusqlite::Result<()> {
    let (text, is_text) = match &publication.payload {
        Payload::Json(text) => (text, 0),
        Payload::Text(text) => (text, KIND_TEXT),
    };
    let kind = is_text | if publication.compress { KIND_COMPRESS } else { 0 };
    let mut insert = connection.prepare_cached(INSERT)?;
    insert.execute(params![
        write_u64(place.offset),
        place.topic,
        write_u64(place.previous),
        write_u64(place.ordinal),
        write_u64(time_us),
        publication.expires_us().map(write_u64),
        kind,
        &**text,
        publication.message_type.as_deref(),
        publication.client_id.as_deref(),
        publication.publisher.as_ref().map(publisher::encode),
        publication.key(),
        publication.idempotency_key(),
    ])?;
    Ok(())
}

/// Whose message is read, and of which store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) identity: StoreIdentity,
    pub(super) app: AppIndex,
    pub(super) topic: &'a TopicName,
}

/// Reads the message at `offset`, which is kept.
pub(super) fn select(
    connection: &Connection,
    whose: Whose<'_>,
    offset: u64,
) -> rusqlite::Result<Message> {
    let mut select = connection.prepare_cached(SELECT)?;
    select.query_row([write_u64(offset)], |row| {
        let position = whose.identity.position(offset);
        let id = MessageId::new(whose.identity.run, position);
        let publication = publication(row, whose)?;
        Ok(Message::new(publication, id, position, read_u64(row, 0)?, read_u64(row, 1)?))
    })
}

fn publication(row: &Row<'_>, whose: Whose<'_>) -> rusqlite::Result<Publication> {
    let kind: i64 = row.get(3)?;
    let payload: Arc<str> = row.get(4)?;
    let payload =
        if kind & KIND_TEXT == 0 { Payload::Json(payload) } else { Payload::Text(payload) };
    let publisher = match row.get_ref(7)?.as_blob_or_null()? {
        Some(bytes) => Some(publisher::decode(bytes).ok_or_else(|| malformed(7))?),
        None => None,
    };
    let expires_us: Option<i64> = row.get(2)?;
    let attributes = Attributes {
        key: row.get(8)?,
        idempotency_key: row.get(9)?,
        expires_us: expires_us.map(i64::cast_unsigned),
    };
    Ok(Publication {
        app: whose.app,
        topic: whose.topic.clone(),
        payload,
        message_type: row.get(5)?,
        client_id: row.get(6)?,
        publisher,
        compress: kind & KIND_COMPRESS != 0,
        attributes: (attributes != Attributes::default()).then(|| Box::new(attributes)),
    })
}

fn malformed(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, "not a publisher".into())
}

/// A count as SQLite keeps it.
pub(super) fn write_u64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count that was kept.
pub(super) fn read_u64(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value)
        .map_err(|_negative| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
