//! An operator: keeps a configuration file, changes it under the running broker, and reads the log.
#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::path::Path;

use fanwire::stdx::clock;
use rustix::process::Signal;

use crate::support::{Broker, ConfigFile, PATIENCE, Setup};

/// How the log begins to tell of a reload that went well.
const RELOADED: &str = " reloaded live=";
/// How it begins to tell of one that did not.
const REFUSED: &str = "not reloaded: the former settings stay in force";

/// A broker with a file of its own.
pub(crate) struct Operator {
    pub(crate) broker: Broker,
    file: ConfigFile,
}

impl Operator {
    pub(crate) fn start(shards: u16, config: &str) -> Operator {
        Operator::start_as(Setup::new("auto", shards), config)
    }

    pub(crate) fn start_as(setup: Setup, config: &str) -> Operator {
        let file = ConfigFile::write(config);
        let broker = setup.config_path(&file.path).start();
        Operator { broker, file }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    pub(crate) fn write(&self, config: &str) {
        std::fs::write(&self.file.path, config).expect("the file is ours");
    }

    /// Has it read another configuration, which must be put in force; the log's line about it.
    pub(crate) fn reload(&self, config: &str) -> String {
        self.write(config);
        self.signal_and_await(RELOADED)
    }

    /// Has it read whatever is there, which must be refused; the log's line about it.
    pub(crate) fn refuse(&self) -> String {
        self.signal_and_await(REFUSED)
    }

    pub(crate) fn hang_up(&self) {
        self.broker.signal(Signal::HUP);
    }

    /// How many reloads went well.
    pub(crate) fn reloaded_count(&self) -> usize {
        self.lines(RELOADED).len()
    }

    /// Waits until the log has so many lines with this text.
    pub(crate) fn await_lines(&self, text: &str, count: usize) -> Vec<String> {
        let deadline = clock::now() + PATIENCE;
        loop {
            let lines = self.lines(text);
            if lines.len() >= count {
                return lines;
            }
            assert!(clock::now() < deadline, "no {text:?} in the log:\n{}", self.broker.log());
            std::thread::yield_now();
        }
    }

    fn signal_and_await(&self, text: &str) -> String {
        let known = self.lines(text).len();
        self.hang_up();
        self.await_lines(text, known + 1).pop().expect("one at least")
    }

    fn lines(&self, text: &str) -> Vec<String> {
        let log = self.broker.log();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}
