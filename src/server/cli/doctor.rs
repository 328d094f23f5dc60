//! `fanwire doctor`: asks the doctor about this host, or about one whose files were copied.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args;
use super::explain::Told;
use crate::server::doctor::{self, Demand, Host, RingProbe, Severity};
use crate::shard;

/// What `doctor` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct DoctorArgs {
    /// Configuration file (TOML); without one, the variable `FANWIRE_CONFIG` may name it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Connections to plan for; else what `shards.connections_max` allows, else 100,000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 28))]
    connections: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write 90-fanwire.conf (sysctl.d) and fanwire.service.d/90-fanwire.conf (systemd) into this folder.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Let --write replace files that are there.
    #[arg(long, requires = "write")]
    force: bool,
    /// Judge the limits of the process with this id, such as a running broker, not of this command.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Read /proc and /sys below this folder, such as a copy from another host.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Examines, and writes the files if asked to.
///
/// # Errors
/// A configuration that is wrong, or files that cannot be written.
pub(super) fn run(args: &DoctorArgs, environment: Vec<(String, String)>) -> Result<Told, String> {
    let options = args::Options::of_file(args.config.clone());
    let settings = args::load(&options, environment)?.settings;
    let host = args.host();
    let demand = Demand::new(&settings, &host, args.connections);
    let findings = doctor::examine(&host, &demand);
    let written = match &args.write {
        Some(folder) => doctor::write(folder, &host, &demand, args.force)?,
        None => Vec::new(),
    };
    let is_good = findings.iter().all(|finding| finding.severity != Severity::WillHurt);
    let text = if args.json {
        let mut told = doctor::json(&findings, &host, &demand);
        told["written"] = written.iter().map(|path| path.display().to_string()).collect();
        format!("{told:#}\n")
    } else {
        let written = written.iter().map(|path| format!("written: {}\n", path.display()));
        doctor::text(&findings, &host, &demand) + &written.collect::<String>()
    };
    Ok(Told { text, is_good })
}

impl DoctorArgs {
    fn host(&self) -> Host {
        let is_here = self.root == Path::new("/");
        let ring = if is_here { probe_ring() } else { RingProbe::NotTried };
        Host::new(&self.root, self.pid, rustix::param::page_size() as u64, ring)
    }
}

/// Builds what a shard would park on, with the shards' own steps.
fn probe_ring() -> RingProbe {
    match shard::probe_uring() {
        Ok((flags, is_best)) => RingProbe::Granted { flags: flags.to_owned(), is_best },
        Err(error) => RingProbe::Refused(error.to_string()),
    }
}
