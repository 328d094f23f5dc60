//! The dashboard and the alert rules in the package: they can be read, and every metric and label
//! value that they name is in a live scrape of a broker that has everything.

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use support::{Metrics, Setup, json, post};
use yaml_rust2::{Yaml, YamlLoader};

const DASHBOARD: &str = include_str!("../systemd/monitoring/grafana-dashboard.json");
const ALERTS: &str = include_str!("../systemd/monitoring/prometheus-alerts.yml");
const SCRAPE: &str = include_str!("../systemd/monitoring/prometheus-scrape.yml");

/// What a broker with a store tells.
fn scrape() -> Metrics {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("monitoring");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder for temporary files is ours");
    let path = folder.join("store.db").display().to_string();
    let broker = Setup::new("epoll", 2).with("STORE_PATH", path).start();
    post(&mut broker.http(), "/v1/demo/topics/a", b"1");
    broker.metrics()
}

/// Every string below a value.
fn strings(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(entries) => entries.iter().for_each(|entry| strings(entry, name, found)),
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == name => found.push(text.clone()),
                    other => strings(other, name, found),
                }
            }
        }
        _ => {}
    }
}

fn dashboard_queries() -> Vec<String> {
    let mut queries = Vec::new();
    strings(&json(DASHBOARD), "expr", &mut queries);
    strings(&json(DASHBOARD), "query", &mut queries);
    queries
}

/// Each rule: its name, expression, summary and action.
fn alerts() -> Vec<[String; 4]> {
    let documents = YamlLoader::load_from_str(ALERTS).expect("YAML");
    let text = |value: &Yaml| value.as_str().unwrap_or_default().to_owned();
    let rule = |rule: &Yaml| {
        let notes = &rule["annotations"];
        assert!(
            ["critical", "warning", "info"].contains(&&*text(&rule["labels"]["severity"])),
            "{rule:?}"
        );
        [&rule["alert"], &rule["expr"], &notes["summary"], &notes["action"]].map(text)
    };
    documents[0]["groups"][0]["rules"].as_vec().expect("rules").iter().map(rule).collect()
}

/// A label and the values that it may have.
type Matcher = (String, Vec<String>);

/// The metrics that a query names, each with its matchers of equal and matching values.
fn selectors(query: &str) -> Vec<(String, Vec<Matcher>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = ["fanwire_", "process_"].iter().filter_map(|p| rest.find(p)).min() {
        let from = &rest[start..];
        let end = from.find(|c| !is_name(c)).unwrap_or(from.len());
        let mut matchers = Vec::new();
        if let Some(inside) = from[end..].strip_prefix('{') {
            let inside = &inside[..inside.find('}').expect("selectors end")];
            for matcher in inside.split(',') {
                let (label, value) = matcher.split_once('"').expect("a quoted value");
                let values = value.trim_end_matches('"').split('|').map(str::to_owned).collect();
                let label = label.trim_end_matches(['=', '~', '!']).trim().to_owned();
                matchers.push((label, values));
            }
        }
        found.push((from[..end].to_owned(), matchers));
        rest = &from[end..];
    }
    found
}

fn check(metrics: &Metrics, query: &str) {
    let found = selectors(query);
    for (name, matchers) in found {
        assert!(metrics.has(&name, &[]), "{name}, named by {query}, is in no scrape");
        // A scrape adds these.
        let own = matchers.iter().filter(|(label, _)| label != "instance" && label != "job");
        for (label, values) in own {
            for value in values {
                let labels = [(&**label, &**value)];
                assert!(
                    metrics.has(&name, &labels),
                    "{name}{labels:?}, in {query}, is in no scrape"
                );
            }
        }
    }
}

#[test]
fn every_metric_that_is_named_is_in_a_live_scrape() {
    let metrics = scrape();
    let queries = dashboard_queries();
    assert!(queries.len() > 40, "{} queries", queries.len());
    for query in &queries {
        check(&metrics, query);
    }
    for [name, expression, summary, action] in alerts() {
        check(&metrics, &expression);
        assert!(name.starts_with("Fanwire") && summary.ends_with('.'), "{name}: {summary}");
        assert!(action.len() > 30 && action.ends_with('.'), "{name}: {action}");
        let named = expression.contains("fanwire_") || expression.contains("process_");
        assert!(named || name == "FanwireDown", "{name} looks at no metric");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = json(DASHBOARD);
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 38));
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert_eq!(variables[0]["type"], "datasource");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{} has another's id", panel["title"]);
        let place = &panel["gridPos"];
        assert!(places.insert((place["y"].as_u64(), place["x"].as_u64())), "{panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
            assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')));
            assert!(!panel["targets"].as_array().expect("queries").is_empty());
        }
    }
}

#[test]
fn the_reader_of_queries_finds_what_is_there() {
    let query = r#"sum(rate(fanwire_a_total{x="1",y=~"a|b"}[5m])) / on (i) process_b > 0.9"#;
    let owned = |label: &str, values: &[&str]| {
        (label.to_owned(), values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
    };
    let expected = vec![
        ("fanwire_a_total".to_owned(), vec![owned("x", &["1"]), owned("y", &["a", "b"])]),
        ("process_b".to_owned(), vec![]),
    ];
    assert_eq!(selectors(query), expected);
}

#[test]
fn prometheus_itself_takes_the_rules() {
    assert_eq!(YamlLoader::load_from_str(SCRAPE).expect("YAML").len(), 1);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/monitoring/prometheus-alerts.yml");
    if let Ok(output) = Command::new("promtool").args(["check", "rules", file]).output() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        return;
    }
    let required = std::env::var_os("FANWIRE_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "promtool is required");
    eprintln!("skipped: no promtool here");
}
