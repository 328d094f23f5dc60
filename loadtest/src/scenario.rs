//! What each scenario does, step by step, and the judgement at its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::assemble::{self, Measured};
use crate::control::Command;
use crate::publisher::{Outcome, Publisher, Schedule};
use crate::report::{CutReport, MemoryStep, Report};
use crate::run::{Mark, Run, per};
use crate::settings::{Scenario, Settings};
use crate::storm;
use crate::sys;

/// Still time after the last expected delivery, in which a duplicate would show.
const LINGER: Duration = Duration::from_millis(400);
/// Longest wait for the workers to have cut; beyond it the report counts those cut so far.
const CUT_TIME_MAX: Duration = Duration::from_secs(10);
/// Time between the command to publish and the first message.
const LEAD_NS: u64 = 50_000_000;

/// Does a whole run.
///
/// # Errors
/// What kept it from being done at all; a run that was done and failed is an `Ok` report.
pub fn run(settings: Settings) -> Result<Report, String> {
    let started_unix_ms = sys::unix_ms();
    let mut run = Run::start(settings)?;
    let outcome = steps(&mut run);
    run.end_line();
    let measured = outcome?;
    Ok(assemble::report(&run, &measured, started_unix_ms))
}

fn steps(run: &mut Run) -> Result<Measured, String> {
    let mut measured = Measured::default();
    run.enter("connect");
    let before = run.mark();
    match run.settings.scenario {
        Scenario::Idle => idle(run)?,
        Scenario::Publish if run.settings.subscribers == 0 => {}
        _ => connect(run, run.settings.subscribers)?,
    }
    let after = run.mark();
    measured.connect_s = Duration::from_nanos(after.at_ns - before.at_ns).as_secs_f64();
    measured.live = run.live();
    measured.connect_failures = run.counters.sum(|row| &row.failures);
    measured.window = (before, after);
    if run.settings.scenario.has_crowd() {
        storm::prepare(run)?;
    }
    if run.settings.scenario.publishes() {
        publish(run, &mut measured)?;
    } else {
        run.enter("hold");
        run.pass(seconds(run.settings.settle_s))?;
        measured.publish.ledgers.resize_with(run.settings.topics as usize, Default::default);
    }
    judge(run, &measured)?;
    Ok(measured)
}

/// Opens connections until `total` subscribers are there.
fn connect(run: &mut Run, total: u32) -> Result<(), String> {
    let Settings { processes, connect_rate, connect_timeout_s, .. } = run.settings;
    for worker in 0..processes {
        let count = run.settings.share_of(worker, total);
        let rate = connect_rate / f64::from(processes);
        let command = Command::Connect { count, rate };
        run.fleet.tell(worker, &command).map_err(|error| format!("a worker is gone: {error}"))?;
    }
    let total: u64 = (0..processes).map(|w| u64::from(run.settings.share_of(w, total))).sum();
    let ramp_s = if connect_rate > 0.0 { per(total, connect_rate) } else { 0.0 };
    let limit = seconds(ramp_s * 2.0 + connect_timeout_s * 2.0 + 5.0);
    let is_ramp = run.settings.scenario == Scenario::Connect;
    let begun_ns = sys::monotonic_ns();
    let all = run.wait(limit, |run| {
        let (live, failures) = (run.live(), run.counters.sum(|row| &row.failures));
        let lost = run.counters.sum(|row| &row.lost);
        let hopeless = live == 0 && failures > 0 && sys::monotonic_ns() - begun_ns > 3_000_000_000;
        if hopeless {
            return Ok(true);
        }
        Ok(live + lost >= total || (is_ramp && live + lost + failures >= total))
    })?;
    let live = run.live();
    if live > 0 && (all || is_ramp) {
        return Ok(());
    }
    // The errors of the last interval are still on their way.
    run.pass(Duration::from_millis(1_100))?;
    let reason = run.errors.first().map_or("no answer", String::as_str);
    Err(format!("{live} of {total} subscribers connected. First error: {reason}"))
}

fn idle(run: &mut Run) -> Result<(), String> {
    for total in run.settings.steps.clone() {
        run.enter("connect");
        connect(run, total)?;
        run.enter("settle");
        run.pass(seconds(run.settings.settle_s))?;
        let (mark, live) = (run.mark(), run.live());
        let server = mark.server.unwrap_or_default();
        let mut step = MemoryStep {
            subscribers: live,
            rss: server.rss,
            pss: server.pss,
            private: server.private,
            slab: mark.machine.slab,
            tcp_buffers: mark.machine.tcp_buffers,
            ..MemoryStep::default()
        };
        if let Some(before) = run.memory.last().filter(|before| before.subscribers < live) {
            let more = per(live - before.subscribers, 1.0);
            let slope = |now: u64, then: u64| (per(now, 1.0) - per(then, 1.0)) / more;
            step.private_per_subscriber = mark.server.map(|_| slope(step.private, before.private));
            step.slab_per_subscriber = Some(slope(step.slab, before.slab));
        }
        run.memory.push(step);
    }
    Ok(())
}

fn publish(run: &mut Run, measured: &mut Measured) -> Result<(), String> {
    if run.settings.scenario == Scenario::Slow {
        run.tell(&Command::StopReading)?;
    }
    let is_storm = run.settings.scenario.has_crowd();
    let start_ns = sys::monotonic_ns() + LEAD_NS;
    let measure_from_ns = start_ns + sys::nanoseconds(run.settings.warmup_s);
    // A storm takes as long as the server lets it.
    let span_s = if is_storm { f64::INFINITY } else { run.settings.duration_s };
    let end_ns = measure_from_ns + sys::nanoseconds(span_s);
    let schedule = Schedule { start_ns, measure_from_ns, end_ns };
    run.tell(&Command::Publish { measure_from_ns })?;
    run.enter("warm-up");
    let (settings, progress) = (run.settings.clone(), Arc::clone(&run.progress));
    let counters = Arc::clone(&run.counters);
    let thread = thread::spawn(move || -> Result<Outcome, String> {
        let explain = |error| format!("cannot publish: {error}");
        let publisher = Publisher::new(&settings, &progress, &counters).map_err(explain)?;
        publisher.run(&schedule).map_err(explain)
    });
    let watched = if is_storm {
        storm::watch(run, &schedule, || thread.is_finished())
    } else {
        watch(run, &schedule, || thread.is_finished())
    };
    run.progress.stop.store(watched.is_err(), Ordering::Relaxed);
    let outcome = thread.join().map_err(|_panic| "the publisher panicked".to_owned())?;
    measured.window = watched?;
    measured.publish = outcome?;
    if run.progress.accepted.load(Ordering::Relaxed) == 0 {
        let refusal = measured.publish.first_refusal.as_ref();
        let reason = refusal.or(measured.publish.first_error.as_ref());
        let reason = reason.map_or("nothing was due", String::as_str);
        return Err(format!("no publish was accepted. First answer: {reason}"));
    }
    settle(run)
}

/// Follows the publisher; answers the counters at the ends of the measured time.
fn watch(
    run: &mut Run,
    schedule: &Schedule,
    is_finished: impl Fn() -> bool,
) -> Result<(Mark, Mark), String> {
    let (mut begin, mut end) = (None, None);
    let mut times = cut_times(&run.settings, schedule);
    run.wait(Duration::MAX, |run| {
        let now_ns = sys::monotonic_ns();
        if begin.is_none() && now_ns >= schedule.measure_from_ns {
            run.enter("publish");
            begin = Some(run.mark());
        }
        if end.is_none() && now_ns >= schedule.end_ns {
            end = Some(run.mark());
            run.enter("drain");
        }
        if times.first().is_some_and(|&at_ns| at_ns <= now_ns) {
            times.remove(0);
            cut(run)?;
        }
        follow_cut(run);
        Ok(is_finished())
    })?;
    let last = run.mark();
    Ok((begin.unwrap_or(last), end.unwrap_or(last)))
}

fn cut_times(settings: &Settings, schedule: &Schedule) -> Vec<u64> {
    if settings.scenario != Scenario::Cut {
        return Vec::new();
    }
    let cuts = u64::from(settings.cuts);
    let span = schedule.end_ns - schedule.measure_from_ns;
    (1..=cuts).map(|i| schedule.measure_from_ns + span * i / (cuts + 1)).collect()
}

fn cut(run: &mut Run) -> Result<(), String> {
    let Settings { cut_fraction, reconnect_rate, processes, .. } = run.settings;
    let before = run.counters.sum(|row| &row.cut);
    let at_s = Duration::from_nanos(sys::monotonic_ns() - run.start_ns).as_secs_f64();
    let rate = reconnect_rate / f64::from(processes);
    run.tell(&Command::Cut { fraction: cut_fraction, rate })?;
    // The workers must have cut before anyone may say that all are back.
    let rounds = u64::from(processes) * (run.cuts.len() as u64 + 1);
    run.wait(CUT_TIME_MAX, |run| Ok(run.counters.sum(|row| &row.cut_rounds) >= rounds))?;
    let cut = run.counters.sum(|row| &row.cut) - before;
    let failures = run.counters.sum(|row| &row.failures);
    run.cuts.push(CutReport { at_s, cut, recovered_s: None, failures });
    Ok(())
}

fn follow_cut(run: &mut Run) {
    let (live, lost) = (run.live(), run.counters.sum(|row| &row.lost));
    let failures = run.counters.sum(|row| &row.failures);
    let now_s = Duration::from_nanos(sys::monotonic_ns() - run.start_ns).as_secs_f64();
    let all = u64::from(run.settings.subscribers);
    if let Some(cut) = run.cuts.last_mut()
        && cut.recovered_s.is_none()
        && live + lost >= all
    {
        cut.recovered_s = Some(now_s - cut.at_s);
        cut.failures = failures - cut.failures;
    }
}

/// Waits until deliveries have come to rest: all that is owed has come and a little more time has
/// passed, or nothing has come for the grace time.
fn settle(run: &mut Run) -> Result<(), String> {
    run.enter("settle");
    let grace_ns = sys::nanoseconds(run.settings.grace_s);
    let is_exact = !matches!(run.settings.scenario, Scenario::Cut | Scenario::Slow);
    if run.settings.scenario == Scenario::Slow {
        run.tell(&Command::ResumeReading)?;
    }
    let owed = run.progress.owed.load(Ordering::Relaxed);
    let mut last = (run.delivered(), sys::monotonic_ns());
    run.wait(Duration::MAX, |run| {
        follow_cut(run);
        let (delivered, now_ns) = (run.delivered(), sys::monotonic_ns());
        if delivered != last.0 {
            last = (delivered, now_ns);
        }
        Ok((is_exact && delivered >= owed) || now_ns - last.1 >= grace_ns)
    })?;
    run.pass(LINGER)
}

fn judge(run: &mut Run, measured: &Measured) -> Result<(), String> {
    run.enter("judge");
    let command = Command::Judge { ledgers: measured.publish.ledgers.clone() };
    run.tell(&command)?;
    let mut judges = run.settings.processes;
    if run.settings.scenario == Scenario::Recover {
        run.tell_crowds(&command)?;
        judges += run.settings.storm.processes;
    }
    let judges = judges as usize;
    let all = run.wait(Duration::from_mins(1), |run| Ok(run.finals.len() == judges))?;
    if all { Ok(()) } else { Err("a worker gave no verdict within 60 s".into()) }
}

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)
}
