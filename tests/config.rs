//! The configuration from outside: sources in, settings or all problems out.

use std::io;
use std::path::Path;
use std::time::Duration;

use fanwire::config::{
    self, ConfigError, ConfigFile, Flag, Loaded, ServerOptions, Settings, Sources, default_file,
};
use fanwire::model::application::{AppLimits, CorsOrigins};
use fanwire::model::topic::TopicName;
use fanwire::shard::options::{Driver, Options, SendPath};
use fanwire::telemetry::{LogFormat, LogOptions};

const SECRET: &str = "8f3a91c4d2e7b605";
const OTHER_SECRET: &str = "1b7e66d0a95f4c23";

fn read(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/secret") => Ok(format!("{SECRET}\n")),
        Some("/level") => Ok("debug\r\n".to_owned()),
        Some("/run/credentials/fanwire.service/demo-key") => Ok(OTHER_SECRET.to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn load(file: &str, environment: &[(&str, &str)], flags: &[Flag]) -> Result<Loaded, ConfigError> {
    let file = ConfigFile { name: "f.toml".to_owned(), text: file.to_owned() };
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    config::load(&Sources {
        file: Some(file),
        environment: environment.iter().map(own).collect(),
        flags: flags.to_vec(),
        read: &read,
    })
}

fn settings(file: &str, environment: &[(&str, &str)]) -> Settings {
    load(file, environment, &[]).unwrap_or_else(|error| panic!("{error}")).settings
}

/// Every problem as it is shown.
fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let error = load(file, environment, &[]).expect_err("problems were expected");
    let shown = format!("{error}\n{error:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(OTHER_SECRET), "{shown}");
    error.problems().iter().map(ToString::to_string).collect()
}

/// One application with a key, and `more` in it before the key.
fn application(more: &str) -> String {
    let key = format!("[[applications.keys]]\nsecret = \"{SECRET}\"\nrights = [\"publish\"]\n");
    format!("[[applications]]\nid = \"a\"\n{more}\n{key}")
}

fn assert_default(settings: &Settings) {
    let server = ServerOptions {
        listen: ([127, 0, 0, 1], 8480).into(),
        stop_timeout: Duration::from_secs(10),
        shard_count: None,
        pin: true,
    };
    assert_eq!(settings.server, server);
    assert_eq!(settings.shard, Options::default());
    assert_eq!(settings.log, LogOptions::default());
}

#[test]
fn nothing_written_means_the_defaults_and_an_open_demo_application() {
    let settings = settings("", &[]);
    assert_default(&settings);
    let demo = settings.applications.find("demo").unwrap();
    assert_eq!(settings.applications.buzzpost(), Some(demo));
    assert_eq!(settings.applications.iter().count(), 1);
    let demo = settings.applications.get(demo);
    assert!(demo.open && demo.enabled && demo.keys.is_empty() && demo.client_inbound_ack_enabled);
    assert_eq!(demo.limits, AppLimits::default());
    assert_eq!(demo.cors_origins, CorsOrigins::Any);
}

#[test]
fn the_default_file_says_what_the_defaults_are() {
    let text = default_file();
    assert_default(&settings(&text, &[]));
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_default_files_example_application_has_the_defaults_too() {
    // A commented key has no space behind its mark, prose has one.
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c != ' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<_> = default_file().lines().map(uncommented).collect();
    let text = text.join("\n").replace("secret = \"\"\n", "");
    let settings = settings(&text, &[]);
    let (_, application) = settings.applications.iter().next().unwrap();
    assert_eq!(&*application.id, "demo");
    assert!(application.enabled && !application.open);
    assert_eq!(application.limits, AppLimits::default());
    assert_eq!(application.cors_origins, CorsOrigins::Any);
    assert_eq!(&*application.keys[0].secret, OTHER_SECRET);
}

#[test]
fn every_source_overrides_the_one_before() {
    let file = "[shards]\ncount = 1\ndriver = 'epoll'\nsend = 'ring'\n[log]\nlevel = 'warn'\n";
    let environment = [
        ("FANWIRE_SHARDS_COUNT", "2"),
        ("FANWIRE_SHARDS_DRIVER", "uring"),
        ("FANWIRE_LOG_LEVEL_FILE", "/level"),
        ("FANWIRE_LOG_FORMAT", ""),
        ("FANWIRE_PORT", "tcp://10.0.0.1:8480"),
        ("HOME", "/"),
    ];
    let flag = Flag { name: "--shards", path: "shards.count", value: "3".to_owned() };
    let loaded = load(file, &environment, &[flag]).unwrap();
    assert_eq!(loaded.settings.server.shard_count, Some(3));
    assert_eq!(loaded.settings.shard.driver, Driver::Uring);
    assert_eq!(loaded.settings.shard.send, SendPath::Ring);
    assert_eq!(loaded.settings.log.level, tracing::Level::DEBUG);
    assert_eq!(loaded.settings.log.format, LogFormat::Text);
    let shown = loaded.show();
    for line in [
        "count = 3  # --shards",
        "driver = \"uring\"  # environment FANWIRE_SHARDS_DRIVER",
        "send = \"ring\"  # f.toml:4",
        "format = \"text\"",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
}

#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let file = "buzzpost_application = 'nobody'\n[sever]\nlisten = 'x'\n[shards]\ncount = 65\n\
                pin = 'yes'\ndriver = 'kqueue'\n[http]\nhead_size = 1\nidle_timeout = '75'\n\
                [log.level]\n";
    let environment = [("FANWIRE_SHARDS_PINN", "true"), ("FANWIRE_SERVER_LISTEN", "localhost")];
    let expected = [
        "f.toml:1: buzzpost_application: there is no application \"nobody\"",
        "f.toml:2: sever: there is no such key; did you mean `server`?",
        "f.toml:5: shards.count: expected a whole number from 0 to 64, found 65",
        "f.toml:6: shards.pin: expected true or false, found \"yes\"",
        "f.toml:7: shards.driver: expected one of auto, uring, epoll, found \"kqueue\"",
        "f.toml:9: http.head_size: there is no such key; did you mean `http.head_size_max`?",
        "f.toml:10: http.idle_timeout: expected a duration from 100ms to 86400s, such as \"15s\" \
         or \"200ms\", found \"75\"",
        "f.toml:11: log.level: expected one of error, warn, info, debug, trace, found a table",
        "environment FANWIRE_SERVER_LISTEN: server.listen: expected an IP address and port, such \
         as 127.0.0.1:8480 or [::1]:8480, found \"localhost\"",
        "environment FANWIRE_SHARDS_PINN: no key has this variable; did you mean \
         FANWIRE_SHARDS_PIN?",
    ];
    assert_eq!(problems(file, &environment), expected);
}

#[test]
fn shapes_that_are_not_keys_are_refused() {
    let cases = [
        ("http = 3", "f.toml:1: http: is a section: expected a table"),
        ("'shards.count' = 3", "f.toml:1: shards.count: there is no such key"),
        ("applications = 3", "f.toml:1: applications: expected a list of tables"),
        ("applications = [3]", "f.toml:1: applications[0]: expected a table"),
        ("[shards\ncount = 3", "f.toml:1: "),
        ("[http]\na.b = 1", "f.toml:2: http.a: there is no such key"),
    ];
    for (file, expected) in cases {
        let found = problems(file, &[]);
        assert!(found[0].starts_with(expected), "{file}: {found:?}");
    }
}

#[test]
fn an_application_is_read_with_its_keys() {
    let file = format!(
        "buzzpost_application = 'b'\n[[applications]]\nid = 'a'\nclient_inbound_ack_enabled = false\n\
         cors_origins = ['https://a.example', 'http://[::1]:3000']\nlimits.subscriptions_max = 7\n\
         limits.realtime_payload_size_max = '1KiB'\n[[applications.keys]]\nsecret_file = '/secret'\n\
         rights = ['publish', 'subscribe', 'admin']\ntopics = ['news*', '!news/x']\n\
         [[applications.keys]]\nsecret = '{OTHER_SECRET}'\nrights = ['subscribe']\n\
         [[applications]]\nid = 'b'\nopen = true\n"
    );
    let settings = settings(&file, &[]);
    assert_eq!(settings.applications.buzzpost(), settings.applications.find("b"));
    let a = settings.applications.get(settings.applications.find("a").unwrap());
    assert!(!a.open && !a.client_inbound_ack_enabled);
    let origins = ["https://a.example", "http://[::1]:3000"].map(Box::from);
    assert_eq!(a.cors_origins, CorsOrigins::List(origins.to_vec()));
    let limits =
        AppLimits { subscriptions_max: 7, realtime_payload_size_max: 1024, ..AppLimits::default() };
    assert_eq!(a.limits, limits);
    let [all, one] = &*a.keys else { panic!("{:?}", a.keys) };
    assert_eq!((&*all.secret, &*one.secret), (SECRET, OTHER_SECRET));
    let topic = |name| TopicName::new(name).unwrap();
    assert!(all.identity.rights.manage.connections && !one.identity.rights.manage.connections);
    assert!(
        all.identity.rights.may_publish(&topic("news/y"))
            && !all.identity.rights.may_publish(&topic("news/x"))
    );
    assert!(
        one.identity.rights.may_subscribe(&topic("any"))
            && !one.identity.rights.may_publish(&topic("any"))
    );
    assert_eq!(*one.identity.rights.presented, ["realtime:subscriber:read:topic:*"]);
    assert_eq!(all.identity.rights.presented.len(), 7);
}

#[test]
fn applications_come_from_the_environment_whole_and_by_the_key() {
    let json = format!(
        "[{{\"id\":\"e\",\"keys\":[{{\"secret\":\"{OTHER_SECRET}\",\"rights\":[\"publish\"]}}]}}]"
    );
    let toml =
        format!("[{{ id = 'e', keys = [{{ secret = '{OTHER_SECRET}', rights = ['publish'] }}] }}]");
    for whole in [json, toml] {
        let environment = [
            ("FANWIRE_APPLICATIONS_0_KEYS_0_SECRET_FILE", "/secret"),
            ("FANWIRE_APPLICATIONS_0_LIMITS_SUBSCRIPTIONS_MAX", "9"),
            ("FANWIRE_APPLICATIONS", &*whole),
            ("FANWIRE_APPLICATIONS_1_ID", "f"),
            ("FANWIRE_APPLICATIONS_1_OPEN", "true"),
        ];
        let file = application("cors_origins = ['https://gone.example']");
        let problem = problems(&file, &environment);
        assert_eq!(
            problem,
            ["environment FANWIRE_APPLICATIONS_0_KEYS_0_SECRET_FILE: applications[0].keys[0].\
              secret_file: secret is set too; keep one of them"]
        );
        let settings = settings(&file, &environment[1..]);
        let ids: Vec<_> = settings.applications.iter().map(|(_, app)| &*app.id).collect();
        assert_eq!(ids, ["e", "f"]);
        let e = settings.applications.get(settings.applications.find("e").unwrap());
        assert_eq!((&*e.keys[0].secret, e.limits.subscriptions_max), (OTHER_SECRET, 9));
        assert_eq!(e.cors_origins, CorsOrigins::Any);
    }
    let twice = [("FANWIRE_LOG_LEVEL", "info"), ("FANWIRE_LOG_LEVEL_FILE", "/level")];
    assert!(problems("", &twice)[0].ends_with("is set by FANWIRE_LOG_LEVEL too; keep one of them"));
    let lost = [("FANWIRE_LOG_LEVEL_FILE", "/hunter2")];
    let found = problems("", &lost);
    assert!(
        found[0].contains("cannot read the file") && !found[0].contains("hunter2"),
        "{found:?}"
    );
}

#[test]
fn what_is_wrong_with_an_application_is_told_without_its_secrets() {
    let key = |text: &str| format!("[[applications]]\nid = 'a'\n[[applications.keys]]\n{text}\n");
    let good = format!("secret = '{SECRET}'\nrights = ['publish']");
    let cases = [
        ("[[applications]]\nid = '..'\nopen = true".to_owned(), "every application needs an id"),
        ("[[applications]]\nid = 'a/b'\nopen = true".to_owned(), "every application needs an id"),
        ("[[applications]]\nid = 'a'".to_owned(), "nobody can use it"),
        (application("") + &application(""), "applications[1].id: is the id of applications[0]"),
        (
            key("secret = 'changeme'\nrights = ['publish']"),
            "f.toml:4: applications[0].keys[0].secret: is shorter",
        ),
        (key("secret = 'changemechangeme'\nrights = ['publish']"), "is a placeholder"),
        (key("secret = 8181818181818181\nrights = ['publish']"), "secret: expected text"),
        (key("secret_file = '/none'\nrights = ['publish']"), "secret_file: cannot read the file"),
        (key("rights = ['publish']"), "applications[0].keys[0]: needs a secret or a secret_file"),
        (key(&format!("secret = '{SECRET}'")), "rights: needs at least one of"),
        (key(&format!("secret = '{SECRET}'\nrights = ['write']")), "\"write\" is no right"),
        (
            key(&format!("{good}\n[[applications.keys]]\n{good}")),
            "has the same secret as applications[0].keys[0]",
        ),
        (application("cors_origins = ['*', 'https://a']"), "\"*\" stands alone"),
        (application("cors_origins = ['https://a/']"), "\"https://a/\" is no origin"),
        (application("cors_origins = ['a.example']"), "\"a.example\" is no origin"),
        (
            application("limits.realtime_payload_size_max = '64KiB'"),
            "does not fit websocket.message_size_max = 65536",
        ),
        (
            application(
                "limits.native_payload_size_max = '4MiB'\nlimits.outbound_size_max = '8MiB'",
            ),
            "does not fit publish.body_size_max",
        ),
    ];
    for (file, expected) in cases {
        let found = problems(&file, &[]);
        assert_eq!(found.len(), 1, "{file}: {found:?}");
        assert!(found[0].contains(expected), "{file}: {found:?}");
        assert!(!found[0].contains("8181"), "{found:?}");
    }
}

#[test]
fn an_entry_without_any_key_is_not_overlooked() {
    let found = problems("[log]\n[[applications]]\n", &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("f.toml:2: applications[0].id: every application needs an id"));
    assert!(found[1].starts_with("f.toml:2: applications[0]: nobody can use it"));
}

#[test]
fn two_refused_secrets_are_not_called_equal() {
    let key = "[[applications.keys]]\nsecret = 'short'\nrights = ['publish']\n";
    let found = problems(&format!("[[applications]]\nid = 'a'\n{key}{key}"), &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|problem| problem.contains("is shorter")), "{found:?}");
}

#[test]
fn an_open_application_is_kept_off_other_machines() {
    for listen in ["0.0.0.0:8480", "[::]:8480", "192.0.2.1:80"] {
        let found = problems("", &[("FANWIRE_SERVER_LISTEN", listen)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("environment FANWIRE_SERVER_LISTEN: server.listen: "));
        for part in ["`demo`", "declare keys", "listen on loopback", listen] {
            assert!(found[0].contains(part), "{part} in {found:?}");
        }
        settings(&application(""), &[("FANWIRE_SERVER_LISTEN", listen)]);
        let closed = application("") + "[[applications]]\nid = 'o'\nopen = true\nenabled = false\n";
        settings(&closed, &[("FANWIRE_SERVER_LISTEN", listen)]);
    }
    settings("server.listen = '[::1]:0'", &[]);
    settings("server.listen = '127.0.0.2:0'", &[]);
}

#[test]
fn relations_between_keys_are_checked_once() {
    let text = "websocket.ping_interval = '30s'\nhttp.target_size_max = '17KiB'\n";
    let found = problems(&(text.to_owned() + &application("")), &[]);
    assert_eq!(
        found,
        [
            "f.toml:2: http.target_size_max: must not be above http.head_size_max, of which it is \
             a part",
            "f.toml:3: applications[0].limits.idle_timeout: must be above \
             websocket.ping_interval: no client would live to answer",
        ]
    );
    // Judged against the default that stands in for it, this idle time would be a second problem.
    let text = "websocket.ping_interval = 'soon'\n".to_owned();
    let found = problems(&(text + &application("limits.idle_timeout = '20s'")), &[]);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    let loaded = load(&application(""), &[], &[]).unwrap();
    let (shown, debugged) = (loaded.show(), format!("{loaded:?}"));
    assert!(!shown.contains(SECRET) && !debugged.contains(SECRET), "{shown}\n{debugged}");
    assert!(shown.contains("secret = \"***\"  # f.toml:5"), "{shown}");
    assert!(shown.contains("[[applications.keys]]"), "{shown}");
}
