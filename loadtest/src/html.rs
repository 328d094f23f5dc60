//! The report as one page: no script, nothing from outside, light or dark as the reader's system.

use crate::chart::{Chart, Line, Scale, append, escape};
use crate::latency::Quantiles;
use crate::live::{milliseconds, short};
use crate::report::{RecoverRound, Report, Second};
use crate::run::per;
use crate::settings::Scenario;
use crate::summary;
use crate::verdict::Kind;

const STYLE: &str = "\
:root{--bg:#f6f7f9;--card:#fff;--ink:#1a1f29;--dim:#667085;--rule:#e4e7ec;--good:#067647;\
--good-bg:#ecfdf3;--bad:#b42318;--bad-bg:#fef3f2;--warn:#b54708;--warn-bg:#fffaeb;\
--c0:#2563eb;--c1:#d97706;--c2:#dc2626;--c3:#7c3aed;--c4:#0d9488}\
@media(prefers-color-scheme:dark){:root{--bg:#0f1218;--card:#181c25;--ink:#e6e9ef;--dim:#98a2b3;\
--rule:#2b3140;--good:#4ade80;--good-bg:#0d2a1c;--bad:#f97066;--bad-bg:#351613;--warn:#fdb022;\
--warn-bg:#33230a;--c0:#60a5fa;--c1:#fbbf24;--c2:#f87171;--c3:#c4b5fd;--c4:#2dd4bf}}\
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}main{max-width:1400px;margin:0 auto;padding:28px 20px 60px}\
h1{font-size:24px;margin:0}h2{font-size:16px;margin:32px 0 10px}p{margin:4px 0}.dim,\
figcaption span{color:var(--dim)}.banner{border-radius:10px;padding:14px 18px;margin:18px 0;\
font-weight:600}.pass{background:var(--good-bg);color:var(--good)}.fail{background:var(--bad-bg);\
color:var(--bad)}.warn{background:var(--warn-bg);color:var(--warn)}.banner p{font-weight:400}\
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px}\
.card,figure,.table{background:var(--card);border:1px solid var(--rule);border-radius:10px}\
.card{padding:12px 16px}.card b{display:block;font-size:22px;font-variant-numeric:tabular-nums}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(520px,100%),1fr));gap:14px}\
figure{margin:0;padding:14px 16px}svg{width:100%;height:auto;display:block;margin-top:6px}\
svg text{fill:var(--dim);font-size:11px}.grid{stroke:var(--rule)}.tick{stroke:var(--dim)}\
.line{fill:none;stroke-width:2;stroke-linejoin:round}path.c0{stroke:var(--c0)}\
path.c1{stroke:var(--c1)}path.c2{stroke:var(--c2)}path.c3{stroke:var(--c3)}path.c4{stroke:var(--c4)}\
.legend span{margin-right:16px;color:var(--dim);font-size:13px}.legend i{display:inline-block;\
width:12px;height:3px;margin-right:6px;vertical-align:middle}i.c0{background:var(--c0)}\
i.c1{background:var(--c1)}i.c2{background:var(--c2)}i.c3{background:var(--c3)}i.c4{background:var(--c4)}\
.table{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:7px 14px;text-align:right;border-top:1px solid var(--rule);white-space:nowrap}\
tr:first-child>*{border-top:0}th{color:var(--dim);font-weight:500}th:first-child,\
td:first-child{text-align:left}.env td{text-align:left;white-space:normal;word-break:break-word}\
pre{white-space:pre-wrap;background:var(--card);border:1px solid var(--rule);border-radius:10px;\
padding:14px 16px;font-size:12.5px}";

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let title = format!("Load test: {}", report.settings.scenario.name());
    let parts = [
        header(report, &title),
        cards(report),
        "<h2>Over time and by percentile</h2><div class=\"charts\">".to_owned(),
        charts(report),
        "</div>".to_owned(),
        latency_table(report),
        storm_table(report),
        recover_table(report),
        delivery_table(report),
        memory_table(report),
        environment(report),
        format!("<h2>As text</h2><pre>{}</pre>", escape(&summary::text(report))),
    ];
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main>{}</main></body></html>\n",
        parts.concat()
    )
}

fn header(report: &Report, title: &str) -> String {
    let settings = &report.settings;
    let mut text = format!(
        "<h1>{title}</h1><p class=\"dim\">{} subscribers over {}, {} topic(s), {} bytes, \
         published by {}; version {}</p>",
        settings.subscribers,
        settings.door,
        settings.topics,
        settings.size,
        settings.publish_door,
        escape(&report.version)
    );
    let mut banner = |class: &str, head: &str, lines: &[String]| {
        append(&mut text, format_args!("<div class=\"banner {class}\">{}", escape(head)));
        for line in lines {
            append(&mut text, format_args!("<p>{}</p>", escape(line)));
        }
        text.push_str("</div>");
    };
    let mut wrong = report.failures.clone();
    wrong.extend(report.tally.examples.iter().take(10).map(ToString::to_string));
    banner(if report.passed { "pass" } else { "fail" }, &report.headline(), &wrong);
    if report.generator.is_saturated {
        let head = "GENERATOR SATURATED: do not believe rates or latencies of this run";
        banner("fail", head, &report.generator.reasons);
    }
    if !report.notes.is_empty() {
        banner("warn", "To know before reading on", &report.notes);
    }
    text
}

fn cards(report: &Report) -> String {
    let mut cards = Vec::new();
    let scenario = report.settings.scenario;
    if scenario.publishes() {
        cards.push(("accepted publishes/s", short(report.publish.rate_achieved)));
    }
    if scenario == Scenario::Publish {
        cards.push(("answer p99", milliseconds(report.publish.answer_raw.p99_ns)));
    } else if scenario.publishes() {
        let latency = &report.latency_corrected;
        cards.push(("delivered frames/s", short(report.publish.delivered_per_second)));
        cards.push(("latency p50, from intended send", milliseconds(latency.p50_ns)));
        cards.push(("latency p99", milliseconds(latency.p99_ns)));
        cards.push(("latency p99.99", milliseconds(latency.p99_99_ns)));
    }
    if let Some(storm) = &report.storm {
        cards.push(("p99 in the storm : quiet", format!("{:.2}", storm.ratio)));
    }
    cards.push(("subscribed/s in the ramp", short(report.connect.rate_achieved)));
    cards.push(("handshake p99", milliseconds(report.connect.handshake.p99_ns)));
    if let Some(server) = &report.server {
        cards.push(("server CPUs", format!("{:.2}", server.cpus_mean)));
        if report.tally.delivered > 0 {
            let cost = format!("{:.2} µs", server.cpu_us_per_delivery);
            cards.push(("server CPU per delivery", cost));
        }
        cards.push(("server memory, highest", format!("{} MiB", server.rss_max >> 20)));
    }
    if let Some(bytes) = report.memory.last().and_then(|step| step.private_per_subscriber) {
        cards.push(("server memory per connection", format!("{bytes:.0} B")));
    }
    let mut text = "<div class=\"cards\">".to_owned();
    for (name, value) in cards {
        let card = format_args!(
            "<div class=\"card\"><span class=\"dim\">{name}</span><b>{value}</b></div>"
        );
        append(&mut text, card);
    }
    text + "</div>"
}

fn charts(report: &Report) -> String {
    let series = &report.series;
    let last = series.last().map_or(1.0, |second| second.at_s);
    let over_time = |title, unit, scale, lines| {
        Chart { title, unit, scale, x_marks: time_marks(last), lines }.render()
    };
    let line = |name, value: &dyn Fn(&Second) -> f64| Line {
        name,
        points: series.iter().map(|second| (second.at_s, value(second))).collect(),
    };
    let latency = |index: usize| {
        move |second: &Second| second.latency.map_or(f64::NAN, |ns| per(ns[index], 1e6))
    };
    let mebibytes = |bytes: u64| per(bytes, 1_048_576.0);
    let mut charts = percentile_charts(report);
    charts += &over_time(
        "Delivery latency over time",
        "ms, from the intended send",
        Scale::Log,
        vec![line("median", &latency(0)), line("p99", &latency(1)), line("longest", &latency(2))],
    );
    if report.settings.scenario.publishes() {
        let delivered = vec![line("delivered", &|s| s.delivered)];
        charts += &over_time("Delivered", "frames per second", Scale::Linear, delivered);
        let published = vec![line("accepted", &|s| s.published)];
        charts += &over_time("Published", "accepted per second", Scale::Linear, published);
    }
    let live = vec![line("subscribers", &|s| per(s.live, 1.0))];
    charts += &over_time("Subscribers", "subscribed", Scale::Linear, live);
    let cpus = vec![
        line("server, CPUs", &|s| s.server_cpus.unwrap_or(f64::NAN)),
        line("busiest generator thread, CPUs", &|s| s.generator_cpu),
        line("machine, share", &|s| s.machine_busy),
    ];
    charts += &over_time("CPU", "CPUs, or share of the machine", Scale::Linear, cpus);
    let memory = vec![
        line("server resident", &|s| s.server_rss.map_or(f64::NAN, mebibytes)),
        line("kernel TCP buffers, both ends", &|s| mebibytes(s.tcp_buffers)),
    ];
    charts + &over_time("Memory", "MiB", Scale::Linear, memory)
}

fn percentile_charts(report: &Report) -> String {
    let storm = report.storm.iter().flat_map(|storm| &storm.phases);
    let delivery: Vec<_> = storm.map(|phase| (phase.name.as_str(), &phase.delivery)).collect();
    percentile_chart(
        "Latency by percentile",
        &[
            ("from intended send", &report.latency_corrected),
            ("from actual send", &report.latency_raw),
            ("publish answered", &report.publish.answer_corrected),
            ("handshake", &report.connect.handshake),
        ],
    ) + &percentile_chart("Delivery to the established by phase of the storm", &delivery)
}

fn percentile_chart(title: &str, series: &[(&str, &Quantiles)]) -> String {
    // x = -log10(1 - q): each nine takes the same room.
    let nines = |quantile: f64| -(1.0 - quantile).max(1e-7).log10();
    let point = |&(q, ns): &(f64, u64)| (nines(q), per(ns, 1e6));
    let mut lines: Vec<_> = series
        .iter()
        .map(|(name, quantiles)| Line { name, points: quantiles.curve.iter().map(point).collect() })
        .collect();
    lines.retain(|line| line.points.len() > 1);
    let furthest =
        lines.iter().filter_map(|line| line.points.last()).map(|point| point.0).fold(1.0, f64::max);
    let marks =
        [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")]
            .into_iter()
            .chain([(0.99999, "99.999 %"), (0.999_999, "99.9999 %")])
            .map(|(quantile, text)| (nines(quantile), text.to_owned()))
            .filter(|(x, _)| *x <= furthest + 0.01)
            .collect();
    Chart { title, unit: "ms", scale: Scale::Log, x_marks: marks, lines }.render()
}

fn time_marks(last_s: f64) -> Vec<(f64, String)> {
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
    let step = steps.into_iter().find(|step| last_s / step <= 10.0).unwrap_or(7200.0);
    let mut marks = vec![(0.0, "0 s".to_owned())];
    while let Some((at, _)) = marks.last()
        && at + step <= last_s
    {
        let at = at + step;
        marks.push((at, format!("{at:.0} s")));
    }
    marks
}

fn table(class: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("<div class=\"table {class}\"><table>");
    let mut add = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        text.push_str("<tr>");
        for cell in cells {
            append(&mut text, format_args!("<{tag}>{}</{tag}>", escape(cell)));
        }
        text.push_str("</tr>");
    };
    if !head.is_empty() {
        add("th", &mut head.iter().copied());
    }
    for row in rows {
        add("td", &mut row.iter().map(String::as_str));
    }
    text + "</table></div>"
}

fn latency_table(report: &Report) -> String {
    let rows: Vec<Vec<String>> = [
        ("delivery, from intended send", &report.latency_corrected),
        ("delivery, from actual send", &report.latency_raw),
        ("publish answer, from intended send", &report.publish.answer_corrected),
        ("publish answer, from actual send", &report.publish.answer_raw),
        ("handshake, from intended connect", &report.connect.handshake),
        ("generator's own lag", &report.generator.lag),
    ]
    .into_iter()
    .filter(|(_, quantiles)| quantiles.count > 0)
    .map(|(name, q)| {
        let figures = [q.p50_ns, q.p90_ns, q.p99_ns, q.p99_9_ns, q.p99_99_ns, q.max_ns];
        let mut row = vec![name.to_owned(), q.count.to_string()];
        row.extend(figures.map(milliseconds));
        row
    })
    .collect();
    let head = ["", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    format!("<h2>Latency</h2>{}", table("", &head, &rows))
}

fn storm_table(report: &Report) -> String {
    let Some(storm) = &report.storm else { return String::new() };
    let seconds = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.2} s"));
    let rows: Vec<Vec<String>> = storm
        .phases
        .iter()
        .map(|phase| {
            let cost = phase.server_cpu_us_per_connect;
            let mut row = vec![phase.name.clone(), format!("{:.2} s", phase.lasted_s)];
            row.extend([phase.connects, phase.errors].map(|count| count.to_string()));
            row.extend([
                format!("{:.2} s", phase.last_welcome_s),
                short(phase.connects_per_second),
            ]);
            row.extend([phase.handshake.p50_ns, phase.handshake.p99_ns].map(milliseconds));
            row.extend([phase.server_cpu_s, phase.server_waited_s].map(seconds));
            row.push(cost.map_or("-".to_owned(), |us| format!("{us:.0} µs")));
            row.extend([phase.delivery.p50_ns, phase.delivery.p99_ns].map(milliseconds));
            row.push(format!("{:.2}", phase.ratio));
            row.push(milliseconds(phase.lag_p99_ns));
            row.extend(
                [phase.reader_waited, phase.crowd_cpu].map(|s| format!("{:.0} %", s * 100.0)),
            );
            row
        })
        .collect();
    let head = [
        "",
        "lasted",
        "connects",
        "errors",
        "last welcome",
        "connects/s",
        "handshake p50",
        "p99",
        "server CPU",
        "server waited for CPU",
        "CPU per connect",
        "delivery p50",
        "p99",
        "p99 : quiet",
        "generator lag p99",
        "readers waited",
        "crowd's CPU",
    ];
    format!(
        "<h2>Storm of {} connections</h2><p>While they came, the p99 of delivery was {} = {:.2} \
         times the quiet one (limit {}).</p>{}",
        storm.crowd,
        milliseconds(storm.delivery.p99_ns),
        storm.ratio,
        storm.ratio_max,
        table("", &head, &rows)
    )
}

fn recover_table(report: &Report) -> String {
    let Some(recover) = &report.recover else { return String::new() };
    let seconds = |s: Option<f64>| s.map_or("never".to_owned(), |s| format!("{s:.2} s"));
    let row = |round: &RecoverRound| {
        let told = &round.brought;
        let mut row = [round.dropped, round.back].map(|count| count.to_string()).to_vec();
        row.extend([round.all_back_s, Some(round.window_s)].map(seconds));
        let counts = [round.refused, told.recovered, told.lost, told.messages];
        row.extend(counts.map(|count| count.to_string()));
        row
    };
    let rows: Vec<Vec<String>> = recover.rounds.iter().map(row).collect();
    let head = [
        "dropped",
        "back",
        "all back after",
        "window",
        "failed attempts",
        "subscriptions recovered (WebSocket)",
        "told of a loss",
        "messages announced",
    ];
    format!("<h2>Return after each drop</h2>{}", table("", &head, &rows))
}

fn delivery_table(report: &Report) -> String {
    if !report.settings.scenario.publishes() {
        return String::new();
    }
    let (tally, publish) = (&report.tally, &report.publish);
    let mut rows = vec![
        ("publishes sent", publish.sent),
        ("publishes accepted", publish.accepted),
        ("publishes refused", publish.refused),
        ("publishes without an answer", publish.unknown),
        ("deliveries expected", tally.expected),
        ("deliveries received", tally.delivered),
    ];
    rows.extend(Kind::ALL.into_iter().map(|kind| (kind.name(), tally.of(kind))));
    rows.extend([
        ("subscriptions told of a loss", tally.lost_statements),
        ("deliveries lost so", tally.told_lost),
    ]);
    rows.push(("envelopes checked as JSON, the others byte by byte", tally.envelopes_parsed));
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, n)| vec![name.to_owned(), n.to_string()]).collect();
    format!("<h2>Delivery</h2>{}", table("", &[], &rows))
}

fn memory_table(report: &Report) -> String {
    if report.memory.is_empty() {
        return String::new();
    }
    let bytes = |slope: Option<f64>| slope.map_or("-".to_owned(), |bytes| format!("{bytes:.0} B"));
    let kibibytes = |bytes: u64| format!("{} KiB", bytes >> 10);
    let rows: Vec<Vec<String>> = report
        .memory
        .iter()
        .map(|step| {
            vec![
                step.subscribers.to_string(),
                kibibytes(step.private),
                kibibytes(step.pss),
                kibibytes(step.rss),
                kibibytes(step.slab),
                bytes(step.private_per_subscriber),
                bytes(step.slab_per_subscriber),
            ]
        })
        .collect();
    let head = [
        "subscribers",
        "private",
        "proportional",
        "resident",
        "kernel slab",
        "private each",
        "slab each, both ends",
    ];
    format!("<h2>Server memory between steps</h2>{}", table("", &head, &rows))
}

fn environment(report: &Report) -> String {
    let environment = &report.environment;
    let mut rows = vec![
        ("command".to_owned(), environment.command.clone()),
        ("server".to_owned(), environment.server.join("; ")),
        ("kernel".to_owned(), environment.kernel.clone()),
        ("CPU".to_owned(), format!("{} × {}", environment.cpus, environment.cpu)),
        ("memory".to_owned(), format!("{} MiB", environment.memory >> 20)),
        ("descriptors per process".to_owned(), environment.descriptors_max.to_string()),
    ];
    rows.extend(environment.settings.iter().cloned());
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(a, b)| vec![a, b]).collect();
    format!("<h2>Environment</h2>{}", table("env", &[], &rows))
}
