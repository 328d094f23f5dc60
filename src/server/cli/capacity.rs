//! `fanwire capacity`: how many connections this host holds, measured.

use std::path::Path;

use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::args;
use super::connection::Streams;
use super::explain::Told;
use crate::server::capacity::{self, CONNECTIONS_MAX};
use crate::server::doctor::{Demand, Host, RingProbe};

/// Connections of a crowd where nobody says another number.
const CONNECTIONS_DEFAULT: usize = 10_000;
/// Descriptors that this command needs beside its clients'.
const DESCRIPTORS_RESERVED: u64 = 64;

/// What `capacity` is asked.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct CapacityArgs {
    /// Connections to open of each kind; by default 10,000, or what the descriptor limit allows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=CONNECTIONS_MAX as i64))]
    connections: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Measures and says what follows; progress goes to standard error.
///
/// # Errors
/// What keeps it from measuring, as a sentence.
pub(super) fn run(
    args: &CapacityArgs,
    environment: Vec<(String, String)>,
    streams: &mut Streams<'_>,
) -> Result<Told, String> {
    let settings = args::load(&args::Options::default(), environment)?.settings;
    let count = args.count()?;
    let mut is_shown = false;
    let mut progress = |line: &str| {
        // Progress is for whoever watches; nobody may.
        let _ = write!(streams.errors, "\r{line:<60}");
        let _ = streams.errors.flush();
        is_shown = true;
    };
    let measured = capacity::measure(count, &mut progress);
    if is_shown {
        let _ = writeln!(streams.errors);
    }
    let measured = measured?;
    let host =
        Host::new(Path::new("/"), None, rustix::param::page_size() as u64, RingProbe::NotTried);
    let demand = Demand::new(&settings, &host, None);
    let bounds = capacity::bounds(&host, &demand, &measured);
    let text = if args.json {
        format!("{:#}\n", capacity::json(&host, &measured, &bounds))
    } else {
        capacity::text(&host, &measured, &bounds)
    };
    Ok(Told { text, is_good: true })
}

impl CapacityArgs {
    /// Connections per crowd, within what this process may open once its limit is raised.
    fn count(&self) -> Result<usize, String> {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)
            .map_err(|error| format!("cannot raise the descriptor limit: {error}"))?;
        let most = limit.maximum.unwrap_or(u64::MAX).saturating_sub(DESCRIPTORS_RESERVED) / 5 * 4;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        match self.connections {
            None => Ok(most.min(CONNECTIONS_DEFAULT)),
            Some(asked) if asked as usize <= most => Ok(asked as usize),
            Some(asked) => Err(format!(
                "the descriptor limit allows {most} connections here, not {asked}; ulimit -Hn raises it"
            )),
        }
    }
}
