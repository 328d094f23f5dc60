//! Whether a run can be done as asked: the settings against each other, and against this machine.

use std::fs;

use crate::marker::MARKER_SIZE;
use crate::settings::{Door, Farewell, PublishDoor, Scenario, Settings};
use crate::shared::WORKERS_MAX;
use crate::sys;

/// Descriptors of a process that are not subscribers: pipes, epoll, publish connections.
const DESCRIPTORS_RESERVED: u64 = 64;
/// Ports of one source address, when the kernel's range cannot be read.
const PORTS_DEFAULT: u64 = 28_000;
/// Times that a storm's crowd connects.
const GATHERINGS: u64 = 3;

/// All that is wrong with the settings, together.
///
/// # Errors
/// One clause per problem.
pub(crate) fn settings(settings: &Settings) -> Result<(), String> {
    let name_is_plain = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
    let is_storm = settings.scenario == Scenario::Storm;
    let storm = &settings.storm;
    let processes = settings.processes.saturating_add(storm.processes) as usize;
    let has_crowd = settings.scenario.has_crowd();
    let is_recover = settings.scenario == Scenario::Recover;
    let doors = settings.recover.doors.len();
    let rules = [
        (
            settings.subscribers > 0 || settings.scenario == Scenario::Publish,
            "--subscribers must be at least 1".to_owned(),
        ),
        (
            // Its connections share each topic, so the order of numbers would mean nothing.
            settings.subscribers == 0 || settings.scenario != Scenario::Publish,
            "publish takes no subscribers".to_owned(),
        ),
        (settings.topics > 0, "--topics must be at least 1".to_owned()),
        (settings.topics < 1_000_000, "--topics must be below 1,000,000".to_owned()),
        (
            (1..=settings.topics).contains(&settings.topics_per_subscriber),
            "--topics-per-subscriber must be between 1 and --topics".to_owned(),
        ),
        (settings.size >= MARKER_SIZE, format!("--size must be at least {MARKER_SIZE}")),
        (settings.size <= 512 * 1024, "--size must be at most 524288".to_owned()),
        (settings.rate > 0.0, "--rate must be above 0".to_owned()),
        (settings.duration_s > 0.0, "--duration must be above 0".to_owned()),
        (settings.warmup_s >= 0.0, "--warmup must not be negative".to_owned()),
        (settings.grace_s > 0.0, "--grace must be above 0".to_owned()),
        (settings.publish_connections > 0, "--publish-connections must be at least 1".to_owned()),
        (settings.pipeline > 0, "--pipeline must be at least 1".to_owned()),
        (settings.batch > 0, "--batch must be at least 1".to_owned()),
        (settings.window > 0, "--window must be at least 1".to_owned()),
        (
            settings.processes > 0 && processes <= WORKERS_MAX,
            format!("--processes and --crowd-processes must be 1 to {WORKERS_MAX} in all"),
        ),
        (
            settings.steps.is_sorted_by(|a, b| a < b),
            "--steps must grow from one to the next".to_owned(),
        ),
        (settings.slow <= settings.subscribers, "--slow must not exceed --subscribers".to_owned()),
        (
            !matches!(settings.scenario, Scenario::Cut | Scenario::Recover) || settings.cuts > 0,
            "--cuts must be at least 1".to_owned(),
        ),
        (
            settings.topic_prefix.chars().all(name_is_plain),
            "--topic-prefix may hold letters, digits, '-', '_' and '/'".to_owned(),
        ),
        (
            !settings.compress || settings.publish_door == PublishDoor::Realtime,
            "--compress needs --publish-door realtime".to_owned(),
        ),
        (!settings.deflate || settings.door == Door::Ws, "--deflate needs --door ws".to_owned()),
        (!is_storm || settings.door == Door::Ws, "storm needs --door ws".to_owned()),
        (!has_crowd || storm.crowd > 0, "a crowd has at least 1 connection (-n)".to_owned()),
        (!has_crowd || storm.processes > 0, "--crowd-processes must be at least 1".to_owned()),
        (
            !is_recover || (doors > 0 && (storm.processes as usize).is_multiple_of(doors)),
            "--crowd-processes must be a multiple of the number of --crowd-doors".to_owned(),
        ),
        (
            !is_recover || settings.recover.jitter_s >= 0.0,
            "--jitter must not be negative".to_owned(),
        ),
        (
            // Members are back when a message sent after their return has come.
            !is_recover || settings.rate >= f64::from(settings.topics),
            "recover needs a --rate of at least 1 per second and topic".to_owned(),
        ),
        (
            !is_storm || storm.concurrency >= storm.processes,
            "--concurrency must be at least --crowd-processes".to_owned(),
        ),
        (!has_crowd || storm.quiet_s > 0.0, "--quiet must be above 0".to_owned()),
        (!has_crowd || storm.ratio_max >= 1.0, "--ratio-max must be at least 1".to_owned()),
    ];
    let mut wrong: Vec<String> =
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, message)| message).collect();
    wrong.extend(settings.paths.problems(settings));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Compares what the run needs with what this machine grants.
///
/// # Errors
/// What is lacking, and the option that helps.
pub(crate) fn limits(settings: &Settings) -> Result<(), String> {
    let limit = sys::raise_descriptor_limit().map_err(|error| error.to_string())?;
    let storm = &settings.storm;
    descriptors("subscribers", settings.subscribers, settings.processes, "--processes", limit)?;
    descriptors("of the crowd", storm.crowd, storm.processes, "--crowd-processes", limit)?;
    // Who closes first keeps the port for a minute (TIME-WAIT, RFC 9293 §3.3.2), unless by reset.
    let times = match (storm.farewell, settings.scenario) {
        (Farewell::Reset, _) => 1,
        (Farewell::Close, Scenario::Recover) => u64::from(settings.cuts) + 1,
        (Farewell::Close, _) => GATHERINGS,
    };
    let needed = u64::from(settings.subscribers) + u64::from(storm.crowd) * times;
    let (ports, addresses) = (ports(), settings.sources.len().max(1) as u64);
    if needed > ports * addresses {
        return Err(format!(
            "{needed} connections need more than the {ports} ports of {addresses} source \
             address(es): use --source-addresses {} or more",
            needed.div_ceil(ports)
        ));
    }
    Ok(())
}

fn descriptors(
    what: &str,
    count: u32,
    processes: u32,
    option: &str,
    limit: u64,
) -> Result<(), String> {
    let each = u64::from(count.div_ceil(processes.max(1)));
    if each + DESCRIPTORS_RESERVED <= limit {
        return Ok(());
    }
    let enough = u64::from(count).div_ceil(limit.saturating_sub(DESCRIPTORS_RESERVED).max(1));
    Err(format!(
        "{each} {what} per process exceed the descriptor limit of {limit} (RLIMIT_NOFILE): use \
         {option} {enough} or more, or raise `ulimit -n`"
    ))
}

fn ports() -> u64 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let bounds: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match bounds[..] {
        [low, high] if high > low => high - low,
        _ => PORTS_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{StormSettings, example};

    #[test]
    fn every_problem_is_named_at_once() {
        let bad = Settings { size: 10, rate: 0.0, topics_per_subscriber: 2, ..example() };
        let message = super::settings(&bad).unwrap_err();
        for option in ["--size", "--rate", "--topics-per-subscriber"] {
            assert!(message.contains(option), "{message}");
        }
        assert_eq!(super::settings(&example()), Ok(()));
        let bad = Settings { scenario: Scenario::Storm, door: Door::Sse, ..example() };
        let message = super::settings(&bad).unwrap_err();
        for option in ["--door", "-n", "--crowd-processes", "--quiet", "--ratio-max"] {
            assert!(message.contains(option), "{message}");
        }
    }

    #[test]
    fn limits_name_the_option_that_helps() {
        let many = Settings { subscribers: 4_000_000_000, ..example() };
        let message = limits(&many).unwrap_err();
        assert!(message.contains("RLIMIT_NOFILE") && message.contains("--processes"), "{message}");
        let storm = |farewell, crowd, processes| Settings {
            storm: StormSettings { crowd, processes, farewell, ..StormSettings::default() },
            ..example()
        };
        let message = limits(&storm(Farewell::Reset, 4_000_000_000, 1)).unwrap_err();
        assert!(message.contains("--crowd-processes"), "{message}");
        // As many as fit once: closed in order, they need a port more than once.
        let crowd = u32::try_from(ports() - 20).unwrap();
        assert_eq!(limits(&storm(Farewell::Reset, crowd, 60)), Ok(()));
        let message = limits(&storm(Farewell::Close, crowd, 60)).unwrap_err();
        assert!(message.contains("--source-addresses"), "{message}");
    }
}
