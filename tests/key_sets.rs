//! Key sets reach the board from good providers, survive bad ones, and are never fetched from where
//! they may not be.

#[path = "key_sets/provider.rs"]
mod provider;

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use fanwire::integrations::{KeySetOptions, ParsedKeys, start};
use fanwire::model::key_board::{KeyBoard, KeySetState, Requested};
use fanwire::model::token::{KeySetIndex, KeySetSource};
use fanwire::stdx::clock;
use fanwire::telemetry::{LogOptions, log};

use provider::{Answer, Provider, response, set};

const PATIENCE: Duration = Duration::from_secs(40);
const MS: Duration = Duration::from_millis(1);
const FIRST: KeySetIndex = KeySetIndex(0);

type Keys = Vec<String>;

/// Documents of these tests are `keys` and their names.
fn parse(document: &[u8]) -> Result<ParsedKeys<Keys>, String> {
    let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
    assert!(!text.starts_with("panic"), "as asked for");
    let names = text.strip_prefix("keys").ok_or("these are no\nkeys")?;
    let keys: Keys = names.split_whitespace().map(str::to_owned).collect();
    Ok(ParsedKeys { usable_count: keys.len(), keys })
}

/// Retries within milliseconds; refreshes only when a request asks or a test sets it so.
fn options() -> KeySetOptions {
    KeySetOptions {
        retry_min: 10 * MS,
        retry_max: 50 * MS,
        fetch_timeout: 1000 * MS,
        body_size_max: 20_000,
        ..KeySetOptions::default()
    }
}

/// A board with what wakes its reader.
struct Reader {
    board: Arc<KeyBoard<Keys>>,
    changes: Receiver<()>,
}

impl Reader {
    fn start(providers: &[&Provider], options: KeySetOptions) -> Reader {
        let uri = |provider: &&Provider| format!("http://{}/keys?token=SECRET", provider.address);
        Reader::of(providers.iter().map(uri), true, options)
    }

    fn of(
        uris: impl Iterator<Item = String>,
        allow_private: bool,
        options: KeySetOptions,
    ) -> Reader {
        logged();
        let source = |uri: String| KeySetSource { uri: uri.into(), allow_private };
        let sources: Vec<_> = uris.map(source).collect();
        let (changed, changes) = unbounded();
        let wake = move || {
            // Nobody may listen any more.
            let _ = changed.send(());
        };
        let board = start(&sources, None, options, parse, wake).expect("the sources are good");
        Reader { board, changes }
    }

    /// The first state for which `holds`, looked at whenever the board says that it has changed.
    fn wait(&self, what: &str, holds: impl Fn(&KeySetState<Keys>) -> bool) -> KeySetState<Keys> {
        self.wait_for(FIRST, what, holds)
    }

    fn wait_for(
        &self,
        index: KeySetIndex,
        what: &str,
        holds: impl Fn(&KeySetState<Keys>) -> bool,
    ) -> KeySetState<Keys> {
        let deadline = clock::now() + PATIENCE;
        loop {
            let version = self.board.version();
            let state = self.board.state(index);
            if holds(&state) {
                return state;
            }
            while self.board.version() == version {
                let woken = self.changes.recv_deadline(deadline);
                assert!(woken.is_ok(), "never: {what}; the last was {state:?}");
            }
        }
    }

    fn wait_keys(&self, names: &str) -> KeySetState<Keys> {
        self.wait(names, |state| served(state) == names)
    }

    /// Asks until the cool-down is over.
    fn request(&self) {
        let deadline = clock::now() + PATIENCE;
        let seen = self.board.state(FIRST).attempt_count;
        while self.board.request(FIRST, seen) == Requested::CoolingDown {
            assert!(clock::now() < deadline, "the cool-down does not end");
            std::thread::yield_now();
        }
    }
}

/// The keys that a state holds, `-` for none.
fn served(state: &KeySetState<Keys>) -> String {
    state.keys.as_ref().map_or("-".to_owned(), |keys| keys.join(" "))
}

fn failed_with(state: &KeySetState<Keys>, part: &str) -> bool {
    state.last_failure.as_ref().is_some_and(|reason| reason.contains(part))
}

/// The log of all tests of this process; each finds its own lines by its provider's port.
fn logged() -> String {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let writer = move || Sink(Arc::clone(&sink));
        let (subscriber, _level) = log::subscriber(LogOptions::default(), writer);
        tracing::subscriber::set_global_default(subscriber).expect("the first and only log");
        lines
    });
    String::from_utf8(log.lock().expect("no holder panics").clone()).expect("UTF-8")
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_set_is_fetched_at_the_start_and_before_it_expires() {
    let provider = Provider::start(set("a", 0));
    let reader = Reader::start(&[&provider], KeySetOptions { refresh_min: 100 * MS, ..options() });
    let state = reader.wait_keys("a");
    assert_eq!(state.last_failure, None);
    provider.answers(set("b c", 0));
    reader.wait_keys("b c");
    let requests = provider.requests();
    let head = requests[0].to_ascii_lowercase();
    assert!(head.starts_with("get /keys?token=secret http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\naccept: application/jwk-set+json, application/json\r\n"), "{head}");
    assert!(head.contains("\r\nuser-agent: fanwire/"), "{head}");
    assert!(!head.contains("cookie") && !head.contains("referer"), "{head}");
}

#[test]
fn a_bad_answer_is_no_set_and_its_provider_is_tried_again() {
    let head = "HTTP/1.1 200 OK\r\n";
    let bytes = |text: &str| Answer::Bytes(text.as_bytes().to_vec());
    let stalls = |text: String| Answer::Stall(text.into_bytes());
    let elsewhere = Provider::start(set("stolen", 300));
    let redirect = format!("location: http://{}/\r\n", elsewhere.address);
    let big = "x".repeat(20_001);
    let cases = [
        ("500", response("500 Internal Server Error", "", "keys a"), "it answers 500"),
        ("404", response("404 Not Found", "", "keys a"), "it answers 404"),
        ("204", response("204 No Content", "", ""), "it answers 204"),
        ("206", response("206 Partial Content", "", "keys a"), "it answers 206"),
        ("302", response("302 Found", &redirect, "keys a"), "it redirects (302 Found)"),
        ("308", response("308 Permanent Redirect", &redirect, ""), "it redirects (308"),
        ("junk", response("200 OK", "", "<html>"), "these are no keys"),
        (
            "not UTF-8",
            Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\xff".into()),
            "utf-8",
        ),
        ("no key", response("200 OK", "", "keys"), "no key that can be used"),
        ("panic", response("200 OK", "", "panic"), "its parser panicked"),
        ("huge", response("200 OK", "", &big), "larger than 20000 bytes"),
        (
            "endless",
            Answer::Endless(format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes()),
            "larger than 20000 bytes",
        ),
        ("cut", bytes(&format!("{head}content-length: 9\r\n\r\nkeys a")), "body"),
        ("no HTTP", bytes("SSH-2.0-x\r\n\r\n"), "error sending request"),
        ("no answer", bytes(""), "error sending request"),
        ("silence", stalls(String::new()), "no whole answer within 1s"),
        ("half a head", stalls(head.to_owned()), "no whole answer within 1s"),
        (
            "no body",
            stalls(format!("{head}content-length: 6\r\n\r\n")),
            "no whole answer within 1s",
        ),
        (
            "drip",
            Answer::Drip(format!("{head}\r\nkeys a").into_bytes()),
            "no whole answer within 1s",
        ),
    ];
    for (name, answer, reason) in cases {
        let provider = Provider::start(answer);
        let reader = Reader::start(&[&provider], options());
        let state = reader.wait(name, |state| failed_with(state, reason));
        assert_eq!(served(&state), "-", "{name}");
        let told = state.last_failure.as_deref().unwrap_or_default();
        assert!(!told.contains("SECRET") && !told.contains('\n'), "{name}: {told}");
        provider.answers(set("a", 300));
        assert_eq!(reader.wait_keys("a").last_failure, None, "{name}");
    }
    assert_eq!(elsewhere.requests().len(), 0, "a redirect was followed");
}

#[test]
fn a_set_as_large_as_the_limit_passes() {
    let keys = format!("{}a", " ".repeat(20_000 - "keys a".len()));
    let provider = Provider::start(set(&keys, 300));
    let options = KeySetOptions { fetch_timeout: PATIENCE, ..options() };
    let reader = Reader::start(&[&provider], options);
    let state = reader.wait_keys("a");
    assert_eq!(state.attempt_count, 1);
}

#[test]
fn a_provider_that_is_down_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let reader = Reader::of([uri].into_iter(), true, options());
    let state = reader.wait("three attempts", |state| state.attempt_count >= 3);
    assert!(failed_with(&state, "refused"), "{state:?}");
}

#[test]
fn a_set_outlives_its_providers_failure_until_it_is_too_old() {
    let provider = Provider::start(set("a", 0));
    let options = KeySetOptions { refresh_min: 100 * MS, stale_max: 4000 * MS, ..options() };
    let reader = Reader::start(&[&provider], options);
    reader.wait_keys("a");
    provider.answers(response("503 Service Unavailable", "", ""));
    let kept = reader.wait("a failure", |state| failed_with(state, "503"));
    assert_eq!(served(&kept), "a", "a failure must keep the set");
    let stale = reader.wait("the removal", |state| served(state) == "-");
    assert!(stale.last_failure.is_some(), "{stale:?}");
    provider.answers(set("b", 0));
    reader.wait_keys("b");
}

#[test]
fn unknown_keys_cause_one_fetch_per_cool_down() {
    let provider = Provider::start(set("a", 3600));
    let options = KeySetOptions { fetch_timeout: PATIENCE, ..options() };
    let patient = KeySetOptions { cool_down: 3 * PATIENCE, ..options };
    let reader = Reader::start(&[&provider], patient);
    assert_eq!(reader.wait_keys("a").attempt_count, 1);
    for _ in 0..1000 {
        assert_eq!(reader.board.request(FIRST, 1), Requested::CoolingDown);
    }
    assert_eq!(provider.requests().len(), 1);
}

#[test]
fn all_who_ask_share_one_fetch() {
    let provider = Provider::start(set("a", 3600));
    let options = KeySetOptions { fetch_timeout: PATIENCE, cool_down: 50 * MS, ..options() };
    let reader = Reader::start(&[&provider], options);
    assert_eq!(reader.wait_keys("a").attempt_count, 1);
    provider.answers(Answer::Hold);
    reader.request();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    assert_eq!(reader.board.request(FIRST, 1), Requested::Pending);
                }
            });
        }
    });
    provider.answers(set("a b", 3600));
    assert_eq!(reader.wait_keys("a b").attempt_count, 2);
    assert_eq!(provider.requests().len(), 2);
}

#[test]
fn a_slow_provider_delays_no_other() {
    let slow = Provider::start(Answer::Stall(Vec::new()));
    let quick = Provider::start(set("q", 3600));
    let options = KeySetOptions { fetch_timeout: 3 * PATIENCE, ..options() };
    let reader = Reader::start(&[&slow, &quick], options);
    reader.wait_for(KeySetIndex(1), "the quick one", |state| served(state) == "q");
    assert_eq!(reader.board.state(FIRST).attempt_count, 0);
}

#[test]
fn names_of_private_addresses_are_not_connected_to() {
    let provider = Provider::start(set("a", 3600));
    let uri = format!("https://localhost:{}/keys?token=SECRET", provider.address.port());
    let guarded = Reader::of([uri.clone()].into_iter(), false, options());
    let state = guarded.wait("a failure", |state| state.attempt_count >= 2);
    assert!(failed_with(&state, "no public address"), "{state:?}");
    assert_eq!(provider.requests().len(), 0);
    // Allowed, it is connected to, and turns out not to speak TLS.
    let open = Reader::of([uri].into_iter(), true, options());
    let state = open.wait("a failure", |state| state.attempt_count >= 1);
    assert!(!failed_with(&state, "no public address"), "{state:?}");
    assert!(!failed_with(&state, "SECRET"), "{state:?}");
    assert!(!provider.requests().is_empty());
}

#[test]
fn forbidden_sources_are_refused_at_the_start() {
    let refused = |uri: &str, allow_private| {
        let sources = [KeySetSource { uri: Box::from(uri), allow_private }];
        start(&sources, None, options(), parse, || {}).expect_err("forbidden")
    };
    for (uri, allow_private) in [
        ("http://a.example/?SECRET", false),
        ("https://127.0.0.1/?SECRET", false),
        ("https://SECRET@a.example/", true),
        ("no uri SECRET", true),
    ] {
        let error = refused(uri, allow_private);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uri}: {error}");
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
    let none = start(&[], None, options(), parse, || {}).expect("nothing to do");
    assert!(none.is_empty());
}

#[test]
fn the_thread_ends_with_the_last_holder_of_the_board() {
    let provider = Provider::start(set("a", 3600));
    let Reader { board, changes } = Reader::start(&[&provider], options());
    drop(board);
    let deadline = clock::now() + PATIENCE;
    // The waker is dropped with the thread, and its channel closes.
    let end = loop {
        if let Err(end) = changes.recv_deadline(deadline) {
            break end;
        }
    };
    assert_eq!(end, RecvTimeoutError::Disconnected);
}

#[test]
fn each_attempt_is_logged_once_without_the_query() {
    let provider = Provider::start(response("500 Internal Server Error", "", ""));
    let reader = Reader::start(&[&provider], options());
    let failed = reader.wait("a failure", |state| failed_with(state, "500"));
    provider.answers(set("a b", 3600));
    let state = reader.wait_keys("a b");
    assert!(state.attempt_count > failed.attempt_count);
    let log = logged();
    let shown = format!("key_set=\"http://{}/keys\"", provider.address);
    let lines: Vec<_> = log.lines().filter(|line| line.contains(&shown)).collect();
    assert_eq!(lines.len(), usize::try_from(state.attempt_count).unwrap(), "{lines:#?}");
    for part in [" WARN ", "key set not fetched", "it answers 500", "retry_in_s="] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    let last = lines[lines.len() - 1];
    for part in [" INFO ", "key set fetched", "key_count=2", "refresh_in_s="] {
        assert!(last.contains(part), "{part} in {last}");
    }
    assert!(!log.contains("SECRET"), "{log}");
}
