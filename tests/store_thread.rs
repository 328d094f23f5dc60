//! The store's thread over the mesh: order of replies, group commit, stop, and its panic hook.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod durable;

use std::sync::mpsc;
use std::time::Duration;

use durable::{APP, Folder, applications, publication, topic};
use fanwire::mesh::{Port, ports};
use fanwire::model::shard::ShardIndex;
use fanwire::model::store::{Appended, Span, StoreReply, StoreRequest, Wanted};
use fanwire::store::{Database, StoreOptions, StoreThread, start};

const STORE: ShardIndex = ShardIndex(2);
/// After which a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
enum Parcel {
    Asked(StoreRequest),
    Told(StoreReply),
    Foreign,
}

fn request(parcel: Parcel) -> Option<StoreRequest> {
    match parcel {
        Parcel::Asked(request) => Some(request),
        Parcel::Told(_) | Parcel::Foreign => None,
    }
}

/// Two homes and a running store; lanes hold `capacity` batches.
fn running(folder: &Folder, capacity: usize) -> ([Port<Parcel>; 2], StoreThread) {
    let options = StoreOptions { commit_count_max: 64, ..StoreOptions::new(folder.store()) };
    let database = Database::open(applications(&["a"]), options).unwrap();
    let mut ports = ports(3, capacity, 1 << 20).unwrap();
    let port = ports.pop().unwrap();
    let thread = start(database, port, request, Parcel::Told, || {}).unwrap();
    (ports.try_into().unwrap(), thread)
}

fn append(ticket: u64, name: &str) -> Parcel {
    let publication = Box::new(publication(name, &ticket.to_string()));
    Parcel::Asked(StoreRequest::Append { ticket, publication, time_us: 1 })
}

fn read(ticket: u64, name: &str) -> Parcel {
    let topics = vec![topic(name)];
    let (count_max, size_max) = (100_000, usize::MAX >> 1);
    let span = Span::After(0);
    let wanted = Wanted { app: APP, topics, span, count_max, size_max, time_us: 1 };
    Parcel::Asked(StoreRequest::Read { ticket, wanted: Box::new(wanted) })
}

/// Waits for the next replies to this home, handing over what it has still to ask: a home that only did
/// the one or the other would wait for a store that waits for it.
fn replies(port: &mut Port<Parcel>) -> Vec<StoreReply> {
    let deadline = fanwire::stdx::clock::now() + PATIENCE;
    loop {
        port.flush();
        if let Some(batch) = port.receive() {
            let reply = |parcel| match parcel {
                Parcel::Told(reply) => reply,
                other => panic!("{other:?}"),
            };
            return batch.parcels.into_iter().map(reply).collect();
        }
        assert!(fanwire::stdx::clock::now() < deadline, "no reply");
        std::thread::yield_now();
    }
}

/// Checks that replies come in the order of tickets and that a page holds what was appended before it
/// and nothing later; the offsets of the appends.
fn check_replies(port: &mut Port<Parcel>, count: u64) -> Vec<u64> {
    let (mut ticket_expected, mut offsets) = (0, Vec::new());
    while ticket_expected < count {
        for reply in replies(port) {
            let ticket = match reply {
                StoreReply::Appended { ticket, outcome: Ok(Appended::New(message)) } => {
                    offsets.push(message.position.offset);
                    ticket
                }
                StoreReply::Read { ticket, outcome: Ok(page) } => {
                    let told = page.messages.iter().map(|m| m.position.offset);
                    assert_eq!(told.collect::<Vec<_>>(), offsets);
                    ticket
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(ticket, ticket_expected);
            ticket_expected += 1;
        }
    }
    offsets
}

#[test]
fn each_home_is_answered_in_its_order_and_reads_what_it_appended() {
    const COUNT: u64 = 600;
    let folder = Folder::new("thread-order");
    // A lane of one batch is full most of the time.
    let (homes, store) = running(&folder, 1);
    let life = |mut port: Port<Parcel>, name: &'static str| {
        std::thread::spawn(move || {
            for ticket in 0..COUNT {
                let parcel =
                    if ticket % 7 == 6 { read(ticket, name) } else { append(ticket, name) };
                port.stage(STORE, parcel, 100);
                port.stage(STORE, Parcel::Foreign, 1);
                port.flush();
            }
            check_replies(&mut port, COUNT)
        })
    };
    let [one, other] = homes;
    let threads = [life(one, "t"), life(other, "u")];
    let mut offsets = threads.map(|thread| thread.join().unwrap()).concat();
    offsets.sort_unstable();
    let appended_count = COUNT - COUNT / 7;
    assert_eq!(offsets, (1..=2 * appended_count).collect::<Vec<_>>());
    store.stop();
    store.join().unwrap();
}

#[test]
fn what_was_sent_before_a_stop_is_kept_and_answered() {
    let folder = Folder::new("thread-stop");
    let ([mut home, _other], store) = running(&folder, 64);
    for ticket in 0..500 {
        home.stage(STORE, append(ticket, "t"), 100);
    }
    home.flush();
    store.stop();
    store.join().unwrap();
    assert_eq!(check_replies(&mut home, 500), (1..=500).collect::<Vec<_>>());
    let options = StoreOptions::new(folder.store());
    let database = Database::open(applications(&["a"]), options).unwrap();
    assert_eq!(database.identity().offset, 500);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "the file and a new log");
}

#[test]
fn a_sleeping_store_is_woken_for_one_message() {
    let folder = Folder::new("thread-wake");
    let ([mut home, _other], store) = running(&folder, 64);
    for ticket in 0..200 {
        home.stage(STORE, append(ticket, "t"), 100);
        home.flush();
        assert!(matches!(&replies(&mut home)[..], [StoreReply::Appended { outcome: Ok(_), .. }]));
    }
    store.stop();
    store.join().unwrap();
}

#[test]
fn a_panic_of_the_thread_reaches_the_hook() {
    let folder = Folder::new("thread-panic");
    let database = Database::open(applications(&["a"]), StoreOptions::new(folder.store())).unwrap();
    let mut ports = ports(2, 4, 1 << 20).unwrap();
    let port = ports.pop().unwrap();
    let mut home = ports.pop().unwrap();
    let (tell, told) = mpsc::channel();
    let fails: fn(Parcel) -> Option<StoreRequest> = |_| panic!("planted");
    let hook = move || tell.send(()).unwrap();
    let thread = start(database, port, fails, Parcel::Told, hook).unwrap();
    home.stage(ShardIndex(1), append(0, "t"), 1);
    home.flush();
    told.recv_timeout(PATIENCE).unwrap();
    assert!(thread.join().is_err());
}
