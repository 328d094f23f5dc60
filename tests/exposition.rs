//! The metrics page, judged by a strict reader of the Prometheus text format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

use fanwire::model::application::{AppIndex, Application, Applications};
use fanwire::model::close::CloseCause;
use fanwire::model::refusal::Refusal;
use fanwire::telemetry::{
    DeliveryDoor, Door, Exposed, Limits, ProcessStats, PublishDoor, ReloadCounters, ShardCounters,
    render,
};

type Labels = Vec<(String, String)>;

/// One family as read.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    /// Name suffix and labels of each sample, with its value.
    samples: Vec<(String, Labels, f64)>,
}

type Page = BTreeMap<String, Family>;

/// Reads a page or says what is wrong with it.
fn page(text: &str) -> Result<Page, String> {
    if !text.ends_with('\n') {
        return Err("the last line is not ended".to_owned());
    }
    let mut page = Page::new();
    let mut current = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            let (name, help) = head.split_once(' ').ok_or(format!("no help text: {line}"))?;
            let kind = lines.next().and_then(|next| next.strip_prefix(&format!("# TYPE {name} ")));
            let kind = kind.ok_or(format!("no type right behind the help of {name}"))?;
            check_head(name, help, kind)?;
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            if page.insert(name.to_owned(), family).is_some() {
                return Err(format!("{name} begins twice"));
            }
            name.clone_into(&mut current);
        } else if line.starts_with('#') {
            return Err(format!("a stray comment: {line}"));
        } else {
            let family = page.get_mut(&current).ok_or("a sample before any family")?;
            let (suffix, labels, value) = sample(&current, line)?;
            family.samples.push((suffix, labels, value));
        }
    }
    for (name, family) in &page {
        check_family(family).map_err(|problem| format!("{name}: {problem}"))?;
    }
    Ok(page)
}

fn check_head(name: &str, help: &str, kind: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.chars().all(legal) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(format!("{name} is no name"));
    }
    if !name.starts_with("fanwire_") && !name.starts_with("process_") {
        return Err(format!("{name} has a foreign prefix"));
    }
    if !["counter", "gauge", "histogram"].contains(&kind) {
        return Err(format!("{name} has the type {kind}"));
    }
    if (kind == "counter") != name.ends_with("_total") {
        return Err(format!("{name} is a {kind}"));
    }
    if ["_ms", "_us", "_kib", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)) {
        return Err(format!("{name} is in no base unit, or looks like a part of a histogram"));
    }
    unescape(help, false).map(|_| ())
}

/// Undoes the escapes of help texts, or of label values, where a quote is escaped too.
fn unescape(text: &str, quoted: bool) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('\\', _) => match chars.next() {
                Some('\\') => out.push('\\'),
                Some('n') => out.push('\n'),
                Some('"') if quoted => out.push('"'),
                other => return Err(format!("the escape {other:?}")),
            },
            ('"', true) => return Err("a bare quote".to_owned()),
            _ => out.push(c),
        }
    }
    Ok(out)
}

fn sample(family: &str, line: &str) -> Result<(String, Labels, f64), String> {
    let rest = line.strip_prefix(family).ok_or(format!("not of {family}: {line}"))?;
    let end = rest.find(['{', ' ']).ok_or(format!("no value: {line}"))?;
    let (suffix, rest) = rest.split_at(end);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest).map_err(|problem| format!("{problem}: {line}"))?,
        None => (Vec::new(), rest),
    };
    let value = value.strip_prefix(' ').ok_or(format!("no space before the value: {line}"))?;
    let value = value.parse().map_err(|error| format!("{error}: {line}"))?;
    Ok((suffix.to_owned(), labels, value))
}

/// Reads `a="b",c="d"}` and returns what follows.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        let (name, behind) = rest.split_once("=\"").ok_or("no label")?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return Err(format!("{name:?} is no label name"));
        }
        let mut escaped = false;
        let end = behind.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (value, behind) = behind.split_at(end.ok_or("a label value does not end")?);
        labels.push((name.to_owned(), unescape(value, true)?));
        match behind[1..].split_at_checked(1) {
            Some((",", behind)) => rest = behind,
            Some(("}", behind)) => return Ok((labels, behind)),
            _ => return Err("the labels do not end".to_owned()),
        }
    }
}

fn check_family(family: &Family) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (suffix, labels, value) in &family.samples {
        if !seen.insert((suffix, labels)) {
            return Err(format!("{suffix}{labels:?} stands twice"));
        }
        if *value < 0.0 || !value.is_finite() {
            return Err(format!("{labels:?} is {value}"));
        }
        if family.kind != "histogram" && !suffix.is_empty() {
            return Err(format!("a sample with the suffix {suffix}"));
        }
    }
    if family.samples.is_empty() {
        return Err("no sample".to_owned());
    }
    if family.kind == "histogram" { check_histograms(family) } else { Ok(()) }
}

/// Bounds and values of one histogram's samples, by the suffix of their names.
type Parts<'a> = BTreeMap<&'a str, Vec<(f64, f64)>>;

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|error| format!("{error}: {text}"))
}

fn check_histograms(family: &Family) -> Result<(), String> {
    let mut parts: BTreeMap<Labels, Parts<'_>> = BTreeMap::new();
    for (suffix, labels, value) in &family.samples {
        let mut labels = labels.clone();
        let mut bound = 0.0;
        if suffix == "_bucket" {
            let (name, le) = labels.pop().ok_or("a bucket without le")?;
            if name != "le" {
                return Err("le is not the last label".to_owned());
            }
            bound = if le == "+Inf" { f64::INFINITY } else { number(&le)? };
        }
        parts.entry(labels).or_default().entry(suffix).or_default().push((bound, *value));
    }
    for (labels, parts) in parts {
        let names: Vec<_> = parts.keys().copied().collect();
        if names != ["_bucket", "_count", "_sum"] {
            return Err(format!("{labels:?} has {names:?}"));
        }
        let buckets = &parts["_bucket"];
        let grows = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        if !buckets.windows(2).all(grows) {
            return Err(format!("{labels:?} is not cumulative: {buckets:?}"));
        }
        if *buckets.last().expect("a key has an entry") != (f64::INFINITY, parts["_count"][0].1) {
            return Err(format!("{labels:?}: the last bucket is not the count"));
        }
    }
    Ok(())
}

/// The sum of a family's samples that have all of `labels`.
fn total(page: &Page, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |set: &Labels| labels.iter().all(|(n, v)| set.iter().any(|(a, b)| a == n && b == v));
    let family = page.get(name).unwrap_or_else(|| panic!("there is no {name}"));
    family.samples.iter().filter(|(_, set, _)| has(set)).map(|(_, _, value)| value).sum()
}

/// A family, labels that select samples, and the sum of their values.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

fn applications(ids: &[&str]) -> Applications {
    let application = |id: &&str| Application { open: true, ..Application::new(id) };
    Applications::new(ids.iter().map(application).collect(), None)
}

fn rendered(
    shards: &[ShardCounters],
    applications: &Applications,
    process: &ProcessStats,
) -> String {
    let reloads = ReloadCounters::started(1_700_000_000);
    reloads.applied(1_700_000_009);
    reloads.refused();
    let limits = Limits { connections_max: 99, history_bytes_max: 1 << 28 };
    let store = None;
    let mut out = Vec::new();
    render(&Exposed { shards, applications, process, store, reloads: &reloads, limits }, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn the_page_is_well_formed_and_holds_what_was_counted() {
    let shards = ShardCounters::for_shards(2, 2);
    shards[0].accept(Door::Http);
    shards[1].accept(Door::Http);
    shards[1].accept(Door::Http);
    shards[1].upgrade(Door::WebSocket);
    shards[1].close(Door::WebSocket, CloseCause::SlowConsumer);
    shards[0].publish(PublishDoor::Native, AppIndex(1), 2);
    shards[1].publish(PublishDoor::Native, AppIndex(1), 1);
    shards[0].publish(PublishDoor::BuzzPost, AppIndex(7), 1);
    shards[0].refuse(Refusal::Overloaded);
    shards[1].bytes_sent.add(1 << 40);
    shards[0].mesh_pending_bytes.set(77);
    shards[0].publish_to_flush[DeliveryDoor::Sse as usize].observe_us(3);
    shards[1].publish_to_flush[DeliveryDoor::Poll as usize].observe_us(1 << 40);
    shards[1].turn_duration.observe_us(5);
    shards[0].deliver(AppIndex(1), 4);
    shards[1].deliver(AppIndex(7), 5);
    shards[0].begin_session(AppIndex(0));
    shards[1].begin_session(AppIndex(0));
    shards[1].end_session(AppIndex(0));
    shards[0].turn_began_us.set(1_700_000_001_000_000);
    let process = ProcessStats::read(1_700_000_000_123, 1_700_000_003_500_000);
    let text = rendered(&shards, &applications(&["demo", "tricky\"\\\n"]), &process);
    let page = page(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));

    let publishes = "fanwire_publishes_total";
    let native = [("application", "tricky\"\\\n"), ("door", "native")];
    let expected: [Expected<'_>; 24] = [
        ("fanwire_application_deliveries_total", &native[..1], 4.0),
        ("fanwire_application_deliveries_total", &[("application", "")], 5.0),
        ("fanwire_deliveries_total", &[], 9.0),
        ("fanwire_application_sessions", &[("application", "demo")], 1.0),
        ("fanwire_turn_running_seconds", &[("shard", "0")], 2.5),
        ("fanwire_turn_running_seconds", &[("shard", "1")], 0.0),
        ("fanwire_config_reloads_total", &[("outcome", "refused")], 1.0),
        ("fanwire_config_last_reload_successful", &[], 0.0),
        ("fanwire_config_last_reload_success_timestamp_seconds", &[], 1_700_000_009.0),
        ("fanwire_connections_max", &[], 99.0),
        ("fanwire_connections_accepted_total", &[("shard", "1")], 2.0),
        ("fanwire_connections", &[("shard", "1")], 1.0),
        ("fanwire_connections", &[("door", "http")], 2.0),
        ("fanwire_connections_upgraded_total", &[("door", "websocket")], 1.0),
        ("fanwire_connections_closed_total", &[("cause", "slow_consumer")], 1.0),
        ("fanwire_slow_consumers_total", &[], 1.0),
        (publishes, &native, 3.0),
        (publishes, &[("application", "")], 1.0),
        (publishes, &[("application", "demo")], 0.0),
        ("fanwire_refusals_total", &[("code", "overloaded")], 1.0),
        ("fanwire_sent_bytes_total", &[("shard", "1")], 1_099_511_627_776.0),
        ("fanwire_mesh_pending_bytes", &[], 77.0),
        ("process_start_time_seconds", &[], 1_700_000_000.123),
        ("fanwire_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ];
    for (name, labels, value) in expected {
        let found = total(&page, name, labels);
        assert!((found - value).abs() < 1e-6, "{name}{labels:?} is {found}, not {value}");
    }
    let part = |name: &str, wanted: &str, shard: Option<&str>| {
        let matches = |labels: &Labels| shard.is_none_or(|s| labels[0].1 == s);
        let samples = page[name].samples.iter();
        samples
            .filter(|(s, labels, _)| s == wanted && matches(labels))
            .map(|(.., v)| v)
            .sum::<f64>()
    };
    assert!((part("fanwire_publish_to_flush_seconds", "_count", None) - 2.0).abs() < 1e-9);
    assert!((part("fanwire_publish_to_flush_seconds", "_count", Some("sse")) - 1.0).abs() < 1e-9);
    assert!((part("fanwire_turn_duration_seconds", "_sum", Some("1")) - 0.000_005).abs() < 1e-9);
    assert!(part("fanwire_turn_duration_seconds", "_count", Some("0")).abs() < 1e-9);
}

#[test]
fn every_refusal_and_cause_is_there_before_it_happens() {
    let shards = ShardCounters::for_shards(1, 1);
    let text = rendered(&shards, &applications(&["demo"]), &ProcessStats::default());
    let page = page(&text).unwrap();
    assert_eq!(page["fanwire_refusals_total"].samples.len(), Refusal::ALL.len());
    let closed = page["fanwire_connections_closed_total"].samples.len();
    assert_eq!(closed, Door::ALL.len() * CloseCause::ALL.len());
}

#[test]
fn the_reader_is_strict() {
    let head = |kind: &str, name: &str| format!("# HELP {name} h\n# TYPE {name} {kind}\n");
    let gauge = head("gauge", "fanwire_a");
    let histogram = head("histogram", "fanwire_h");
    assert!(page(&format!("{gauge}fanwire_a{{b=\"c\"}} 1\n")).is_ok());
    let bucket = |le: &str, count: u8| format!("fanwire_h_bucket{{le=\"{le}\"}} {count}\n");
    let rest = "fanwire_h_sum 1\nfanwire_h_count 2\n";
    let good = format!("{histogram}{}{}{rest}", bucket("1", 1), bucket("+Inf", 2));
    page(&good).unwrap();
    let broken = [
        format!("{gauge}fanwire_a 1"),
        gauge.clone(),
        format!("{gauge}fanwire_a 1\nfanwire_a 2\n"),
        format!("{gauge}fanwire_b 1\n"),
        format!("{gauge}fanwire_a{{b=\"c\" 1\n"),
        format!("{gauge}fanwire_a{{b=\"c\"d\"}} 1\n"),
        format!("{gauge}fanwire_a{{b=\"\\c\"}} 1\n"),
        format!("{gauge}fanwire_a{{B=\"c\"}} 1\n"),
        format!("{gauge}fanwire_a one\n"),
        format!("{gauge}fanwire_a NaN\n"),
        format!("{gauge}fanwire_a 1\n\n"),
        format!("{gauge}fanwire_a 1\n{gauge}fanwire_a{{b=\"c\"}} 1\n"),
        format!("{}fanwire_a 1\n", head("counter", "fanwire_a")),
        format!("{}fanwire_a_ms 1\n", head("gauge", "fanwire_a_ms")),
        format!("{}other_a 1\n", head("gauge", "other_a")),
        "# TYPE fanwire_a gauge\nfanwire_a 1\n".to_owned(),
        format!("{histogram}{}{}{rest}", bucket("1", 3), bucket("+Inf", 2)),
        format!("{histogram}{}{}{rest}", bucket("+Inf", 2), bucket("1", 2)),
        format!("{histogram}{}{rest}", bucket("1", 2)),
        format!("{histogram}{}fanwire_h_count 2\n", bucket("+Inf", 2)),
        format!("{histogram}{}fanwire_h_sum 1\nfanwire_h_count 3\n", bucket("+Inf", 2)),
    ];
    for text in broken {
        assert!(page(&text).is_err(), "passes:\n{text}");
    }
}
