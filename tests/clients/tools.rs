//! The interpreters, their packages and the browser: found, or said to be missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Packages of `package.json`; all there or none, since `npm ci` installs all.
const NODE_PACKAGES: [&str; 6] =
    ["eventsource", "jose", "jsonwebtoken", "playwright-core", "realtime-pubsub-client", "ws"];

/// What `requirements.txt` installs.
const PYTHON_IMPORTS: &str = "import cryptography, httpx, httpx_sse, jsonschema, jwt, \
     openapi_spec_validator, realtime_pubsub_client, sseclient, websockets";

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Something this machine lacks, in words.
pub(crate) struct Missing(pub(crate) String);

impl Missing {
    /// Passes the test and says so, unless everything is required.
    #[expect(clippy::print_stdout, reason = "a skipped test says so where test results are read")]
    pub(crate) fn skip(self) {
        let required = std::env::var_os("FANWIRE_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "required, and not there: {}", self.0);
        println!("skipped: {}", self.0);
    }
}

/// An interpreter that has its packages, with the environment its scripts need.
pub(crate) struct Tool {
    program: PathBuf,
    browser: Option<PathBuf>,
}

impl Tool {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Proxies would stand between the client and this machine's broker.
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(name);
        }
        command.env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(browser) = &self.browser {
            command.env("FANWIRE_BROWSER", browser);
        }
        command
    }
}

/// Node with the packages of `tests/clients/package.json`.
pub(crate) fn node() -> Result<Tool, Missing> {
    let program = on_path("node").ok_or_else(|| Missing("node is not on PATH".into()))?;
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_modules");
    match NODE_PACKAGES.iter().find(|name| !modules.join(name).join("package.json").exists()) {
        Some(name) => Err(Missing(format!("npm package {name}: run `npm ci` in tests/clients"))),
        None => Ok(Tool { program, browser: None }),
    }
}

/// Node, its packages and a browser of the Chromium family.
pub(crate) fn node_and_browser() -> Result<Tool, Missing> {
    let node = node()?;
    let browser = BROWSERS.iter().find_map(|name| on_path(name));
    let browser = browser.ok_or_else(|| Missing("no Chromium is on PATH".into()))?;
    Ok(Tool { browser: Some(browser), ..node })
}

/// Python from the environment that `tests/run.sh` makes, with its packages.
pub(crate) fn python() -> Result<Tool, Missing> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-python/bin/python");
    let probe = Command::new(&program)
        .args(["-c", PYTHON_IMPORTS])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if probe.is_ok_and(|status| status.success()) {
        Ok(Tool { program, browser: None })
    } else {
        Err(Missing(format!("{} lacks the Python packages of the clients", program.display())))
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
