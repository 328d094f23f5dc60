//! The store without a thread: what is kept, what is read back, who may open it.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod durable;

use durable::{
    APP, Folder, ROOM_COUNT_MAX, Seen, WINDOW_US, append, applications, full_publication, placed,
    publication, seen, wanted,
};
use fanwire::model::application::AppIndex;
use fanwire::model::message::{Attributes, Publication};
use fanwire::model::store::{Appended, Span, Wanted};
use fanwire::store::{Database, OpenError, StoreOptions};

fn open(folder: &Folder) -> Database {
    Database::open(applications(&["a", "b"]), StoreOptions::new(folder.store())).unwrap()
}

fn with_key(name: &str, key: &str) -> Publication {
    let attributes = Attributes { key: Some(key.into()), ..Attributes::default() };
    Publication { attributes: Some(Box::new(attributes)), ..publication(name, key) }
}

fn idempotent(name: &str, key: &str) -> Publication {
    let attributes = Attributes { idempotency_key: Some(key.into()), ..Attributes::default() };
    Publication { attributes: Some(Box::new(attributes)), ..publication(name, key) }
}

fn expiring(name: &str, expires_us: u64) -> Publication {
    let attributes = Attributes { expires_us: Some(expires_us), ..Attributes::default() };
    Publication { attributes: Some(Box::new(attributes)), ..publication(name, "gone") }
}

fn offsets(database: &Database, wanted: &Wanted) -> Vec<u64> {
    let page = database.read(wanted).unwrap();
    page.messages.iter().map(|message| message.position.offset).collect()
}

#[test]
fn a_message_reads_back_whole_after_a_restart() {
    let folder = Folder::new("whole");
    let mut database = open(&folder);
    let identity = database.identity();
    let publications = [full_publication("t", 7), publication("t", ""), publication("t", "a\0b")];
    let outcomes = append(&mut database, 5, publications);
    let expected: Vec<Seen> = outcomes.iter().map(|o| Seen::from(&**placed(o))).collect();
    assert_eq!(expected.iter().map(|s| s.previous).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(seen(&database.read(&wanted(&["t"], Span::After(0))).unwrap()), expected);
    database.close();
    let database = open(&folder);
    assert_eq!(seen(&database.read(&wanted(&["t"], Span::After(0))).unwrap()), expected);
    assert_eq!(
        (database.identity().epoch, database.identity().run),
        (identity.epoch, identity.run)
    );
    assert_eq!((identity.offset, database.identity().offset), (0, 3));
}

#[test]
fn applications_are_told_apart_by_their_ids_in_any_order() {
    let folder = Folder::new("ids");
    let mut database = open(&folder);
    append(&mut database, 1, [publication("t", "of a")]);
    append(&mut database, 1, [Publication { app: AppIndex(1), ..publication("t", "of b") }]);
    database.close();
    let swapped = applications(&["b", "a"]);
    let database = Database::open(swapped, StoreOptions::new(folder.store())).unwrap();
    assert_eq!(offsets(&database, &wanted(&["t"], Span::After(0))), [2]);
    let of_a = Wanted { app: AppIndex(1), ..wanted(&["t"], Span::After(0)) };
    assert_eq!(offsets(&database, &of_a), [1]);
}

#[test]
fn pages_tell_where_they_begin_and_end() {
    let folder = Folder::new("pages");
    let mut database = open(&folder);
    for name in ["a", "b", "c", "a", "b", "c", "a"] {
        append(&mut database, 1, [publication(name, "12345")]);
    }
    let page = |span, count_max, size_max| {
        let wanted = Wanted { count_max, size_max, ..wanted(&["a", "b", "none"], span) };
        let page = database.read(&wanted).unwrap();
        let offsets: Vec<_> = page.messages.iter().map(|m| m.position.offset).collect();
        (offsets, page.first, page.through, page.has_more, page.count)
    };
    assert_eq!(page(Span::After(0), 2, 1000), (vec![1, 2], 0, 2, true, 5));
    assert_eq!(page(Span::After(2), 9, 10), (vec![4, 5], 0, 5, true, 3));
    assert_eq!(page(Span::After(5), 9, 1), (vec![7], 0, 7, false, 1));
    assert_eq!(page(Span::After(7), 9, 1), (vec![], 0, 7, false, 0));
    assert_eq!(page(Span::After(u64::MAX), 9, 1), (vec![], 0, 7, false, 0));
    assert_eq!(page(Span::Before(u64::MAX), 2, 1000), (vec![5, 7], 5, 7, true, 5));
    assert_eq!(page(Span::Before(5), 3, 1000), (vec![1, 2, 4], 1, 4, false, 3));
    assert_eq!(page(Span::Before(1), 3, 1000), (vec![], 1, 0, false, 0));
    assert_eq!(page(Span::LatestAfter(0), 9, 1000), (vec![5, 7], 0, 7, false, 5));
    assert_eq!(page(Span::LatestAfter(0), 1, 1000), (vec![5], 0, 5, true, 5));
}

#[test]
fn the_newest_per_key_is_told_once() {
    let folder = Folder::new("latest");
    let mut database = open(&folder);
    append(&mut database, 1, [with_key("t", "x"), with_key("t", "y"), with_key("t", "x")]);
    append(&mut database, 1, [publication("t", ""), with_key("t", "z"), publication("t", "")]);
    append(&mut database, 1, [with_key("t", "")]);
    assert_eq!(offsets(&database, &wanted(&["t"], Span::LatestAfter(0))), [2, 3, 5, 6, 7]);
    assert_eq!(offsets(&database, &wanted(&["t"], Span::LatestAfter(4))), [5, 6, 7]);
}

#[test]
fn a_repeated_key_keeps_its_first_place_within_the_window() {
    let folder = Folder::new("keys");
    let mut database = open(&folder);
    let repeated = |outcome: &_| match outcome {
        Ok(Appended::Repeated(position)) => Some(position.offset),
        Ok(Appended::New(_)) => None,
        Err(error) => panic!("{error:?}"),
    };
    let batch = [idempotent("t", "k"), idempotent("t", "k"), idempotent("u", "k")];
    let outcomes = append(&mut database, 1, batch);
    assert_eq!(outcomes.iter().map(repeated).collect::<Vec<_>>(), [None, Some(1), None]);
    let other = Publication { app: AppIndex(1), ..idempotent("t", "k") };
    assert_eq!(repeated(&append(&mut database, 1, [other])[0]), None);
    database.close();
    let mut database = open(&folder);
    let last_us = 1 + WINDOW_US - 1;
    database.trim(last_us);
    assert_eq!(repeated(&append(&mut database, last_us, [idempotent("t", "k")])[0]), Some(1));
    assert_eq!(repeated(&append(&mut database, last_us + 1, [idempotent("t", "k")])[0]), None);
    assert_eq!(repeated(&append(&mut database, last_us + 2, [idempotent("t", "k")])[0]), Some(4));
}

#[test]
fn a_key_is_known_although_its_message_was_trimmed() {
    let folder = Folder::new("trimmed-key");
    let mut database = open(&folder);
    append(&mut database, 1, [idempotent("room/1", "k")]);
    append(&mut database, 1, (0..50).map(|_| publication("room/1", "")));
    let page = database.read(&wanted(&["room/1"], Span::After(0))).unwrap();
    assert!(page.lost_through >= 1);
    assert_eq!(page.messages[0].previous, page.lost_through);
    let again = append(&mut database, 2, [idempotent("room/1", "k")]);
    assert!(matches!(&again[0], Ok(Appended::Repeated(position)) if position.offset == 1));
}

#[test]
fn room_is_limited_and_what_is_lost_is_told() {
    let folder = Folder::new("room");
    let mut database = open(&folder);
    let count_max = u64::from(ROOM_COUNT_MAX);
    for offset in 1..=200 {
        append(&mut database, 1, [publication("room/1", "")]);
        let page = database.read(&wanted(&["room/1"], Span::After(0))).unwrap();
        assert_eq!(page.count, page.messages.len() as u64);
        assert_eq!(page.count + page.lost_through, offset, "nothing goes silently");
        assert!(page.count >= count_max.min(offset) && page.count <= count_max + count_max / 8);
    }
    append(&mut database, 1, [publication("room/2", &"x".repeat(1000))]);
    let page = database.read(&wanted(&["room/2"], Span::After(0))).unwrap();
    assert_eq!((page.count, page.lost_through), (0, 201), "larger than all the room there is");
}

#[test]
fn age_is_limited() {
    let folder = Folder::new("age");
    let mut database = open(&folder);
    let age_us = durable::AGE_MAX_MS * 1000;
    for time_us in 0..10 {
        append(&mut database, time_us, [publication("aged/1", ""), publication("old", "")]);
    }
    database.trim(age_us + 4);
    let page = database.read(&wanted(&["aged/1"], Span::After(0))).unwrap();
    assert_eq!((page.messages[0].time_us, page.count, page.lost_through), (4, 6, 7));
    assert_eq!(offsets(&database, &wanted(&["old"], Span::After(0))).len(), 10);
    append(&mut database, 10, [publication("aged/1", "")]);
    database.trim(age_us + 100);
    let page = database.read(&wanted(&["aged/1"], Span::After(0))).unwrap();
    assert_eq!((page.count, page.lost_through), (0, 21));
    let next = append(&mut database, 11, [publication("aged/1", "")]);
    assert_eq!(placed(&next[0]).previous, 21, "the chain goes on over what was removed");
}

#[test]
fn what_has_expired_is_left_out_and_is_no_loss() {
    let folder = Folder::new("expiry");
    let mut database = open(&folder);
    let batch = [publication("t", ""), expiring("t", 50), publication("t", ""), expiring("t", 90)];
    append(&mut database, 1, batch);
    let page = |database: &Database, time_us| {
        let wanted = Wanted { time_us, ..wanted(&["t"], Span::After(0)) };
        let page = database.read(&wanted).unwrap();
        (page.messages.iter().map(|m| m.position.offset).collect::<Vec<_>>(), page.count)
    };
    for is_trimmed in [false, true] {
        assert_eq!(page(&database, 49).0.len(), if is_trimmed { 3 } else { 4 });
        assert_eq!(page(&database, 50), (vec![1, 3, 4], 3));
        assert_eq!(page(&database, 90), (vec![1, 3], 2));
        database.trim(50);
    }
    database.trim(90);
    let rest = database.read(&wanted(&["t"], Span::After(0))).unwrap();
    assert_eq!((rest.count, rest.lost_through, rest.through), (2, 0, 4));
    assert_eq!(placed(&append(&mut database, 99, [publication("t", "")])[0]).previous, 4);
}

#[test]
fn only_one_may_open_it_and_only_if_it_is_a_store() {
    let folder = Folder::new("open");
    let again = || Database::open(applications(&["a"]), StoreOptions::new(folder.store()));
    let database = open(&folder);
    assert!(matches!(again(), Err(OpenError::InUse(_))));
    database.close();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no log is left behind");
    let sql = |sql: &str| {
        let connection = rusqlite::Connection::open(folder.store()).unwrap();
        connection.execute_batch(sql).unwrap();
    };
    sql("PRAGMA user_version = 2");
    assert!(matches!(again(), Err(OpenError::Newer { found: 2, .. })));
    sql("PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert!(matches!(again(), Err(OpenError::Foreign(_))));
    std::fs::write(folder.store(), [b'x'; 5000]).unwrap();
    assert!(matches!(again(), Err(OpenError::Foreign(_))));
    assert_eq!(std::fs::read(folder.store()).unwrap(), [b'x'; 5000], "it is left alone");
}

#[test]
fn the_log_does_not_grow_without_end() {
    let folder = Folder::new("log");
    let mut database = open(&folder);
    let payload = "x".repeat(100_000);
    let mut largest = 0;
    for _ in 0..60 {
        append(&mut database, 1, (0..16).map(|_| publication("room/1", &payload)));
        database.checkpoint_when_due();
        let log = folder.path().join("store.db-wal");
        largest = std::fs::metadata(log).unwrap().len().max(largest);
    }
    assert!(database.counters().checkpoints.get() > 1);
    assert!(largest < 24 << 20, "{largest} bytes of log for 16 MiB between checkpoints");
}

#[test]
fn an_unknown_topic_has_an_empty_page() {
    let folder = Folder::new("unknown");
    let mut database = open(&folder);
    append(&mut database, 1, [Publication { app: AppIndex(1), ..publication("t", "") }]);
    let page = database.read(&Wanted { app: APP, ..wanted(&["t"], Span::After(0)) }).unwrap();
    assert_eq!((page.count, page.through, page.has_more, page.lost_through), (0, 1, false, 0));
}
