//! Writes the sysctl.d file and the unit drop-in.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::demand::Demand;
use super::drop_in::drop_in_file;
use super::host::Host;
use super::tuning::sysctl_file;

/// Writes both below `folder`, which is made if it is missing. A file that is there is replaced only
/// with `replace`; without it nothing at all is written then.
///
/// # Errors
/// What cannot be written, as a sentence.
pub(in crate::server) fn write(
    folder: &Path,
    host: &Host,
    demand: &Demand,
    replace: bool,
) -> Result<Vec<PathBuf>, String> {
    let files = [
        (folder.join("90-fanwire.conf"), sysctl_file(host, demand)),
        (folder.join("fanwire.service.d/90-fanwire.conf"), drop_in_file(host, demand)),
    ];
    if let Some((path, _)) = files.iter().find(|(path, _)| !replace && path.exists()) {
        return Err(format!("{} is there already; --force replaces it", path.display()));
    }
    let mut written = Vec::new();
    for (path, text) in files {
        write_one(&path, &text, replace)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

fn write_one(path: &Path, text: &str, replace: bool) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).truncate(true).create(replace).create_new(!replace);
    options.open(path)?.write_all(text.as_bytes())
}
