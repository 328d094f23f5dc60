//! The configuration from outside: sources in, settings or all problems out.

use std::io;
use std::path::Path;
use std::time::Duration;

use fanwire::config::{
    self, AdminOptions, ConfigError, ConfigFile, Flag, Loaded, ServerOptions, Settings, Sources,
    default_file,
};
use fanwire::integrations::KeySetOptions;
use fanwire::model::address::AddressList;
use fanwire::model::application::{
    AppLimits, Application, CorsOrigins, PresenceOptions, SameSubject,
};
use fanwire::model::family::Family;
use fanwire::model::pattern::Patterns;
use fanwire::model::rate::{Period, Rate};
use fanwire::model::token::{
    Algorithm, KeySetIndex, KeySetSource, KeySource, KeyText, TokenExpiry, TokenKey,
};
use fanwire::model::topic::TopicName;
use fanwire::shard::options::{Driver, Options, SendPath};
use fanwire::telemetry::{LogFormat, LogOptions};

const SECRET: &str = "8f3a91c4d2e7b605";
const OTHER_SECRET: &str = "1b7e66d0a95f4c23";
/// A public key on P-521, for ES512.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQB0Fr8CzJnUfXRqmSwSDX3acpUHznk
yqsna58OiGIkFPz5skZbTXcYhsE/hjVn2qI7+J3dgz9UfMvW6wk6MNlSXKEByag2
R4ivjxqPoV1bZZ/mM5rvEz0/3zI3M7daFT52OmyARSiJTI1+KKgZZAjL797hgm+t
4A8qAFU7GMcx2X9/7Ag=
-----END PUBLIC KEY-----";

fn read(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/secret") => Ok(format!("{SECRET}\n")),
        Some("/public.pem" | "/etc/fanwire/public.pem") => Ok(format!("{PUBLIC_KEY}\n")),
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
        stop_delay: Duration::ZERO,
        shard_count: None,
        pin: true,
        steer_by_cpu: false,
        huge_pages: false,
    };
    assert_eq!(settings.server, server);
    let admin =
        AdminOptions { listen: Some(([127, 0, 0, 1], 8481).into()), is_default: true, token: None };
    assert_eq!(settings.admin, admin);
    assert_eq!(settings.shard, Options::default());
    assert_eq!(settings.log, LogOptions::default());
    assert_eq!(settings.store, None);
    assert!(settings.applications.simple_poll().is_none());
    let key_sets = KeySetOptions {
        refresh_min: Duration::from_mins(1),
        refresh_max: Duration::from_hours(1),
        stale_max: Duration::from_hours(24),
        cool_down: Duration::from_secs(10),
        fetch_timeout: Duration::from_secs(5),
        body_size_max: 256 << 10,
        ..KeySetOptions::default()
    };
    assert_eq!(settings.key_sets, key_sets);
}

/// Every field but the id and the keys, as text: what a default is compared by.
fn without_keys(application: &Application) -> String {
    let bare = Application {
        id: "".into(),
        open: false,
        keys: Vec::new(),
        auth_keys: Vec::new(),
        admin_keys: Vec::new(),
        ..application.clone()
    };
    format!("{bare:?}")
}

#[test]
fn nothing_written_means_the_defaults_and_an_open_demo_application() {
    let settings = settings("", &[]);
    assert_default(&settings);
    let demo = settings.applications.find("demo").unwrap();
    assert_eq!(settings.applications.buzzpost(), Some(demo));
    assert_eq!(settings.applications.iter().count(), 1);
    let demo = settings.applications.get(demo);
    assert!(demo.open && demo.keys.is_empty());
    assert_eq!(without_keys(demo), without_keys(&Application::new("demo")));
}

#[test]
fn the_default_file_says_what_the_defaults_are() {
    let text = default_file();
    assert_default(&settings(&text, &[]));
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

fn position(lines: &[String], line: &str) -> usize {
    lines.iter().position(|found| found == line).unwrap_or_else(|| panic!("no {line}"))
}

#[test]
fn the_default_files_example_application_has_the_defaults_too() {
    // A commented key has no space behind its mark, prose has one.
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c != ' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<_> = default_file().lines().map(uncommented).collect();
    // Its example listener's certificates are nowhere.
    let (before, behind) = (position(&text, "[[listeners]]"), position(&text, "[[applications]]"));
    let text: Vec<_> = [&text[..before], &text[behind..]].concat();
    // Of what excludes each other, one stays.
    let excluded = ["secret = ", "key = ", "jwks_uri = "];
    let stays = |line: &&String| !excluded.iter().any(|start| line.starts_with(start));
    let text: Vec<_> = text.iter().filter(stays).cloned().collect();
    let settings = settings(&text.join("\n"), &[]);
    let (_, application) = settings.applications.iter().next().unwrap();
    assert_eq!(&*application.id, "demo");
    assert!(!application.open);
    let orders = Family { patterns: Patterns::new(["orders/*"]), ..Family::default() };
    let families = vec![orders, Family::default()];
    let expected = Application { families, ..Application::new("demo") };
    assert_eq!(without_keys(application), without_keys(&expected));
    assert_eq!(&*application.keys[0].secret, OTHER_SECRET);
    assert_eq!(application.auth_keys, [raw(PUBLIC_KEY, &[Algorithm::Es512])]);
    assert_eq!(application.admin_keys, application.auth_keys);
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
        "verify_time_max = \"250us\"",
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
        "f.toml:10: http.idle_timeout: expected a duration from 100ms to 1d, such as \"15s\" \
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
            application("limits.native_payload_size_max = '4MiB'"),
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
        let by_token = "[[applications]]\nid = 't'\n[[applications.auth_keys]]\n\
                        key_file = '/public.pem'\n";
        settings(by_token, &[("FANWIRE_SERVER_LISTEN", listen)]);
    }
    settings("server.listen = '[::1]:0'", &[]);
    settings("server.listen = '127.0.0.2:0'", &[]);
}

#[test]
fn relations_between_keys_are_checked_once() {
    let found = problems("websocket.ping_interval = '30s'\nhttp.target_size_max = '17KiB'", &[]);
    assert_eq!(
        found,
        [
            "f.toml:1: websocket.ping_interval: must be below limits.idle_timeout of every \
             application, which is 30s unless set: no client would live to answer",
            "f.toml:2: http.target_size_max: must not be above http.head_size_max, of which it is \
             a part",
        ]
    );
    let two =
        application("limits.idle_timeout = '20s'") + "[[applications]]\nid = 'b'\nopen = true";
    assert_eq!(
        problems(&two, &[]),
        [
            "f.toml:3: applications[0].limits.idle_timeout: must be above websocket.ping_interval: no \
          client would live to answer"
        ]
    );
    // Judged against the default that stands in for it, this idle time would be a second problem.
    let file = "websocket.ping_interval = 'soon'\n".to_owned() + &two;
    assert_eq!(problems(&file, &[]).len(), 1);
    settings("websocket.ping_interval = '29999ms'", &[]);
    let found = problems("[key_sets]\nrefresh_min = '2h'\nstale_max = '30m'", &[]);
    assert_eq!(
        found,
        [
            "key_sets.refresh_max: must not be above key_sets.stale_max",
            "f.toml:2: key_sets.refresh_min: must not be above key_sets.refresh_max",
        ]
    );
}

#[test]
fn the_former_idle_timeout_says_where_it_went() {
    assert_eq!(
        problems("websocket.idle_timeout = '60s'", &[]),
        ["f.toml:1: websocket.idle_timeout: there is no such key; did you mean \
          `applications[].limits.idle_timeout`?"]
    );
}

/// A key that the configuration gives, for any issuer and audience.
fn raw(text: &str, algorithms: &[Algorithm]) -> TokenKey {
    TokenKey {
        source: KeySource::Raw(KeyText(text.into())),
        algorithms: algorithms.to_vec(),
        issuers: Vec::new(),
        audiences: Vec::new(),
    }
}

fn jwks(index: u16, algorithms: &[Algorithm]) -> TokenKey {
    TokenKey { source: KeySource::Jwks(KeySetIndex(index)), ..raw("", algorithms) }
}

#[test]
fn an_applications_rules_are_read() {
    let file = application(
        "name = 'Forum'\ndescription = 'Talk.'\ntoken_leeway = '300s'\ntoken_expiry = 'close'\n\
         token_expiry_grace = '1m'\nclient_source_address = ['10.0.0.0/8', '!10.1.0.0/16']\n\
         admin_source_address = ['2001:db8::1']\nenable_websocket_inbound_topic = false\n\
         client_inbound_ack_enabled = false\nsame_subject = 'reject_new'\n\
         cors_origins = ['https://a.example']\ncors_credentials = true\n\
         presence.debounce = '1500ms'\npresence.members_max = 0\n\
         limits.idle_timeout = '45s'\nlimits.connections_per_address = '600/m'\n\
         limits.commands_per_connection = '100/s burst 500'\n\
         limits.bytes_per_connection = '64KiB/s'\nlimits.publishes = '1/m'\n",
    );
    let settings = settings(&file, &[]);
    let (_, read) = settings.applications.iter().next().unwrap();
    let rate = |units, per, burst| Some(Rate { units, per, burst });
    let expected = Application {
        name: "Forum".into(),
        description: "Talk.".into(),
        token_leeway_s: 300,
        token_expiry: TokenExpiry::Close { grace_ms: 60_000 },
        client_source_address: AddressList::new(["10.0.0.0/8", "!10.1.0.0/16"]).unwrap(),
        admin_source_address: AddressList::new(["2001:db8::1"]).unwrap(),
        websocket_inbound_topic_enabled: false,
        client_inbound_ack_enabled: false,
        same_subject: SameSubject::RejectNew,
        cors_origins: CorsOrigins::List(vec!["https://a.example".into()]),
        cors_credentials: true,
        presence: PresenceOptions { debounce_ms: 1500, members_max: 0 },
        limits: AppLimits {
            idle_timeout_ms: 45_000,
            connections_per_address: rate(600, Period::Minute, 10),
            commands_per_connection: rate(100, Period::Second, 500),
            bytes_per_connection: rate(65_536, Period::Second, 65_536),
            publishes: rate(1, Period::Minute, 1),
            ..AppLimits::default()
        },
        ..Application::new("")
    };
    assert_eq!(without_keys(read), without_keys(&expected));
}

#[test]
fn an_applications_token_keys_are_read_and_key_sets_shared() {
    let uri = "https://idp.example.com/jwks";
    let file = format!(
        "[[applications]]\nid = 'a'\n[[applications.auth_keys]]\nkey = '''\n{PUBLIC_KEY}'''\n\
         issuer = ['https://idp.example.com']\naudience = ['fanwire', 'other']\n\
         [[applications.auth_keys]]\nkey = '{SECRET}'\nalgorithms = ['HS256', 'HS512', 'HS256']\n\
         [[applications.auth_keys]]\nsource = 'jwks'\njwks_uri = '{uri}'\nalgorithms = ['ES256']\n\
         [[applications.admin_keys]]\nkey_file = '/public.pem'\n\
         [[applications]]\nid = 'b'\n[[applications.admin_keys]]\nsource = 'jwks'\n\
         jwks_uri = '{uri}'\n[[applications.admin_keys]]\nsource = 'jwks'\njwks_uri = '{uri}'\n\
         allow_private_address = true\nalgorithms = ['RS256']\n"
    );
    let settings = settings(&file, &[]);
    let named = |id| settings.applications.get(settings.applications.find(id).unwrap());
    let (a, b) = (named("a"), named("b"));
    let bound = TokenKey {
        issuers: vec!["https://idp.example.com".into()],
        audiences: vec!["fanwire".into(), "other".into()],
        ..raw(PUBLIC_KEY, &[Algorithm::Es512])
    };
    let secret = raw(SECRET, &[Algorithm::Hs256, Algorithm::Hs512]);
    assert_eq!(a.auth_keys, [bound, secret, jwks(0, &[Algorithm::Es256])]);
    assert_eq!(a.admin_keys, [raw(PUBLIC_KEY, &[Algorithm::Es512])]);
    let asymmetric: Vec<_> =
        Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()).collect();
    assert_eq!(b.admin_keys, [jwks(0, &asymmetric), jwks(1, &[Algorithm::Rs256])]);
    assert!(b.auth_keys.is_empty() && !a.open && !b.open);
    let source = |allow_private| KeySetSource { uri: uri.into(), allow_private };
    assert_eq!(settings.applications.key_sets(), [source(false), source(true)]);
}

#[test]
fn what_is_wrong_with_a_token_key_is_told_without_it() {
    let key =
        |text: &str| format!("[[applications]]\nid = 'a'\n[[applications.auth_keys]]\n{text}\n");
    let hs = |more: &str| key(&format!("key = '{SECRET}'\n{more}"));
    let jwks = |more: &str| key(&format!("source = 'jwks'\n{more}"));
    let cases = [
        (key(""), "f.toml:3: applications[0].auth_keys[0]: needs a key or a key_file"),
        (jwks(""), "f.toml:3: applications[0].auth_keys[0]: needs a jwks_uri"),
        (hs("key_file = '/public.pem'"), "key_file: key is set too; keep one of them"),
        (key("key_file = '/none'"), "key_file: cannot read the file"),
        (key("key = ''"), "f.toml:4: applications[0].auth_keys[0].key: it is not PEM"),
        (
            key("key_file = '/public.pem'\nalgorithms = ['ES256']"),
            "f.toml:4: applications[0].auth_keys[0].key_file: ",
        ),
        (
            key("key_file = '/public.pem'\nalgorithms = ['HS256']"),
            "key_file: a PEM text is no secret",
        ),
        (key("key = 7181818181818181"), "key: expected text"),
        (key("key = 'short'\nalgorithms = ['HS256']"), "key: is shorter than 16 characters"),
        (key("key = 'your-secret-key-here'\nalgorithms = ['HS384']"), "key: is a placeholder"),
        (hs("algorithms = ['HS256', 'ES256']"), "algorithms: mixes HS* with public-key"),
        (hs("algorithms = ['none']"), "\"none\" would let everyone in"),
        (hs("algorithms = ['None']"), "\"none\" would let everyone in"),
        (hs("algorithms = ['hs256']"), "\"hs256\" is no algorithm; did you mean \"HS256\"?"),
        (hs("algorithms = ['ES256K']"), "\"ES256K\" is no algorithm; there are HS256, HS384"),
        (hs("algorithms = 'HS256'"), "algorithms: expected a list of texts"),
        (hs("algorithms = ['HS256']\njwks_uri = 'x'"), "jwks_uri: means nothing with source"),
        (
            hs("algorithms = ['HS256']\nallow_private_address = true"),
            "allow_private_address: means nothing with source = \"raw\"",
        ),
        (hs("algorithms = ['HS256']\nissuer = ['']"), "issuer: holds an empty text"),
        (hs("algorithms = ['HS256']\naudience = ['a', '']"), "audience: holds an empty text"),
        (hs("algorithms = ['HS256']\nsource = 'pem'"), "source: expected one of raw, jwks"),
        (
            jwks(&format!("jwks_uri = 'https://a/'\nkey = '{SECRET}'")),
            "key: means nothing with source = \"jwks\"; remove it",
        ),
        (jwks("jwks_uri = 'https://a/'\nalgorithms = ['HS256']"), "HS* needs a shared secret"),
        (jwks("jwks_uri = 'http://a/'"), "jwks_uri: must be https"),
        (
            jwks(&format!("jwks_uri = 'https://u:{SECRET}@a/'")),
            "jwks_uri: holds a user name or password",
        ),
    ];
    for (file, expected) in cases {
        let found = problems(&file, &[]);
        assert_eq!(found.len(), 1, "{file}: {found:?}");
        assert!(found[0].contains(expected), "{file}: {found:?}");
        assert!(!found[0].contains("7181"), "{found:?}");
    }
    let entry = format!("[[applications.admin_keys]]\nkey = '{SECRET}'\nalgorithms = ['HS256']\n");
    let most = format!("[[applications]]\nid = 'a'\n{}", entry.repeat(8));
    assert_eq!(settings(&most, &[]).applications.iter().next().unwrap().1.admin_keys.len(), 8);
    let found = problems(&(most + &entry), &[]);
    assert_eq!(found, ["f.toml:1: applications[0].admin_keys: at most 8 can be declared"]);
}

#[test]
fn what_is_wrong_with_an_applications_rules_is_told() {
    let long = format!("name = '{}'", "n".repeat(1025));
    let cases = [
        (&*long, "name: is longer than 1024 bytes"),
        ("token_leeway = '301s'", "token_leeway: expected a duration from 0s to 300s"),
        ("token_leeway = '1500ms'", "token_leeway: must be whole seconds"),
        ("token_expiry = 'end'", "token_expiry: expected one of keep, close"),
        ("same_subject = 'both'", "expected one of replace_old, reject_new, allow"),
        ("presence.debounce = '6m'", "presence.debounce: expected a duration from 0s to 300s"),
        ("client_source_address = ['10.0.0.0/33']", "\"10.0.0.0/33\" is no network"),
        ("admin_source_address = ['!', '::/0']", "admin_source_address: \"!\" is no network"),
        ("cors_credentials = true", "cors_credentials: browsers refuse credentials"),
        ("limits.publishes = 100", "limits.publishes: expected \"off\" or a rate from 1 to"),
        ("limits.publishes = '0/s'", "such as \"100/s\", \"600/m\", \"100/s burst 500\", found"),
        ("limits.bytes_per_connection = '1KB/s'", "such as \"64KiB/s\""),
        ("limits.idle_timeout = '50ms'", "limits.idle_timeout: expected a duration from 100ms"),
        ("clientSourceAddress = []", "did you mean `applications[].client_source_address`?"),
        ("authKey = {}", "did you mean `applications[].auth_keys`?"),
        ("enableWebSocketInboundTopic = true", "`applications[].enable_websocket_inbound_topic`?"),
    ];
    for (rule, expected) in cases {
        let found = problems(&application(rule), &[]);
        assert_eq!(found.len(), 1, "{rule}: {found:?}");
        assert!(found[0].contains(expected), "{rule}: {found:?}");
        assert!(found[0].starts_with("f.toml:3: applications[0]."), "{rule}: {found:?}");
    }
    let two = "client_source_address = ['a', '!b']";
    assert_eq!(problems(&application(two), &[]).len(), 2);
}

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    let token_keys = format!(
        "[[applications.auth_keys]]\nkey = '{OTHER_SECRET}'\nalgorithms = ['HS256']\n\
         [[applications.admin_keys]]\nkey = '''{PUBLIC_KEY}'''\n"
    );
    let loaded = load(&(application("") + &token_keys), &[], &[]).unwrap();
    let (shown, debugged) = (loaded.show(), format!("{loaded:?}"));
    assert!(!shown.contains(SECRET) && !debugged.contains(SECRET), "{shown}\n{debugged}");
    assert!(shown.contains("secret = \"***\"  # f.toml:5"), "{shown}");
    for hidden in [OTHER_SECRET, "MIGbMBAGByqGSM49"] {
        assert!(!shown.contains(hidden) && !debugged.contains(hidden), "{shown}\n{debugged}");
    }
    assert_eq!(shown.matches("\nkey = \"***\"  # f.toml:").count(), 2, "{shown}");
    assert!(shown.contains("[[applications.keys]]"), "{shown}");
}

#[test]
fn the_admin_door_is_off_default_or_told_where_to_be() {
    let admin = |file: &str, environment: &[(&str, &str)]| {
        load(file, environment, &[]).unwrap_or_else(|error| panic!("{error}")).settings.admin
    };
    for off in ["admin.listen = 'off'", "admin.listen = ''"] {
        assert_eq!(admin(off, &[]).listen, None, "{off}");
    }
    let set = admin("admin.listen = '[::1]:0'", &[("FANWIRE_ADMIN_TOKEN", SECRET)]);
    assert!(!set.is_default && set.token.as_ref().is_some_and(|token| token.admits(SECRET)));
    assert!(!format!("{set:?}").contains(SECRET));
    for (file, part) in [
        ("admin.listen = 'here'", "admin.listen: expected an IP address and port"),
        ("admin.listen = '0.0.0.0:8481'", "set admin.token or admin.token_file"),
        ("admin.token = 'changeme'", "admin.token: is shorter than 16 characters"),
        ("admin.token_file = '/no/such/file'", "admin.token_file: cannot read the file"),
        ("[admin]\ntoken = 'a'\ntoken_file = 'b'", "admin.token_file: admin.token is set too"),
    ] {
        let found = problems(file, &[]);
        assert!(found.len() == 1 && found[0].contains(part), "{file}: {found:?}");
    }
}
