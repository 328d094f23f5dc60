//! What the tests of the store share: applications, publications, comparing, and a naive model.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

pub(crate) mod disk;
#[path = "../support/random.rs"]
pub(crate) mod random;
pub(crate) mod vfs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fanwire::model::application::{AppIndex, Application, Applications};
use fanwire::model::family::{Family, HistoryLimits};
use fanwire::model::id::{ConnectionId, MessageId};
use fanwire::model::message::{Attributes, Message, Payload, Publication, Publisher};
use fanwire::model::pattern::Patterns;
use fanwire::model::store::{Appended, Page, Span, StoreError, Wanted};
use fanwire::model::topic::TopicName;
use fanwire::store::{Database, NewMessage};

/// The one application of most tests.
pub(crate) const APP: AppIndex = AppIndex(0);
/// Window of idempotency of every application here, in microseconds.
pub(crate) const WINDOW_US: u64 = 10_000_000;
/// Most messages of a topic `room/…`.
pub(crate) const ROOM_COUNT_MAX: u32 = 20;
/// Most bytes of a topic `room/…`.
pub(crate) const ROOM_SIZE_MAX: usize = 400;
/// Greatest age of a topic `aged/…`, in milliseconds.
pub(crate) const AGE_MAX_MS: u64 = 5_000;

/// A folder of its own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty one; `name` tells tests of one process apart.
    pub(crate) fn new(name: &str) -> Folder {
        let unique = format!("fanwire-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Where a store may be.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store.db")
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn family(pattern: &str, history: HistoryLimits) -> Family {
    Family { patterns: Patterns::new([pattern]), history, durable: true, ..Family::default() }
}

/// An application with topics limited in room (`room/…`), in age (`aged/…`), and without limits.
pub(crate) fn application(id: &str) -> Application {
    let unlimited =
        HistoryLimits { count_max: u32::MAX, size_max: usize::MAX >> 8, age_max_ms: None };
    let room = HistoryLimits { count_max: ROOM_COUNT_MAX, size_max: ROOM_SIZE_MAX, ..unlimited };
    let aged = HistoryLimits { age_max_ms: Some(AGE_MAX_MS), ..unlimited };
    let families = vec![family("room/*", room), family("aged/*", aged), family("*", unlimited)];
    Application { families, idempotency_window_ms: WINDOW_US / 1000, ..Application::new(id) }
}

/// The snapshot of these applications.
pub(crate) fn applications(ids: &[&str]) -> Arc<Applications> {
    Arc::new(Applications::new(ids.iter().map(|id| application(id)).collect(), None))
}

/// A topic's name.
pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// A publication of text to `name`.
pub(crate) fn publication(name: &str, text: &str) -> Publication {
    Publication {
        app: APP,
        topic: topic(name),
        payload: Payload::Text(Arc::from(text)),
        message_type: None,
        client_id: None,
        publisher: None,
        compress: false,
        attributes: None,
    }
}

/// A publication that has everything that one can have, told apart by `n`.
pub(crate) fn full_publication(name: &str, n: u8) -> Publication {
    let publisher = Publisher {
        connection: ConnectionId::from_bytes([n; 16]),
        subject: Arc::from(format!("subject {n} é")),
        permissions: Arc::from([format!("publish:{n}"), String::new()]),
    };
    Publication {
        payload: Payload::Json(Arc::from(format!("{{\"n\": {n}, \"zero\":\"\\u0000\"}}"))),
        message_type: Some("note".into()),
        client_id: Some("mine".into()),
        publisher: Some(publisher),
        compress: true,
        attributes: Some(Box::new(Attributes {
            key: Some("k".into()),
            idempotency_key: Some(format!("i{n}").into()),
            expires_us: Some(u64::from(n) + (1 << 50)),
        })),
        ..publication(name, "")
    }
}

/// Appends one message each commit of one batch.
pub(crate) fn append(
    database: &mut Database,
    time_us: u64,
    publications: impl IntoIterator<Item = Publication>,
) -> Vec<Result<Appended, StoreError>> {
    let new = |publication| NewMessage { publication: Box::new(publication), time_us };
    let mut batch: Vec<_> = publications.into_iter().map(new).collect();
    let outcomes = database.append(&mut batch);
    assert!(batch.is_empty());
    outcomes
}

/// The message that an append has placed.
pub(crate) fn placed(outcome: &Result<Appended, StoreError>) -> &Arc<Message> {
    match outcome {
        Ok(Appended::New(message)) => message,
        other => panic!("not placed: {other:?}"),
    }
}

/// Everything of a message that a subscriber can see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) publication: Publication,
    pub(crate) id: MessageId,
    pub(crate) offset: u64,
    pub(crate) previous: u64,
    pub(crate) time_us: u64,
}

impl From<&Message> for Seen {
    fn from(message: &Message) -> Seen {
        Seen {
            publication: message.publication.clone(),
            id: message.id,
            offset: message.position.offset,
            previous: message.previous,
            time_us: message.time_us,
        }
    }
}

/// The messages of a page.
pub(crate) fn seen(page: &Page) -> Vec<Seen> {
    page.messages.iter().map(|message| Seen::from(&**message)).collect()
}

/// A page of `names`, as long as it may get.
pub(crate) fn wanted(names: &[&str], span: Span) -> Wanted {
    Wanted {
        app: APP,
        topics: names.iter().map(|name| topic(name)).collect(),
        span,
        count_max: 1_000_000,
        size_max: usize::MAX >> 1,
        time_us: 0,
    }
}
