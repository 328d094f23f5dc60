//! The storm: a crowd comes, is dropped at once, comes back with its tokens, is dropped, comes back
//! with new ones, and leaves, while the established go on receiving.
//!
//! Judged: every connection gets its welcome, and the p99 of delivery to the established stays below
//! a multiple of its quiet value, over the phases in which connections come together, and after they
//! have left. That the established lose nothing is judged as in every scenario. `recover` is a
//! storm, too: its crowd is dropped and comes back for what it has missed.
//!
//! Each phase begins at a moment announced beforehand to the workers, which time deliveries by when
//! they were meant to be sent, and to the crowds, which begin then. So a phase holds all messages
//! due from its first connect until a little after its last welcome, however late they came.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::control::{Command, Gathered};
use crate::latency::Latency;
use crate::live::milliseconds;
use crate::publisher::Schedule;
use crate::recover;
use crate::report::{RecoverReport, StormPhase, StormReport};
use crate::run::{Mark, Run, per};
use crate::sample::{self, Scheduled};
use crate::settings::{Scenario, Settings, StormSettings};
use crate::sys;

/// What the crowd does after the quiet phase, and with which set of tokens; none = it stays away.
type Step = (&'static str, Option<u32>);
const STEPS: [Step; 4] = [
    ("first connects", Some(0)),
    ("back with same tokens", Some(0)),
    ("back with new tokens", Some(1)),
    ("all leave", None),
];
/// What a crowd does that returns for what it has missed, as often as is asked.
const RETURN: Step = ("dropped, all return", Some(0));
/// Time after each return in which the crowd receives, so that what it has is seen to go on.
const RETURNED_TIME: Duration = Duration::from_secs(1);
/// Time between the announcement of a phase and its begin: longer than a command takes.
const LEAD_NS: u64 = 20_000_000;
/// How long deliveries are followed after the crowd has left.
const LEAVE_TIME: Duration = Duration::from_secs(1);
/// Longest wait for the crowds' tokens to be signed.
const SIGN_TIME_MAX: Duration = Duration::from_mins(2);
/// Share of a phase that the timing processes may wait for a CPU before their times are doubted.
const READER_WAITED_MAX: f64 = 0.25;
/// Share of the quiet phase that the server's threads, added up, may wait for a CPU before the
/// baseline is doubted: on a machine busy with something else every storm looks calm.
const QUIET_WAITED_MAX: f64 = 0.1;
/// Share of one CPU at which the timing processes count as saturated.
const READER_CPU_MAX: f64 = 0.95;
/// Share of one CPU at which the crowd, not the server, limits the connects per second.
const CROWD_CPU_NOTED: f64 = 0.9;
/// Error examples kept per phase.
const ERRORS_MAX: usize = 5;

/// What the processes had used up when a phase began.
struct Begin {
    at_ns: u64,
    server: Option<Scheduled>,
    readers: Vec<Option<Scheduled>>,
}

/// Waits until the crowds have signed their tokens.
///
/// # Errors
/// When they do not in two minutes.
pub fn prepare(run: &mut Run) -> Result<(), String> {
    let StormSettings { processes, crowd, ratio_max, .. } = run.settings.storm;
    let phases_due = steps(&run.settings).len() as u64 + 1;
    run.enter("sign");
    let is_ready =
        |run: &mut Run| Ok(run.counters.sum(|row| &row.crowd_ready) == u64::from(processes));
    if !run.wait(SIGN_TIME_MAX, is_ready)? {
        return Err("the crowd's tokens are not signed after two minutes".into());
    }
    let crowd = crowd.into();
    run.storm = Some(StormReport { crowd, phases_due, ratio_max, ..StormReport::default() });
    if run.settings.scenario == Scenario::Recover { arrive(run) } else { Ok(()) }
}

fn steps(settings: &Settings) -> Vec<Step> {
    match settings.scenario {
        Scenario::Recover => vec![RETURN; settings.cuts as usize],
        _ => STEPS.to_vec(),
    }
}

/// Lets a crowd that takes topics come before anything is published.
fn arrive(run: &mut Run) -> Result<(), String> {
    run.enter("crowd");
    let (doors, rounds_due) = (run.settings.recover.doors.clone(), run.settings.cuts.into());
    run.recover = Some(RecoverReport { doors, rounds_due, rounds: Vec::new() });
    run.tell_crowds(&Command::Gather { at_ns: sys::monotonic_ns(), tokens: Some(0) })?;
    let crowds = run.settings.storm.processes as usize;
    run.wait(Duration::MAX, |run| Ok(run.gathered.len() == crowds))?;
    let gathered = std::mem::take(&mut run.gathered);
    let arrived: u64 = gathered.iter().map(|g| g.welcomed).sum();
    if arrived == u64::from(run.settings.storm.crowd) {
        return Ok(());
    }
    let error = gathered.iter().find_map(|g| g.errors.first()).map_or("no answer", String::as_str);
    Err(format!(
        "{arrived} of the crowd of {} came. First error: {error}",
        run.settings.storm.crowd
    ))
}

/// Follows the publisher through the storm and lets it end; answers the counters at both ends.
///
/// # Errors
/// When a process fails.
pub fn watch(
    run: &mut Run,
    schedule: &Schedule,
    is_finished: impl Fn() -> bool,
) -> Result<(Mark, Mark), String> {
    let quiet = begin(run, schedule.measure_from_ns)?;
    let first = run.mark();
    run.enter("quiet");
    let quiet_s = Duration::try_from_secs_f64(run.settings.storm.quiet_s).unwrap_or_default();
    run.wait(quiet_s, |_| Ok(is_finished()))?;
    end(run, "quiet", &quiet, &[]);
    run.enter("storm");
    for (name, tokens) in steps(&run.settings) {
        // A publisher that ended by itself has failed, and says why when it is joined.
        if is_finished() {
            break;
        }
        let at_ns = sys::monotonic_ns() + LEAD_NS;
        run.tell_crowds(&Command::Gather { at_ns, tokens })?;
        let begun = begin(run, at_ns)?;
        let crowds = run.settings.storm.processes as usize;
        run.wait(Duration::MAX, |run| Ok(run.gathered.len() == crowds || is_finished()))?;
        if tokens.is_none() {
            run.pass(LEAVE_TIME)?;
        }
        let gathered = std::mem::take(&mut run.gathered);
        end(run, name, &begun, &gathered);
        if let Some(report) = &mut run.recover {
            report.rounds.push(recover::round(at_ns, &gathered));
            run.pass(RETURNED_TIME)?;
        }
    }
    let last = run.mark();
    run.enter("drain");
    run.progress.finish.store(true, Ordering::Relaxed);
    run.wait(Duration::MAX, |_| Ok(is_finished()))?;
    Ok((first, last))
}

/// Announces a phase and waits for its begin.
fn begin(run: &mut Run, at_ns: u64) -> Result<Begin, String> {
    run.tell(&Command::Phase { from_ns: at_ns })?;
    let wait_ns = at_ns.saturating_sub(sys::monotonic_ns());
    run.pass(Duration::from_nanos(wait_ns))?;
    run.progress.phase.fetch_add(1, Ordering::Relaxed);
    let server = sample::scheduled(&run.settings.server_pids);
    Ok(Begin { at_ns, server, readers: readers(run) })
}

fn readers(run: &Run) -> Vec<Option<Scheduled>> {
    let workers = run.fleet.pids().filter(|(_, is_worker)| *is_worker);
    workers.map(|(pid, _)| sample::scheduled(&[pid])).collect()
}

/// Writes a phase down; its latencies are still on their way and come with [`report`].
fn end(run: &mut Run, name: &str, begun: &Begin, gathered: &[Gathered]) {
    let lasted_ns = sys::monotonic_ns() - begun.at_ns;
    let sum = |count: &dyn Fn(&Gathered) -> u64| gathered.iter().map(count).sum::<u64>();
    let last_ns = gathered.iter().map(|g| g.last_ns).max().unwrap_or(0);
    let last_welcome_s = per(last_ns.saturating_sub(begun.at_ns), 1e9);
    let welcomed = sum(&|g| g.welcomed);
    let (server, waited_ns) = since(begun.server, sample::scheduled(&run.settings.server_pids));
    let mut handshake = Latency::default();
    for part in gathered {
        handshake.merge(&part.handshake);
    }
    let readers: Vec<_> = begun
        .readers
        .iter()
        .zip(readers(run))
        .map(|(then, now)| since(*then, now))
        .map(|(cpu_s, waited_s)| (cpu_s.unwrap_or(0.0), waited_s.unwrap_or(0.0)))
        .collect();
    let lasted_s = per(lasted_ns, 1e9);
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let errors = gathered.iter().flat_map(|g| g.errors.iter().cloned());
    let phase = StormPhase {
        name: name.to_owned(),
        at_s: per(begun.at_ns.saturating_sub(run.start_ns), 1e9),
        lasted_s,
        connects: welcomed + sum(&|g| g.failed),
        welcomed,
        errors: sum(&|g| g.failed + g.lost + g.wrong),
        error_examples: errors.take(ERRORS_MAX).collect(),
        last_welcome_s,
        connects_per_second: per(welcomed, last_welcome_s),
        handshake: handshake.quantiles(),
        server_cpu_s: server,
        server_cpu_us_per_connect: server
            .filter(|_| welcomed > 0)
            .map(|cpu_s| cpu_s * 1e6 / per(welcomed, 1.0)),
        server_waited_s: waited_ns,
        reader_waited: most(&mut readers.iter().map(|(_, waited_s)| waited_s / lasted_s)),
        reader_cpu: most(&mut readers.iter().map(|(cpu_s, _)| cpu_s / lasted_s)),
        crowd_cpu: most(&mut gathered.iter().map(|g| g.cpu_share)),
        crowd_turn_ns_max: gathered.iter().map(|g| g.turn_ns_max).max().unwrap_or(0),
        ..StormPhase::default()
    };
    run.storm.get_or_insert_default().phases.push(phase);
}

/// CPU seconds used and seconds waited for a CPU between two samples.
fn since(then: Option<Scheduled>, now: Option<Scheduled>) -> (Option<f64>, Option<f64>) {
    let both = then.zip(now);
    (
        both.map(|(then, now)| per(now.cpu_ms.saturating_sub(then.cpu_ms), 1e3)),
        both.map(|(then, now)| per(now.waited_ns.saturating_sub(then.waited_ns), 1e9)),
    )
}

/// The storm with its latencies, once all of them have come.
#[must_use]
pub fn report(run: &Run, phase_lag: &[Latency]) -> Option<StormReport> {
    let mut storm = run.storm.clone()?;
    let quiet_ns = run.phase_latency.first().map_or(0, |latency| latency.at(0.99));
    // The publisher's first entry is the time before the quiet phase.
    let lags = phase_lag.iter().skip(1);
    let mut together = Latency::default();
    for (phase, latency) in storm.phases.iter_mut().zip(&run.phase_latency) {
        phase.delivery = latency.quantiles();
        phase.ratio = per(phase.delivery.p99_ns, per(quiet_ns, 1.0));
        if phase.connects > 0 {
            together.merge(&latency.sparse());
        }
    }
    storm.delivery = together.quantiles();
    storm.ratio = per(storm.delivery.p99_ns, per(quiet_ns, 1.0));
    for (phase, lag) in storm.phases.iter_mut().zip(lags) {
        phase.lag_p99_ns = lag.at(0.99);
    }
    Some(storm)
}

impl StormReport {
    /// Why the storm was not weathered.
    #[must_use]
    pub fn failures(&self, lag_limit_ms: f64) -> Vec<String> {
        let mut failures = Vec::new();
        if self.phases.len() as u64 != self.phases_due {
            failures.push("the storm ended before its last phase".to_owned());
        }
        for phase in &self.phases {
            let name = &phase.name;
            if phase.errors > 0 {
                let first = phase.error_examples.first().map_or("", String::as_str);
                let (errors, connects) = (phase.errors, phase.connects);
                failures.push(format!("{name}: {errors} errors, {connects} connects; {first}"));
            }
            if phase.connects > 0 && phase.welcomed != self.crowd {
                let (welcomed, crowd) = (phase.welcomed, self.crowd);
                failures.push(format!("{name}: {welcomed} of {crowd} were welcomed"));
            }
            if phase.delivery.count == 0 {
                failures.push(format!("{name}: no delivery was timed"));
            }
        }
        failures.extend(self.slowed(lag_limit_ms));
        failures
    }

    /// Where deliveries became too slow.
    fn slowed(&self, lag_limit_ms: f64) -> Vec<String> {
        let Some((quiet, stormy)) = self.phases.split_first() else { return Vec::new() };
        let (coming, left): (Vec<_>, Vec<_>) = stormy.iter().partition(|phase| phase.connects > 0);
        let together = ("while connections came", self.delivery.p99_ns, self.ratio, coming);
        let alone =
            left.into_iter().map(|p| (p.name.as_str(), p.delivery.p99_ns, p.ratio, vec![p]));
        let too_slow = std::iter::once(together).chain(alone).filter(|s| s.2 > self.ratio_max);
        too_slow
            .map(|(name, p99_ns, ratio, phases)| {
                let is_doubtful = phases.iter().any(|phase| !phase.doubts(lag_limit_ms).is_empty());
                let waited_s: f64 = phases.iter().filter_map(|phase| phase.server_waited_s).sum();
                let lasted_s: f64 = phases.iter().map(|phase| phase.lasted_s).sum();
                format!(
                    "{name}: p99 of delivery {} is {ratio:.2} times its quiet {} (limit {}); the \
                     server waited {waited_s:.2} s for a CPU in {lasted_s:.2} s{}",
                    milliseconds(p99_ns),
                    milliseconds(quiet.delivery.p99_ns),
                    self.ratio_max,
                    if is_doubtful { UNPROVEN } else { "" }
                )
            })
            .collect()
    }

    /// Why the generator, not the server, may have made deliveries late.
    #[must_use]
    pub fn doubts(&self, lag_limit_ms: f64) -> Vec<String> {
        let mut doubts: Vec<_> =
            self.phases.iter().flat_map(|phase| phase.doubts(lag_limit_ms)).collect();
        let waited = |phase: &StormPhase| phase.server_waited_s.unwrap_or(0.0) / phase.lasted_s;
        if let Some(share) = self.phases.first().map(waited).filter(|s| *s > QUIET_WAITED_MAX) {
            doubts.push(format!(
                "quiet: the server waited for a CPU {:.0} % of the time, so the machine was not quiet",
                share * 100.0
            ));
        }
        doubts
    }

    /// What a reader should know of the connects per second.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let busy = self.phases.iter().filter(|phase| phase.crowd_cpu >= CROWD_CPU_NOTED);
        busy.map(|phase| {
            format!(
                "{}: the crowd used {:.0} % of a CPU; the server may take more connects per second",
                phase.name,
                phase.crowd_cpu * 100.0
            )
        })
        .collect()
    }
}

const UNPROVEN: &str = "; the generator was saturated, so this is not proven of the server";

impl StormPhase {
    fn doubts(&self, lag_limit_ms: f64) -> Vec<String> {
        let mut doubts = Vec::new();
        let name = &self.name;
        let lag_ms = per(self.lag_p99_ns, 1e6);
        if lag_ms > lag_limit_ms {
            doubts.push(format!(
                "{name}: 1 % of the messages were looked at more than {lag_ms:.1} ms after they \
                 were due (limit {lag_limit_ms} ms, --lag-limit)"
            ));
        }
        if self.reader_cpu >= READER_CPU_MAX {
            let percent = self.reader_cpu * 100.0;
            doubts.push(format!("{name}: a timing process used {percent:.0} % of a CPU"));
        }
        if self.reader_waited > READER_WAITED_MAX {
            let percent = self.reader_waited * 100.0;
            doubts.push(format!(
                "{name}: a timing process waited for a CPU {percent:.0} % of the time"
            ));
        }
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Quantiles;

    fn phase(name: &str, connects: u64, p99_ns: u64, ratio: f64) -> StormPhase {
        StormPhase {
            name: name.into(),
            connects,
            welcomed: connects,
            delivery: Quantiles { count: 100, p99_ns, ..Quantiles::default() },
            ratio,
            ..StormPhase::default()
        }
    }

    fn weathered() -> StormReport {
        let mut phases = vec![phase("quiet", 0, 1_000_000, 1.0)];
        for (name, tokens) in STEPS {
            phases.push(phase(name, tokens.map_or(0, |_| 50), 3_000_000, 3.0));
        }
        let delivery = Quantiles { count: 300, p99_ns: 3_000_000, ..Quantiles::default() };
        StormReport { crowd: 50, phases_due: 5, ratio_max: 3.0, delivery, ratio: 3.0, phases }
    }

    /// Spoils one phase; the failures must hold the words, and only they.
    #[track_caller]
    fn check(spoil: impl Fn(&mut StormPhase), expected: &[&str]) {
        let mut storm = weathered();
        spoil(&mut storm.phases[2]);
        let failures = storm.failures(5.0);
        assert_eq!(failures.len(), expected.len(), "{failures:?}");
        for (failure, words) in failures.iter().zip(expected) {
            assert!(failure.contains(words), "{failure}");
            assert!(failure.starts_with("back with same tokens: "), "{failure}");
        }
    }

    #[test]
    fn each_way_to_fail_has_its_words() {
        check(|_| (), &[]);
        check(|phase| phase.errors = 1, &["1 errors"]);
        check(|phase| phase.welcomed = 49, &["49 of 50 were welcomed"]);
        check(|phase| phase.delivery.count = 0, &["no delivery was timed"]);
        let mut slow = weathered();
        (slow.ratio, slow.phases[4].ratio) = (3.01, 4.0);
        let failures = slow.failures(5.0);
        assert_eq!(failures.len(), 2, "{failures:?}");
        let words =
            "while connections came: p99 of delivery 3.000 ms is 3.01 times its quiet 1.000 ms";
        assert!(failures[0].starts_with(words), "{failures:?}");
        assert!(failures[1].starts_with("all leave: ") && failures[1].contains("4.00 times"));
        let mut cut_short = weathered();
        cut_short.phases.pop();
        assert_eq!(cut_short.failures(5.0), ["the storm ended before its last phase"]);
    }

    #[test]
    fn a_saturated_generator_does_not_pass_for_a_slow_server() {
        let saturations: [fn(&mut StormPhase); 3] = [
            |phase| phase.lag_p99_ns = 6_000_000,
            |phase| phase.reader_cpu = 0.96,
            |phase| phase.reader_waited = 0.3,
        ];
        for saturate in saturations {
            let mut storm = weathered();
            saturate(&mut storm.phases[1]);
            assert_eq!((storm.doubts(5.0).len(), storm.failures(5.0).len()), (1, 0));
            (storm.ratio, storm.phases[4].ratio) = (9.0, 9.0);
            let failures = storm.failures(5.0);
            let unproven: Vec<bool> = failures.iter().map(|f| f.ends_with(UNPROVEN)).collect();
            assert_eq!(unproven, [true, false], "{failures:?}");
        }
        let mut storm = weathered();
        (storm.phases[0].server_waited_s, storm.phases[0].lasted_s) = (Some(1.1), 10.0);
        assert!(storm.doubts(5.0)[0].contains("11 % of the time"), "{:?}", storm.doubts(5.0));
        let mut storm = weathered();
        storm.phases[1].crowd_cpu = 0.99;
        assert_eq!((storm.notes().len(), storm.doubts(5.0).len()), (1, 0));
    }
}
