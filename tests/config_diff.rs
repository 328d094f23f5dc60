//! `fanwire config diff` and what a reload goes by: differences, when they take effect, no secrets.

use std::io;
use std::path::Path;
use std::process::Command;

use fanwire::config::{self, ConfigFile, Loaded, Sources};

const ONE: &str = "k7-Q2vXw9tRz4LmB8cNf";
const TWO: &str = "p3-Hs6YdJ1uEa5GoK0iZq";

fn load_with(file: &str, content: &str) -> Loaded {
    let read = |_: &Path| -> io::Result<String> { Ok(content.to_owned()) };
    let sources = Sources {
        file: Some(ConfigFile { name: "f.toml".to_owned(), text: file.to_owned() }),
        environment: Vec::new(),
        flags: Vec::new(),
        read: &read,
    };
    config::load(&sources).unwrap_or_else(|error| panic!("{error}"))
}

fn load(file: &str) -> Loaded {
    load_with(file, "")
}

/// The differences as they are told.
fn differences(old: &Loaded, new: &Loaded) -> Vec<String> {
    let told = |change: &config::Change| format!("{} {change}", change.effect.word());
    old.diff(new).iter().map(told).collect()
}

fn check(old: &str, new: &str, expected: &[&str]) {
    assert_eq!(differences(&load(old), &load(new)), expected, "{old}\n---\n{new}");
}

fn app(id: &str, own: &str) -> String {
    format!("[[applications]]\nid = \"{id}\"\nopen = true\n{own}\n")
}

fn key(secret: &str, rights: &str) -> String {
    format!("[[applications.keys]]\nsecret = \"{secret}\"\nrights = [{rights}]\n")
}

#[test]
fn equal_files_do_not_differ_however_they_are_written() {
    check("", "", &[]);
    check("shards.mesh.capacity = 1024", "[http]\nidle_timeout = \"75s\"", &[]);
    check("http.idle_timeout = 60", "http.idle_timeout = \"1m\"", &[]);
    check("", &app("demo", ""), &[]);
    check(&(app("a", "") + &app("demo", "")), &(app("demo", "") + &app("a", "")), &[]);
}

#[test]
fn values_are_told_as_files_spell_them_with_when_they_take_effect() {
    check(
        "http.idle_timeout = 60\nserver.listen = \"127.0.0.1:1\"",
        "log.level = \"debug\"\nlog.format = \"json\"\nserver.listen = \"127.0.0.1:2\"\n\
         shards.accept_rate = \"7/s\"\nhistory.memory_max = \"1GiB\"\nstore.path = \"/s\"",
        &[
            "restart server.listen: \"127.0.0.1:1\" -> \"127.0.0.1:2\"",
            "live shards.accept_rate: \"off\" -> \"7/s\"",
            "live http.idle_timeout: \"60s\" -> \"75s\"",
            "live history.memory_max: \"256MiB\" -> \"1GiB\"",
            "restart store.path: \"\" -> \"/s\"",
            "live log.level: \"info\" -> \"debug\"",
            "restart log.format: \"text\" -> \"json\"",
        ],
    );
}

#[test]
fn applications_are_paired_by_their_ids_and_keys_by_their_secrets() {
    check(
        &(app("a", "") + &app("b", "name = \"x\"")),
        &(app("b", "name = \"y\"\nlimits.publishes = \"5/s\"") + &app("c", "")),
        &[
            "live applications[a]: removed",
            "live applications[b].name: \"x\" -> \"y\"",
            "live applications[b].limits.publishes: \"off\" -> \"5/s\"",
            "live applications[c]: added",
        ],
    );
    let read = "\"subscribe\"";
    let both = "\"subscribe\", \"publish\"";
    check(
        &app("a", &(key(ONE, read) + &key(TWO, read))),
        &app("a", &key(TWO, both)),
        &[
            "live applications[a].keys[0]: removed",
            "live applications[a].keys[0].rights: [\"subscribe\"] -> [\"subscribe\", \"publish\"]",
        ],
    );
    check("", &app("b", ""), &["live applications[demo]: removed", "live applications[b]: added"]);
    let closed = format!("[[applications]]\nid = \"demo\"\n{}", key(ONE, read));
    check(
        "",
        &closed,
        &["live applications[demo].open: true -> false", "live applications[demo].keys[0]: added"],
    );
}

#[test]
fn secrets_are_compared_and_never_told() {
    let token = |secret: &str| {
        app(
            "a",
            &format!("[[applications.auth_keys]]\nkey = \"{secret}\"\nalgorithms = [\"HS256\"]"),
        )
    };
    check(&token(ONE), &token(TWO), &["live applications[a].auth_keys[0].key: another content"]);
    let file = app(
        "a",
        "[[applications.keys]]\nsecret_file = \"/f\"\nrights = [\"publish\"]\n\
         [[applications.auth_keys]]\nkey_file = \"/f\"\nalgorithms = [\"HS256\"]\n",
    );
    let (old, new) = (load_with(&file, ONE), load_with(&file, TWO));
    assert_eq!(
        differences(&old, &new),
        [
            "live applications[a].keys[0]: removed",
            "live applications[a].keys[0]: added",
            "live applications[a].auth_keys[0].key_file: another content",
        ]
    );
    assert!(differences(&old, &load_with(&file, ONE)).is_empty());
}

#[test]
fn which_topics_are_durable_waits_for_a_restart_with_all_that_hangs_on_it() {
    let with = |own: &str| format!("store.path = \"/s\"\n{}", app("a", own));
    let family = |pattern: &str, is_durable: bool| {
        let family = format!("[[applications.topics]]\npatterns = [\"{pattern}\"]\n");
        with(&format!("name = \"x\"\n{family}durable = {is_durable}"))
    };
    let changed = "applications[a].topics[0].patterns: [\"x\"] -> [\"y\"]";
    check(&family("x", false), &family("y", false), &[&format!("live {changed}")]);
    check(&family("x", true), &family("y", true), &[&format!("restart {changed}")]);
    check(
        &with("durable = true\nname = \"x\""),
        &with("durable = true\nname = \"y\"\nhistory.count_max = 7"),
        &[
            "live applications[a].name: \"x\" -> \"y\"",
            "live applications[a].history.count_max: 1000 -> 7",
        ],
    );
    check(
        &with(""),
        &with("durable = true\nhistory.count_max = 7"),
        &[
            "restart applications[a].durable: false -> true",
            "restart applications[a].history.count_max: 1000 -> 7",
        ],
    );
    check(&with(""), &(with("") + &app("b", "durable = true")), &["live applications[b]: added"]);
    check(
        &app("a", ""),
        &(with("") + &app("b", "durable = true")),
        &["restart store.path: \"\" -> \"/s\"", "restart applications[b]: added"],
    );
}

/// Runs `fanwire config diff` on files of these texts; its exit code and what it prints.
fn run(name: &str, texts: [&str; 2]) -> (Option<i32>, String, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let paths = ["old", "new"].map(|side| folder.join(format!("diff-{name}-{side}.toml")));
    for (path, text) in paths.iter().zip(texts) {
        std::fs::write(path, text).expect("the folder for temporary files is ours");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    let output = command.args(["config", "diff"]).args(&paths).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    for path in &paths {
        std::fs::remove_file(path).expect("it is ours");
    }
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_exit_code_says_whether_they_differ_or_cannot_be_used() {
    let (code, out, errors) = run("equal", ["", "[http]"]);
    assert_eq!((code, &*out, &*errors), (Some(0), "nothing differs\n", ""));
    let (code, out, _) = run("different", ["", "shards.count = 3\nlog.level = \"warn\""]);
    let told = "restart shards.count: 0 -> 3\nlive    log.level: \"info\" -> \"warn\"\n";
    assert_eq!((code, &*out), (Some(1), told));
    let (code, out, errors) = run("broken", ["", "colour = 1"]);
    assert_eq!((code, &*out), (Some(2), ""));
    assert!(errors.contains("diff-broken-new.toml:1: colour: "), "{errors}");
}

#[test]
fn listeners_are_compared_and_come_and_go_with_a_restart() {
    let listener = |address: &str, more: &str| {
        format!("[[listeners]]\naddress = \"{address}\"\n{more}\n{}", app("demo", ""))
    };
    let (one, two) = (listener("127.0.0.1:1", ""), listener("127.0.0.1:2", ""));
    check(&one, &one, &[]);
    check("", &one, &["restart listeners[0]: added"]);
    check(&one, "", &["restart listeners[0]: removed"]);
    let address = "restart listeners[0].address: \"127.0.0.1:1\" -> \"127.0.0.1:2\"";
    check(&one, &two, &[address]);
}
