//! Finds Python 2.7, installs the suite once, and runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::run;

/// The suite's version; it pins its own dependencies.
const SUITE: &str = "autobahntestsuite==25.10.1";

/// Versions of virtualenv that run on, and the last that makes, a Python 2.7.
const VIRTUALENV_ON_2: &str = "virtualenv==20.15.1";
const VIRTUALENV_FOR_2: &str = "virtualenv==20.21.1";

const INSTALL_TIME_MAX: Duration = Duration::from_mins(10);
const PROBE_TIME_MAX: Duration = Duration::from_secs(20);
const RUN_TIME_MAX: Duration = Duration::from_mins(5);
const FULL_TIME_MAX: Duration = Duration::from_mins(90);

/// How many cases the version above has in the sections asked for.
pub(crate) const fn cases_count_min(full: bool) -> usize {
    if full { 517 } else { 313 }
}

/// An installed suite.
pub(crate) struct Suite {
    python: PathBuf,
    home: PathBuf,
}

impl Suite {
    /// Takes what an earlier run installed, or installs it.
    ///
    /// # Errors
    /// Says what is missing here.
    pub(crate) fn find_or_install() -> Result<Suite, String> {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("autobahn");
        let suite = Suite { python: home.join("env/bin/python"), home };
        let ready = suite.home.join(SUITE);
        if !ready.exists() {
            suite.install()?;
            fs::write(&ready, "").map_err(|error| error.to_string())?;
        }
        Ok(suite)
    }

    fn install(&self) -> Result<(), String> {
        let python = find_python().ok_or("no Python 2.7 on PATH or in pyenv")?;
        if self.home.exists() {
            fs::remove_dir_all(&self.home).map_err(|error| error.to_string())?;
        }
        fs::create_dir_all(&self.home).map_err(|error| error.to_string())?;
        let own = self.make_environment(&python, VIRTUALENV_ON_2, &python);
        own.or_else(|own| {
            let python3 = Path::new("python3");
            self.make_environment(python3, VIRTUALENV_FOR_2, &python)
                .map_err(|other| format!("{own}\n{other}"))
        })?;
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "install", "--quiet", SUITE]);
        run(&mut pip, INSTALL_TIME_MAX).map(drop)
    }

    /// Makes the virtualenv of `python` with a virtualenv that runs on `host`.
    fn make_environment(&self, host: &Path, version: &str, python: &Path) -> Result<(), String> {
        let tools = self.home.join(version);
        let mut pip = Command::new(host);
        pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&tools).arg(version);
        run(&mut pip, INSTALL_TIME_MAX)?;
        let mut virtualenv = Command::new(host);
        virtualenv.env("PYTHONPATH", &tools).args(["-m", "virtualenv", "--quiet", "--python"]);
        virtualenv.arg(python).arg(self.home.join("env"));
        run(&mut virtualenv, INSTALL_TIME_MAX).map(drop)
    }

    /// Runs the cases against the server on `port`; the index report.
    ///
    /// # Errors
    /// Where the suite fails or takes too long.
    pub(crate) fn run(&self, port: u16, full: bool) -> Result<String, String> {
        let reports = self.home.join("reports");
        if reports.exists() {
            fs::remove_dir_all(&reports).map_err(|error| error.to_string())?;
        }
        let spec = self.home.join("spec.json");
        fs::write(&spec, spec_text(port, &reports, full)).map_err(|error| error.to_string())?;
        let mut client = Command::new(&self.python);
        client.current_dir(&self.home).arg("-u").arg(self.home.join("env/bin/wstest"));
        client.args(["--mode", "fuzzingclient", "--spec"]).arg(&spec);
        run(&mut client, if full { FULL_TIME_MAX } else { RUN_TIME_MAX })?;
        fs::read_to_string(reports.join("index.json")).map_err(|error| error.to_string())
    }
}

fn spec_text(port: u16, reports: &Path, full: bool) -> String {
    let mut cases: Vec<String> =
        [1, 2, 3, 4, 5, 6, 7, 9, 10].iter().map(|section| format!("{section}.*")).collect();
    if full {
        cases.extend(["12.*".to_owned(), "13.*".to_owned()]);
    } else {
        cases.extend((1..=5).map(|group| format!("12.{group}.1")));
        cases.extend((1..=7).map(|group| format!("13.{group}.1")));
    }
    serde_json::json!({
        "outdir": reports,
        "servers": [{ "agent": "fanwire", "url": format!("ws://127.0.0.1:{port}") }],
        "cases": cases,
        "exclude-cases": [],
    })
    .to_string()
}

/// A Python 2.7 that runs: a name on PATH may be a shim for nothing.
fn find_python() -> Option<PathBuf> {
    let on_path = ["python2.7", "python2", "pypy"].map(PathBuf::from);
    on_path.into_iter().chain(pyenv_versions()).find(|python| {
        let mut probe = Command::new(python);
        probe.args(["-c", "import sys; sys.exit(sys.version_info[:2] != (2, 7))"]);
        run(&mut probe, PROBE_TIME_MAX).is_ok()
    })
}

fn pyenv_versions() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".pyenv")));
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let paths = versions.into_iter().flatten().flatten().map(|entry| entry.path());
    paths.map(|version| version.join("bin/python")).collect()
}
