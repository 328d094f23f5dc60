//! The Debian package, built from the binary under test: what is in it, and that it installs, starts,
//! upgrades and goes.
//!
//! The trials in a clean Debian tree and under a systemd booted in one need root, mmdebstrap and a mirror, and take minutes: they run with
//! `FANWIRE_FULL=1`. What cannot be had prints `skipped: …` and passes, unless `FANWIRE_REQUIRE_ALL=1`.

#[path = "package/machine.rs"]
mod machine;
#[path = "package/real_systemd.rs"]
mod real_systemd;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_fanwire");

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// Whether all `programs` are there; says which is not.
fn has(programs: &[&str]) -> bool {
    let is_there = |program: &&&str| {
        let mut command = Command::new(program);
        command.arg("--version").output().is_ok()
    };
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    assert!(missing.is_empty() || !is_set("FANWIRE_REQUIRE_ALL"), "{missing:?} are required");
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} cannot be run");
    }
    missing.is_empty()
}

fn run(command: &mut Command) -> Output {
    // What steers the test run must not steer the broker.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANWIRE_") {
            command.env_remove(name);
        }
    }
    let output = command.env("LC_ALL", "C").output().expect("the program was there");
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

fn text(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("text")
}

/// A folder of the tests' own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("package-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder of our own");
        Folder(path)
    }

    /// Builds the package's revision, as its readers of this machine get it quickest.
    fn package(&self, revision: &str) -> PathBuf {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/package.sh");
        let mut command = Command::new(script);
        command.args(["--binary", BINARY, "--compression", "gzip", "--revision", revision]);
        PathBuf::from(text(command.arg("--into").arg(&self.0)).trim_end())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const BUILDERS: [&str; 3] = ["dpkg-deb", "dpkg-shlibdeps", "strip"];

#[test]
fn the_package_holds_what_an_operator_needs() {
    if !has(&BUILDERS) {
        return;
    }
    let folder = Folder::new("contents");
    let package = folder.package("7");
    let name = package.file_name().and_then(|name| name.to_str()).expect("a name");
    let version = concat!(env!("CARGO_PKG_VERSION"), "-7");
    assert!(name.starts_with(&format!("fanwire_{version}_")), "{name}");
    let field = |name: &str| text(Command::new("dpkg-deb").arg("-f").arg(&package).arg(name));
    assert_eq!(field("Version").trim_end(), version);
    let depends = field("Depends");
    for dependency in ["libc6 (>= ", "adduser"] {
        assert!(depends.contains(dependency), "{depends}");
    }

    let listing = text(Command::new("dpkg-deb").arg("-c").arg(&package));
    for (mode, path) in [
        ("-rwxr-xr-x", "./usr/bin/fanwire"),
        ("drwxr-x---", "./etc/fanwire/"),
        ("-rw-r-----", "./etc/fanwire/fanwire.toml"),
        ("-rw-r--r--", "./lib/systemd/system/fanwire.service"),
        ("-rw-r--r--", "./lib/systemd/system/fanwire.socket"),
        ("-rw-r--r--", "./usr/share/bash-completion/completions/fanwire"),
        ("-rw-r--r--", "./usr/share/doc/fanwire/examples/90-fanwire.conf"),
        ("-rw-r--r--", "./usr/share/fish/vendor_completions.d/fanwire.fish"),
        ("-rw-r--r--", "./usr/share/man/man1/fanwire-subscribe.1.gz"),
        ("-rw-r--r--", "./usr/share/man/man1/fanwire.1.gz"),
        ("-rw-r--r--", "./usr/share/zsh/vendor-completions/_fanwire"),
    ] {
        let line = listing.lines().find(|line| line.ends_with(&format!(" {path}")));
        let line = line.unwrap_or_else(|| panic!("no {path} in\n{listing}"));
        assert!(line.starts_with(&format!("{mode} root/root")), "{line}");
    }
    assert!(!listing.contains("generate"), "what makes packages is no operator's command");

    let tree = folder.0.join("tree");
    run(Command::new("dpkg-deb").arg("-R").arg(&package).arg(&tree));
    let read = |path: &str| std::fs::read_to_string(tree.join(path)).expect("it was listed");
    assert_eq!(read("DEBIAN/conffiles"), "/etc/fanwire/fanwire.toml\n");
    check_configuration(&tree, &read("etc/fanwire/fanwire.toml"));
    let packaged = tree.join("usr/bin/fanwire");
    let version = text(Command::new(packaged).arg("--version"));
    assert_eq!(version.trim_end(), concat!("fanwire ", env!("CARGO_PKG_VERSION")));
    run(Command::new("bash")
        .arg("-n")
        .arg(tree.join("usr/share/bash-completion/completions/fanwire")));
    let page =
        Command::new("gzip").arg("-dc").arg(tree.join("usr/share/man/man1/fanwire.1.gz")).output();
    let page = String::from_utf8(page.expect("gzip made it").stdout).expect("roff is text");
    for part in [".TH fanwire 1", "fanwire\\-token(1)", ".SH SIGNALS", "FANWIRE_CONFIG"] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

/// The packaged configuration is valid, sets nothing, and offers every key.
fn check_configuration(tree: &Path, configuration: &str) {
    let check = |command: &str| {
        let mut run = Command::new(BINARY);
        run.env_clear().args(["config", command, "--config"]);
        text(run.arg(tree.join("etc/fanwire/fanwire.toml")))
    };
    assert_eq!(check("check"), "the configuration is good\n");
    let shown = check("show");
    assert!(!shown.contains("fanwire.toml"), "{shown}");
    let defaults = text(Command::new(BINARY).args(["config", "default"]));
    let offered = configuration.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let uncommented: Vec<_> = offered.collect();
    for line in defaults.lines().filter(|line| !line.starts_with('#')) {
        assert!(uncommented.contains(&line), "{line}");
    }
}

#[test]
fn the_same_binary_gives_the_same_package() {
    if !has(&BUILDERS) {
        return;
    }
    let [one, other] = ["one", "other"].map(Folder::new);
    let [one, other] =
        [&one, &other].map(|folder| std::fs::read(folder.package("1")).expect("built"));
    assert!(one == other, "two builds differ");
}

#[test]
fn lintian_finds_nothing() {
    if !has(&BUILDERS) || !has(&["lintian"]) {
        return;
    }
    let folder = Folder::new("lintian");
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]).arg(folder.package("1"));
    assert_eq!(text(&mut lintian), "");
}

/// Whether this run may build a Debian tree, which takes minutes.
fn can_build_trees() -> bool {
    if !is_set("FANWIRE_FULL") {
        eprintln!("skipped: a clean Debian tree takes minutes; FANWIRE_FULL=1 builds one");
        return false;
    }
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root || !is_set("FANWIRE_REQUIRE_ALL"), "root is required for a Debian tree");
    if !is_root {
        eprintln!("skipped: only root can make a clean Debian tree");
    }
    is_root && has(&BUILDERS) && has(&["mmdebstrap", "unshare", "nsenter"])
}

#[test]
fn it_lives_and_dies_in_a_clean_tree() {
    if !can_build_trees() {
        return;
    }
    let folder = Folder::new("clean");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/package/clean_root.sh");
    let mut trial = Command::new(script);
    trial.arg(folder.package("1")).arg(folder.package("2"));
    assert!(text(&mut trial).ends_with("clean root: good\n"));
}
