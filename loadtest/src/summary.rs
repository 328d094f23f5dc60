//! The result as text, for the terminal.

use crate::chart::append;
use crate::latency::Quantiles;
use crate::live::{milliseconds, short};
use crate::report::{
    CutReport, MemoryStep, RecoverReport, RecoverRound, Report, StormPhase, StormReport,
};
use crate::settings::Scenario;

/// Everything a reader wants to see at once, ending in the verdict.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| append(&mut text, format_args!("{words}\n"));
    let parts = [heading(report), traffic(report), memory_text(report), cuts_text(report)];
    for part in parts.into_iter().flatten() {
        line(format_args!("{part}"));
    }
    if let Some(storm) = &report.storm {
        line(format_args!("{}", storm_text(storm)));
    }
    if let Some(recover) = &report.recover {
        line(format_args!("{}", recover_text(recover)));
    }
    if let Some(slow) = &report.slow {
        line(format_args!(
            "slow       {} closed by the server, {} got everything late, {} got a part",
            slow.closed, slow.complete, slow.incomplete
        ));
    }
    if let Some(server) = &report.server {
        line(format_args!(
            "server     {:.2} CPUs, {:.2} us CPU per delivery, rss {} MiB, tcp buffers {} MiB",
            server.cpus_mean,
            server.cpu_us_per_delivery,
            server.rss_max >> 20,
            server.tcp_buffers_max >> 20
        ));
    }
    let generator = &report.generator;
    line(format_args!(
        "generator  busiest thread {:.0} %, {:.2} CPUs in all, longest turn {}, lag p99 {}",
        generator.cpu_share_max * 100.0,
        generator.cpu_share_sum,
        milliseconds(generator.turn_ns_max),
        milliseconds(generator.lag.p99_ns)
    ));
    for note in &report.notes {
        line(format_args!("note       {note}"));
    }
    for failure in &report.failures {
        line(format_args!("failure    {failure}"));
    }
    for violation in report.tally.examples.iter().take(5) {
        line(format_args!("wrong      {violation}"));
    }
    if generator.is_saturated {
        line(format_args!(
            "*** GENERATOR SATURATED: do not believe rates or latencies of this run"
        ));
        for reason in &generator.reasons {
            line(format_args!("***   {reason}"));
        }
    }
    line(format_args!("{}", report.headline()));
    text.trim_end().to_owned()
}

fn heading(report: &Report) -> Vec<String> {
    let (settings, connect) = (&report.settings, &report.connect);
    let name = settings.scenario.name();
    if settings.scenario == Scenario::Publish {
        return vec![format!(
            "{name}: {} connections with {} requests in flight by {}, {} topic(s)",
            settings.publish_connections, settings.pipeline, settings.publish_door, settings.topics
        )];
    }
    let crowd = match settings.storm.crowd {
        0 => String::new(),
        crowd => format!(" beside a crowd of {crowd}"),
    };
    vec![
        format!(
            "{name}: {} subscribers over {}{crowd}, {} topic(s)",
            settings.subscribers, settings.door, settings.topics
        ),
        format!(
            "connect    {} subscribed, {}/s; handshake {}",
            connect.live,
            short(connect.rate_achieved),
            figures(&connect.handshake)
        ),
    ]
}

fn traffic(report: &Report) -> Vec<String> {
    let (scenario, publish) = (report.settings.scenario, &report.publish);
    if !scenario.publishes() {
        return Vec::new();
    }
    let requested =
        if publish.rate_requested > 0.0 { short(publish.rate_requested) } else { "any".into() };
    let mut lines = vec![format!(
        "publish    {} accepted, {} refused, {} unknown; {}/s of {requested} requested; answer {}",
        publish.accepted,
        publish.refused,
        publish.unknown,
        short(publish.rate_achieved),
        figures(&publish.answer_corrected)
    )];
    if scenario == Scenario::Publish {
        lines.push(format!("           from actual send:   {}", figures(&publish.answer_raw)));
        return lines;
    }
    lines.push(format!(
        "deliver    {} delivered frames per second",
        short(publish.delivered_per_second)
    ));
    lines.push(format!("latency    from intended send: {}", figures(&report.latency_corrected)));
    lines.push(format!("           from actual send:   {}", figures(&report.latency_raw)));
    lines
}

fn memory_text(report: &Report) -> Vec<String> {
    let slope = |slope: Option<f64>| slope.map_or("-".into(), |s| format!("{s:.0} B"));
    let step = |step: &MemoryStep| {
        format!(
            "memory     {} subscribers: private {} KiB, rss {} KiB; per connection {} private, {} slab (both ends)",
            step.subscribers,
            step.private >> 10,
            step.rss >> 10,
            slope(step.private_per_subscriber),
            slope(step.slab_per_subscriber)
        )
    };
    report.memory.iter().map(step).collect()
}

fn cuts_text(report: &Report) -> Vec<String> {
    let cut = |cut: &CutReport| {
        let recovered = cut.recovered_s.map_or("never".into(), |s| format!("after {s:.2} s"));
        format!(
            "cut        at {:.1} s: {} cut, all back {recovered}, {} failed attempts",
            cut.at_s, cut.cut, cut.failures
        )
    };
    report.cuts.iter().map(cut).collect()
}

fn recover_text(recover: &RecoverReport) -> String {
    let doors: Vec<String> = recover.doors.iter().map(ToString::to_string).collect();
    let doors = format!("recover    over {} in equal shares", doors.join(", "));
    let rounds = recover.rounds.iter().map(recover_round);
    std::iter::once(doors).chain(rounds).collect::<Vec<_>>().join("\n")
}

fn recover_round(round: &RecoverRound) -> String {
    let brought = &round.brought;
    format!(
        "recover    {} dropped, {} back {}, window {:.2} s, {} failed attempts; WebSockets were told: \
         {} subscriptions recovered, {} not, {} messages",
        round.dropped,
        round.back,
        round.all_back_s.map_or("in the end".into(), |s| format!("after {s:.2} s")),
        round.window_s,
        round.refused,
        brought.recovered,
        brought.lost,
        brought.messages
    )
}

fn storm_text(storm: &StormReport) -> String {
    let together = format!(
        "storm      while connections came: delivery p50 {} p99 {} = {:.2} times the quiet one",
        milliseconds(storm.delivery.p50_ns),
        milliseconds(storm.delivery.p99_ns),
        storm.ratio
    );
    let phases = storm.phases.iter().map(storm_phase);
    std::iter::once(together).chain(phases).collect::<Vec<_>>().join("\n")
}

fn storm_phase(phase: &StormPhase) -> String {
    let delivery = &phase.delivery;
    let mut text = format!(
        "storm      {:21} {:5.2} s: delivery p50 {} p99 {} (x{:.2})",
        phase.name,
        phase.lasted_s,
        milliseconds(delivery.p50_ns),
        milliseconds(delivery.p99_ns),
        phase.ratio
    );
    let mut add = |words: std::fmt::Arguments<'_>| append(&mut text, words);
    if phase.connects > 0 {
        add(format_args!(
            "; {} connects, {} errors, last welcome after {:.2} s, {}/s, handshake p50 {} p99 {}",
            phase.connects,
            phase.errors,
            phase.last_welcome_s,
            short(phase.connects_per_second),
            milliseconds(phase.handshake.p50_ns),
            milliseconds(phase.handshake.p99_ns)
        ));
    }
    if let Some(cpu_s) = phase.server_cpu_s {
        add(format_args!("; server {cpu_s:.2} s CPU"));
    }
    if let Some(cpu_us) = phase.server_cpu_us_per_connect {
        add(format_args!(", {cpu_us:.0} us per connect"));
    }
    if let Some(waited_s) = phase.server_waited_s {
        add(format_args!(", waited {waited_s:.2} s for a CPU"));
    }
    add(format_args!(
        "; lag p99 {}, readers waited {:.0} %, crowd {:.0} % of a CPU",
        milliseconds(phase.lag_p99_ns),
        phase.reader_waited * 100.0,
        phase.crowd_cpu * 100.0
    ));
    text
}

fn figures(quantiles: &Quantiles) -> String {
    if quantiles.count == 0 {
        return "nothing timed".into();
    }
    format!(
        "p50 {} p90 {} p99 {} p99.9 {} p99.99 {} max {}",
        milliseconds(quantiles.p50_ns),
        milliseconds(quantiles.p90_ns),
        milliseconds(quantiles.p99_ns),
        milliseconds(quantiles.p99_9_ns),
        milliseconds(quantiles.p99_99_ns),
        milliseconds(quantiles.max_ns)
    )
}
