//! Puts the report of a finished run together, and decides whether it passed.

use std::sync::atomic::Ordering;

use crate::control::SlowCount;
use crate::publisher::Outcome;
use crate::report::{ConnectReport, FORM, GeneratorReport, PublishReport, Report, ServerReport};
use crate::run::{Mark, Run, machine_busy, per};
use crate::sample;
use crate::settings::Scenario;
use crate::storm;
use crate::sys;
use crate::verdict::Tally;

/// Share of one CPU at which a generator thread counts as saturated.
const CPU_SHARE_LIMIT: f64 = 0.95;
/// Achieved below this share of the requested rate is worth a note.
const RATE_SHARE_NOTED: f64 = 0.99;

/// What the steps of a scenario measured.
#[derive(Default)]
pub struct Measured {
    /// Seconds of the connect ramp.
    pub connect_s: f64,
    /// Subscribers at its end.
    pub live: u64,
    /// Failed attempts by then.
    pub connect_failures: u64,
    /// Counters at the ends of the measured time.
    pub window: (Mark, Mark),
    /// What the publisher knows.
    pub publish: Outcome,
}

/// The report of `run`.
#[must_use]
pub fn report(run: &Run, measured: &Measured, started_unix_ms: u64) -> Report {
    let settings = &run.settings;
    let mut tally = Tally::default();
    let mut slow = SlowCount::default();
    for part in &run.finals {
        tally.merge(part.tally.clone());
        slow.closed += part.slow.closed;
        slow.complete += part.slow.complete;
        slow.incomplete += part.slow.incomplete;
    }
    let storm = storm::report(run, &measured.publish.phase_lag);
    let mut generator = generator(run, measured);
    let publish = publish(run, measured);
    let connect = connect(run, measured);
    let mut failures = failures(run, &tally, &connect, &publish);
    let mut notes = notes(run, measured, &tally, &generator, &publish, &connect);
    if let Some(recover) = &run.recover {
        failures.extend(recover.failures());
        notes.extend(recover.notes());
    }
    if let Some(storm) = &storm {
        failures.extend(storm.failures(settings.lag_limit_ms));
        notes.extend(storm.notes());
        generator.reasons.extend(storm.doubts(settings.lag_limit_ms));
        generator.is_saturated = !generator.reasons.is_empty();
    }
    Report {
        form: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms,
        passed: tally.is_clean() && failures.is_empty(),
        failures,
        notes,
        settings: Report::without_secrets(settings),
        environment: sample::environment(
            &settings.server_pids,
            sys::raise_descriptor_limit().unwrap_or(0),
        ),
        latency_corrected: run.corrected.quantiles(),
        latency_raw: run.raw.quantiles(),
        server: server(run, measured),
        generator,
        publish,
        connect,
        tally,
        memory: run.memory.clone(),
        cuts: run.cuts.clone(),
        storm,
        recover: run.recover.clone(),
        slow: (settings.scenario == Scenario::Slow).then_some(slow),
        series: run.series.clone(),
    }
}

fn window_s(measured: &Measured) -> f64 {
    per(measured.window.1.at_ns - measured.window.0.at_ns, 1e9)
}

fn publish(run: &Run, measured: &Measured) -> PublishReport {
    let (begin, end) = &measured.window;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let scenario = run.settings.scenario;
    let is_open = scenario.publishes() && !scenario.is_closed_loop();
    PublishReport {
        rate_requested: if is_open { run.settings.rate } else { 0.0 },
        rate_achieved: per(end.accepted - begin.accepted, window_s(measured)),
        sent: count(&run.progress.sent),
        accepted: count(&run.progress.accepted),
        refused: count(&run.progress.refused),
        unknown: count(&run.progress.unknown),
        unsent: measured.publish.unsent,
        delivered_per_second: per(end.delivered - begin.delivered, window_s(measured)),
        answer_corrected: measured.publish.answer_corrected.quantiles(),
        answer_raw: measured.publish.answer_raw.quantiles(),
    }
}

fn connect(run: &Run, measured: &Measured) -> ConnectReport {
    ConnectReport {
        rate_requested: run.settings.connect_rate,
        rate_achieved: per(measured.live, measured.connect_s),
        attempts: run.counters.sum(|row| &row.attempts),
        failures: run.counters.sum(|row| &row.failures),
        live: measured.live,
        handshake: run.handshake.quantiles(),
        errors: run.errors.clone(),
    }
}

fn server(run: &Run, measured: &Measured) -> Option<ServerReport> {
    let (begin, end) = &measured.window;
    let (then, now) = begin.server.zip(end.server)?;
    let cpu_ms = now.cpu_ms.saturating_sub(then.cpu_ms);
    let deliveries = per(end.delivered - begin.delivered, 1.0);
    let highest = |values: &mut dyn Iterator<Item = u64>| values.max().unwrap_or(0);
    Some(ServerReport {
        cpus_mean: per(cpu_ms, window_s(measured) * 1e3),
        cpu_us_per_delivery: per(cpu_ms * 1000, deliveries),
        rss_max: highest(&mut run.series.iter().filter_map(|s| s.server_rss)).max(now.rss),
        tcp_buffers_max: highest(&mut run.series.iter().map(|s| s.tcp_buffers)),
    })
}

fn generator(run: &Run, measured: &Measured) -> GeneratorReport {
    let (begin, end) = &measured.window;
    #[expect(clippy::cast_precision_loss, reason = "a handful of seconds")]
    let mean = |shares: &Vec<f64>| shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    let window_ns = window_s(measured) * 1e9;
    let publisher = per(end.publisher_cpu_ns - begin.publisher_cpu_ns, window_ns);
    let busiest_worker = run.worker_shares.iter().map(mean).fold(0.0, f64::max);
    let lag = measured.publish.lag.quantiles();
    let mut reasons = Vec::new();
    if busiest_worker >= CPU_SHARE_LIMIT {
        reasons.push(format!(
            "a worker process used {:.0} % of a CPU: use more --processes, or another machine",
            busiest_worker * 100.0
        ));
    }
    if publisher >= CPU_SHARE_LIMIT {
        reasons.push(format!("the publisher used {:.0} % of a CPU", publisher * 100.0));
    }
    if per(lag.p99_ns, 1e6) > run.settings.lag_limit_ms {
        reasons.push(format!(
            "1 % of the messages were looked at more than {:.1} ms after they were due \
             (limit {} ms, --lag-limit): the generator did not get its CPU in time",
            per(lag.p99_ns, 1e6),
            run.settings.lag_limit_ms
        ));
    }
    GeneratorReport {
        is_saturated: !reasons.is_empty(),
        reasons,
        lag,
        cpu_share_max: busiest_worker.max(publisher),
        cpu_share_sum: per(end.generator_cpu_ns.saturating_sub(begin.generator_cpu_ns), window_ns),
        turn_ns_max: run.turn_ns_max,
        machine_busy: machine_busy(&begin.machine, &end.machine),
    }
}

fn failures(
    run: &Run,
    tally: &Tally,
    connect: &ConnectReport,
    publish: &PublishReport,
) -> Vec<String> {
    let mut failures = Vec::new();
    let scenario = run.settings.scenario;
    if scenario == Scenario::Connect && connect.failures > 0 {
        failures.push(format!("{} of {} connects failed", connect.failures, connect.attempts));
    }
    if scenario == Scenario::Publish && publish.refused + publish.unknown > 0 {
        let (refused, unknown) = (publish.refused, publish.unknown);
        failures.push(format!("{refused} publishes were refused and {unknown} not answered"));
    }
    if tally.lost_statements > 0 && !run.settings.allow_lost {
        failures.push(format!(
            "{} subscriptions were told that messages are lost, {} deliveries in all \
             (--allow-lost accepts that)",
            tally.lost_statements, tally.told_lost
        ));
    }
    if scenario.publishes() && scenario != Scenario::Publish && tally.expected == 0 {
        failures.push("no delivery was expected, so nothing was proven".into());
    }
    if publish.unsent > 0 {
        failures.push(format!("{} messages were due but never sent", publish.unsent));
    }
    for cut in run.cuts.iter().filter(|cut| cut.recovered_s.is_none()) {
        failures.push(format!("not all subscribers came back after the cut at {:.1} s", cut.at_s));
    }
    failures
}

fn notes(
    run: &Run,
    measured: &Measured,
    tally: &Tally,
    generator: &GeneratorReport,
    publish: &PublishReport,
    connect: &ConnectReport,
) -> Vec<String> {
    let mut notes = Vec::new();
    if publish.refused > 0 {
        let first = measured.publish.first_refusal.as_deref().unwrap_or("");
        notes.push(format!("{} publishes were refused; the first: {first}", publish.refused));
    }
    if publish.unknown > 0 {
        let first = measured.publish.first_error.as_deref().unwrap_or("no answer in time");
        notes.push(format!("{} publishes have no known outcome; first: {first}", publish.unknown));
    }
    let share = publish.rate_achieved / publish.rate_requested;
    if publish.rate_requested > 0.0 && share < RATE_SHARE_NOTED {
        notes.push(format!(
            "achieved {:.1} of {:.1} publishes per second",
            publish.rate_achieved, publish.rate_requested
        ));
    }
    if generator.machine_busy > 0.97 {
        notes.push(format!(
            "the machine was {:.0} % busy: generator and server compete for its CPUs",
            generator.machine_busy * 100.0
        ));
    }
    if connect.failures > 0 {
        let first = connect.errors.first().map_or("", String::as_str);
        notes.push(format!("{} connection attempts failed; first: {first}", connect.failures));
    }
    if tally.lost_statements > 0 && run.settings.allow_lost {
        let (said, lost) = (tally.lost_statements, tally.told_lost);
        notes.push(format!("{said} subscriptions were told of losses, {lost} deliveries in all"));
    }
    if run.settings.scenario == Scenario::Storm && run.settings.key.is_none() {
        notes.push("the crowd came without tokens of its own (--key-file)".into());
    }
    if run.settings.server_pids.is_empty() {
        notes.push("the server was not sampled (--server-pid)".into());
    }
    notes
}
