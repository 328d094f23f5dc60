//! The store against a naive model: every page of every span equals what a list of all that was ever
//! published says, over restarts, trimming and expiry.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod durable;

use durable::{APP, Folder, Seen, append, applications, placed, publication, seen, topic};
use fanwire::model::message::{Attributes, Publication};
use fanwire::model::store::{Page, Span, Wanted};
use fanwire::store::{Database, StoreOptions};
use proptest::prelude::*;

const TOPICS: [&str; 4] = ["room/1", "aged/1", "t", "u"];

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(usize, Option<u8>, Option<u64>, usize)>),
    Trim,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop::option::of(0..3_u8);
    let lifetime_us = prop::option::weighted(0.2, 0..6_000_000_u64);
    let message = (0..TOPICS.len(), key, lifetime_us, 0..60_usize);
    prop_oneof![
        8 => prop::collection::vec(message, 1..12).prop_map(Step::Append),
        2 => Just(Step::Trim),
        1 => Just(Step::Reopen),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let offset = prop_oneof![9 => 0..200_u64, 1 => Just(u64::MAX)];
    (0..3, offset).prop_map(|(kind, offset)| match kind {
        0 => Span::After(offset),
        1 => Span::Before(offset),
        _ => Span::LatestAfter(offset),
    })
}

type Ask = (prop::sample::Index, Span, u32, usize);

/// Everything that was ever placed.
#[derive(Default)]
struct Model {
    all: Vec<Seen>,
}

impl Model {
    /// The page that these messages make, given what was lost of each topic.
    fn page(&self, wanted: &Wanted, lost: &dyn Fn(&Seen) -> bool) -> Expected {
        let is_of = |seen: &&Seen| wanted.topics.contains(&seen.publication.topic);
        let is_kept = |seen: &&Seen| !lost(seen);
        let is_live =
            |seen: &&Seen| seen.publication.expires_us().is_none_or(|at_us| at_us > wanted.time_us);
        let is_in_span = |seen: &&Seen| match wanted.span {
            Span::After(offset) | Span::LatestAfter(offset) => seen.offset > offset,
            Span::Before(offset) => seen.offset < offset,
        };
        let of: Vec<&Seen> = self.all.iter().filter(is_of).collect();
        let in_span: Vec<&Seen> = of.iter().copied().filter(is_kept).filter(is_in_span).collect();
        let count = in_span.iter().copied().filter(is_live).count() as u64;
        let is_newest = |seen: &&Seen| {
            let same = |other: &&&Seen| {
                other.publication.topic == seen.publication.topic
                    && other.publication.key() == seen.publication.key()
            };
            of.iter().rfind(same).is_some_and(|newest| newest.offset == seen.offset)
        };
        let mut told: Vec<&Seen> = in_span.into_iter().filter(is_live).collect();
        match wanted.span {
            Span::After(_) => {}
            Span::Before(_) => told.reverse(),
            Span::LatestAfter(_) => told.retain(is_newest),
        }
        let mut size = 0;
        let fits = |(place, seen): &(usize, &Seen)| {
            size += seen.publication.payload.size();
            *place == 0 || *place < wanted.count_max as usize && size <= wanted.size_max
        };
        let length = told.iter().copied().enumerate().take_while(fits).count();
        let has_more = length < told.len();
        let mut messages: Vec<Seen> = told.into_iter().take(length).cloned().collect();
        if matches!(wanted.span, Span::Before(_)) {
            messages.reverse();
        }
        Expected { messages, count, has_more }
    }
}

#[derive(Debug, PartialEq)]
struct Expected {
    messages: Vec<Seen>,
    count: u64,
    has_more: bool,
}

impl From<&Page> for Expected {
    fn from(page: &Page) -> Expected {
        Expected { messages: seen(page), count: page.count, has_more: page.has_more }
    }
}

fn open(folder: &Folder) -> Database {
    let options = StoreOptions { sync: false, ..StoreOptions::new(folder.store()) };
    Database::open(applications(&["a"]), options).unwrap()
}

fn lost_through(database: &Database, name: &str) -> u64 {
    database.read(&durable::wanted(&[name], Span::After(u64::MAX))).unwrap().lost_through
}

fn to_publication(message: &(usize, Option<u8>, Option<u64>, usize), time_us: u64) -> Publication {
    let (place, key, lifetime_us, size) = message;
    let attributes = Attributes {
        key: key.map(|key| key.to_string().into()),
        idempotency_key: None,
        expires_us: lifetime_us.map(|lifetime_us| time_us + lifetime_us),
    };
    let attributes = (attributes != Attributes::default()).then(|| Box::new(attributes));
    Publication { attributes, ..publication(TOPICS[*place], &"x".repeat(*size)) }
}

fn run(steps: &[Step], asks: &[Ask]) {
    let folder = Folder::new("model");
    let mut database = open(&folder);
    let (mut model, mut time_us) = (Model::default(), 1);
    for step in steps {
        time_us += 700_000;
        match step {
            Step::Append(messages) => {
                let batch = messages.iter().map(|message| to_publication(message, time_us));
                let outcomes = append(&mut database, time_us, batch);
                model.all.extend(outcomes.iter().map(|outcome| Seen::from(&**placed(outcome))));
            }
            Step::Trim => drop(database.trim(time_us)),
            Step::Reopen => {
                database.close();
                database = open(&folder);
            }
        }
        check(&database, &model, asks, time_us);
    }
    database.verify().unwrap();
}

fn check(database: &Database, model: &Model, asks: &[Ask], time_us: u64) {
    let lost = TOPICS.map(|name| (topic(name), lost_through(database, name)));
    let of = |seen: &Seen| {
        lost.iter().find(|(name, _)| *name == seen.publication.topic).map_or(0, |(_, lost)| *lost)
    };
    for (topics, span, count_max, size_max) in asks {
        let chosen = 1 + topics.index((1 << TOPICS.len()) - 1);
        let topics: Vec<_> = (0..TOPICS.len())
            .filter(|place| chosen >> place & 1 == 1)
            .map(|place| topic(TOPICS[place]))
            .collect();
        let (app, span) = (APP, *span);
        let wanted =
            Wanted { app, topics, span, count_max: *count_max, size_max: *size_max, time_us };
        let page = database.read(&wanted).unwrap();
        let expected = model.page(&wanted, &|seen| seen.offset <= of(seen));
        assert_eq!(Expected::from(&page), expected, "{wanted:?}");
        let lost = lost.iter().filter(|(name, _)| wanted.topics.contains(name));
        assert_eq!(page.lost_through, lost.map(|(_, lost)| *lost).max().unwrap_or(0));
        let last = model.all.last().map_or(0, |seen| seen.offset);
        let end = page.messages.last().map(|message| message.position.offset);
        let through = match span {
            Span::Before(offset) => last.min(offset.saturating_sub(1)),
            _ if page.has_more => end.unwrap(),
            _ => last,
        };
        assert_eq!(page.through, through, "{wanted:?}");
    }
    assert!(lost[2].1 == 0 && lost[3].1 == 0, "topics without limits lose nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn pages_equal_the_models(
        steps in prop::collection::vec(step(), 1..25),
        asks in prop::collection::vec((any::<prop::sample::Index>(), span(), 1..20_u32, 1..600_usize), 1..8),
    ) {
        run(&steps, &asks);
    }
}
