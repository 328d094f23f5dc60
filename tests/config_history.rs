//! The configuration of what is kept: families of topics, history, the store, polling and the pace of
//! coming back; from outside, sources in, settings or all problems out.

use std::io;
use std::path::Path;
use std::time::Duration;

use fanwire::config::{self, ConfigError, ConfigFile, Loaded, Settings, Sources};
use fanwire::model::application::Application;
use fanwire::model::family::{Family, HistoryLimits, SlowConsumer};
use fanwire::model::pattern::Patterns;
use fanwire::model::rate::{Period, Rate};
use fanwire::model::topic::TopicName;
use fanwire::shard::options::{
    DrainOptions, HistoryOptions, Options, PollOptions, SocketOptions, SseOptions,
};
use fanwire::store::StoreOptions;

const DAY_MS: u64 = 86_400_000;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    config::load(&Sources {
        file: Some(ConfigFile { name: "f.toml".to_owned(), text: file.to_owned() }),
        environment: environment.iter().map(own).collect(),
        flags: Vec::new(),
        read: &|_: &Path| Err(io::Error::from(io::ErrorKind::NotFound)),
    })
}

fn settings(file: &str) -> Settings {
    load(file, &[]).unwrap_or_else(|error| panic!("{error}")).settings
}

/// Every problem as it is shown.
fn problems(file: &str) -> Vec<String> {
    let error = load(file, &[]).expect_err("problems were expected");
    error.problems().iter().map(ToString::to_string).collect()
}

/// An open application `a` on lines 1–3, and `rules` from line 4 on.
fn application(rules: &str) -> String {
    format!("[[applications]]\nid = 'a'\nopen = true\n{rules}\n")
}

fn first(settings: &Settings) -> &Application {
    settings.applications.iter().next().expect("one is declared").1
}

#[test]
fn families_are_read_in_the_files_order_with_the_applications_own_last() {
    let file = "store.path = '/var/lib/fanwire/store.db'\n".to_owned()
        + &application(
            "slow_consumer = 'recover'\nsends_last = true\ndurable = true\n\
             idempotency_window = '24h'\n\
             history = { count_max = 10_000_000, size_max = '1TiB', age_max = '3650d' }\n\
             [[applications.topics]]\npatterns = ['prices/*', '!prices/x']\n\
             history_count_max = 1\nhistory_size_max = 100\nhistory_age_max = '0s'\n\
             slow_consumer = 'keep_latest'\nsends_last = true\n\
             [[applications.topics]]\npatterns = ['chat*']\nslow_consumer = 'drop_oldest'\n\
             history_age_max = '7d'\ndurable = true\n\
             [[applications.topics]]\npatterns = ['*']\nhistory_count_max = 0\n\
             [[applications.topics]]\npatterns = ['never-reached']\nhistory_size_max = 0\n",
        );
    let settings = settings(&file);
    let family =
        |patterns: &[&str]| Family { patterns: Patterns::new(patterns), ..Family::default() };
    let prices = Family {
        history: HistoryLimits { count_max: 1, size_max: 100, age_max_ms: None },
        slow_consumer: SlowConsumer::KeepLatest,
        sends_last: true,
        ..family(&["prices/*", "!prices/x"])
    };
    let chat = Family {
        history: HistoryLimits { age_max_ms: Some(7 * DAY_MS), ..HistoryLimits::default() },
        slow_consumer: SlowConsumer::DropOldest,
        durable: true,
        ..family(&["chat*"])
    };
    let unkept = Family { history: HistoryLimits::NONE, ..family(&["*"]) };
    let unreached = Family { history: HistoryLimits::NONE, ..family(&["never-reached"]) };
    let rest = Family {
        history: HistoryLimits {
            count_max: 10_000_000,
            size_max: 1 << 40,
            age_max_ms: Some(3650 * DAY_MS),
        },
        slow_consumer: SlowConsumer::Recover,
        sends_last: true,
        durable: true,
        ..family(&["*"])
    };
    let read = first(&settings);
    assert_eq!(read.families, [prices, chat, unkept, unreached, rest]);
    assert_eq!(read.idempotency_window_ms, DAY_MS);
}

#[test]
fn only_zero_is_no_limit_of_age_and_no_window() {
    let cases = [("'0s'", None), ("0", None), ("'1us'", Some(1)), ("'1001us'", Some(2))];
    for (span, expected) in cases {
        let rules = format!("history.age_max = {span}\nidempotency_window = {span}");
        let settings = settings(&application(&rules));
        let read = first(&settings);
        assert_eq!(read.families[0].history.age_max_ms, expected, "{span}");
        assert_eq!(read.idempotency_window_ms, expected.unwrap_or(0), "{span}");
    }
}

#[test]
fn promises_without_anything_behind_them_are_refused_all_at_once() {
    let file = application(
        "durable = true\nslow_consumer = 'recover'\nsends_last = true\nhistory.size_max = 0\n\
         [[applications.topics]]\npatterns = ['a']\nhistory_count_max = 0\nhistory_size_max = 0\n\
         slow_consumer = 'drop_oldest'\n\
         [[applications.topics]]\npatterns = ['b']\nhistory_count_max = 0\nsends_last = true\n\
         slow_consumer = 'keep_latest'\n\
         [[applications.topics]]\npatterns = ['c']\ndurable = true",
    );
    let (size, topics) = ("applications[0].history.size_max", "applications[0].topics");
    let expected = [
        format!("f.toml:4: applications[0].durable: needs history, and {size} is 0"),
        "f.toml:4: applications[0].durable: needs a store: set store.path".to_owned(),
        format!("f.toml:5: applications[0].slow_consumer: needs history, and {size} is 0"),
        format!("f.toml:6: applications[0].sends_last: needs history, and {size} is 0"),
        format!(
            "f.toml:12: {topics}[0].slow_consumer: needs history, and \
             {topics}[0].history_count_max is 0"
        ),
        format!(
            "f.toml:16: {topics}[1].sends_last: needs history, and {topics}[1].history_count_max \
             is 0"
        ),
        format!(
            "f.toml:17: {topics}[1].slow_consumer: needs history, and \
             {topics}[1].history_count_max is 0"
        ),
        format!("f.toml:20: {topics}[2].durable: needs a store: set store.path"),
    ];
    assert_eq!(problems(&file), expected);
    // What is wrong with the path itself is one problem, not one more per durable family.
    for path in ["3", "':memory:'"] {
        let file = format!("store.path = {path}\n") + &application("durable = true");
        let found = problems(&file);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("f.toml:1: store.path: "), "{found:?}");
    }
    settings(&("store.path = 'x'\n".to_owned() + &application("durable = true")));
}

#[test]
fn what_is_wrong_with_a_key_is_told() {
    let topics = |rules: &str| format!("[[applications.topics]]\n{rules}");
    let cases = [
        ("history.count_max = 10000001".to_owned(), "a whole number from 0 to 10000000, found"),
        ("history.size_max = '2TiB'".to_owned(), "a size from 0 to 1TiB, such as"),
        ("history.age_max = '3651d'".to_owned(), "a duration from 0s to 3650d, such as"),
        ("history.age_max = 'forever'".to_owned(), "history.age_max: expected a duration"),
        ("idempotency_window = '25h'".to_owned(), "a duration from 0s to 1d, such as"),
        ("slow_consumer = 'drop'".to_owned(), "one of close, drop_oldest, keep_latest, recover"),
        ("sends_last = 1".to_owned(), "sends_last: expected true or false, found 1"),
        ("history_count_max = 1".to_owned(), "did you mean `applications[].history.count_max`?"),
        ("topic = []".to_owned(), "did you mean `applications[].topics`?"),
        (topics(""), "topics[0].patterns: needs at least one pattern"),
        (topics("patterns = []"), "topics[0].patterns: needs at least one pattern"),
        (topics("patterns = ['a', '']"), "topics[0].patterns: holds an empty text"),
        (topics("patterns = 'a'"), "topics[0].patterns: expected a list of texts"),
        (topics("patterns = ['a']\nhistory_age_max = -1"), "topics[0].history_age_max: expected"),
        (topics("pattern = ['a']\npatterns = ['a']"), "`applications[].topics[].patterns`?"),
    ];
    for (rules, expected) in cases {
        let found = problems(&application(&rules));
        assert_eq!(found.len(), 1, "{rules}: {found:?}");
        assert!(found[0].contains(expected), "{rules}: {found:?}");
        assert!(found[0].starts_with("f.toml:"), "{rules}: {found:?}");
    }
}

#[test]
fn families_and_patterns_have_a_limit() {
    let entry = |patterns: usize| {
        format!("[[applications.topics]]\npatterns = [{}]\n", "'a', ".repeat(patterns))
    };
    let most = application(&entry(256).repeat(64));
    assert_eq!(first(&settings(&most)).families.len(), 65);
    let found = problems(&(most + &entry(1)));
    assert_eq!(found, ["f.toml:1: applications[0].topics: at most 64 can be declared"]);
    let found = problems(&application(&entry(257)));
    assert_eq!(
        found,
        ["f.toml:5: applications[0].topics[0].patterns: at most 256 patterns can be listed"]
    );
}

#[test]
fn families_come_from_the_environment_whole_and_by_the_key_and_are_shown() {
    let environment = [
        ("FANWIRE_APPLICATIONS_0_TOPICS", "[{ patterns = ['e'], history_age_max = '7d' }]"),
        ("FANWIRE_APPLICATIONS_0_TOPICS_1_PATTERNS", "f,g"),
        ("FANWIRE_APPLICATIONS_0_HISTORY_COUNT_MAX", "7"),
        ("FANWIRE_APPLICATIONS_0_SENDS_LAST", "true"),
        ("FANWIRE_STORE_PATH", "/data/s.db"),
    ];
    let file = "buzzpost_application = 'a'\n".to_owned()
        + &application("[[applications.topics]]\npatterns = ['gone']");
    let loaded = load(&file, &environment).unwrap_or_else(|error| panic!("{error}"));
    let families = &first(&loaded.settings).families;
    let patterns: Vec<_> = families.iter().map(|family| family.patterns.clone()).collect();
    assert_eq!(patterns, [&["e"][..], &["f", "g"], &["*"]].map(Patterns::new));
    assert_eq!((families[2].history.count_max, families[2].sends_last), (7, true));
    let shown = loaded.show();
    let expected = [
        "memory_max = \"256MiB\"",
        "path = \"/data/s.db\"  # environment FANWIRE_STORE_PATH",
        "slow_consumer = \"close\"",
        "sends_last = true  # environment FANWIRE_APPLICATIONS_0_SENDS_LAST",
        "[applications.history]",
        "count_max = 7  # environment FANWIRE_APPLICATIONS_0_HISTORY_COUNT_MAX",
        "[[applications.topics]]",
        "patterns = [\"e\"]  # environment FANWIRE_APPLICATIONS_0_TOPICS",
        "history_age_max = \"7d\"  # environment FANWIRE_APPLICATIONS_0_TOPICS",
        "patterns = [\"f\", \"g\"]  # environment FANWIRE_APPLICATIONS_0_TOPICS_1_PATTERNS",
    ];
    let mut lines = shown.lines();
    for line in expected {
        assert!(lines.any(|shown| shown == line), "{line} is missing or out of order in {shown}");
    }
    // What is shown is a file that says the same.
    assert_eq!(first(&settings(&shown)).families, *families);
}

#[test]
fn what_shards_and_store_are_told_is_read() {
    let file = "history.memory_max = '1MiB'\n\
                store = { path = 'data/s.db', commit_count_max = 9, sync = false }\n\
                [poll]\nwait_max = '5m'\nmessages_max = 1000\nsize_max = '2KiB'\ntopics_max = 3\n\
                [sse]\nretry_jitter = '150ms'\n\
                [server]\nstop_delay = '4s'\nstop_spread = '5999ms'\n\
                [shards]\naccept_rate = '90/m burst 2'\n";
    let settings = settings(file);
    let store = StoreOptions { commit_count_max: 9, sync: false, ..StoreOptions::new("data/s.db") };
    assert_eq!(settings.store, Some(store));
    assert_eq!(settings.server.stop_delay, Duration::from_secs(4));
    let expected = Options {
        history: HistoryOptions { memory_max: 1 << 20 },
        poll: PollOptions {
            wait_max: Duration::from_mins(5),
            messages_max: 1000,
            size_max: 2048,
            topics_max: 3,
        },
        sse: SseOptions { retry_jitter: Duration::from_millis(150), ..SseOptions::default() },
        drain: DrainOptions { spread: Duration::from_millis(5999) },
        socket: SocketOptions {
            accept_rate: Some(Rate { units: 90, per: Period::Minute, burst: 2 }),
            ..SocketOptions::default()
        },
        ..Options::default()
    };
    assert_eq!(settings.shard, expected);
}

#[test]
fn options_of_sockets_are_off_unless_set() {
    let read = |file: &str| settings(file).shard.socket;
    assert_eq!(read(""), SocketOptions::default());
    assert_eq!(
        read(
            "shards.socket = { notsent_lowat = '16KiB', user_timeout = '30s', busy_poll = '50us' }"
        ),
        SocketOptions {
            notsent_lowat: Some(16_384),
            user_timeout: Some(Duration::from_secs(30)),
            busy_poll: Some(Duration::from_micros(50)),
            ..SocketOptions::default()
        }
    );
    assert_eq!(
        read("shards.socket.user_timeout = '1us'").user_timeout,
        Some(Duration::from_millis(1))
    );
    assert_eq!(problems("shards.socket.busy_poll = '11ms'").len(), 1);
    assert!(settings("shards.steer_by_cpu = true").server.steer_by_cpu);
    assert_eq!(
        problems("shards = { steer_by_cpu = true, pin = false }"),
        [
            "f.toml:1: shards.steer_by_cpu: needs shards.pin = true: a shard that moves between CPUs \
          has none"
        ]
    );
}

#[test]
fn a_stop_has_closed_everyone_before_its_end() {
    let told = |key: &str, spans: &str| {
        format!(
            "f.toml:1: server.{key}: server.stop_delay + server.stop_spread must be below \
             server.stop_timeout: {spans}, and whoever is left then is cut off"
        )
    };
    let cases = [
        ("server.stop_spread = '10s'", told("stop_spread", "0s + 10s is not below 10s")),
        ("server.stop_delay = '10s'", told("stop_delay", "10s + 0s is not below 10s")),
        (
            "server = { stop_delay = '8s', stop_spread = '2s' }",
            told("stop_spread", "8s + 2s is not below 10s"),
        ),
        (
            "server = { stop_timeout = '2s', stop_spread = '1s', stop_delay = '1s' }",
            told("stop_spread", "1s + 1s is not below 2s"),
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(problems(file), [expected], "{file}");
    }
    assert_eq!(problems("server.stop_spread = '11m'").len(), 1);
    // A spread that nobody set gives way.
    let shortened = settings("server = { stop_delay = '8s' }");
    assert_eq!(shortened.shard.drain.spread, Duration::from_secs(1));
    let shortened = settings("server.stop_timeout = '1s'");
    assert_eq!(shortened.shard.drain.spread, Duration::from_millis(500));
    settings("server = { stop_timeout = '1s', stop_spread = '0s' }");
    settings("server = { stop_timeout = '0s', stop_spread = '0s' }");
}

#[test]
fn the_simple_form_of_polling_has_an_application_and_a_topic() {
    let read = |file: &str| {
        let settings = settings(file);
        let found = settings.applications.simple_poll();
        found.map(|(index, topic)| (settings.applications.get(index).id.to_string(), topic.clone()))
    };
    let two = application("") + "[[applications]]\nid = 'b'\nopen = true\n";
    let named = |id: &str, topic: &str| Some((id.to_owned(), TopicName::new(topic).unwrap()));
    assert_eq!(read(&two), None);
    assert_eq!(read("poll.simple_application = 'demo'"), named("demo", "main"));
    let file = "poll = { simple_application = 'b', simple_topic = 'secure/x' }\n".to_owned() + &two;
    assert_eq!(read(&file), named("b", "secure/x"));
    let cases = [
        ("poll.simple_application = 'c'", "simple_application: there is no application \"c\""),
        ("poll.simple_topic = ''", "simple_topic: a topic's name has at least 1 byte"),
        ("poll.simple_topic = 'priv/x'", "simple_topic: is private: `priv/*` is never"),
        ("poll.messages_max = 0", "messages_max: expected a whole number from 1 to 1000"),
        ("poll.wait_max = '6m'", "wait_max: expected a duration from 0s to 300s"),
        ("poll.simple_aplication = 'a'", "did you mean `poll.simple_application`?"),
    ];
    for (rule, expected) in cases {
        let found = problems(&format!("{rule}\n{two}"));
        assert_eq!(found.len(), 1, "{rule}: {found:?}");
        assert!(
            found[0].starts_with("f.toml:1: poll.") && found[0].contains(expected),
            "{found:?}"
        );
    }
}
