//! The parent's loop: events from workers, one sample a second, conditions to wait for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::control::{Command, Event, Final, Gathered, Interval};
use crate::fleet::Fleet;
use crate::latency::Latency;
use crate::live::LiveLine;
use crate::publisher::Progress;
use crate::report::{CutReport, MemoryStep, RecoverReport, Second, StormReport};
use crate::sample::{self, MachineSample, ServerSample};
use crate::settings::Settings;
use crate::shared::Counters;
use crate::sys;

/// Pause of the parent's loop; the grain of its time stamps.
const PAUSE: Duration = Duration::from_millis(2);
const SECOND_NS: u64 = 1_000_000_000;
/// Connection errors kept for the report.
const ERRORS_MAX: usize = 10;

/// A run under way.
pub struct Run {
    /// What is done.
    pub settings: Settings,
    /// Counters of all workers.
    pub counters: Arc<Counters>,
    /// Counters of the publisher.
    pub progress: Arc<Progress>,
    /// The workers.
    pub fleet: Fleet,
    /// When it began, `CLOCK_MONOTONIC` nanoseconds.
    pub start_ns: u64,
    /// Delivery latency of the whole run.
    pub corrected: Latency,
    /// The same from the actual send.
    pub raw: Latency,
    /// Handshakes of the whole run.
    pub handshake: Latency,
    /// One entry per second.
    pub series: Vec<Second>,
    /// The first few connection errors.
    pub errors: Vec<String>,
    /// Verdicts that have come.
    pub finals: Vec<Final>,
    /// Per worker: CPU shares of the seconds spent in the measured phase.
    pub worker_shares: Vec<Vec<f64>>,
    /// Longest turn of a worker in the measured phase, nanoseconds.
    pub turn_ns_max: u64,
    /// Idle steps.
    pub memory: Vec<MemoryStep>,
    /// Cuts.
    pub cuts: Vec<CutReport>,
    /// Delivery latency from the intended send, per phase of a storm.
    pub phase_latency: Vec<Latency>,
    /// Gatherings that have come to their end since they were last taken.
    pub gathered: Vec<Gathered>,
    /// What a storm has measured so far.
    pub storm: Option<StormReport>,
    /// The returns so far (recover).
    pub recover: Option<RecoverReport>,
    /// Per worker: CPU share of its latest second.
    recent_shares: Vec<f64>,
    phase: &'static str,
    live: LiveLine,
    second: Latency,
    last: Mark,
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    /// When, `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// Frames delivered.
    pub delivered: u64,
    /// Publishes accepted.
    pub accepted: u64,
    /// CPU nanoseconds of all generator threads.
    pub generator_cpu_ns: u64,
    /// CPU nanoseconds of the publisher.
    pub publisher_cpu_ns: u64,
    /// The server; absent without `--server-pid`.
    pub server: Option<ServerSample>,
    /// The machine.
    pub machine: MachineSample,
}

impl Run {
    /// Starts the workers.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn start(settings: Settings) -> Result<Run, String> {
        let wrap = |error| format!("cannot start the workers: {error}");
        let counters = Arc::new(Counters::create().map_err(wrap)?);
        let fleet = Fleet::start(&settings, &counters).map_err(wrap)?;
        let workers = settings.processes as usize;
        let worker_shares = vec![Vec::new(); workers];
        let mut run = Run {
            settings,
            counters,
            progress: Arc::default(),
            fleet,
            start_ns: sys::monotonic_ns(),
            corrected: Latency::default(),
            raw: Latency::default(),
            handshake: Latency::default(),
            series: Vec::new(),
            errors: Vec::new(),
            finals: Vec::new(),
            worker_shares,
            turn_ns_max: 0,
            memory: Vec::new(),
            cuts: Vec::new(),
            phase_latency: Vec::new(),
            gathered: Vec::new(),
            storm: None,
            recover: None,
            recent_shares: vec![0.0; workers],
            phase: "start",
            live: LiveLine::new(),
            second: Latency::default(),
            last: Mark::default(),
        };
        run.last = run.mark();
        Ok(run)
    }

    /// Names what follows, for the live line and the series.
    pub fn enter(&mut self, phase: &'static str) {
        self.phase = phase;
    }

    /// Subscribers that are there now.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.counters.sum(|row| &row.live)
    }

    /// Frames delivered so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.counters.sum(|row| &row.delivered)
    }

    /// All counters now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let publisher_cpu_ns = self.progress.cpu_ns.load(Ordering::Relaxed);
        Mark {
            at_ns: sys::monotonic_ns(),
            delivered: self.delivered(),
            accepted: self.progress.accepted.load(Ordering::Relaxed),
            generator_cpu_ns: self.counters.sum(|row| &row.cpu_ns) + publisher_cpu_ns,
            publisher_cpu_ns,
            server: sample::server(&self.settings.server_pids),
            machine: sample::machine(),
        }
    }

    /// Works until `is_done`, at most `limit`; answers whether it was done.
    ///
    /// # Errors
    /// When a worker fails.
    pub fn wait(
        &mut self,
        limit: Duration,
        mut is_done: impl FnMut(&mut Run) -> Result<bool, String>,
    ) -> Result<bool, String> {
        let until_ns =
            sys::monotonic_ns() + u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX / 2);
        loop {
            while let Some((worker, event)) = self.fleet.event() {
                self.take(worker, event)?;
            }
            if sys::monotonic_ns() - self.last.at_ns >= SECOND_NS {
                self.tick();
            }
            if is_done(self)? {
                return Ok(true);
            }
            if sys::monotonic_ns() >= until_ns {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// When a worker fails.
    pub fn pass(&mut self, time: Duration) -> Result<(), String> {
        self.wait(time, |_| Ok(false)).map(drop)
    }

    /// Sends a command to all workers.
    ///
    /// # Errors
    /// When one is gone.
    pub fn tell(&mut self, command: &Command) -> Result<(), String> {
        self.fleet.tell_workers(command).map_err(|error| format!("a worker is gone: {error}"))
    }

    /// Sends a command to all crowds.
    ///
    /// # Errors
    /// When one is gone.
    pub fn tell_crowds(&mut self, command: &Command) -> Result<(), String> {
        self.fleet.tell_crowds(command).map_err(|error| format!("a crowd is gone: {error}"))
    }

    fn take(&mut self, worker: u32, event: Event) -> Result<(), String> {
        match event {
            Event::Interval(interval) => self.take_interval(worker, *interval),
            Event::Gathered(gathered) => self.gathered.push(*gathered),
            Event::Final(last) => {
                let Final { tally, slow, last } = *last;
                if worker < self.settings.processes {
                    self.take_interval(worker, last);
                }
                self.finals.push(Final { tally, slow, last: Interval::default() });
            }
            Event::Fatal(reason) => return Err(format!("process {worker}: {reason}")),
        }
        Ok(())
    }

    fn take_interval(&mut self, worker: u32, interval: Interval) {
        self.corrected.merge(&interval.corrected);
        self.second.merge(&interval.corrected);
        self.raw.merge(&interval.raw);
        self.handshake.merge(&interval.handshake);
        if self.phase_latency.len() < interval.phases.len() {
            self.phase_latency.resize_with(interval.phases.len(), Latency::default);
        }
        for (latency, part) in self.phase_latency.iter_mut().zip(&interval.phases) {
            latency.merge(part);
        }
        let room = ERRORS_MAX.saturating_sub(self.errors.len());
        self.errors.extend(interval.errors.into_iter().take(room));
        self.recent_shares[worker as usize] = interval.cpu_share;
        if self.is_measured() {
            self.turn_ns_max = self.turn_ns_max.max(interval.turn_ns_max);
            self.worker_shares[worker as usize].push(interval.cpu_share);
        }
    }

    fn is_measured(&self) -> bool {
        matches!(self.phase, "publish" | "quiet" | "storm")
            || (!self.settings.scenario.publishes() && self.phase == "connect")
    }

    fn tick(&mut self) {
        let mark = self.mark();
        let last = std::mem::replace(&mut self.last, mark);
        let seconds = Duration::from_nanos(mark.at_ns - last.at_ns).as_secs_f64();
        let publisher = per(mark.publisher_cpu_ns - last.publisher_cpu_ns, seconds * 1e9);
        let second = Second {
            at_s: Duration::from_nanos(mark.at_ns - self.start_ns).as_secs_f64(),
            phase: self.phase.to_owned(),
            live: self.live(),
            published: per(mark.accepted - last.accepted, seconds),
            delivered: per(mark.delivered - last.delivered, seconds),
            latency: (self.second.count() > 0)
                .then(|| [self.second.at(0.5), self.second.at(0.99), self.second.max()]),
            server_cpus: mark
                .server
                .zip(last.server)
                .map(|(now, then)| per(now.cpu_ms.saturating_sub(then.cpu_ms), seconds * 1e3)),
            server_rss: mark.server.map(|server| server.rss),
            tcp_buffers: mark.machine.tcp_buffers,
            generator_cpu: self.recent_shares.iter().copied().fold(publisher, f64::max),
            machine_busy: machine_busy(&last.machine, &mark.machine),
        };
        self.second.take();
        self.live.show(self, &second);
        self.series.push(second);
    }

    /// Ends the live line before something else is printed.
    pub fn end_line(&self) {
        self.live.end();
    }
}

/// `count` divided by `whole`; 0 when there is no whole.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^52")]
pub fn per(count: u64, whole: f64) -> f64 {
    if whole > 0.0 { count as f64 / whole } else { 0.0 }
}

/// Share of the machine's CPU time spent working between two samples.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "tick counts stay below 2^52")]
pub fn machine_busy(then: &MachineSample, now: &MachineSample) -> f64 {
    let total = now.total_ticks.saturating_sub(then.total_ticks);
    per(now.busy_ticks.saturating_sub(then.busy_ticks), total as f64)
}
