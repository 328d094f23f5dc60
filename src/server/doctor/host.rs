//! The host as its files tell it: `/proc` and `/sys` below a root folder.
//!
//! Nothing here judges. A file that is missing or does not read as expected is `None`.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes read of one file; `/proc/interrupts` of a large machine stays below it.
const FILE_SIZE_MAX: u64 = 4 << 20;
/// Entries taken of one folder.
const ENTRIES_MAX: usize = 65_536;
/// Highest CPU number taken from a list of CPUs; Linux allows 8,192.
const CPU_MAX: u32 = 8_191;

/// Whether the kernel grants io_uring to this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::server) enum RingProbe {
    /// It does, with these flags.
    Granted { flags: String, is_best: bool },
    /// It does not, for this reason.
    Refused(String),
    /// Not tried: the files are those of another host.
    NotTried,
}

/// A host.
#[derive(Clone, Debug)]
pub(in crate::server) struct Host {
    root: PathBuf,
    /// Name of the folder in `/proc` of the process whose limits count: `self` or an id.
    process: String,
    /// Bytes of a memory page.
    pub(in crate::server) page_size: u64,
    /// What trying io_uring gave.
    pub(super) ring: RingProbe,
}

impl Host {
    /// The host below `root`; `process` is the id of the process whose limits count, else this one.
    pub(in crate::server) fn new(
        root: &Path,
        process: Option<u32>,
        page_size: u64,
        ring: RingProbe,
    ) -> Host {
        let process = process.map_or("self".to_owned(), |id| id.to_string());
        Host { root: root.to_owned(), process, page_size, ring }
    }

    /// The text at `path` (relative to the root) without white space at its ends.
    pub(in crate::server) fn text(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        let file = File::open(self.root.join(path)).ok()?;
        file.take(FILE_SIZE_MAX).read_to_string(&mut text).ok()?;
        Some(text.trim().to_owned())
    }

    /// The whole number at `path`.
    pub(in crate::server) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The whole numbers at `path`, parted by white space.
    pub(in crate::server) fn numbers(&self, path: &str) -> Option<Vec<u64>> {
        self.text(path)?.split_whitespace().map(|word| word.parse().ok()).collect()
    }

    /// The CPUs (or nodes) that the list at `path` names.
    pub(super) fn cpu_list(&self, path: &str) -> Option<Vec<u32>> {
        cpu_list(&self.text(path)?)
    }

    /// The number behind `name` in a file of lines such as `MemAvailable:  1234 kB`.
    pub(in crate::server) fn field(&self, path: &str, name: &str) -> Option<u64> {
        let text = self.text(path)?;
        field(&text, name)?.split_whitespace().next()?.parse().ok()
    }

    /// Names in the folder at `path`, sorted; none if there is no such folder.
    pub(super) fn entries(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path)) else { return Vec::new() };
        let names = entries.flatten().take(ENTRIES_MAX).map(|entry| entry.file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Whether there is something at `path`.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// A file of the process, such as `limits`; its path for messages is `process_path`'s.
    pub(super) fn process_text(&self, name: &str) -> Option<String> {
        self.text(&self.process_path(name))
    }

    /// Where that file lies.
    pub(in crate::server) fn process_path(&self, name: &str) -> String {
        format!("proc/{}/{name}", self.process)
    }

    /// What stands behind `name` in the process's `status`.
    pub(super) fn status(&self, name: &str) -> Option<String> {
        field(&self.process_text("status")?, name).map(str::to_owned)
    }

    /// The process's soft and hard limit on descriptors.
    pub(in crate::server) fn descriptor_limits(&self) -> Option<(u64, u64)> {
        open_files(&self.process_text("limits")?)
    }

    /// The CPUs that the process may run on.
    pub(super) fn cpus_allowed(&self) -> Option<Vec<u32>> {
        cpu_list(&self.status("Cpus_allowed_list")?)
    }
}

/// What stands behind `name:` in a text of lines.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Soft and hard limit in `/proc/PID/limits`.
fn open_files(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((words.next()??, words.next()??))
}

/// `0-3,8` → 0, 1, 2, 3, 8.
fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last > CPU_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        let cases = [
            ("0", Some(vec![0])),
            ("0-2,8", Some(vec![0, 1, 2, 8])),
            ("8,0-2,1", Some(vec![0, 1, 2, 8])),
            ("", Some(vec![])),
            ("8191", Some(vec![8191])),
            ("8192", None),
            ("a", None),
            ("0-", None),
        ];
        for (text, expected) in cases {
            assert_eq!(cpu_list(text), expected, "{text}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Seccomp_filters:\t3\nSeccomp:\t2\nMemFree: 12 kB";
        assert_eq!(field(text, "Seccomp"), Some("2"));
        assert_eq!(field(text, "MemFree"), Some("12 kB"));
        assert_eq!(field(text, "Mem"), None);
    }
}
