//! The tables, and the version they have in the file.
//!
//! `message` is kept in the order of offsets, so that an append goes to the file's end; `message_topic`
//! ends in the offset, as each index of SQLite does, and so pages a topic. `latest` holds each key's
//! newest offset (an empty blob stands for messages without a key, which no text equals), so that the
//! newest per key can be paged without reading the others. `ordinal` counts a topic's messages without
//! expiry: these go oldest first, so two ordinals tell how many lie between.

/// The version of the tables below, in the file's `user_version`.
pub(super) const VERSION: i64 = 1;

/// Marks the file as a store of this broker, in its `application_id`: "Fanw".
pub(super) const APPLICATION_ID: i64 = 0x4661_6e77;

/// Makes the tables.
pub(super) const CREATE: &str = "
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    run INTEGER NOT NULL,
    last_offset INTEGER NOT NULL
);
CREATE TABLE application (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE topic (
    id INTEGER PRIMARY KEY,
    application INTEGER NOT NULL,
    name TEXT NOT NULL,
    last_offset INTEGER NOT NULL,
    lost_through INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    count INTEGER NOT NULL,
    size INTEGER NOT NULL,
    UNIQUE (application, name)
);
CREATE TABLE message (
    offset INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    expires_us INTEGER,
    kind INTEGER NOT NULL,
    payload TEXT NOT NULL,
    message_type TEXT,
    client_id TEXT,
    publisher BLOB,
    key TEXT,
    idempotency_key TEXT
);
CREATE INDEX message_topic ON message (topic);
CREATE INDEX message_expiring ON message (topic, offset, expires_us) WHERE expires_us IS NOT NULL;
CREATE INDEX message_expiry ON message (expires_us) WHERE expires_us IS NOT NULL;
CREATE TABLE latest (
    topic INTEGER NOT NULL,
    key NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (topic, key)
) WITHOUT ROWID;
CREATE INDEX latest_offset ON latest (topic, offset);
CREATE TABLE idempotency (
    topic INTEGER NOT NULL,
    key TEXT NOT NULL,
    offset INTEGER NOT NULL UNIQUE,
    time_us INTEGER NOT NULL,
    PRIMARY KEY (topic, key)
) WITHOUT ROWID;
";
