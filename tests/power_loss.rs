//! What a store keeps when its disk loses power, at each boundary between two writes, or refuses.
//!
//! Each run does seeded work on a disk in memory, loses power at one boundary, and opens what a real
//! disk may hold then (see `durable/disk.rs`). That the sweep can fail is a test of its own: it must
//! find losses in a store that does not sync.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod durable;

use std::collections::HashMap;

use durable::disk::{Disk, Fault};
use durable::random::Random;
use durable::vfs::{self, lock, mount};
use durable::{
    AGE_MAX_MS, ROOM_COUNT_MAX, Seen, append, applications, placed, publication, seen, wanted,
};
use fanwire::model::message::{Attributes, Publication};
use fanwire::model::store::{Appended, Span, StoreError, StoreIdentity};
use fanwire::store::{Database, OpenError, StoreOptions};

const TOPICS: [&str; 3] = ["t", "room/1", "aged/1"];
/// Different runs of work; each is cut at each of its boundaries.
const WORKLOAD_COUNT: u64 = 12;

fn options(disk: &str, sync: bool) -> StoreOptions {
    // A few pages, so that the log is copied, restarted and cut back often.
    let path = format!("{disk}/store.db");
    StoreOptions { sync, checkpoint_pages: 12, vfs: Some(vfs::NAME), ..StoreOptions::new(path) }
}

/// Opens the store, and syncs the folder as an opening on a real disk does: the journal that SQLite
/// removes when it turns to its log must not come back.
fn open(disk: &str, sync: bool) -> Result<Database, OpenError> {
    let database = Database::open(applications(&["a"]), options(disk, sync))?;
    match vfs::sync_folder(disk) {
        Ok(()) => Ok(database),
        Err(refusal) => Err(OpenError::File {
            path: disk.into(),
            source: std::io::Error::other(format!("{refusal:?}")),
        }),
    }
}

/// What was told to those who used a store.
#[derive(Default)]
struct Told {
    identity: Option<StoreIdentity>,
    acknowledged: Vec<Seen>,
    /// The batch that was not answered before the cut.
    unanswered: Vec<Publication>,
    /// The place of each idempotency key.
    keys: HashMap<String, u64>,
    time_us: u64,
}

/// Works until the end or until the power goes.
struct Work<'a> {
    disk: &'a str,
    sync: bool,
    random: Random,
    told: Told,
}

impl Work<'_> {
    fn run(mut self) -> Told {
        let Ok(mut database) = open(self.disk, self.sync) else { return self.told };
        self.told.identity = Some(database.identity());
        for _ in 0..12 {
            self.told.time_us += 1 + self.random.word() % 2_000_000;
            match self.random.below(8) {
                0 => drop(database.trim(self.told.time_us)),
                1 => {
                    database.close();
                    let Ok(reopened) = open(self.disk, self.sync) else { return self.told };
                    database = reopened;
                }
                _ => {
                    if !self.append(&mut database) {
                        return self.told;
                    }
                }
            }
            database.checkpoint_when_due();
        }
        self.told
    }

    fn append(&mut self, database: &mut Database) -> bool {
        let count = 1 + self.random.below(8);
        let batch: Vec<_> = (0..count).map(|_| self.publication()).collect();
        let outcomes = append(database, self.told.time_us, batch.clone());
        if outcomes.iter().any(Result::is_err) {
            self.told.unanswered = batch;
            return false;
        }
        for outcome in &outcomes {
            let message = placed(outcome);
            let offset = message.position.offset;
            self.told.acknowledged.push(Seen::from(&**message));
            let key = message.publication.idempotency_key();
            self.told.keys.extend(key.map(|key| (key.to_owned(), offset)));
        }
        true
    }

    fn publication(&mut self) -> Publication {
        let topic = TOPICS[self.random.below(TOPICS.len())];
        let size = match (topic, self.random.below(6)) {
            ("room/1", _) => self.random.below(10),
            (_, 0) => self.random.below(9_000),
            _ => self.random.below(300),
        };
        let text: String =
            (0..size).map(|_| char::from(b'a' + self.random.bytes(1)[0] % 26)).collect();
        let mut attributes = Attributes::default();
        if topic == "t" && self.random.below(6) == 0 {
            attributes.expires_us = Some(self.told.time_us + self.random.word() % 5_000_000);
        } else if self.random.below(3) == 0 {
            attributes.idempotency_key = Some(self.random.word().to_string().into());
        }
        let attributes = (attributes != Attributes::default()).then(|| Box::new(attributes));
        Publication { attributes, ..publication(topic, &text) }
    }
}

fn work(disk: &str, seed: u64, sync: bool) -> Told {
    Work { disk, sync, random: Random(seed), told: Told::default() }.run()
}

/// Everything that a store says wrongly after what was told.
fn problems(told: &Told, disk: &str) -> Vec<String> {
    let mut database = match open(disk, true) {
        Ok(database) => database,
        Err(error) => return vec![format!("it does not open: {error}")],
    };
    let mut problems = Vec::new();
    let mut claim = |is_true: bool, problem: &str| {
        if !is_true {
            problems.push(problem.to_owned());
        }
    };
    let identity = database.identity();
    let last = told.acknowledged.last().map_or(0, |seen| seen.offset);
    claim(database.verify().is_ok(), "its structure is damaged");
    claim(told.identity.is_none_or(|was| was.epoch == identity.epoch), "another epoch");
    claim(told.identity.is_none_or(|was| was.run == identity.run), "another run");
    let unanswered_count = told.unanswered.len() as u64;
    let is_whole = [last, last + unanswered_count].contains(&identity.offset);
    claim(is_whole, "the last offset is neither before nor behind the unanswered batch");
    for topic in TOPICS {
        match database.read(&wanted(&[topic], Span::After(0))) {
            Ok(page) => {
                problems.extend(topic_problems(told, topic, &seen(&page), page.lost_through));
            }
            Err(error) => problems.push(format!("{topic} cannot be read: {error:?}")),
        }
    }
    problems.extend(next_problems(told, &mut database));
    problems
}

fn topic_problems(told: &Told, topic: &str, found: &[Seen], lost_through: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let last = told.acknowledged.last().map_or(0, |seen| seen.offset);
    let of_topic: Vec<_> =
        told.acknowledged.iter().filter(|s| s.publication.topic.as_str() == topic).collect();
    let may_be_gone = |place: usize, seen: &Seen| match topic {
        "room/1" => {
            // The unanswered batch may have pushed it out.
            let behind = of_topic.len() - place - 1 + told.unanswered.len();
            behind >= ROOM_COUNT_MAX as usize && seen.offset <= lost_through
        }
        "aged/1" => seen.time_us + AGE_MAX_MS * 1000 < told.time_us && seen.offset <= lost_through,
        _ => seen.publication.expires_us().is_some_and(|at_us| at_us <= told.time_us),
    };
    for (place, seen) in of_topic.iter().enumerate() {
        if !found.contains(seen) && !may_be_gone(place, seen) {
            problems.push(format!("{topic}: offset {} is gone or changed", seen.offset));
        }
    }
    let mut previous = of_topic.last().map_or(0, |seen| seen.offset);
    for extra in found.iter().filter(|seen| seen.offset > last) {
        let place = usize::try_from(extra.offset - last - 1).unwrap();
        if told.unanswered.get(place) != Some(&extra.publication) || extra.previous != previous {
            problems.push(format!("{topic}: offset {} was never sent so", extra.offset));
        }
        previous = extra.offset;
    }
    if found.iter().any(|seen| seen.offset <= last && !of_topic.contains(&seen)) {
        problems.push(format!("{topic}: a message that was never acknowledged"));
    }
    problems
}

/// What is wrong with going on.
fn next_problems(told: &Told, database: &mut Database) -> Vec<String> {
    let mut problems = Vec::new();
    let last = database.identity().offset;
    let page = database.read(&wanted(&["t"], Span::Before(u64::MAX)));
    let previous = page.ok().and_then(|page| seen(&page).last().map(|seen| seen.offset));
    match &append(database, told.time_us, [publication("t", "next")])[0] {
        Ok(Appended::New(message)) => {
            if message.position.offset != last + 1 {
                problems.push(format!("offset {} after {last}", message.position.offset));
            }
            // What expired may have been removed, and is still remembered as the previous one.
            if previous.is_some_and(|previous| message.previous < previous) {
                problems.push("the chain is broken".to_owned());
            }
        }
        other => problems.push(format!("it takes nothing more: {other:?}")),
    }
    for (key, offset) in &told.keys {
        let attributes =
            Attributes { idempotency_key: Some((&**key).into()), ..Attributes::default() };
        let seen = told.acknowledged.iter().find(|seen| seen.offset == *offset).unwrap();
        let again =
            Publication { attributes: Some(Box::new(attributes)), ..seen.publication.clone() };
        match &append(database, seen.time_us, [again])[0] {
            Ok(Appended::Repeated(position)) if position.offset == *offset => {}
            // Old keys go with trimming.
            _ if seen.time_us + durable::WINDOW_US < told.time_us => {}
            other => problems.push(format!("key of {offset}: {other:?}")),
        }
    }
    problems
}

/// Cuts each workload at each of its boundaries; cuts, and problems with how to find them again.
fn sweep(name: &str, sync: bool, workload_count: u64) -> (usize, Vec<String>) {
    let (mut cut_count, mut found) = (0, Vec::new());
    for seed in 0..workload_count {
        let whole = mount(name, Disk::default());
        work(name, seed, sync);
        let boundary_count = lock(&whole).step_count;
        for cut_at in 0..=boundary_count {
            let disk = mount(name, Disk::cut_at(cut_at));
            let told = work(name, seed, sync);
            let after = lock(&disk).after_cut(&mut Random(seed << 32 | cut_at));
            mount(name, after);
            let problems = problems(&told, name);
            found.extend(problems.iter().map(|p| format!("seed {seed}, cut {cut_at}: {p}")));
            cut_count += 1;
        }
    }
    (cut_count, found)
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut_at_any_moment() {
    let (cut_count, found) = sweep("cut", true, WORKLOAD_COUNT);
    let shown: Vec<_> = found.iter().take(20).collect();
    assert!(found.is_empty(), "{} problems in {cut_count} cuts: {shown:#?}", found.len());
    assert!(cut_count >= 1000, "only {cut_count} cuts");
}

#[test]
fn the_sweep_finds_a_store_that_does_not_sync() {
    let (cut_count, found) = sweep("unsynced", false, 1);
    assert!(found.len() > cut_count / 4, "{} problems in {cut_count} cuts", found.len());
}

/// Appends while the disk refuses; checks that nothing is taken ever after, and that reading goes on
/// and a new opening has all that was acknowledged.
fn check_refusing_disk(name: &str, fault: Fault) {
    let disk = mount(name, Disk::default());
    let mut database = open(name, true).unwrap();
    let outcomes = append(&mut database, 1, [publication("t", "a"), publication("t", "b")]);
    let kept: Vec<_> = outcomes.iter().map(|outcome| Seen::from(&**placed(outcome))).collect();
    lock(&disk).fault = Some(fault);
    let refused = |database: &mut Database| {
        let batch = [publication("t", &"x".repeat(20_000)), publication("u", "y")];
        let outcomes = append(database, 2, batch);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Failed))));
    };
    refused(&mut database);
    lock(&disk).fault = None;
    refused(&mut database);
    let step_count = lock(&disk).step_count;
    database.trim(u64::MAX >> 1);
    database.checkpoint_when_due();
    let page = database.read(&wanted(&["t", "u"], Span::After(0))).unwrap();
    assert_eq!((seen(&page), page.through), (kept.clone(), 2));
    assert_eq!((database.counters().failed.get(), database.counters().refused.get()), (1, 4));
    database.close();
    assert_eq!(lock(&disk).step_count, step_count, "nothing is written after the failure");
    for seed in 0..50 {
        let after = lock(&disk).after_cut(&mut Random(seed));
        mount(name, after);
        let database = open(name, true).unwrap();
        database.verify().unwrap();
        let page = database.read(&wanted(&["t"], Span::After(0))).unwrap();
        assert_eq!(seen(&page)[..2], kept);
    }
}

#[test]
fn after_a_failed_sync_nothing_is_taken_and_reading_goes_on() {
    check_refusing_disk("sync-fails", Fault::Sync);
}

#[test]
fn on_a_full_disk_nothing_is_taken_and_reading_goes_on() {
    check_refusing_disk("full", Fault::Full);
}

/// In the same life of the machine, what could not be synced is still in its memory: the next opening
/// reads it, appends behind it, and must not lose that with it.
#[test]
fn what_is_appended_after_a_restart_outlives_the_log_that_was_never_synced() {
    for seed in 0..200 {
        let disk = mount("restart", Disk::default());
        let mut database = open("restart", true).unwrap();
        append(&mut database, 1, [publication("t", "a")]);
        lock(&disk).fault = Some(Fault::Sync);
        append(&mut database, 1, [publication("t", "b")]);
        database.close();
        let mut database = open("restart", true).unwrap();
        let next = append(&mut database, 1, [publication("t", "c")]);
        let acknowledged = Seen::from(&**placed(&next[0]));
        let after = lock(&disk).after_cut(&mut Random(seed));
        drop(database);
        mount("restart", after);
        let page = open("restart", true).unwrap().read(&wanted(&["t"], Span::After(0))).unwrap();
        assert!(seen(&page).contains(&acknowledged), "seed {seed}");
    }
}
