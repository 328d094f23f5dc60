//! How fast the store appends and reads, on the disk of the folder named `FANWIRE_STORE_FOLDER`, or
//! else of the folder for temporary files.
//!
//! `cargo bench --bench store` appends 200-byte messages in commits of 1, 64 and 1,024, with and
//! without waiting for the disk, for 2 s each; then reads pages of a topic with a million messages.
//! The disk's sync time is the figure for commits of 1: compare on one machine only.

#![expect(clippy::print_stdout, reason = "the report")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fanwire::model::application::{AppIndex, Application, Applications};
use fanwire::model::family::{Family, HistoryLimits};
use fanwire::model::message::{Attributes, Payload, Publication};
use fanwire::model::store::{Span, Wanted};
use fanwire::model::topic::TopicName;
use fanwire::stdx::clock;
use fanwire::store::{Database, NewMessage, StoreOptions};

const DURATION: Duration = Duration::from_secs(2);
const HISTORY_COUNT: u64 = 1_000_000;
const PAGES: u32 = 50;

fn main() {
    let folder = std::env::var_os("FANWIRE_STORE_FOLDER").unwrap_or(std::env::temp_dir().into());
    let path = Path::new(&folder).join(format!("fanwire-bench-{}.db", std::process::id()));
    for sync in [true, false] {
        for batch_count in [1, 64, 1024] {
            let mut database = open(&path, sync);
            let per_second = append_rate(&mut database, batch_count);
            println!("append sync={sync:<5} batch={batch_count:<5}{per_second:>12.0} messages/s");
            close(database, &path);
        }
    }
    let mut database = open(&path, false);
    fill(&mut database);
    let (middle, end) = (HISTORY_COUNT / 2, HISTORY_COUNT);
    report_read(&database, "page of 100 from the start", Span::After(0));
    report_read(&database, "page of 100 in the middle", Span::After(middle));
    report_read(&database, "page of 100 before the middle", Span::Before(middle));
    report_read(&database, "the last 100", Span::After(end - 100));
    report_read(&database, "the newest 100", Span::Before(u64::MAX));
    report_read(&database, "100 latest per key", Span::LatestAfter(0));
    close(database, &path);
}

fn open(path: &Path, sync: bool) -> Database {
    let history = HistoryLimits { count_max: u32::MAX, size_max: 1 << 40, age_max_ms: None };
    let families = vec![Family { history, durable: true, ..Family::default() }];
    let application = Application { families, ..Application::new("bench") };
    let options = StoreOptions { sync, ..StoreOptions::new(path) };
    let applications = Arc::new(Applications::new(vec![application], None));
    Database::open(applications, options).expect("the folder can be written")
}

fn close(database: Database, path: &Path) {
    database.close();
    std::fs::remove_file(path).expect("it was made here");
}

fn batch(count: u64, first: u64) -> Vec<NewMessage> {
    let topic = |n: u64| TopicName::new(&format!("topic/{}", n % 16)).expect("a legal name");
    (first..first + count).map(|n| new_message(topic(n), None)).collect()
}

fn new_message(topic: TopicName, key: Option<String>) -> NewMessage {
    let attributes =
        key.map(|key| Box::new(Attributes { key: Some(key.into()), ..Attributes::default() }));
    let publication = Publication {
        app: AppIndex(0),
        topic,
        payload: Payload::Text(Arc::from("x".repeat(200))),
        message_type: None,
        client_id: None,
        publisher: None,
        compress: false,
        attributes,
    };
    NewMessage { publication: Box::new(publication), time_us: clock::unix_us() }
}

fn append_rate(database: &mut Database, batch_count: u64) -> f64 {
    let begun = clock::now();
    let mut count = 0_u32;
    while begun.elapsed() < DURATION {
        let outcomes = database.append(&mut batch(batch_count, u64::from(count)));
        assert!(outcomes.iter().all(Result::is_ok), "the disk took it");
        count += u32::try_from(outcomes.len()).expect("a batch is small");
        database.checkpoint_when_due();
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

fn fill(database: &mut Database) {
    let topic = TopicName::new("history").expect("a legal name");
    for first in (0..HISTORY_COUNT).step_by(1000) {
        let key = |n: u64| Some((n % 5000).to_string());
        let mut batch: Vec<_> =
            (first..first + 1000).map(|n| new_message(topic.clone(), key(n))).collect();
        database.append(&mut batch);
        database.checkpoint_when_due();
    }
}

fn report_read(database: &Database, what: &str, span: Span) {
    let wanted = Wanted {
        app: AppIndex(0),
        topics: vec![TopicName::new("history").expect("a legal name")],
        span,
        count_max: 100,
        size_max: 1 << 20,
        time_us: 0,
    };
    let begun = clock::now();
    for _ in 0..PAGES {
        let page = database.read(&wanted).expect("it can be read");
        assert_eq!(page.messages.len(), 100, "{what}");
    }
    let micros = begun.elapsed().as_secs_f64() * 1e6 / f64::from(PAGES);
    println!("read   {what:<32}{micros:>10.0} us");
}
