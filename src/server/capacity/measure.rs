//! Opens crowds in steps and takes samples: what one connection of each kind costs.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::child::Broker;
use super::crowd::{self, Kind};
use super::sample::{Sample, median_slope, slope};
use crate::server::doctor::{Host, RingProbe};
use crate::stdx::clock;

/// How long all measuring may take together.
pub(in crate::server) const TIME_MAX: Duration = Duration::from_mins(1);
/// Connections of one crowd at most.
pub(in crate::server) const CONNECTIONS_MAX: usize = 200_000;
/// Steps of a crowd.
const STEPS: usize = 5;
/// Connections that are opened together.
const WAVE: usize = 100;
/// Time for a step's last frees and writes before memory is read.
const SETTLE: Duration = Duration::from_millis(100);
/// Pairs of plain sockets that tell what a client's end costs.
const PAIRS: usize = 2_000;

/// What one connection of a kind costs, in bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::server) struct Cost {
    pub(in crate::server) kind: Kind,
    /// Connections of the crowd.
    pub(in crate::server) connections: usize,
    /// Private memory of the broker.
    pub(in crate::server) user: f64,
    /// Memory of the kernel for the broker's end.
    pub(in crate::server) kernel: f64,
    /// By how much available memory fell, both ends together.
    pub(in crate::server) available: f64,
}

/// What was measured.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::server) struct Measured {
    /// Per kind, in the order of [`Kind::ALL`].
    pub(in crate::server) costs: Vec<Cost>,
    /// Pages of TCP buffers that one unread message of 200 bytes takes.
    pub(in crate::server) tcp_pages: f64,
    /// Available memory before anyone came.
    pub(in crate::server) available: u64,
    /// Whether the time ran out before all was measured as planned.
    pub(in crate::server) is_cut: bool,
}

/// One run: its end, and what may stop it early.
struct Run<'p> {
    ends_at: Instant,
    stopped: Arc<AtomicBool>,
    progress: &'p mut dyn FnMut(&str),
    is_cut: bool,
}

/// Measures with crowds of `count` connections; `progress` is given a line to show now and then.
///
/// # Errors
/// A broker that does not start, connections that fail, or a signal to stop, as a sentence.
pub(in crate::server) fn measure(
    count: usize,
    progress: &mut dyn FnMut(&str),
) -> Result<Measured, String> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stopped))
            .map_err(|error| format!("cannot handle signals: {error}"))?;
    }
    let mut run = Run { ends_at: clock::now() + TIME_MAX, stopped, progress, is_cut: false };
    let here = host(None);
    let available = Sample::take(&here, 0).available;
    let client_kernel = run.client_end(&here, count.min(PAIRS))?;
    let mut measured = Measured { costs: Vec::new(), tcp_pages: 0.0, available, is_cut: false };
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        // What is left of the time, in equal parts.
        let left = run.ends_at.saturating_duration_since(clock::now());
        let parts = u32::try_from(Kind::ALL.len() - index).unwrap_or(1);
        let (samples, tcp_pages) = run.crowd(kind, count, clock::now() + left / parts)?;
        if kind == Kind::Subscribed {
            measured.tcp_pages = tcp_pages;
        }
        measured.costs.push(Cost {
            kind,
            connections: samples.last().map_or(0, |sample| sample.connections),
            user: slope(&samples, |sample| sample.user),
            kernel: median_slope(&samples, |sample| sample.kernel) - client_kernel,
            available: -median_slope(&samples, |sample| sample.available),
        });
    }
    measured.is_cut = run.is_cut;
    Ok(measured)
}

fn host(process: Option<u32>) -> Host {
    Host::new(Path::new("/"), process, rustix::param::page_size() as u64, RingProbe::NotTried)
}

impl Run<'_> {
    /// Bytes of the kernel that a client's end of a connection takes.
    fn client_end(&mut self, here: &Host, count: usize) -> Result<f64, String> {
        (self.progress)("plain sockets");
        let mut open = Vec::new();
        let mut samples = vec![Sample::take(here, 0)];
        for step in 1..=STEPS {
            self.go_on()?;
            let opened = crowd::pairs(count / STEPS).map_err(|error| failed(open.len(), &error))?;
            open.extend(opened);
            std::thread::sleep(SETTLE);
            samples.push(Sample::take(here, step * (count / STEPS)));
        }
        Ok(median_slope(&samples, |sample| sample.kernel) / 2.0)
    }

    /// The samples of one crowd, and the TCP pages that an unread message adds to each of it.
    fn crowd(
        &mut self,
        kind: Kind,
        count: usize,
        ends_at: Instant,
    ) -> Result<(Vec<Sample>, f64), String> {
        let broker = Broker::start()?;
        let here = host(Some(broker.id()));
        let mut open: Vec<TcpStream> = Vec::with_capacity(count);
        // The first has touched what is there once.
        let first = crowd::open(broker.address, kind, 0, 1).map_err(|error| failed(0, &error))?;
        open.extend(first);
        let mut samples = vec![Sample::take(&here, open.len())];
        for step in 1..=STEPS {
            let is_in_time = self.fill(&broker, kind, &mut open, count * step / STEPS, ends_at)?;
            std::thread::sleep(SETTLE);
            samples.push(Sample::take(&here, open.len()));
            (self.progress)(&format!("{}: {} of {count}", kind.name(), open.len()));
            if !is_in_time {
                self.is_cut = true;
                break;
            }
        }
        let before = Sample::take(&here, 0);
        crowd::publish(broker.address).map_err(|error| failed(open.len(), &error))?;
        std::thread::sleep(SETTLE);
        let after = Sample::take(&here, open.len());
        Ok((samples, slope(&[before, after], |sample| sample.tcp_pages)))
    }

    /// Opens connections until there are `count`; whether that was done in time.
    fn fill(
        &mut self,
        broker: &Broker,
        kind: Kind,
        open: &mut Vec<TcpStream>,
        count: usize,
        ends_at: Instant,
    ) -> Result<bool, String> {
        while open.len() < count {
            self.go_on()?;
            if clock::now() >= ends_at {
                return Ok(false);
            }
            let wave = WAVE.min(count - open.len());
            let opened = crowd::open(broker.address, kind, open.len(), wave);
            open.extend(opened.map_err(|error| failed(open.len(), &error))?);
        }
        Ok(true)
    }

    fn go_on(&self) -> Result<(), String> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err("stopped by a signal; the broker that was started is ended".to_owned());
        }
        Ok(())
    }
}

fn failed(open: usize, error: &std::io::Error) -> String {
    format!(
        "cannot open a connection beside {open}: {error}; give a lower number (--connections), and ask \
         `fanwire doctor`"
    )
}
